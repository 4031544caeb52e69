/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "slow_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/lock.h"
#include "base/num.h"
#include "base/str.h"
#include "store/backends.h"

#include "../cm.h"

static int
take_error(struct slow_store *s)
{
	if (s->error_count == 0)
		return 0;
	s->error_count--;
	return s->error;
}

static bool
may_pass(const struct slow_store *s, const char *key)
{
	return key != NULL && s->pass != NULL && strstr(key, s->pass) != NULL;
}

/* key: NULL for a listing. */
static int
wait_if_held(struct slow_store *s, const bool *hold, const char *key,
    deadline_t deadline)
{
	while (*hold && !s->down && !may_pass(s, key))
		if (cond_wait_until(&s->change, &s->lock, deadline) < 0)
			return -ETIMEDOUT;
	return s->down ? -ESHUTDOWN : 0;
}

static int
slow_get(struct store *st, const char *key, const struct store_get *how,
    struct buf **ret, struct store_object *ret_obj)
{
	struct slow_store *s = (struct slow_store *)st;
	bool flip, mine;
	struct buf *b;
	int r;

	LOCK(&s->lock);
	if ((how->flags & STORE_LOCAL) && !s->local) {
		s->looks++;
		pthread_cond_broadcast(&s->change);
		return -EAGAIN;
	}
	if (s->gets < ARRAY_SIZE(s->log))
		snprintf(s->log[s->gets], sizeof(s->log[0]), "%s", key);
	s->gets++;
	s->fresh += (how->flags & STORE_FRESH) != 0;
	s->now++;
	s->most = s->now > s->most ? s->now : s->most;
	pthread_cond_broadcast(&s->change);
	mine = s->only == NULL || strstr(key, s->only) != NULL;
	r = mine ? wait_if_held(s, &s->hold, key, how->deadline) : 0;
	s->now--;
	if (r == 0 && mine)
		r = take_error(s);
	if (r == 0 && (how->flags & STORE_FRESH))
		r = s->fresh_error;
	if (r < 0)
		return r;
	r = store_get(s->s.below, key, how, ret, ret_obj);
	if (r != 0)
		return r;
	flip = mine && s->flip_count > 0 &&
	    (s->flip_fresh || !(how->flags & STORE_FRESH));
	if (flip && (*ret)->len > 0) {
		s->flip_count--;
		b = buf_copy((*ret)->data, (*ret)->len);
		assert_non_null(b);
		b->data[b->len - 1] ^= 1;
		buf_unref(*ret);
		*ret = b;
	}
	return 0;
}

static unsigned
percent(struct slow_store *s)
{
	s->chance = s->chance * 1664525u + 1013904223u;
	return (s->chance >> 16) % 100;
}

static int
slow_put(struct store *st, const char *key, const void *p, size_t len,
    const struct store_put *how, struct store_object *ret_obj)
{
	struct slow_store *s = (struct slow_store *)st;
	bool lost = false;
	int r;

	LOCK(&s->lock);
	s->puts++;
	s->lazy += how->lazy;
	s->put_now++;
	s->put_most = MAX(s->put_most, s->put_now);
	pthread_cond_broadcast(&s->change);
	r = wait_if_held(s, &s->hold_put, NULL, how->deadline);
	s->put_now--;
	if (r == 0 && s->put_error_count > 0) {
		s->put_error_count--;
		r = s->put_error;
	}
	if (r == 0 && s->put_percent > 0 && percent(s) < s->put_percent) {
		lost = percent(s) < 50;
		r = lost ? 0 : -EIO;
	}
	if (r == 0)
		r = store_put(s->s.below, key, p, len, how, ret_obj);
	if (r == 0) {
		s->put_done++;
		s->put_bytes += len;
	}
	return lost ? -EIO : r;
}

static int
slow_touch(struct store *st, const char *key)
{
	struct slow_store *s = (struct slow_store *)st;
	struct store_object o;

	LOCK(&s->lock);
	if (!s->touchable)
		return -EOPNOTSUPP;
	s->touches++;
	return store_stat(s->s.below, key, 0, &o);
}

static int
slow_stat(struct store *st, const char *key, deadline_t deadline,
    struct store_object *ret)
{
	struct slow_store *s = (struct slow_store *)st;

	LOCK(&s->lock);
	s->stats++;
	return store_stat(s->s.below, key, deadline, ret);
}

static int
slow_list(struct store *st, const char *prefix, const char *start_after,
    store_list_fn *fn, void *arg)
{
	struct slow_store *s = (struct slow_store *)st;
	int r;

	pthread_mutex_lock(&s->lock);
	s->lists++;
	pthread_cond_broadcast(&s->change);
	r = wait_if_held(s, &s->hang_list, NULL, deadline_in(10000));
	if (r == 0)
		r = take_error(s);
	pthread_mutex_unlock(&s->lock);
	return r < 0 ? r : store_list(s->s.below, prefix, start_after, fn, arg);
}

static void
slow_verdict(struct store *st, const char *key, struct buf *b, bool good)
{
	struct slow_store *s = (struct slow_store *)st;

	(void)key;
	assert_non_null(b);
	LOCK(&s->lock);
	if (good)
		s->good++;
	else
		s->bad++;
	pthread_cond_broadcast(&s->change);
}

static void
slow_shutdown(struct store *st)
{
	struct slow_store *s = (struct slow_store *)st;

	LOCK(&s->lock);
	s->down = true;
	pthread_cond_broadcast(&s->change);
}

static void
slow_free(struct store *st)
{
	struct slow_store *s = (struct slow_store *)st;

	pthread_cond_destroy(&s->change);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

struct slow_store *
slow_store_new(void)
{
	static const struct store_ops ops = {
	    .get = slow_get,
	    .put = slow_put,
	    .touch = slow_touch,
	    .stat = slow_stat,
	    .list = slow_list,
	    .verdict = slow_verdict,
	    .shutdown = slow_shutdown,
	    .free = slow_free,
	};
	struct slow_store *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->s.ops = &ops;
	s->s.name = "slow";
	assert_int_equal(store_mem_new(&s->s.below), 0);
	pthread_mutex_init(&s->lock, NULL);
	assert_int_equal(cond_init(&s->change), 0);
	return s;
}

void
slow_store_set(struct slow_store *s, bool *field, bool value)
{
	LOCK(&s->lock);
	*field = value;
	pthread_cond_broadcast(&s->change);
}

void
slow_store_fail(struct slow_store *s, int error, unsigned count)
{
	LOCK(&s->lock);
	s->error = error;
	s->error_count = count;
}

unsigned
slow_store_count(struct slow_store *s, const unsigned *field)
{
	LOCK(&s->lock);
	return *field;
}

void
slow_store_await(struct slow_store *s, const unsigned *field, unsigned n)
{
	deadline_t deadline = deadline_in(10000);

	LOCK(&s->lock);
	while (*field < n)
		if (cond_wait_until(&s->change, &s->lock, deadline) < 0)
			fail_msg("nothing came within 10 s");
}

void
slow_store_put(struct slow_store *s, const char *key, const void *p,
    size_t len)
{
	const struct store_put how = {0};

	assert_int_equal(store_put(s->s.below, key, p, len, &how, NULL), 0);
}
