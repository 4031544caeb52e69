/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/staging.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/statvfs.h>

#include "base/lock.h"
#include "base/num.h"

/* How long the free space of the file system is taken as known, and how often
 * one looks who waits for it. */
#define FREE_KNOWN_MS 50

struct waiter {
	TAILQ_ENTRY(waiter) link;
	pthread_cond_t turn;
};

struct staging {
	uint64_t limit, floor;
	pthread_mutex_t lock;	/* guards all below */
	uint64_t used;
	TAILQ_HEAD(, waiter) queue;	/* the first is served next */
	unsigned waiting;
	bool stop;

	/* Free bytes of the file system when last asked for, and what was
	 * reserved since. */
	uint64_t free, since;
	uint64_t free_at;	/* ms; 0: never */

	pthread_cond_t event;
	int level;		/* as staging_pressure told */
	uint64_t events, told;	/* rises of level and wakes; those that ended
				 * a wait */
};

int
staging_new(uint64_t limit, uint64_t floor, struct staging **ret)
{
	struct staging *s = calloc(1, sizeof(*s));
	int r;

	if (s == NULL)
		return -ENOMEM;
	r = -pthread_mutex_init(&s->lock, NULL);
	if (r < 0)
		goto err_staging;
	r = cond_init(&s->event);
	if (r < 0)
		goto err_lock;
	s->limit = limit;
	s->floor = floor;
	TAILQ_INIT(&s->queue);
	*ret = s;
	return 0;

err_lock:
	pthread_mutex_destroy(&s->lock);
err_staging:
	free(s);
	return r;
}

void
staging_free(struct staging *s)
{
	if (s == NULL)
		return;
	assert(TAILQ_EMPTY(&s->queue));
	pthread_cond_destroy(&s->event);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* What the file system can take above the floor. */
static uint64_t
above_floor(const struct staging *s)
{
	uint64_t taken;

	if (s->floor == 0 || s->free_at == 0)
		return UINT64_MAX;
	if (__builtin_add_overflow(s->floor, s->since, &taken))
		return 0;
	return s->free > taken ? s->free - taken : 0;
}

static uint64_t
below_limit(const struct staging *s)
{
	return s->limit > s->used ? s->limit - s->used : 0;
}

static int
level_of(const struct staging *s)
{
	uint64_t room = MIN(below_limit(s), above_floor(s));

	if (s->waiting > 0)
		return 2;
	/* Of all that there could be, seven eighths, or half. */
	if (room < s->used / 7)
		return 2;
	return room < s->used ? 1 : 0;
}

/* After any change. */
static void
tell(struct staging *s)
{
	int level = level_of(s);

	if (level > s->level) {
		s->events++;
		pthread_cond_broadcast(&s->event);
	}
	s->level = level;
}

static void
serve_next(struct staging *s)
{
	struct waiter *w = TAILQ_FIRST(&s->queue);

	if (w != NULL)
		pthread_cond_signal(&w->turn);
}

/* Lets go of the lock meanwhile. */
static int
ask_free(struct staging *s, int dir)
{
	uint64_t since = s->since;
	struct statvfs v;
	int r;

	pthread_mutex_unlock(&s->lock);
	r = fstatvfs(dir, &v) < 0 ? -errno : 0;
	pthread_mutex_lock(&s->lock);
	if (r < 0)
		return r;
	if (__builtin_mul_overflow((uint64_t)v.f_bavail, (uint64_t)v.f_frsize,
	        &s->free))
		s->free = UINT64_MAX;
	s->since -= MIN(s->since, since);
	s->free_at = MAX(clock_mono_ms(), 1);
	return 0;
}

static bool
free_is_known(const struct staging *s)
{
	return s->floor == 0 ||
	    (s->free_at != 0 && clock_mono_ms() - s->free_at < FREE_KNOWN_MS);
}

/* For the first of the queue: takes it: 0, or -EAGAIN, or what ends waiting. */
static int
take(struct staging *s, uint64_t bytes, int dir, bool *ret_by_floor)
{
	int r;

	*ret_by_floor = false;
	if (s->stop)
		return -ESHUTDOWN;
	if (bytes > below_limit(s))
		return -EAGAIN;
	if (!free_is_known(s)) {
		r = ask_free(s, dir);
		if (r < 0)
			return r;
		/* Much may have happened. */
		if (s->stop)
			return -ESHUTDOWN;
		if (bytes > below_limit(s))
			return -EAGAIN;
	}
	if (bytes > above_floor(s)) {
		*ret_by_floor = true;
		return s->used == 0 ? -ENOSPC : -EAGAIN;
	}
	s->used += bytes;
	s->since += bytes;
	return 0;
}

static int
wait_for_turn(struct staging *s, struct waiter *w, uint64_t bytes,
    deadline_t deadline, int dir)
{
	int r;

	for (;;) {
		bool by_floor = false;
		deadline_t until = deadline;

		r = s->stop ? -ESHUTDOWN : -EAGAIN;
		if (TAILQ_FIRST(&s->queue) == w)
			r = take(s, bytes, dir, &by_floor);
		if (r != -EAGAIN)
			return r;
		if (deadline_left(deadline) == 0)
			return -ENOSPC;
		/* Nobody tells when others make room on the disk. */
		if (by_floor)
			until = deadline_in(MIN(deadline_left(deadline),
			    FREE_KNOWN_MS));
		cond_wait_until(&w->turn, &s->lock, until);
	}
}

static int
reserve_later(struct staging *s, uint64_t bytes, deadline_t deadline, int dir)
{
	struct waiter w;
	int r;

	r = cond_init(&w.turn);
	if (r < 0)
		return r;
	TAILQ_INSERT_TAIL(&s->queue, &w, link);
	s->waiting++;
	tell(s);
	r = wait_for_turn(s, &w, bytes, deadline, dir);
	TAILQ_REMOVE(&s->queue, &w, link);
	s->waiting--;
	tell(s);
	serve_next(s);
	pthread_cond_destroy(&w.turn);
	return r;
}

int
staging_reserve(struct staging *s, uint64_t bytes, deadline_t deadline, int dir)
{
	int r = -EAGAIN;
	bool by_floor;

	if (bytes > s->limit)
		return -ENOSPC;
	LOCK(&s->lock);
	if (s->stop)
		return -ESHUTDOWN;
	if (bytes == 0)
		return 0;
	if (TAILQ_EMPTY(&s->queue))
		r = take(s, bytes, dir, &by_floor);
	if (r == 0)
		tell(s);
	if (r != -EAGAIN || deadline == 1)
		return r;
	return reserve_later(s, bytes, deadline, dir);
}

void
staging_release(struct staging *s, uint64_t bytes)
{
	LOCK(&s->lock);
	assert(bytes <= s->used);
	s->used -= bytes;
	s->since -= MIN(s->since, bytes);
	tell(s);
	serve_next(s);
}

void
staging_charge(struct staging *s, uint64_t bytes)
{
	LOCK(&s->lock);
	if (__builtin_add_overflow(s->used, bytes, &s->used))
		s->used = UINT64_MAX;
	tell(s);
}

int
staging_pressure(struct staging *s)
{
	LOCK(&s->lock);
	return s->level;
}

void
staging_wait(struct staging *s, unsigned ms)
{
	deadline_t until = deadline_in(ms);
	uint64_t told;

	LOCK(&s->lock);
	told = s->told;
	while (s->events == told && !s->stop)
		if (cond_wait_until(&s->event, &s->lock, until) < 0)
			break;
	s->told = s->events;
}

void
staging_wake(struct staging *s)
{
	LOCK(&s->lock);
	s->events++;
	pthread_cond_broadcast(&s->event);
}

void
staging_shutdown(struct staging *s)
{
	struct waiter *w;

	LOCK(&s->lock);
	s->stop = true;
	TAILQ_FOREACH(w, &s->queue, link)
		pthread_cond_signal(&w->turn);
	pthread_cond_broadcast(&s->event);
}

void
staging_stats(struct staging *s, struct staging_stats *ret)
{
	LOCK(&s->lock);
	ret->used = s->used;
	ret->limit = s->limit;
	ret->waiting = s->waiting;
}
