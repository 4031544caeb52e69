/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/chunks.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/lock.h"
#include "base/num.h"
#include "base/workq.h"
#include "pbs/blob.h"
#include "pbs/names.h"
#include "repo/chunk_map.h"
#include "repo/damage.h"
#include "store/store.h"

#define MEMORY_DEFAULT (256 * MIB)
#define FETCHERS_DEFAULT 16
#define TIMEOUT_DEFAULT_MS 60000
#define FAILED_MS 5000		/* for how long a bad chunk is remembered */
#define FAILED_MAX 4096		/* how many of them */
#define OVERHEAD 256		/* of a chunk in memory beside its bytes */
#define ZERO_LEN ((uint32_t)(4 * MIB))

/*
 * What is known of a chunk.  From the first request until the store has
 * answered it is a flight: it waits for room, waits for a thread, or a thread
 * works on it.  Whoever asks meanwhile joins.  Then it is kept as ready, as
 * failed, or not at all.
 */
enum state { WAIT_ROOM, QUEUED, RUNNING, READY, FAILED };

struct entry {
	struct chunk_node node;		/* first */
	enum state state;
	bool prefetch;			/* nobody has asked for it yet */
	bool fresh;			/* flight: pass the caches by */
	struct pool *pool;		/* QUEUED: where */
	deadline_t deadline;		/* flight: of the last who asked */
	/* Of the room queue, a pool's queue, the LRU or the failed ones. */
	TAILQ_ENTRY(entry) link;
	TAILQ_ENTRY(entry) flight;	/* flight: of chunks.flights */
	struct chunk_request *first;	/* flight: who waits, oldest first */
	struct chunk_request **last;
	struct buf *b;			/* READY: owned */
	int err;			/* FAILED */
	deadline_t until;		/* FAILED: forget it then */
};
TAILQ_HEAD(entries, entry);

/* Threads, and the flights that wait for one. */
struct pool {
	struct chunks *c;		/* borrowed */
	struct workq *q;		/* owned */
	struct entries wanted, ahead;	/* asked for; only prefetched */
	void (*run)(struct chunks *c, struct entry *e, deadline_t deadline);
};

struct chunks {
	struct store *store;		/* borrowed */
	struct damage *damage;		/* borrowed */
	unsigned timeout_ms;
	uint64_t limit;
	struct pool local, remote;
	struct workq *timer;		/* owned: one job, timer_run */
	struct work timer_work;

	pthread_mutex_t lock;		/* guards all below and the pools */
	pthread_cond_t timer_wake;
	deadline_t timer_next;		/* 0: it sleeps until it is woken */
	bool shutdown;
	struct chunk_map map;
	struct entries flights;		/* all that are none of the next two */
	struct entries lru;		/* READY; the least recently used first */
	struct entries failed;		/* FAILED; the oldest first */
	struct entries room;		/* WAIT_ROOM, in order */
	unsigned n_running;		/* flights that have room */
	unsigned n_failed;
	uint64_t cached;		/* bytes of READY */
	uint64_t inflight;		/* bytes reserved for flights with room */
	uint64_t unused;		/* of cached: prefetched, never asked for */
	struct buf *zeros;		/* owned; NULL until it is needed */
	struct chunks_stats stats;
};

/* A unit of a pool's work: "take the next flight". */
struct token {
	struct work work;		/* first */
	struct pool *pool;
};

/* Requests to be answered once the lock is released. */
struct answers {
	struct chunk_request *first;
	struct chunk_request **last;
};

static void
answers_init(struct answers *a)
{
	a->first = NULL;
	a->last = &a->first;
}

static void
answer(struct answers *a, struct chunk_request *req, int err, struct buf *b)
{
	req->err = err;
	req->b = b == NULL ? NULL : buf_ref(b);
	req->next = NULL;
	*a->last = req;
	a->last = &req->next;
}

/* Without the lock. */
static void
answers_send(struct answers *a)
{
	struct chunk_request *req;
	struct buf *b;

	while ((req = a->first) != NULL) {
		/* After done() it belongs to its owner. */
		a->first = req->next;
		b = req->b;
		req->done(req, req->err, b);
		buf_unref(b);
	}
}

/* All that wait for the flight. */
static void
answer_flight(struct answers *a, struct entry *e, int err, struct buf *b)
{
	struct chunk_request *req;

	while ((req = e->first) != NULL) {
		e->first = req->next;
		answer(a, req, err, b);
	}
	e->last = &e->first;
}

static uint64_t
cost(const struct entry *e)
{
	return (uint64_t)e->node.id.size + OVERHEAD;
}

bool
chunk_is_zero(const struct chunk_id *id)
{
	static const struct digest zero = {{
	    0xbb, 0x9f, 0x8d, 0xf6, 0x14, 0x74, 0xd2, 0x5e,
	    0x71, 0xfa, 0x00, 0x72, 0x23, 0x18, 0xcd, 0x38,
	    0x73, 0x96, 0xca, 0x17, 0x36, 0x60, 0x5e, 0x12,
	    0x48, 0x82, 0x1c, 0xc0, 0xde, 0x3d, 0x3a, 0xf8,
	}};

	return id->size == ZERO_LEN && digest_eq(&id->digest, &zero);
}

static struct buf *
zeros(struct chunks *c)
{
	if (c->zeros == NULL) {
		c->zeros = buf_new(ZERO_LEN);
		if (c->zeros != NULL)
			memset(c->zeros->data, 0, ZERO_LEN);
	}
	return c->zeros;
}

static struct entry *
find(struct chunks *c, const struct chunk_id *id)
{
	return (struct entry *)chunk_map_find(&c->map, id);
}

/* An entry that is in no queue any more. */
static void
forget(struct chunks *c, struct entry *e)
{
	assert(e->first == NULL);
	chunk_map_remove(&c->map, &e->node);
	buf_unref(e->b);
	free(e);
}

static void
evict(struct chunks *c, struct entry *e)
{
	TAILQ_REMOVE(&c->lru, e, link);
	c->cached -= cost(e);
	if (e->prefetch)
		c->unused -= cost(e);
	forget(c, e);
}

static void
forget_failed(struct chunks *c, struct entry *e)
{
	TAILQ_REMOVE(&c->failed, e, link);
	c->n_failed--;
	forget(c, e);
}

static void
trim_failed(struct chunks *c)
{
	struct entry *e;

	while ((e = TAILQ_FIRST(&c->failed)) != NULL &&
	    (c->n_failed > FAILED_MAX || deadline_left(e->until) == 0))
		forget_failed(c, e);
}

static bool
fits(struct chunks *c, uint64_t bytes)
{
	return bytes <= c->limit && c->inflight <= c->limit - bytes &&
	    c->cached <= c->limit - bytes - c->inflight;
}

/* True if bytes more may be in flight; drops what has not been used for
 * longest.  One flight is always allowed, or a chunk that is larger than the
 * limit could never be read. */
static bool
make_room(struct chunks *c, uint64_t bytes)
{
	struct entry *e;

	while (!fits(c, bytes)) {
		e = TAILQ_FIRST(&c->lru);
		if (e == NULL)
			return c->n_running == 0;
		evict(c, e);
	}
	return true;
}

static struct entry *
take_next(struct pool *p)
{
	struct entry *e;

	e = TAILQ_FIRST(&p->wanted);
	if (e != NULL) {
		TAILQ_REMOVE(&p->wanted, e, link);
		return e;
	}
	e = TAILQ_FIRST(&p->ahead);
	if (e != NULL)
		TAILQ_REMOVE(&p->ahead, e, link);
	return e;
}

static void finish(struct chunks *c, struct entry *e, int err, struct buf *b,
    deadline_t deadline);

/* There are at least as many tokens as flights in the queue, so one that finds
 * it empty belonged to a flight that nobody wanted any longer. */
static void
pool_work(struct work *w)
{
	struct token *t = (struct token *)w;
	struct pool *p = t->pool;
	struct entry *e;
	deadline_t deadline = 0;

	free(t);
	pthread_mutex_lock(&p->c->lock);
	e = take_next(p);
	if (e != NULL) {
		e->state = RUNNING;
		deadline = e->deadline;
	}
	pthread_mutex_unlock(&p->c->lock);
	if (e == NULL)
		return;
	if (deadline_left(deadline) == 0)
		finish(p->c, e, -ETIMEDOUT, NULL, deadline);
	else
		p->run(p->c, e, deadline);
}

static int
enqueue(struct pool *p, struct entry *e)
{
	struct token *t;
	int r;

	if (p->c->shutdown)
		return -ESHUTDOWN;
	t = malloc(sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	t->work.fn = pool_work;
	t->pool = p;
	r = workq_add(p->q, &t->work);
	if (r < 0) {
		free(t);
		return r;
	}
	e->state = QUEUED;
	e->pool = p;
	TAILQ_INSERT_TAIL(e->prefetch ? &p->ahead : &p->wanted, e, link);
	return 0;
}

/* The flight is over; e is in no queue. */
static void
land(struct chunks *c, struct entry *e)
{
	TAILQ_REMOVE(&c->flights, e, flight);
	if (e->state != WAIT_ROOM) {
		c->n_running--;
		c->inflight -= cost(e);
	}
}

static void
fail_flight(struct chunks *c, struct entry *e, int err, struct answers *a)
{
	answer_flight(a, e, err, NULL);
	land(c, e);
	forget(c, e);
}

static void
take_off(struct chunks *c, struct entry *e, struct answers *a)
{
	int r;

	c->n_running++;
	c->inflight += cost(e);
	e->state = QUEUED;
	r = enqueue(&c->local, e);
	if (r < 0)
		fail_flight(c, e, r, a);
}

/* Flights that waited for room, as far as there is some now. */
static void
admit(struct chunks *c, struct answers *a)
{
	struct entry *e;

	while ((e = TAILQ_FIRST(&c->room)) != NULL && make_room(c, cost(e))) {
		TAILQ_REMOVE(&c->room, e, link);
		take_off(c, e, a);
	}
}

/* A flight that no thread works on and nobody waits for. */
static void
cancel(struct chunks *c, struct entry *e, struct answers *a)
{
	if (e->state == WAIT_ROOM)
		TAILQ_REMOVE(&c->room, e, link);
	else
		TAILQ_REMOVE(e->prefetch ? &e->pool->ahead : &e->pool->wanted,
		    e, link);
	fail_flight(c, e, -ECANCELED, a);
}

static void
join(struct chunks *c, struct entry *e, struct chunk_request *req)
{
	if (e->prefetch) {
		/* Now it is wanted, and goes ahead of what is not. */
		if (e->state == QUEUED) {
			TAILQ_REMOVE(&e->pool->ahead, e, link);
			TAILQ_INSERT_TAIL(&e->pool->wanted, e, link);
		}
		e->prefetch = false;
	}
	req->next = NULL;
	*e->last = req;
	e->last = &req->next;
	e->deadline = req->deadline;
	if (c->timer_next == 0)
		pthread_cond_signal(&c->timer_wake);
}

static struct entry *
new_flight(struct chunks *c, const struct chunk_id *id, bool prefetch)
{
	struct entry *e;

	e = calloc(1, sizeof(*e));
	if (e == NULL)
		return NULL;
	e->node.id = *id;
	e->state = WAIT_ROOM;
	e->prefetch = prefetch;
	e->last = &e->first;
	chunk_map_add(&c->map, &e->node);
	TAILQ_INSERT_TAIL(&c->flights, e, flight);
	return e;
}

static void
touch(struct chunks *c, struct entry *e)
{
	TAILQ_REMOVE(&c->lru, e, link);
	TAILQ_INSERT_TAIL(&c->lru, e, link);
	if (e->prefetch) {
		e->prefetch = false;
		c->unused -= cost(e);
	}
}

/* What is known without a flight: 0 or an error, or -EAGAIN. */
static int
look(struct chunks *c, const struct chunk_id *id, struct entry **ret_e,
    struct buf **ret)
{
	struct entry *e;

	*ret_e = NULL;
	*ret = NULL;
	if (id->size == 0 || id->size > CHUNK_CONTENT_MAX)
		return -EBADMSG;
	if (chunk_is_zero(id)) {
		*ret = zeros(c);
		return *ret == NULL ? -ENOMEM : 0;
	}
	e = find(c, id);
	if (e != NULL && e->state == FAILED) {
		if (deadline_left(e->until) > 0)
			return e->err;
		forget_failed(c, e);
		e = NULL;
	}
	*ret_e = e;
	if (e == NULL || e->state != READY)
		return -EAGAIN;
	touch(c, e);
	c->stats.hits++;
	*ret = e->b;
	return 0;
}

static void
request(struct chunks *c, const struct chunk_id *id,
    struct chunk_request *req, struct answers *a)
{
	struct entry *e;
	struct buf *b;
	int r;

	r = look(c, id, &e, &b);
	if (r == -EAGAIN && c->shutdown)
		r = -ESHUTDOWN;
	if (r != -EAGAIN) {
		answer(a, req, r, b);
		return;
	}
	if (e != NULL) {
		c->stats.waits++;
		join(c, e, req);
		return;
	}
	e = new_flight(c, id, false);
	if (e == NULL) {
		answer(a, req, -ENOMEM, NULL);
		return;
	}
	join(c, e, req);
	TAILQ_INSERT_TAIL(&c->room, e, link);
	admit(c, a);
}

void
chunks_request(struct chunks *c, const struct chunk_id *id,
    struct chunk_request *req)
{
	struct answers a;

	answers_init(&a);
	req->deadline = deadline_in(c->timeout_ms);
	pthread_mutex_lock(&c->lock);
	request(c, id, req, &a);
	pthread_mutex_unlock(&c->lock);
	answers_send(&a);
}

int
chunks_try(struct chunks *c, const struct chunk_id *id, struct buf **ret)
{
	struct entry *e;
	struct buf *b;
	int r;

	LOCK(&c->lock);
	r = look(c, id, &e, &b);
	if (r == 0)
		*ret = buf_ref(b);
	return r;
}

/* chunks_get: a request that somebody sleeps on. */
struct waiter {
	struct chunk_request req;	/* first */
	pthread_mutex_t lock;		/* guards the rest */
	pthread_cond_t cond;
	bool done;
	int err;
	struct buf *b;
};

static void
waiter_done(struct chunk_request *req, int err, struct buf *b)
{
	struct waiter *w = (struct waiter *)req;

	/* Signalled under the lock: after that w may be gone. */
	LOCK(&w->lock);
	w->err = err;
	w->b = b == NULL ? NULL : buf_ref(b);
	w->done = true;
	pthread_cond_signal(&w->cond);
}

int
chunks_get(struct chunks *c, const struct chunk_id *id, struct buf **ret)
{
	struct waiter w = {.req.done = waiter_done};
	int r;

	r = chunks_try(c, id, ret);
	if (r != -EAGAIN)
		return r;
	pthread_mutex_init(&w.lock, NULL);
	r = cond_init(&w.cond);
	if (r < 0) {
		pthread_mutex_destroy(&w.lock);
		return r;
	}
	chunks_request(c, id, &w.req);
	pthread_mutex_lock(&w.lock);
	while (!w.done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	pthread_cond_destroy(&w.cond);
	pthread_mutex_destroy(&w.lock);
	if (w.err == 0)
		*ret = w.b;
	return w.err;
}

bool
chunks_prefetch(struct chunks *c, const struct chunk_id *id)
{
	struct answers a;
	struct entry *e;
	uint64_t bytes = (uint64_t)id->size + OVERHEAD;
	bool accepted = false;

	answers_init(&a);
	pthread_mutex_lock(&c->lock);
	e = find(c, id);
	if (e != NULL || chunk_is_zero(id)) {
		accepted = true;
	} else if (!c->shutdown && id->size > 0 &&
	    id->size <= CHUNK_CONTENT_MAX && TAILQ_EMPTY(&c->room) &&
	    /* Half is for what somebody waits for or has read. */
	    c->inflight + c->unused + bytes <= c->limit / 2 &&
	    make_room(c, bytes)) {
		e = new_flight(c, id, true);
		if (e != NULL) {
			e->deadline = deadline_in(c->timeout_ms);
			take_off(c, e, &a);
			accepted = true;
		}
	}
	pthread_mutex_unlock(&c->lock);
	answers_send(&a);
	return accepted;
}

/* What the store said for good is remembered; that it failed is not. */
static bool
is_final(int err)
{
	return err == -EBADMSG || err == -ENOENT || err == -ENOKEY;
}

/* Who joined late has time left when the time of the store's call is over: the
 * flight goes on for them.  False if it is over for all. */
static bool
go_on(struct chunks *c, struct entry *e, int err, deadline_t deadline,
    struct answers *a)
{
	struct chunk_request *req;

	if (err != -ETIMEDOUT || deadline_left(deadline) > c->timeout_ms / 8)
		return false;
	while ((req = e->first) != NULL && req->deadline <= deadline) {
		e->first = req->next;
		answer(a, req, err, NULL);
	}
	if (e->first == NULL) {
		e->last = &e->first;
		return false;
	}
	return enqueue(&c->remote, e) == 0;
}

/* The end of a flight that a thread worked on; takes b over. */
static void
finish(struct chunks *c, struct entry *e, int err, struct buf *b,
    deadline_t deadline)
{
	struct answers a;

	answers_init(&a);
	pthread_mutex_lock(&c->lock);
	if (err == 0) {
		answer_flight(&a, e, 0, b);
		land(c, e);
		e->state = READY;
		e->b = b;
		TAILQ_INSERT_TAIL(&c->lru, e, link);
		c->cached += cost(e);
		if (e->prefetch)
			c->unused += cost(e);
		c->stats.decoded++;
		if (!fits(c, 0))
			evict(c, e);
	} else if (is_final(err)) {
		answer_flight(&a, e, err, NULL);
		land(c, e);
		e->state = FAILED;
		e->err = err;
		e->until = deadline_in(FAILED_MS);
		TAILQ_INSERT_TAIL(&c->failed, e, link);
		c->n_failed++;
		trim_failed(c);
	} else if (!go_on(c, e, err, deadline, &a)) {
		fail_flight(c, e, err, &a);
	}
	admit(c, &a);
	pthread_mutex_unlock(&c->lock);
	answers_send(&a);
}

static void
hand_over(struct chunks *c, struct entry *e, deadline_t deadline)
{
	int r;

	pthread_mutex_lock(&c->lock);
	r = enqueue(&c->remote, e);
	pthread_mutex_unlock(&c->lock);
	if (r < 0)
		finish(c, e, r, NULL, deadline);
}

/* One answer of the store, checked and decoded.  -EBADMSG without raw content:
 * it is larger than any chunk. */
static int
fetch(struct chunks *c, const struct entry *e, const char *key,
    unsigned flags, deadline_t deadline, struct buf **ret_raw,
    struct buf **ret)
{
	const struct store_get how = {
	    .max = CHUNK_STORED_MAX, .flags = flags, .deadline = deadline};
	const struct chunk_id *id = &e->node.id;
	int r;

	*ret_raw = NULL;
	r = store_get(c->store, key, &how, ret_raw, NULL);
	if (r == 1)
		return -ENOENT;
	if (r == -EFBIG)
		return -EBADMSG;
	/* Throttled, and not "ask again without STORE_LOCAL". */
	if (r == -EAGAIN && !(flags & STORE_LOCAL))
		return -EIO;
	if (r < 0)
		return r;
	pthread_mutex_lock(&c->lock);
	c->stats.fetched++;
	pthread_mutex_unlock(&c->lock);
	return chunk_decode((*ret_raw)->data, (*ret_raw)->len, &id->digest,
	    id->size, ret);
}

static const char *
what_is_wrong(const struct buf *raw)
{
	enum blob_kind kind;

	if (raw == NULL)
		return "is larger than any chunk";
	if (raw->len == 0)
		return "is empty";
	if (blob_kind(raw->data, raw->len, &kind) < 0)
		return "has no valid header";
	if (blob_check(raw->data, raw->len) < 0)
		return "crc is wrong";
	return "content is not what its name or the index says";
}

static void
report(struct chunks *c, const struct entry *e, int err,
    const struct buf *raw)
{
	if (err == -ENOENT)
		damage_chunk(c->damage, &e->node.id.digest, "is missing");
	if (err == -EBADMSG) {
		damage_chunk(c->damage, &e->node.id.digest,
		    what_is_wrong(raw));
		LOCK(&c->lock);
		c->stats.damaged++;
	}
}

static void
run_local(struct chunks *c, struct entry *e, deadline_t deadline)
{
	_cleanup_(buf_unrefp) struct buf *raw = NULL;
	char key[KEY_CHUNK_LEN + 1];
	struct buf *b = NULL;
	int r;

	key_chunk(&e->node.id.digest, key);
	r = fetch(c, e, key, STORE_LOCAL, deadline, &raw, &b);
	if (r == -EBADMSG) {
		if (raw != NULL)
			store_verdict(c->store, key, raw, false);
		e->fresh = true;
	}
	if (r == -EAGAIN || r == -EBADMSG) {
		hand_over(c, e, deadline);
		return;
	}
	report(c, e, r, raw);
	finish(c, e, r, b, deadline);
	/* Who waited has it; a cache may take its time now. */
	if (r == 0)
		store_verdict(c->store, key, raw, true);
}

static void
run_remote(struct chunks *c, struct entry *e, deadline_t deadline)
{
	_cleanup_(buf_unrefp) struct buf *raw = NULL;
	char key[KEY_CHUNK_LEN + 1];
	bool again = !e->fresh;
	struct buf *b = NULL;
	int r;

	key_chunk(&e->node.id.digest, key);
	r = fetch(c, e, key, e->fresh ? STORE_FRESH : 0, deadline, &raw, &b);
	if (r == -EBADMSG && again) {
		if (raw != NULL)
			store_verdict(c->store, key, raw, false);
		buf_unref(steal(&raw));
		r = fetch(c, e, key, STORE_FRESH, deadline, &raw, &b);
	}
	report(c, e, r, raw);
	finish(c, e, r, b, deadline);
	if (raw != NULL && (r == 0 || r == -EBADMSG))
		store_verdict(c->store, key, raw, r == 0);
}

/* Tells those whose time is over, whatever the store does; the one job of its
 * thread.  All requests have the same time, so a later one never needs it
 * earlier than it would wake up anyway. */
static deadline_t
expire(struct chunks *c, struct answers *a)
{
	struct entry *e, *next_e;
	struct chunk_request *req;
	deadline_t next = 0;

	for (e = TAILQ_FIRST(&c->flights); e != NULL; e = next_e) {
		next_e = TAILQ_NEXT(e, flight);
		while ((req = e->first) != NULL &&
		    deadline_left(req->deadline) == 0) {
			e->first = req->next;
			answer(a, req, -ETIMEDOUT, NULL);
		}
		if (req != NULL) {
			if (next == 0 || req->deadline < next)
				next = req->deadline;
			continue;
		}
		e->last = &e->first;
		if (!e->prefetch && e->state != RUNNING)
			cancel(c, e, a);
	}
	trim_failed(c);
	admit(c, a);
	return next;
}

static void
timer_run(struct work *w)
{
	struct chunks *c = (struct chunks *)((char *)w -
	    offsetof(struct chunks, timer_work));
	struct answers a;

	pthread_mutex_lock(&c->lock);
	while (!c->shutdown) {
		answers_init(&a);
		c->timer_next = expire(c, &a);
		if (a.first == NULL) {
			cond_wait_until(&c->timer_wake, &c->lock,
			    c->timer_next);
			continue;
		}
		pthread_mutex_unlock(&c->lock);
		answers_send(&a);
		pthread_mutex_lock(&c->lock);
	}
	pthread_mutex_unlock(&c->lock);
}

static int
pool_init(struct pool *p, struct chunks *c, const char *name,
    unsigned threads, void (*run)(struct chunks *, struct entry *, deadline_t))
{
	p->c = c;
	p->run = run;
	TAILQ_INIT(&p->wanted);
	TAILQ_INIT(&p->ahead);
	return workq_new(name, threads, &p->q);
}

int
chunks_new(struct store *s, struct damage *damage,
    const struct chunks_opts *o, struct chunks **ret)
{
	static const struct chunks_opts none = {0};
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct chunks *c;
	int r;

	if (o == NULL)
		o = &none;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	c->store = s;
	c->damage = damage;
	c->limit = o->memory != 0 ? o->memory : MEMORY_DEFAULT;
	c->timeout_ms = o->timeout_ms != 0 ? o->timeout_ms :
	    TIMEOUT_DEFAULT_MS;
	TAILQ_INIT(&c->flights);
	TAILQ_INIT(&c->lru);
	TAILQ_INIT(&c->failed);
	TAILQ_INIT(&c->room);
	pthread_mutex_init(&c->lock, NULL);
	r = cond_init(&c->timer_wake);
	if (r < 0)
		goto err_lock;
	r = chunk_map_init(&c->map);
	if (r < 0)
		goto err_cond;
	r = pool_init(&c->local, c, "decode", o->decoders != 0 ? o->decoders :
	    cpus > 0 ? (unsigned)cpus : 1, run_local);
	if (r < 0)
		goto err_map;
	r = pool_init(&c->remote, c, "fetch", o->fetchers != 0 ? o->fetchers :
	    FETCHERS_DEFAULT, run_remote);
	if (r < 0)
		goto err_local;
	r = workq_new("deadline", 1, &c->timer);
	if (r < 0)
		goto err_remote;
	c->timer_work.fn = timer_run;
	r = workq_add(c->timer, &c->timer_work);
	if (r < 0)
		goto err_timer;
	*ret = c;
	return 0;

err_timer:
	workq_free(c->timer);
err_remote:
	workq_free(c->remote.q);
err_local:
	workq_free(c->local.q);
err_map:
	chunk_map_fini(&c->map);
err_cond:
	pthread_cond_destroy(&c->timer_wake);
err_lock:
	pthread_mutex_destroy(&c->lock);
	free(c);
	return r;
}

void
chunks_shutdown(struct chunks *c)
{
	struct entry *e, *next;
	struct answers a;

	answers_init(&a);
	pthread_mutex_lock(&c->lock);
	c->shutdown = true;
	for (e = TAILQ_FIRST(&c->flights); e != NULL; e = next) {
		next = TAILQ_NEXT(e, flight);
		answer_flight(&a, e, -ESHUTDOWN, NULL);
		if (e->state != RUNNING)
			cancel(c, e, &a);
	}
	pthread_cond_signal(&c->timer_wake);
	pthread_mutex_unlock(&c->lock);
	answers_send(&a);
}

void
chunks_free(struct chunks *c)
{
	struct entry *e;

	if (c == NULL)
		return;
	chunks_shutdown(c);
	/* The decoders feed the fetchers. */
	workq_free(c->local.q);
	workq_free(c->remote.q);
	workq_free(c->timer);
	assert(TAILQ_EMPTY(&c->flights));
	while ((e = TAILQ_FIRST(&c->lru)) != NULL)
		evict(c, e);
	while ((e = TAILQ_FIRST(&c->failed)) != NULL)
		forget_failed(c, e);
	chunk_map_fini(&c->map);
	buf_unref(c->zeros);
	pthread_cond_destroy(&c->timer_wake);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

void
chunks_stats(struct chunks *c, struct chunks_stats *ret)
{
	LOCK(&c->lock);
	*ret = c->stats;
	ret->memory = c->cached + c->inflight;
	ret->memory_limit = c->limit;
	ret->in_flight = c->n_running;
}
