/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/learn.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/log.h"
#include "draft/draft_priv.h"
#include "pbs/index.h"
#include "pbs/names.h"
#include "repo/edit.h"
#include "repo/known.h"
#include "repo/repo.h"
#include "repo/tree.h"
#include "repo/uploads.h"
#include "store/store.h"

#define ASK_MS 30000
#define TRIES 3
#define OLD_S 300

struct learn {
	struct drafts *ds;	/* borrowed */
	int64_t since;		/* epoch seconds */
	atomic_bool stop;
	pthread_mutex_t lock;	/* guards what follows */
	pthread_t thread;
	bool started;
};

/*
 * Once garbage was collected, or if the tree is of an earlier time, it is not
 * enough: a snapshot may have been taken away since, and its chunks with it.
 * What the store has now has its chunks, as long as the era is the same.
 */
static bool
is_doubtful(const struct learn *l, const struct tree *t, uint64_t era)
{
	return era > 0 || t->listed_at < l->since - OLD_S;
}

static bool
is_there(struct drafts *ds, const struct tree_snap *s)
{
	const struct tree_file *f = tree_find_file(s, "index.json.blob");
	char key[KEY_MAX + 1];
	struct store_object o;

	return f != NULL && tree_file_key(f, key) == 0 &&
	    store_stat(repo_store(ds->repo), key, deadline_in(ASK_MS), &o) == 0;
}

/* 1: some were condemned meanwhile. */
static int
learn_files(struct drafts *ds, const struct tree_snap *s, uint64_t era)
{
	struct known *known = uploads_known(ds->opts.uploads);
	struct index *x;
	int r = 0;

	for (size_t i = 0; i < s->n_files && r == 0; i++) {
		if (!archive_is_index(s->files[i].name) ||
		    repo_index(ds->repo, &s->files[i], 0, &x) < 0)
			continue;
		r = known_add_index(known, x, era);
		index_unref(x);
	}
	return r;
}

/* What is not learnt is sent again. */
static void
learn_snap(struct drafts *ds, const struct tree *t, const struct tree_snap *s)
{
	struct known *known = uploads_known(ds->opts.uploads);
	uint64_t era;
	unsigned k;

	for (k = 0; k < TRIES; k++) {
		era = known_era(known);
		if ((is_doubtful(ds->learn, t, era) && !is_there(ds, s)) ||
		    learn_files(ds, s, era) == 0)
			break;
	}
}

static void *
learn_run(void *arg)
{
	struct learn *l = arg;
	struct tree *t = repo_tree(l->ds->repo);

	for (size_t n = 0; n < t->n_ns; n++) {
		const struct tree_ns *ns = &t->all_ns[n];

		for (size_t g = 0; g < ns->n_groups; g++) {
			const struct tree_snap *s = tree_latest(&ns->groups[g]);

			if (atomic_load(&l->stop))
				break;
			if (s != NULL)
				learn_snap(l->ds, t, s);
		}
	}
	tree_unref(t);
	return NULL;
}

static void
learn_others(struct learn *l)
{
	int r = 0;
	LOCK(&l->lock);

	if (!l->started && !atomic_load(&l->stop))
		r = -pthread_create(&l->thread, NULL, learn_run, l);
	else
		return;
	if (r < 0)
		log_warn("cannot start a thread: %s\nhint: chunks of other "
		    "groups may be uploaded again", strerror(-r));
	l->started = r == 0;
}

int
learn_new(struct drafts *ds, struct learn **ret)
{
	struct learn *l = calloc(1, sizeof(*l));
	int r;

	if (l == NULL)
		return -ENOMEM;
	r = -pthread_mutex_init(&l->lock, NULL);
	if (r < 0) {
		free(l);
		return r;
	}
	l->ds = ds;
	l->since = clock_real_s();
	*ret = l;
	return 0;
}

void
learn_free(struct learn *l)
{
	if (l == NULL)
		return;
	atomic_store(&l->stop, true);
	pthread_mutex_lock(&l->lock);
	pthread_mutex_unlock(&l->lock);
	if (l->started)
		pthread_join(l->thread, NULL);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* The time of a base that was not learnt yet, or 0. */
static int64_t
base_to_learn(struct draft *d)
{
	LOCK(&d->lock);
	int64_t time = base_time(d->base);

	return d->learned == time ? 0 : time;
}

/* Not before: who finds it learnt uploads. */
static void
set_learned(struct draft *d, int64_t time)
{
	LOCK(&d->lock);

	if (base_time(d->base) == time)
		d->learned = time;
}

void
learn_base(struct draft *d)
{
	const int64_t time = base_to_learn(d);
	const struct tree_snap *s;
	struct tree *t;

	if (time != 0) {
		t = repo_tree(d->all->repo);
		s = edit_find_snap(t, &d->group, time);
		if (s != NULL)
			learn_snap(d->all, t, s);
		tree_unref(t);
		set_learned(d, time);
	}
	learn_others(d->all->learn);
}
