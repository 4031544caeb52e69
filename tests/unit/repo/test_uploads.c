/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/uploads.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/lock.h"
#include "base/num.h"
#include "base/str.h"
#include "pbs/blob.h"
#include "pbs/enc_key.h"
#include "pbs/names.h"
#include "repo/known.h"
#include "samples.h"
#include "slow_store.h"
#include "store/backends.h"
#include "store/filters.h"

#include "../store/scratch.h"

#include "../cm.h"

#define CHUNK ((size_t)64 * 1024)

/* An upload that somebody waits for. */
struct waiter {
	struct upload up;	/* first */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
	int err;
};

static void
waiter_done(struct upload *up, int err)
{
	struct waiter *w = (struct waiter *)up;

	LOCK(&w->lock);
	assert_false(w->done);
	w->done = true;
	w->err = err;
	pthread_cond_signal(&w->cond);
}

static void
waiter_init(struct waiter *w)
{
	memset(w, 0, sizeof(*w));
	w->up.done = waiter_done;
	pthread_mutex_init(&w->lock, NULL);
	assert_int_equal(cond_init(&w->cond), 0);
}

/* Its outcome; the test fails if there is none within 20 s. */
static int
waiter_wait(struct waiter *w)
{
	deadline_t deadline = deadline_in(20000);
	LOCK(&w->lock);

	while (!w->done)
		if (cond_wait_until(&w->cond, &w->lock, deadline) < 0)
			fail_msg("nobody was told within 20 s");
	return w->err;
}

static bool
waiter_is_done(struct waiter *w)
{
	LOCK(&w->lock);
	return w->done;
}

static struct buf *
content(size_t len, uint32_t seed)
{
	struct buf *b = buf_new(len);

	assert_non_null(b);
	sample_bytes(b->data, len, seed);
	return b;
}

struct rig {
	struct slow_store *s;
	struct known *known;
	struct uploads *u;
};

static void
rig_open(struct rig *g, const struct uploads_opts *o)
{
	g->s = slow_store_new();
	assert_int_equal(known_new(NULL, "g", 1000, &g->known), 0);
	assert_int_equal(uploads_new(&g->s->s, g->known, o, &g->u), 0);
}

static void
rig_close(struct rig *g)
{
	uploads_free(g->u);
	known_free(g->known);
	store_free(&g->s->s);
}

static void
start(struct rig *g, struct waiter *w, size_t len, uint32_t seed)
{
	struct buf *b = content(len, seed);

	waiter_init(w);
	assert_int_equal(uploads_add(g->u, b, NULL, &w->up), 0);
	buf_unref(b);
}

static int
upload(struct rig *g, struct waiter *w, size_t len, uint32_t seed)
{
	start(g, w, len, seed);
	return waiter_wait(w);
}

static struct uploads_stats
stats(struct rig *g)
{
	struct uploads_stats st;

	uploads_stats(g->u, &st);
	return st;
}

/* The store has this content under this name. */
static void
must_hold(struct store *s, const struct digest *d, size_t len, uint32_t seed,
    const struct enc_key *key)
{
	const struct store_get how = {.max = CHUNK_STORED_MAX};
	struct buf *b = content(len, seed), *raw, *plain;
	char name[KEY_CHUNK_LEN + 1];

	key_chunk(d, name);
	assert_int_equal(store_get(s, name, &how, &raw, NULL), 0);
	assert_int_equal(chunk_decode_with(raw->data, raw->len, d, len, key,
	    &plain), 0);
	assert_memory_equal(plain->data, b->data, len);
	buf_unref(plain);
	buf_unref(raw);
	buf_unref(b);
}

static void
what_is_new_is_sent_once(void **state)
{
	struct uploads_stats st;
	struct waiter w;
	struct rig g;
	uint32_t stored;

	(void)state;
	rig_open(&g, NULL);
	assert_ptr_equal(uploads_known(g.u), g.known);
	assert_int_equal(upload(&g, &w, CHUNK, 1), 0);
	assert_false(w.up.duplicate);
	assert_true(w.up.stored > 12 && w.up.stored < CHUNK);
	stored = w.up.stored;
	must_hold(&g.s->s, &w.up.digest, CHUNK, 1, NULL);
	assert_true(known_has(g.known, &w.up.digest));
	assert_int_equal(upload(&g, &w, CHUNK, 1), 0);
	assert_true(w.up.duplicate);
	assert_int_equal(w.up.stored, 0);
	/* The store has it, and nobody has told us. */
	known_remove(g.known, &w.up.digest);
	assert_int_equal(upload(&g, &w, CHUNK, 1), 0);
	assert_true(w.up.duplicate);
	assert_true(known_has(g.known, &w.up.digest));
	assert_int_equal(upload(&g, &w, 1, 2), 0);
	assert_int_equal(w.up.stored, 13);

	assert_int_equal(g.s->puts, 3);
	assert_int_equal(g.s->put_done, 2);
	assert_int_equal(g.s->lazy, 3);
	assert_int_equal(g.s->put_bytes, stored + 13);
	assert_int_equal(g.s->gets, 1);
	assert_int_equal(g.s->stats, 0);
	/* A cache is told of what the store has from us, and of nothing else. */
	assert_int_equal(g.s->good, 2);
	assert_int_equal(g.s->bad, 0);
	st = stats(&g);
	assert_int_equal(st.chunks, 4);
	assert_int_equal(st.bytes, 3 * CHUNK + 1);
	assert_int_equal(st.puts, 2);
	assert_int_equal(st.put_bytes, stored + 13);
	assert_int_equal(st.duplicates, 2);
	assert_int_equal(st.failed, 0);
	assert_int_equal(st.in_flight, 0);
	assert_int_equal(st.memory, 0);
	assert_int_equal(st.memory_limit, 128 * MIB);
	rig_close(&g);
}

static void
no_chunk_has_that_size(void **state)
{
	struct buf *none = buf_new(0), *large = buf_new(CHUNK_CONTENT_MAX + 1);
	struct upload up = {0};
	struct rig g;

	(void)state;
	rig_open(&g, NULL);
	assert_int_equal(uploads_add(g.u, none, NULL, &up), -EINVAL);
	assert_int_equal(uploads_try(g.u, large, NULL, &up), -EINVAL);
	assert_int_equal(stats(&g).chunks, 0);
	rig_close(&g);
	buf_unref(none);
	buf_unref(large);
}

static void
encrypted_ones_have_names_of_their_own(void **state)
{
	const uint8_t raw[ENC_KEY_LEN] = {1, 2, 3};
	struct buf *b = content(CHUNK, 1);
	struct waiter plain, secret, again;
	struct enc_key *key;
	struct rig g;

	(void)state;
	assert_int_equal(enc_key_new(raw, &key), 0);
	rig_open(&g, NULL);
	assert_int_equal(upload(&g, &plain, CHUNK, 1), 0);
	waiter_init(&secret);
	assert_int_equal(uploads_add(g.u, b, key, &secret.up), 0);
	assert_int_equal(waiter_wait(&secret), 0);
	assert_false(secret.up.duplicate);
	assert_false(digest_eq(&plain.up.digest, &secret.up.digest));
	must_hold(&g.s->s, &secret.up.digest, CHUNK, 1, key);
	waiter_init(&again);
	assert_int_equal(uploads_add(g.u, b, key, &again.up), 0);
	assert_int_equal(waiter_wait(&again), 0);
	assert_true(again.up.duplicate);
	assert_int_equal(g.s->puts, 2);
	rig_close(&g);
	enc_key_unref(key);
	buf_unref(b);
}

static void
the_same_at_once_is_sent_once(void **state)
{
	struct waiter w[10];
	struct rig g;
	unsigned sent = 0;

	(void)state;
	rig_open(&g, NULL);
	slow_store_set(g.s, &g.s->hold_put, true);
	for (size_t i = 0; i < ARRAY_SIZE(w); i++)
		start(&g, &w[i], CHUNK, 7);
	slow_store_await(g.s, &g.s->puts, 1);
	/* All have joined when all but one have given their room back. */
	while (stats(&g).memory > CHUNK + 12 + 512)
		usleep(1000);
	assert_int_equal(stats(&g).in_flight, ARRAY_SIZE(w));
	for (size_t i = 0; i < ARRAY_SIZE(w); i++)
		assert_false(waiter_is_done(&w[i]));
	slow_store_set(g.s, &g.s->hold_put, false);
	for (size_t i = 0; i < ARRAY_SIZE(w); i++) {
		assert_int_equal(waiter_wait(&w[i]), 0);
		assert_true(digest_eq(&w[i].up.digest, &w[0].up.digest));
		sent += !w[i].up.duplicate;
		assert_int_equal(w[i].up.duplicate, w[i].up.stored == 0);
	}
	assert_int_equal(sent, 1);
	assert_int_equal(g.s->puts, 1);
	assert_int_equal(stats(&g).duplicates, ARRAY_SIZE(w) - 1);
	rig_close(&g);
}

static void
if_one_fails_all_are_told(void **state)
{
	struct waiter w[5], again;
	struct rig g;

	(void)state;
	rig_open(&g, NULL);
	slow_store_set(g.s, &g.s->hold_put, true);
	g.s->put_error = -EHOSTDOWN;
	g.s->put_error_count = 1;
	for (size_t i = 0; i < ARRAY_SIZE(w); i++)
		start(&g, &w[i], CHUNK, 7);
	while (stats(&g).memory > CHUNK + 12 + 512)
		usleep(1000);
	slow_store_set(g.s, &g.s->hold_put, false);
	for (size_t i = 0; i < ARRAY_SIZE(w); i++) {
		assert_int_equal(waiter_wait(&w[i]), -EHOSTDOWN);
		assert_false(known_has(g.known, &w[i].up.digest));
		assert_int_equal(w[i].up.stored, 0);
	}
	assert_int_equal(stats(&g).failed, ARRAY_SIZE(w));
	assert_int_equal(stats(&g).memory, 0);
	assert_int_equal(g.s->good, 0);
	assert_int_equal(upload(&g, &again, CHUNK, 7), 0);
	assert_false(again.up.duplicate);
	assert_int_equal(g.s->puts, 2);
	rig_close(&g);
}

/* "Throttled" must not look like "would have to wait". */
static void
throttled_to_the_end(void **state)
{
	struct waiter w;
	struct rig g;

	(void)state;
	rig_open(&g, NULL);
	g.s->put_error = -EAGAIN;
	g.s->put_error_count = 1;
	assert_int_equal(upload(&g, &w, CHUNK, 1), -ETIMEDOUT);
	rig_close(&g);
}

static void
a_put_has_its_time(void **state)
{
	const struct uploads_opts o = {.timeout_ms = 50};
	struct waiter w;
	struct rig g;

	(void)state;
	rig_open(&g, &o);
	slow_store_set(g.s, &g.s->hold_put, true);
	assert_int_equal(upload(&g, &w, CHUNK, 1), -ETIMEDOUT);
	rig_close(&g);
}

static void
memory_is_bounded(void **state)
{
	const uint64_t full = 2 * CHUNK + 44 + 512;
	const struct uploads_opts o = {
	    .memory = 3 * (2 * CHUNK + 44 + 512), .no_compress = true};
	struct waiter w[8], extra;
	struct buf *b;
	struct rig g;
	size_t n = 0;

	(void)state;
	rig_open(&g, &o);
	slow_store_set(g.s, &g.s->hold_put, true);
	for (; n < ARRAY_SIZE(w); n++) {
		int r;

		b = content(CHUNK, (uint32_t)n);
		waiter_init(&w[n]);
		r = uploads_try(g.u, b, NULL, &w[n].up);
		buf_unref(b);
		assert_true(stats(&g).memory <= o.memory);
		if (r == -EAGAIN) {
			/* What is packed needs half of it. */
			if (n >= 4)
				break;
			usleep(1000);
			n--;
			continue;
		}
		assert_int_equal(r, 0);
	}
	/* Each holds its encoded bytes, and the last one lacks a little. */
	assert_in_range(n, 4, 5);
	while (stats(&g).memory > n * (CHUNK + 12 + 512))
		usleep(1000);
	assert_true(stats(&g).memory + full > o.memory);
	assert_int_equal(stats(&g).in_flight, n);
	assert_int_equal(stats(&g).chunks, n);
	slow_store_set(g.s, &g.s->hold_put, false);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(waiter_wait(&w[i]), 0);
	/* One always goes, however large. */
	while (stats(&g).memory > 0)
		usleep(1000);
	b = content(16 * CHUNK, 99);
	waiter_init(&extra);
	assert_int_equal(uploads_try(g.u, b, NULL, &extra.up), 0);
	assert_int_equal(waiter_wait(&extra), 0);
	buf_unref(b);
	rig_close(&g);
}

struct adder {
	struct rig *g;
	struct waiter w;
	size_t len;
	uint32_t seed;
	int r;
};

static void *
add_one(void *arg)
{
	struct adder *a = arg;
	struct buf *b = content(a->len, a->seed);

	waiter_init(&a->w);
	a->r = uploads_add(a->g->u, b, NULL, &a->w.up);
	buf_unref(b);
	return NULL;
}

static void
who_adds_waits_for_room(void **state)
{
	const struct uploads_opts o = {.memory = 1};
	struct waiter first, other;
	struct adder a = {.len = CHUNK, .seed = 2};
	struct buf *b = content(10, 3);
	struct rig g;
	pthread_t t;

	(void)state;
	rig_open(&g, &o);
	a.g = &g;
	slow_store_set(g.s, &g.s->hold_put, true);
	start(&g, &first, CHUNK, 1);
	slow_store_await(g.s, &g.s->puts, 1);
	waiter_init(&other);
	assert_int_equal(uploads_try(g.u, b, NULL, &other.up), -EAGAIN);
	assert_int_equal(pthread_create(&t, NULL, add_one, &a), 0);
	usleep(20000);
	assert_int_equal(stats(&g).chunks, 1);
	slow_store_set(g.s, &g.s->hold_put, false);
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_int_equal(a.r, 0);
	assert_int_equal(waiter_wait(&first), 0);
	assert_int_equal(waiter_wait(&a.w), 0);
	assert_int_equal(g.s->put_most, 1);
	buf_unref(b);
	rig_close(&g);
}

struct series {
	struct rig *g;
	uint32_t seed;
	unsigned *going;	/* atomic */
};

static void *
add_series(void *arg)
{
	struct series *c = arg;
	struct waiter w[60];

	for (size_t n = 0; n < ARRAY_SIZE(w); n++)
		start(c->g, &w[n], CHUNK, c->seed + (uint32_t)n);
	__atomic_sub_fetch(c->going, 1, __ATOMIC_SEQ_CST);
	for (size_t n = 0; n < ARRAY_SIZE(w); n++)
		assert_int_equal(waiter_wait(&w[n]), 0);
	return NULL;
}

/* However many wait all the time. */
static void
who_tries_has_turns(void **state)
{
	const struct uploads_opts o = {.memory = 1};
	struct buf *b = content(10, 3);
	struct waiter w[10];
	struct series c[3];
	unsigned going = ARRAY_SIZE(c);
	pthread_t t[ARRAY_SIZE(c)];
	struct rig g;
	int r;

	(void)state;
	rig_open(&g, &o);
	for (size_t k = 0; k < ARRAY_SIZE(c); k++) {
		c[k] = (struct series){&g, (uint32_t)(1000 * (k + 1)), &going};
		assert_int_equal(pthread_create(&t[k], NULL, add_series, &c[k]),
		    0);
	}
	for (size_t n = 0; n < ARRAY_SIZE(w); n++) {
		waiter_init(&w[n]);
		while ((r = uploads_try(g.u, b, NULL, &w[n].up)) == -EAGAIN)
			usleep(1000);
		assert_int_equal(r, 0);
		assert_int_equal(waiter_wait(&w[n]), 0);
	}
	assert_true(__atomic_load_n(&going, __ATOMIC_SEQ_CST) > 0);
	for (size_t k = 0; k < ARRAY_SIZE(c); k++)
		assert_int_equal(pthread_join(t[k], NULL), 0);
	buf_unref(b);
	rig_close(&g);
}

static void
shutdown_ends_the_waiting(void **state)
{
	const struct uploads_opts o = {.memory = 1};
	struct adder a = {.len = CHUNK, .seed = 2};
	struct waiter first;
	struct upload late;
	struct buf *b = content(10, 3);
	struct rig g;
	pthread_t t;

	(void)state;
	rig_open(&g, &o);
	a.g = &g;
	slow_store_set(g.s, &g.s->hold_put, true);
	start(&g, &first, CHUNK, 1);
	slow_store_await(g.s, &g.s->puts, 1);
	assert_int_equal(pthread_create(&t, NULL, add_one, &a), 0);
	usleep(20000);
	store_shutdown(&g.s->s);
	uploads_shutdown(g.u);
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_int_equal(waiter_wait(&first), -ESHUTDOWN);
	/* It had its turn before, or not. */
	assert_true(a.r == -ESHUTDOWN || waiter_wait(&a.w) == -ESHUTDOWN);
	assert_int_equal(uploads_add(g.u, b, NULL, &late), -ESHUTDOWN);
	assert_int_equal(uploads_try(g.u, b, NULL, &late), -ESHUTDOWN);
	buf_unref(b);
	rig_close(&g);
}

/* Those that wait for a thread are told as well. */
static void
shutdown_reaches_the_queues(void **state)
{
	const struct uploads_opts o = {.putters = 1, .packers = 1};
	struct waiter w[6];
	struct rig g;

	(void)state;
	rig_open(&g, &o);
	slow_store_set(g.s, &g.s->hold_put, true);
	for (size_t i = 0; i < ARRAY_SIZE(w); i++)
		start(&g, &w[i], CHUNK, (uint32_t)i);
	slow_store_await(g.s, &g.s->puts, 1);
	store_shutdown(&g.s->s);
	uploads_shutdown(g.u);
	for (size_t i = 0; i < ARRAY_SIZE(w); i++)
		assert_int_equal(waiter_wait(&w[i]), -ESHUTDOWN);
	assert_int_equal(g.s->puts, 1);
	rig_close(&g);
}

static void
a_known_one_is_touched(void **state)
{
	struct digest unknown = {{9}};
	struct waiter w;
	struct rig g;
	char key[KEY_CHUNK_LEN + 1];
	const char *keys[] = {key};

	(void)state;
	rig_open(&g, NULL);
	assert_int_equal(upload(&g, &w, CHUNK, 1), 0);
	/* Nothing like it in this store: what is known is there. */
	assert_int_equal(uploads_touch(g.u, &w.up.digest), 0);
	assert_int_equal(uploads_touch(g.u, &unknown), 1);
	g.s->touchable = true;
	assert_int_equal(upload(&g, &w, CHUNK, 1), 0);
	assert_true(w.up.duplicate);
	assert_int_equal(g.s->touches, 1);
	assert_int_equal(g.s->puts, 1);
	assert_int_equal(uploads_touch(g.u, &w.up.digest), 0);
	assert_int_equal(uploads_touch(g.u, &unknown), 1);
	/* Somebody has collected it: known, yet gone. */
	key_chunk(&w.up.digest, key);
	assert_int_equal(store_delete(&g.s->s, keys, 1, NULL, NULL, 0), 0);
	assert_int_equal(upload(&g, &w, CHUNK, 1), 0);
	assert_false(w.up.duplicate);
	assert_int_equal(g.s->put_done, 2);
	must_hold(&g.s->s, &w.up.digest, CHUNK, 1, NULL);
	assert_int_equal(store_delete(&g.s->s, keys, 1, NULL, NULL, 0), 0);
	assert_int_equal(uploads_touch(g.u, &w.up.digest), 1);
	assert_false(known_has(g.known, &w.up.digest));
	rig_close(&g);
}

/* A reader found it damaged: that there is something does not count. */
static void
what_is_damaged_is_sent_again(void **state)
{
	char key[KEY_CHUNK_LEN + 1];
	struct waiter w;
	struct rig g;

	(void)state;
	for (int touchable = 0; touchable < 2; touchable++) {
		rig_open(&g, NULL);
		g.s->touchable = touchable != 0;
		assert_int_equal(upload(&g, &w, CHUNK, 1), 0);
		key_chunk(&w.up.digest, key);
		assert_int_equal(store_put(&g.s->s, key, "x", 1,
		    &(struct store_put){0}, NULL), 0);
		known_doubt(g.known, &w.up.digest);
		assert_int_equal(uploads_touch(g.u, &w.up.digest), 1);
		assert_int_equal(upload(&g, &w, CHUNK, 1), 0);
		assert_false(w.up.duplicate);
		must_hold(&g.s->s, &w.up.digest, CHUNK, 1, NULL);
		assert_int_equal(uploads_touch(g.u, &w.up.digest), 0);
		rig_close(&g);
	}
}

static void
into_a_directory(void **state)
{
	const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 2000}};
	char key[KEY_CHUNK_LEN + 1];
	struct known *known;
	struct uploads *u;
	struct store *s;
	struct waiter w;
	struct stat st;
	struct buf *b = content(CHUNK, 5);

	assert_int_equal(store_dir_new(*state, &s), 0);
	assert_int_equal(known_new(NULL, "dir", 100, &known), 0);
	assert_int_equal(uploads_new(s, known, NULL, &u), 0);
	waiter_init(&w);
	assert_int_equal(uploads_add(u, b, NULL, &w.up), 0);
	assert_int_equal(waiter_wait(&w), 0);
	must_hold(s, &w.up.digest, CHUNK, 5, NULL);
	key_chunk(&w.up.digest, key);
	assert_int_equal(utimensat(AT_FDCWD, scratch_path(*state, key), old,
	    0), 0);
	waiter_init(&w);
	assert_int_equal(uploads_add(u, b, NULL, &w.up), 0);
	assert_int_equal(waiter_wait(&w), 0);
	assert_true(w.up.duplicate);
	assert_int_equal(stat(scratch_path(*state, key), &st), 0);
	assert_true(st.st_atim.tv_sec > 1000);
	assert_int_equal(st.st_mtim.tv_sec, 2000);
	/* A crash has left the name and no bytes. */
	assert_int_equal(truncate(scratch_path(*state, key), 0), 0);
	waiter_init(&w);
	assert_int_equal(uploads_add(u, b, NULL, &w.up), 0);
	assert_int_equal(waiter_wait(&w), 0);
	assert_false(w.up.duplicate);
	must_hold(s, &w.up.digest, CHUNK, 5, NULL);
	assert_int_equal(store_sync(s), 0);
	uploads_free(u);
	known_free(known);
	store_free(s);
	buf_unref(b);
}

/* What was put can be read without asking the store, and what was not is not
 * in the cache. */
static void
into_the_cache(void **state)
{
	const struct store_get how = {
	    .max = MIB, .flags = STORE_LOCAL};
	const struct store_cache_opts o = {
	    .dir = scratch_path(*state, "cache"), .limit = 16 * MIB};
	struct buf *b = content(CHUNK, 5), *x, *raw;
	struct slow_store *slow = slow_store_new();
	char key[KEY_CHUNK_LEN + 1];
	struct store_cache_stats st;
	struct known *known;
	struct uploads *u;
	struct store *s;
	struct waiter w;

	assert_int_equal(store_cache_new(&slow->s, &o, &s), 0);
	assert_int_equal(known_new(NULL, "g", 100, &known), 0);
	assert_int_equal(uploads_new(s, known, NULL, &u), 0);
	waiter_init(&w);
	assert_int_equal(uploads_add(u, b, NULL, &w.up), 0);
	assert_int_equal(waiter_wait(&w), 0);
	key_chunk(&w.up.digest, key);
	assert_int_equal(store_get(s, key, &how, &raw, NULL), 0);
	assert_int_equal(chunk_decode(raw->data, raw->len, &w.up.digest, CHUNK,
	    &x), 0);
	buf_unref(x);
	buf_unref(raw);
	assert_int_equal(slow->gets, 0);

	slow->put_error = -EIO;
	slow->put_error_count = 1;
	x = content(CHUNK, 6);
	waiter_init(&w);
	assert_int_equal(uploads_add(u, x, NULL, &w.up), 0);
	assert_int_equal(waiter_wait(&w), -EIO);
	key_chunk(&w.up.digest, key);
	assert_int_equal(store_get(s, key, &how, &raw, NULL), -EAGAIN);
	assert_int_equal(store_cache_stats(s, &st), 0);
	assert_int_equal(st.chunks, 1);
	uploads_free(u);
	known_free(known);
	store_free(s);
	buf_unref(b);
	buf_unref(x);
}

/* Many threads, the same chunks and different ones, an unreliable store. */
#define THREADS 8
#define ROUNDS 60
#define DIFFERENT 20

struct crowd {
	struct rig *g;
	unsigned seed;
	unsigned ok, failed;
};

static void *
add_many(void *arg)
{
	struct crowd *c = arg;
	uint32_t x = c->seed;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct waiter w[3];
		unsigned n = 0;

		for (; n < ARRAY_SIZE(w); n++) {
			struct buf *b;
			int r;

			x = x * 1664525u + 1013904223u;
			b = content(1000 + (x >> 8) % DIFFERENT,
			    (x >> 8) % DIFFERENT);
			waiter_init(&w[n]);
			r = x >> 31 ? uploads_add(c->g->u, b, NULL, &w[n].up) :
			    uploads_try(c->g->u, b, NULL, &w[n].up);
			buf_unref(b);
			if (r == -EAGAIN)
				break;
			assert_int_equal(r, 0);
		}
		while (n-- > 0) {
			int r = waiter_wait(&w[n]);

			assert_true(r == 0 || r == -EIO);
			c->ok += r == 0;
			c->failed += r < 0;
			/* Forgotten now and then, as if collected. */
			if (r == 0 && (x >> 20) % 4 == 0)
				known_remove(c->g->known, &w[n].up.digest);
		}
	}
	return NULL;
}

static void
a_crowd_and_an_unreliable_store(void **state)
{
	const struct uploads_opts o = {
	    .memory = 20000, .packers = 3, .putters = 4};
	struct crowd c[THREADS];
	pthread_t t[THREADS];
	struct uploads_stats st;
	unsigned ok = 0, failed = 0;
	struct rig g;

	(void)state;
	rig_open(&g, &o);
	g.s->put_percent = 40;
	for (unsigned i = 0; i < THREADS; i++) {
		c[i] = (struct crowd){&g, i, 0, 0};
		assert_int_equal(pthread_create(&t[i], NULL, add_many, &c[i]),
		    0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(t[i], NULL), 0);
		ok += c[i].ok;
		failed += c[i].failed;
	}
	st = stats(&g);
	assert_int_equal(st.chunks, ok + failed);
	assert_int_equal(st.failed, failed);
	assert_int_equal(st.puts + st.duplicates, ok);
	assert_int_equal(st.in_flight, 0);
	assert_int_equal(st.memory, 0);
	/* Each at most once, of what was acknowledged; the lost ones beside. */
	assert_true(g.s->put_done <= DIFFERENT);
	assert_true(st.puts <= g.s->put_done);
	assert_int_equal(g.s->good, st.puts);
	assert_true(failed > 0 && ok > 0);
	g.s->put_percent = 0;
	for (uint32_t i = 0; i < DIFFERENT; i++) {
		struct waiter w;

		assert_int_equal(upload(&g, &w, 1000 + i, i), 0);
		must_hold(&g.s->s, &w.up.digest, 1000 + i, i, NULL);
	}
	assert_int_equal(g.s->put_done, DIFFERENT);
	rig_close(&g);
}

int
main(void)
{
#define WITH_DIR(f)                                                            \
	cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_new_is_sent_once),
	    cmocka_unit_test(no_chunk_has_that_size),
	    cmocka_unit_test(encrypted_ones_have_names_of_their_own),
	    cmocka_unit_test(the_same_at_once_is_sent_once),
	    cmocka_unit_test(if_one_fails_all_are_told),
	    cmocka_unit_test(throttled_to_the_end),
	    cmocka_unit_test(a_put_has_its_time),
	    cmocka_unit_test(memory_is_bounded),
	    cmocka_unit_test(who_adds_waits_for_room),
	    cmocka_unit_test(who_tries_has_turns),
	    cmocka_unit_test(shutdown_ends_the_waiting),
	    cmocka_unit_test(shutdown_reaches_the_queues),
	    cmocka_unit_test(a_known_one_is_touched),
	    cmocka_unit_test(what_is_damaged_is_sent_again),
	    WITH_DIR(into_a_directory),
	    WITH_DIR(into_the_cache),
	    cmocka_unit_test(a_crowd_and_an_unreliable_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
