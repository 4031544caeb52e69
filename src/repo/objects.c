/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/objects.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <xxhash.h>

#include "base/lock.h"
#include "base/num.h"
#include "base/str.h"
#include "base/workq.h"
#include "repo/object_load.h"
#include "repo/repo.h"
#include "repo/tree.h"

#define MEMORY_MAX (64 * MIB)
#define BUCKETS 4096u		/* power of two */
#define FAILED_MS 5000
#define OVERHEAD 1024		/* of an object beside its content */
#define PREFETCHERS 8
#define PREFETCH_WAITING_MAX 1024
/* Larger ones are not decoded on a thread that must not wait. */
#define NOWAIT_SIZE_MAX MIB

/* IDLE: the last fetch failed and those who waited are yet to notice. */
enum state { IDLE, FLIGHT, READY, FAILED };

struct object {
	struct object_id id;
	enum state state;
	int err;			/* FAILED; IDLE: of the last fetch */
	unsigned flights;		/* that have ended */
	unsigned waiters;		/* pins it */
	deadline_t until;		/* FAILED; 0: for good */
	void *value;			/* READY: a reference of the kind's type */
	uint64_t cost;			/* READY and FAILED */
	LIST_ENTRY(object) hash;
	TAILQ_ENTRY(object) lru;	/* READY and FAILED */
};
LIST_HEAD(bucket, object);

struct objects {
	struct store *store;		/* borrowed */
	struct damage *damage;		/* borrowed */
	const struct keyring *keys;	/* borrowed; may be NULL */
	unsigned timeout_ms;
	struct workq *prefetchers;	/* owned */

	pthread_mutex_t lock;		/* guards all below */
	pthread_cond_t landed;		/* some flight has ended */
	bool shutdown;
	struct bucket buckets[BUCKETS];
	TAILQ_HEAD(, object) lru;	/* the least recently used first */
	uint64_t memory;		/* cost of all in lru */
};

int
objects_new(struct store *s, struct damage *damage,
    const struct keyring *keys, unsigned timeout_ms, struct objects **ret)
{
	struct objects *o;
	int r;

	o = calloc(1, sizeof(*o));
	if (o == NULL)
		return -ENOMEM;
	o->store = s;
	o->damage = damage;
	o->keys = keys;
	o->timeout_ms = timeout_ms;
	TAILQ_INIT(&o->lru);
	r = workq_new("prefetch", PREFETCHERS, &o->prefetchers);
	if (r < 0)
		goto err_free;
	r = cond_init(&o->landed);
	if (r < 0)
		goto err_workq;
	pthread_mutex_init(&o->lock, NULL);
	*ret = o;
	return 0;

err_workq:
	workq_free(o->prefetchers);
err_free:
	free(o);
	return r;
}

static int
set_id(struct object_id *id, enum object_kind kind, const struct tree_file *f)
{
	size_t len = strlen(f->etag);

	id->kind = kind;
	id->size = f->size;
	/* One that does not fit is none. */
	if (len >= sizeof(id->etag))
		len = 0;
	memcpy(id->etag, f->etag, len);
	id->etag[len] = '\0';
	return tree_file_key(f, id->key);
}

int
object_want_file(struct object_want *w, enum object_kind kind,
    const struct tree_file *f)
{
	const struct tree_file *m;
	int r;

	memset(w, 0, sizeof(*w));
	r = set_id(&w->id, kind, f);
	if (r < 0)
		return r;
	if ((kind != OBJECT_INDEX && kind != OBJECT_BLOB) || f->snap == NULL)
		return 0;
	m = tree_find_file(f->snap, "index.json.blob");
	if (m == NULL || m == f)
		return 0;
	if (strlen(f->name) > KEY_MAX)
		return -ENAMETOOLONG;
	memcpy(w->name, f->name, strlen(f->name) + 1);
	w->in_manifest = true;
	return set_id(&w->manifest, OBJECT_MANIFEST, m);
}

static struct bucket *
bucket(struct objects *o, const struct object_id *id)
{
	return &o->buckets[XXH3_64bits_withSeed(id->key, strlen(id->key),
	    (uintptr_t)o) & (BUCKETS - 1)];
}

static struct object *
find(struct objects *o, const struct object_id *id)
{
	struct object *x;

	LIST_FOREACH(x, bucket(o, id), hash)
		if (x->id.kind == id->kind && x->id.size == id->size &&
		    streq(x->id.key, id->key) && streq(x->id.etag, id->etag))
			return x;
	return NULL;
}

static void
forget(struct object *x)
{
	assert(x->waiters == 0);
	LIST_REMOVE(x, hash);
	if (x->value != NULL)
		object_unref(x->id.kind, x->value);
	free(x);
}

static void
lru_remove(struct objects *o, struct object *x)
{
	TAILQ_REMOVE(&o->lru, x, lru);
	o->memory -= x->cost;
}

static void
trim(struct objects *o)
{
	struct object *x, *next;

	for (x = TAILQ_FIRST(&o->lru); x != NULL && o->memory > MEMORY_MAX;
	    x = next) {
		next = TAILQ_NEXT(x, lru);
		if (x->waiters > 0)
			continue;
		lru_remove(o, x);
		forget(x);
	}
}

/* Until the flight of x has ended: 0, -ETIMEDOUT or -ESHUTDOWN. */
static int
wait_for(struct objects *o, struct object *x, deadline_t deadline)
{
	unsigned flights = x->flights;
	int r = 0;

	x->waiters++;
	while (r == 0 && !o->shutdown && x->flights == flights)
		r = cond_wait_until(&o->landed, &o->lock, deadline);
	x->waiters--;
	if (x->flights != flights)
		return 0;
	return o->shutdown ? -ESHUTDOWN : r;
}

/* The last one to notice that a fetch failed clears it away. */
static int
take_error(struct object *x)
{
	int err = x->err;

	if (x->waiters == 0)
		forget(x);
	return err;
}

/*
 * 0: *ret has a reference.  1: *ret_x is ours to fetch.  Else the error.
 */
static int
look(struct objects *o, const struct object_id *id, unsigned flags,
    deadline_t deadline, void **ret, struct object **ret_x)
{
	struct object *x;
	int r;

	while ((x = find(o, id)) != NULL) {
		if (x->state == READY) {
			TAILQ_REMOVE(&o->lru, x, lru);
			TAILQ_INSERT_TAIL(&o->lru, x, lru);
			*ret = object_ref(id->kind, x->value);
			return 0;
		}
		if (x->state == FAILED) {
			if (deadline_left(x->until) > 0)
				return x->err;
			lru_remove(o, x);
			break;
		}
		if (x->state == IDLE)
			break;
		if (flags & REPO_NOWAIT)
			return -EAGAIN;
		r = wait_for(o, x, deadline);
		if (r < 0)
			return r;
		/* Whoever fetched it may have had less time than we have, or
		 * may not have wanted to wait. */
		if (x->state == IDLE && x->err != -EAGAIN &&
		    !(x->err == -ETIMEDOUT && deadline_left(deadline) > 0))
			return take_error(x);
	}
	if (o->shutdown)
		return -ESHUTDOWN;
	if (x == NULL) {
		x = calloc(1, sizeof(*x));
		if (x == NULL)
			return -ENOMEM;
		x->id = *id;
		LIST_INSERT_HEAD(bucket(o, id), x, hash);
	}
	x->state = FLIGHT;
	*ret_x = x;
	return 1;
}

/* Stores the outcome of our flight. */
static void
land(struct objects *o, struct object *x, int err, void *value, uint64_t cost)
{
	x->flights++;
	x->err = err;
	x->cost = OVERHEAD;
	if (err == 0) {
		x->state = READY;
		x->value = object_ref(x->id.kind, value);
		x->cost += cost;
	} else if (err == -EBADMSG || err == -ENOENT || err == -ENOKEY ||
	    err == -OBJECT_EFORGED) {
		x->state = FAILED;
		/* It will not be less encrypted later. */
		x->until = err == -ENOKEY ? 0 : deadline_in(FAILED_MS);
	} else {
		x->state = IDLE;
		if (x->waiters == 0)
			forget(x);
		return;
	}
	TAILQ_INSERT_TAIL(&o->lru, x, lru);
	o->memory += x->cost;
	trim(o);
}

static int expect(void *arg, struct object_expect *ret);

/* Of a fetch: what its check against the manifest needs. */
struct fetch {
	struct objects *o;
	const struct object_want *want;
	unsigned flags;
	deadline_t deadline;
};

/* Recursion ends here: a manifest is in no manifest. */
static int
get_until(struct objects *o, const struct object_want *w, unsigned flags,
    deadline_t deadline, void **ret)
{
	struct fetch f = {.o = o, .want = w, .flags = flags,
	    .deadline = deadline};
	const struct object_load how = {
	    .store = o->store,
	    .damage = o->damage,
	    .keys = o->keys,
	    .id = &w->id,
	    .local = (flags & REPO_NOWAIT) != 0,
	    .deadline = deadline,
	    .expect = w->in_manifest ? expect : NULL,
	    .arg = &f,
	};
	struct object *x = NULL;
	uint64_t cost = 0;
	void *value = NULL;
	int r;

	pthread_mutex_lock(&o->lock);
	r = look(o, &w->id, flags, deadline, ret, &x);
	pthread_mutex_unlock(&o->lock);
	if (r <= 0)
		return r;
	if (how.local && w->id.size > NOWAIT_SIZE_MAX)
		r = -EAGAIN;
	else
		r = object_load(&how, &value, &cost);
	pthread_mutex_lock(&o->lock);
	land(o, x, r, value, cost);
	pthread_cond_broadcast(&o->landed);
	pthread_mutex_unlock(&o->lock);
	if (r == 0)
		*ret = value;
	return r;
}

static int
expect(void *arg, struct object_expect *ret)
{
	struct fetch *f = arg;
	struct object_want w = {.id = f->want->manifest};
	void *m;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = get_until(f->o, &w, f->flags, f->deadline, &m);
	/* A snapshot without a good manifest can still be read, unchecked. */
	if (r == -EBADMSG || r == -ENOENT || r == -ENOKEY)
		return 0;
	if (r < 0)
		return r;
	object_expect_from(m, f->want->name, ret);
	object_unref(OBJECT_MANIFEST, m);
	return 0;
}

int
objects_get(struct objects *o, const struct object_want *w, unsigned flags,
    void **ret)
{
	return get_until(o, w, flags, deadline_in(o->timeout_ms), ret);
}

struct prefetch {
	struct work work;		/* first */
	struct objects *o;		/* borrowed */
	struct object_want want;
};

static void
prefetch_run(struct work *w)
{
	struct prefetch *p = (struct prefetch *)w;
	void *value;

	/* Who asks for it will be told what is wrong. */
	if (objects_get(p->o, &p->want, 0, &value) == 0)
		object_unref(p->want.id.kind, value);
	free(p);
}

void
objects_prefetch(struct objects *o, const struct object_want *w)
{
	struct prefetch *p;
	struct object *x;
	bool known;

	pthread_mutex_lock(&o->lock);
	x = find(o, &w->id);
	known = o->shutdown || (x != NULL && x->state != IDLE);
	pthread_mutex_unlock(&o->lock);
	if (known || workq_waiting(o->prefetchers) >= PREFETCH_WAITING_MAX)
		return;
	p = malloc(sizeof(*p));
	if (p == NULL)
		return;
	p->work.fn = prefetch_run;
	p->o = o;
	p->want = *w;
	if (workq_add(o->prefetchers, &p->work) < 0)
		free(p);
}

void
objects_shutdown(struct objects *o)
{
	LOCK(&o->lock);
	o->shutdown = true;
	pthread_cond_broadcast(&o->landed);
}

void
objects_free(struct objects *o)
{
	struct object *x;
	size_t i;

	if (o == NULL)
		return;
	objects_shutdown(o);
	workq_free(o->prefetchers);
	for (i = 0; i < BUCKETS; i++)
		while ((x = LIST_FIRST(&o->buckets[i])) != NULL)
			forget(x);
	pthread_cond_destroy(&o->landed);
	pthread_mutex_destroy(&o->lock);
	free(o);
}
