/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/chunks.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/lock.h"
#include "base/num.h"
#include "base/workq.h"
#include "pbs/blob.h"
#include "repo/chunk_fetch.h"
#include "repo/chunk_memory.h"
#include "repo/chunk_pool.h"
#include "store/store.h"

#define MEMORY_DEFAULT (256 * MIB)
#define FETCHERS_DEFAULT 16
#define TIMEOUT_DEFAULT_MS 60000

struct chunks {
	struct store *store;		/* borrowed */
	struct damage *damage;		/* borrowed */
	unsigned timeout_ms;
	struct workq *timer;		/* owned: one job, timer_run */
	struct work timer_work;

	pthread_mutex_t lock;		/* guards all below */
	pthread_cond_t timer_wake;
	deadline_t timer_next;		/* 0: it sleeps until it is woken */
	bool shutdown;
	struct chunk_memory memory;
	struct chunk_pool local, remote;
	struct chunk_entries flights;	/* all of them, the oldest first */
	struct chunk_entries room;	/* WAIT_ROOM, in order */
	struct chunks_stats stats;
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

/* Those who wait for the flight and whose time ends by then; all if it is
 * UINT64_MAX. */
static void
answer_flight(struct answers *a, struct chunk_entry *e, int err,
    struct buf *b, deadline_t by)
{
	struct chunk_request *req;

	while ((req = e->first) != NULL && req->deadline <= by) {
		e->first = req->next;
		answer(a, req, err, b);
	}
	if (req == NULL)
		e->last = &e->first;
}

/* The flight is over; e is in no queue. */
static void
land(struct chunks *c, struct chunk_entry *e)
{
	TAILQ_REMOVE(&c->flights, e, flight);
	if (e->has_room)
		chunk_memory_release(&c->memory, chunk_cost(&e->node.id));
}

static void
fail_flight(struct chunks *c, struct chunk_entry *e, int err,
    struct answers *a)
{
	answer_flight(a, e, err, NULL, UINT64_MAX);
	land(c, e);
	chunk_memory_forget(&c->memory, e);
}

static int
enqueue(struct chunks *c, struct chunk_pool *p, struct chunk_entry *e)
{
	return c->shutdown ? -ESHUTDOWN : chunk_pool_add(p, e);
}

/* Into the queue of p; e is in none. */
static void
send_to(struct chunks *c, struct chunk_pool *p, struct chunk_entry *e,
    struct answers *a)
{
	int r;

	r = enqueue(c, p, e);
	if (r < 0)
		fail_flight(c, e, r, a);
}

/* Flights that waited for room, as far as there is some now. */
static void
admit(struct chunks *c, struct answers *a)
{
	struct chunk_entry *e;

	while ((e = TAILQ_FIRST(&c->room)) != NULL &&
	    chunk_memory_reserve(&c->memory, chunk_cost(&e->node.id))) {
		TAILQ_REMOVE(&c->room, e, link);
		e->has_room = true;
		send_to(c, &c->remote, e, a);
	}
}

/* A flight that no thread works on and nobody waits for. */
static void
cancel(struct chunks *c, struct chunk_entry *e, struct answers *a)
{
	if (e->state == CHUNK_WAIT_ROOM)
		TAILQ_REMOVE(&c->room, e, link);
	else
		chunk_pool_remove(e);
	fail_flight(c, e, -ECANCELED, a);
}

static void
join(struct chunks *c, struct chunk_entry *e, struct chunk_request *req)
{
	if (e->prefetch && e->state == CHUNK_QUEUED)
		chunk_pool_promote(e);
	e->prefetch = false;
	req->next = NULL;
	*e->last = req;
	e->last = &req->next;
	e->deadline = req->deadline;
	if (c->timer_next == 0)
		pthread_cond_signal(&c->timer_wake);
}

static struct chunk_entry *
new_flight(struct chunks *c, const struct chunk_id *id)
{
	struct chunk_entry *e = chunk_memory_add(&c->memory, id);

	if (e != NULL)
		TAILQ_INSERT_TAIL(&c->flights, e, flight);
	return e;
}

static void
request(struct chunks *c, const struct chunk_id *id,
    struct chunk_request *req, struct answers *a)
{
	struct chunk_entry *e;
	struct buf *b;
	int r;

	r = chunk_memory_look(&c->memory, id, &e, &b);
	if (r == 0)
		c->stats.hits++;
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
	e = new_flight(c, id);
	if (e == NULL) {
		answer(a, req, -ENOMEM, NULL);
		return;
	}
	join(c, e, req);
	send_to(c, &c->local, e, a);
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
	struct chunk_entry *e;
	struct buf *b;
	int r;

	LOCK(&c->lock);
	r = chunk_memory_look(&c->memory, id, &e, &b);
	if (r == 0) {
		c->stats.hits++;
		*ret = buf_ref(b);
	}
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
	r = cond_init(&w.cond);
	if (r < 0)
		return r;
	pthread_mutex_init(&w.lock, NULL);
	chunks_request(c, id, &w.req);
	pthread_mutex_lock(&w.lock);
	while (!w.done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	pthread_mutex_destroy(&w.lock);
	pthread_cond_destroy(&w.cond);
	if (w.err == 0)
		*ret = w.b;
	return w.err;
}

static bool
prefetch(struct chunks *c, const struct chunk_id *id, struct answers *a)
{
	struct chunk_entry *e;

	if (id->size == 0 || id->size > CHUNK_CONTENT_MAX)
		return false;
	if (chunk_memory_has(&c->memory, id))
		return true;
	if (c->shutdown || !TAILQ_EMPTY(&c->room) ||
	    !chunk_memory_reserve_ahead(&c->memory, chunk_cost(id)))
		return false;
	e = new_flight(c, id);
	if (e == NULL) {
		chunk_memory_release(&c->memory, chunk_cost(id));
		return false;
	}
	e->prefetch = true;
	e->has_room = true;
	e->deadline = deadline_in(c->timeout_ms);
	send_to(c, &c->local, e, a);
	return true;
}

bool
chunks_prefetch(struct chunks *c, const struct chunk_id *id)
{
	struct answers a;
	bool accepted;

	answers_init(&a);
	pthread_mutex_lock(&c->lock);
	accepted = prefetch(c, id, &a);
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
go_on(struct chunks *c, struct chunk_entry *e, int err, deadline_t deadline,
    struct answers *a)
{
	if (err != -ETIMEDOUT || deadline_left(deadline) > c->timeout_ms / 8)
		return false;
	answer_flight(a, e, err, NULL, deadline);
	return e->first != NULL && enqueue(c, &c->remote, e) == 0;
}

/* The end of a flight that a thread worked on; takes b over. */
static void
finish(struct chunks *c, struct chunk_entry *e, int err, struct buf *b,
    deadline_t deadline)
{
	struct answers a;

	answers_init(&a);
	pthread_mutex_lock(&c->lock);
	if (err == 0) {
		c->stats.decoded++;
		answer_flight(&a, e, 0, b, UINT64_MAX);
		land(c, e);
		chunk_memory_keep(&c->memory, e, b);
	} else if (is_final(err)) {
		c->stats.damaged += err == -EBADMSG;
		answer_flight(&a, e, err, NULL, UINT64_MAX);
		land(c, e);
		chunk_memory_fail(&c->memory, e, err);
	} else if (!go_on(c, e, err, deadline, &a)) {
		fail_flight(c, e, err, &a);
	}
	admit(c, &a);
	pthread_mutex_unlock(&c->lock);
	answers_send(&a);
}

static int
fetch(struct chunks *c, struct chunk_fetch *f, unsigned flags,
    struct buf **ret)
{
	int r;

	f->flags = flags;
	r = chunk_fetch(f, ret);
	if (f->raw != NULL) {
		LOCK(&c->lock);
		c->stats.fetched++;
	}
	return r;
}

static void
conclude(struct chunks *c, struct chunk_fetch *f, struct chunk_entry *e,
    int err, struct buf *b)
{
	chunk_fetch_report(f, err);
	finish(c, e, err, b, f->deadline);
	/* Who waited has it; a cache may take its time now. */
	chunk_fetch_end(f, err == 0);
}

static void
run_remote(void *arg, struct chunk_entry *e, deadline_t deadline)
{
	struct chunks *c = arg;
	struct chunk_fetch f = {
	    .store = c->store,
	    .damage = c->damage,
	    .id = e->node.id,
	    .deadline = deadline,
	};
	struct buf *b = NULL;
	int r = -EBADMSG;

	if (deadline_left(deadline) == 0) {
		finish(c, e, -ETIMEDOUT, NULL, deadline);
		return;
	}
	if (!e->fresh)
		r = fetch(c, &f, 0, &b);
	if (r == -EBADMSG)
		r = fetch(c, &f, STORE_FRESH, &b);
	conclude(c, &f, e, r, b);
}

/* What is not at hand has to be fetched.  Flights that the network holds up
 * fill the memory, so only now it needs room. */
static void
go_far(struct chunks *c, struct chunk_entry *e)
{
	struct answers a;

	answers_init(&a);
	pthread_mutex_lock(&c->lock);
	if (c->shutdown) {
		fail_flight(c, e, -ESHUTDOWN, &a);
	} else if (e->has_room) {
		send_to(c, &c->remote, e, &a);
	} else {
		e->state = CHUNK_WAIT_ROOM;
		TAILQ_INSERT_TAIL(&c->room, e, link);
	}
	admit(c, &a);
	pthread_mutex_unlock(&c->lock);
	answers_send(&a);
}

static void
run_local(void *arg, struct chunk_entry *e, deadline_t deadline)
{
	struct chunks *c = arg;
	struct chunk_fetch f = {
	    .store = c->store,
	    .damage = c->damage,
	    .id = e->node.id,
	    .deadline = deadline,
	};
	struct buf *b = NULL;
	int r;

	r = fetch(c, &f, STORE_LOCAL, &b);
	if (r != -EAGAIN && r != -EBADMSG) {
		conclude(c, &f, e, r, b);
		return;
	}
	chunk_fetch_end(&f, false);
	e->fresh = r == -EBADMSG;
	go_far(c, e);
}

/* Tells those whose time is over, whatever the store does.  All requests have
 * the same time, so a new one never needs it earlier than it would look again
 * anyway. */
static deadline_t
expire(struct chunks *c, struct answers *a)
{
	struct chunk_entry *e, *next_e;
	deadline_t next = 0, now = clock_mono_ms();

	for (e = TAILQ_FIRST(&c->flights); e != NULL; e = next_e) {
		next_e = TAILQ_NEXT(e, flight);
		answer_flight(a, e, -ETIMEDOUT, NULL, now);
		if (e->first != NULL) {
			if (next == 0 || e->first->deadline < next)
				next = e->first->deadline;
		} else if (!e->prefetch && e->state != CHUNK_RUNNING) {
			cancel(c, e, a);
		}
	}
	admit(c, a);
	return next;
}

/* The one job of its thread. */
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

int
chunks_new(struct store *s, struct damage *damage,
    const struct chunks_opts *o, struct chunks **ret)
{
	static const struct chunks_opts none = {0};
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned decoders;
	struct chunks *c;
	int r;

	if (o == NULL)
		o = &none;
	decoders = o->decoders != 0 ? o->decoders :
	    cpus > 0 ? (unsigned)cpus : 1;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	c->store = s;
	c->damage = damage;
	c->timeout_ms = o->timeout_ms != 0 ? o->timeout_ms :
	    TIMEOUT_DEFAULT_MS;
	TAILQ_INIT(&c->flights);
	TAILQ_INIT(&c->room);
	c->local.run = run_local;
	c->remote.run = run_remote;
	c->local.arg = c->remote.arg = c;
	c->timer_work.fn = timer_run;
	pthread_mutex_init(&c->lock, NULL);
	r = cond_init(&c->timer_wake);
	if (r < 0)
		goto err_lock;
	r = chunk_memory_init(&c->memory, o->memory != 0 ? o->memory :
	    MEMORY_DEFAULT);
	if (r < 0)
		goto err_cond;
	r = chunk_pool_init(&c->local, "decode", decoders, &c->lock);
	if (r < 0)
		goto err_memory;
	r = chunk_pool_init(&c->remote, "fetch", o->fetchers != 0 ?
	    o->fetchers : FETCHERS_DEFAULT, &c->lock);
	if (r < 0)
		goto err_local;
	r = workq_new("deadline", 1, &c->timer);
	if (r < 0)
		goto err_remote;
	r = workq_add(c->timer, &c->timer_work);
	if (r < 0)
		goto err_timer;
	*ret = c;
	return 0;

err_timer:
	workq_free(c->timer);
err_remote:
	chunk_pool_fini(&c->remote);
err_local:
	chunk_pool_fini(&c->local);
err_memory:
	chunk_memory_fini(&c->memory);
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
	struct chunk_entry *e, *next;
	struct answers a;

	answers_init(&a);
	pthread_mutex_lock(&c->lock);
	c->shutdown = true;
	for (e = TAILQ_FIRST(&c->flights); e != NULL; e = next) {
		next = TAILQ_NEXT(e, flight);
		answer_flight(&a, e, -ESHUTDOWN, NULL, UINT64_MAX);
		if (e->state != CHUNK_RUNNING)
			cancel(c, e, &a);
	}
	pthread_cond_signal(&c->timer_wake);
	pthread_mutex_unlock(&c->lock);
	answers_send(&a);
}

void
chunks_free(struct chunks *c)
{
	if (c == NULL)
		return;
	chunks_shutdown(c);
	/* The decoders feed the fetchers. */
	chunk_pool_fini(&c->local);
	chunk_pool_fini(&c->remote);
	workq_free(c->timer);
	assert(TAILQ_EMPTY(&c->flights));
	chunk_memory_fini(&c->memory);
	pthread_cond_destroy(&c->timer_wake);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

void
chunks_back(struct chunks *c, const struct chunk_id *id)
{
	LOCK(&c->lock);
	chunk_memory_pardon(&c->memory, id);
}

void
chunks_stats(struct chunks *c, struct chunks_stats *ret)
{
	LOCK(&c->lock);
	*ret = c->stats;
	ret->memory = c->memory.cached + c->memory.inflight;
	ret->memory_limit = c->memory.limit;
	ret->in_flight = c->memory.n_flights;
}
