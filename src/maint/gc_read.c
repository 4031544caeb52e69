/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/gc_priv.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "base/workq.h"
#include "pbs/index.h"
#include "pbs/names.h"
#include "store/store.h"

/* Read at once, and no more than these bytes, if it is not a single one. */
#define READERS 8
#define READ_BYTES (64 * MIB)

struct job {
	struct work w;		/* first */
	struct reading *all;	/* borrowed */
	struct gc_index *i;	/* borrowed */
	struct index *x;	/* a reference; NULL: it has vanished */
	bool changed;		/* since it was listed */
	int r;
	bool done;		/* with the lock */
};

struct reading {
	struct gc *g;
	struct workq *q;	/* owned */
	pthread_mutex_t lock;	/* guards done of the jobs */
	pthread_cond_t some_done;
	struct job jobs[READERS];	/* a ring */
	size_t first, n;	/* of the ring */
	uint64_t bytes;		/* of those in it */
};

static int
fetch(struct gc *g, const struct gc_index *i, unsigned flags, struct buf **ret,
    struct store_object *ret_obj)
{
	const struct store_get how = {
	    .max = INDEX_FILE_MAX,
	    .flags = flags,
	    .etag = i->etag[0] != '\0' ? i->etag : NULL,
	};
	int r;

	if (!i->outside)
		return store_get(g->store, i->key, &how, ret, ret_obj);
	memset(ret_obj, 0, sizeof(*ret_obj));
	r = io_read_file(g->base_fd, i->key, INDEX_FILE_MAX, ret);
	return r == -ENOENT || r == -ENOTDIR ? 1 : r;
}

static int
is_it(void *arg, const char *key, const struct store_object *o)
{
	(void)o;
	return streq(key, arg) ? 2 : 0;
}

/* It was listed, and is not there: has it gone since?  -EIO if it is listed
 * all the same. */
static int
check_gone(struct gc *g, struct gc_index *i)
{
	char prefix[KEY_MAX + 1];
	const char *slash = strrchr(i->key, '/');
	size_t len;
	int r;

	if (i->outside || slash == NULL)
		return 0;
	len = (size_t)(slash + 1 - i->key);
	memcpy(prefix, i->key, len);
	prefix[len] = '\0';
	r = store_list(g->store, prefix, NULL, is_it, i->key);
	if (r != 2)
		return r;
	log_err("%s: is listed, yet the store says that it is not there",
	    gc_shown(i));
	return -EIO;
}

static int
attempt(struct gc *g, const struct gc_index *i, unsigned flags, struct job *j,
    const char **ret_why)
{
	_cleanup_(buf_unrefp) struct buf *raw = NULL;
	struct store_object o;
	struct index *x;
	int r;

	r = fetch(g, i, flags, &raw, &o);
	if (r == -EFBIG) {
		*ret_why = "larger than an index can be";
		return -EBADMSG;
	}
	if (r != 0)
		return r;
	r = index_open(raw, &x, ret_why);
	if (r < 0)
		return r;
	if (!index_is_intact(x)) {
		*ret_why = "checksum of the table differs from the header's";
		index_unref(x);
		return -EBADMSG;
	}
	j->changed = !i->outside && !streq(o.etag, i->etag);
	j->x = x;
	return 0;
}

static int
read_one(struct job *j)
{
	struct gc *g = j->all->g;
	struct gc_index *i = j->i;
	const char *why = "damaged";
	int r = gc_stopped(g);

	if (r < 0)
		return r;
	r = attempt(g, i, 0, j, &why);
	/* Perhaps it was the cache. */
	if (r == -EBADMSG && !i->outside)
		r = attempt(g, i, STORE_FRESH, j, &why);
	if (r == 1)
		return check_gone(g, i);
	if (r == -EBADMSG)
		log_err("%s: the index is damaged: %s; nothing is deleted, for "
		    "what it refers to is not known\n"
		    "hint: repair it from a copy, or forget its snapshot",
		    gc_shown(i), why);
	else if (r < 0 && r != -ESHUTDOWN && r != -EDQUOT)
		log_err("%s: cannot read the index: %s; nothing is deleted, "
		    "for what it refers to is not known", gc_shown(i),
		    strerror(-r));
	return r;
}

static void
run(struct work *w)
{
	struct job *j = (struct job *)w;
	int r = read_one(j);
	LOCK(&j->all->lock);

	j->r = r;
	j->done = true;
	pthread_cond_broadcast(&j->all->some_done);
}

static int
start(struct reading *a, struct gc_index *i)
{
	struct job *j = &a->jobs[(a->first + a->n) % READERS];
	int r;

	memset(j, 0, sizeof(*j));
	j->w.fn = run;
	j->all = a;
	j->i = i;
	r = workq_add(a->q, &j->w);
	if (r < 0)
		return r;
	a->n++;
	a->bytes += i->size;
	return 0;
}

static struct job *
take_first(struct reading *a)
{
	struct job *j = &a->jobs[a->first];
	LOCK(&a->lock);

	while (!j->done)
		pthread_cond_wait(&a->some_done, &a->lock);
	a->first = (a->first + 1) % READERS;
	a->n--;
	a->bytes -= j->i->size;
	return j;
}

static int
finish_first(struct reading *a, gc_read_fn *fn, void *arg)
{
	struct job *j = take_first(a);
	int r = j->r;

	if (r == 0 && j->x != NULL) {
		if (j->changed)
			j->i->lasts = false;
		if (fn != NULL)
			r = fn(arg, j->i, j->x);
	}
	index_unref(j->x);
	return r;
}

static int
read_all(struct reading *a, gc_want_fn *want, gc_read_fn *fn, void *arg)
{
	const struct gc *g = a->g;
	size_t next = 0;
	int r = 0;

	while (r == 0 && (next < g->n || a->n > 0)) {
		struct gc_index *i = next < g->n ? g->v[next] : NULL;

		if (i != NULL && !want(arg, i)) {
			next++;
		} else if (i != NULL && a->n < READERS && (a->n == 0 ||
		    (i->size <= READ_BYTES &&
			a->bytes <= READ_BYTES - i->size))) {
			r = start(a, i);
			next++;
		} else {
			r = finish_first(a, fn, arg);
		}
		if (r == 0)
			r = gc_stopped(g);
	}
	while (a->n > 0)
		(void)finish_first(a, NULL, NULL);
	return r;
}

int
gc_read(struct gc *g, gc_want_fn *want, gc_read_fn *fn, void *arg)
{
	struct reading *a = calloc(1, sizeof(*a));
	int r;

	if (a == NULL)
		return -ENOMEM;
	a->g = g;
	pthread_mutex_init(&a->lock, NULL);
	r = cond_init(&a->some_done);
	if (r < 0)
		goto out_lock;
	r = workq_new("gc-read", READERS, &a->q);
	if (r == 0)
		r = read_all(a, want, fn, arg);
	workq_free(a->q);
	pthread_cond_destroy(&a->some_done);
out_lock:
	pthread_mutex_destroy(&a->lock);
	free(a);
	return r;
}
