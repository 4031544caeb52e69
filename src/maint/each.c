/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/each.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/lock.h"
#include "base/workq.h"
#include "pbs/index.h"

struct walk;

struct worker {
	struct work work;	/* first */
	struct walk *w;		/* borrowed */
	struct each_chunk at;	/* what it works on; guarded by the lock */
	bool busy;		/* likewise */
};

struct walk {
	const struct each *e;	/* borrowed */
	struct worker *workers;	/* owned: e->jobs of them */

	pthread_mutex_t lock;	/* guards the rest */
	size_t file, entry;	/* the next */
	int err;		/* the first */
};

static bool
is_in_work(const struct walk *w, const struct digest *d)
{
	for (unsigned i = 0; i < w->e->jobs; i++)
		if (w->workers[i].busy &&
		    digest_eq(&w->workers[i].at.want.digest, d))
			return true;
	return false;
}

static void
set(struct worker *k, const struct each_file *f, const struct index_chunk *x)
{
	k->busy = true;
	k->at = (struct each_chunk){
	    .want = {
		.digest = x->digest,
		.size = (uint32_t)(x->end - x->start),
		.encrypted = f->encrypted,
		.key = f->key,
	    },
	    .off = x->start,
	    .file = f,
	};
}

/* The next one for k; false if there is none. */
static bool
take(struct worker *k)
{
	struct walk *w = k->w;
	LOCK(&w->lock);

	k->busy = false;
	while (w->err == 0 && w->file < w->e->n_files) {
		const struct each_file *f = &w->e->files[w->file];
		struct index_chunk x;

		if (w->entry == index_count(f->index)) {
			w->file++;
			w->entry = 0;
			continue;
		}
		x = index_chunk(f->index, w->entry++);
		if (is_in_work(w, &x.digest))
			continue;
		set(k, f, &x);
		return true;
	}
	return false;
}

static void
give_up(struct walk *w, int err)
{
	LOCK(&w->lock);
	if (w->err == 0)
		w->err = err;
}

static void
work(struct work *job)
{
	struct worker *k = (struct worker *)job;
	const struct each *e = k->w->e;
	int r;

	while (take(k)) {
		r = e->stop != NULL && atomic_load(e->stop) ? -ECANCELED :
		    e->fn(e->arg, &k->at);
		if (r != 0)
			give_up(k->w, r);
	}
}

int
each_run(const struct each *e)
{
	struct walk w = {.e = e};
	struct workq *q;
	int r;

	w.workers = calloc(e->jobs, sizeof(*w.workers));
	if (w.workers == NULL)
		return -ENOMEM;
	r = workq_new("chunks", e->jobs, &q);
	if (r < 0) {
		free(w.workers);
		return r;
	}
	pthread_mutex_init(&w.lock, NULL);
	for (unsigned i = 0; r == 0 && i < e->jobs; i++) {
		w.workers[i].w = &w;
		w.workers[i].work.fn = work;
		r = workq_add(q, &w.workers[i].work);
		if (r < 0)
			give_up(&w, r);
	}
	workq_free(q);	/* waits for all of them */
	pthread_mutex_destroy(&w.lock);
	free(w.workers);
	return w.err;
}
