/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/chunks.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/num.h"
#include "base/str.h"
#include "pbs/names.h"
#include "repo/damage.h"
#include "samples.h"
#include "slow_store.h"

#include "../cm.h"

struct fix {
	struct slow_store *s;
	struct damage *damage;
	struct chunks *c;
};

static void
setup(struct fix *f, const struct chunks_opts *o)
{
	f->s = slow_store_new();
	assert_int_equal(damage_new(&f->damage), 0);
	assert_int_equal(chunks_new(&f->s->s, f->damage, o, &f->c), 0);
}

static void
teardown(struct fix *f)
{
	store_shutdown(&f->s->s);
	chunks_free(f->c);
	damage_free(f->damage);
	store_free(&f->s->s);
}

static struct chunks_stats
stats(struct fix *f)
{
	struct chunks_stats st;

	chunks_stats(f->c, &st);
	return st;
}

static unsigned
gets(struct fix *f)
{
	return slow_store_count(f->s, &f->s->gets);
}

/* Gets a chunk and compares all of it. */
static void
check(struct fix *f, const struct chunk_id *id, uint32_t seed)
{
	uint8_t *want = malloc(id->size);
	struct buf *b;

	assert_non_null(want);
	sample_bytes(want, id->size, seed);
	assert_int_equal(chunks_get(f->c, id, &b), 0);
	assert_int_equal(b->len, id->size);
	assert_memory_equal(b->data, want, id->size);
	buf_unref(b);
	free(want);
}

/* A request that can be waited for. */
struct asked {
	struct chunk_request req;	/* first */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
	int err;
	size_t len;
	uint64_t when;
};

static void
asked_done(struct chunk_request *req, int err, struct buf *b)
{
	struct asked *a = (struct asked *)req;

	LOCK(&a->lock);
	assert_false(a->done);
	a->done = true;
	a->err = err;
	a->len = b == NULL ? 0 : b->len;
	a->when = clock_mono_ms();
	pthread_cond_signal(&a->cond);
}

static void
ask(struct fix *f, struct asked *a, const struct chunk_id *id)
{
	memset(a, 0, sizeof(*a));
	pthread_mutex_init(&a->lock, NULL);
	assert_int_equal(cond_init(&a->cond), 0);
	a->req.done = asked_done;
	chunks_request(f->c, id, &a->req);
}

static int
answer_of(struct asked *a)
{
	deadline_t deadline = deadline_in(10000);

	LOCK(&a->lock);
	while (!a->done)
		if (cond_wait_until(&a->cond, &a->lock, deadline) < 0)
			fail_msg("no answer within 10 s");
	return a->err;
}

static bool
is_answered(struct asked *a)
{
	LOCK(&a->lock);
	return a->done;
}

static void
second_read_costs_nothing(void **state)
{
	struct buf *b = NULL;
	struct chunk_id id = {0};
	struct fix f;

	(void)state;
	setup(&f, NULL);
	id = sample_chunk(f.s, 100000, 1);
	assert_int_equal(chunks_try(f.c, &id, &b), -EAGAIN);
	check(&f, &id, 1);
	check(&f, &id, 1);
	assert_int_equal(chunks_try(f.c, &id, &b), 0);
	buf_unref(b);
	assert_int_equal(gets(&f), 1);
	assert_int_equal(stats(&f).hits, 2);
	assert_int_equal(stats(&f).fetched, 1);
	assert_int_equal(stats(&f).decoded, 1);
	slow_store_await(f.s, &f.s->good, 1);
	assert_int_equal(slow_store_count(f.s, &f.s->bad), 0);
	teardown(&f);
}

static void
what_is_local_never_reaches_the_fetchers(void **state)
{
	struct chunk_id id = {0};
	struct fix f;

	(void)state;
	setup(&f, NULL);
	f.s->local = true;
	id = sample_chunk(f.s, 5000, 1);
	check(&f, &id, 1);
	assert_int_equal(gets(&f), 1);
	assert_int_equal(slow_store_count(f.s, &f.s->looks), 0);
	teardown(&f);
}

struct reader_arg {
	struct fix *f;
	struct chunk_id id;
};

static void *
read_one(void *arg)
{
	struct reader_arg *a = arg;
	struct buf *b;
	int r;

	r = chunks_get(a->f->c, &a->id, &b);
	if (r == 0)
		buf_unref(b);
	return (void *)(intptr_t)r;
}

static void
fifty_readers_are_one_get(void **state)
{
	struct reader_arg arg;
	pthread_t threads[50];
	struct fix f;
	void *ret;
	size_t i;

	(void)state;
	setup(&f, NULL);
	f.s->hold = true;
	arg.f = &f;
	arg.id = sample_chunk(f.s, 3 * 1000 * 1000, 7);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_one,
		    &arg), 0);
	while (stats(&f).waits < ARRAY_SIZE(threads) - 1)
		usleep(1000);
	slow_store_set(f.s, &f.s->hold, false);
	for (i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], &ret);
		assert_ptr_equal(ret, NULL);
	}
	assert_int_equal(gets(&f), 1);
	assert_int_equal(stats(&f).decoded, 1);
	teardown(&f);
}

static void
a_flip_on_the_way_is_fetched_once_more(void **state)
{
	struct chunk_id id = {0};
	struct fix f;

	(void)state;
	setup(&f, NULL);
	f.s->flip_count = 1;
	id = sample_chunk(f.s, 70000, 1);
	check(&f, &id, 1);
	assert_int_equal(gets(&f), 2);
	assert_int_equal(slow_store_count(f.s, &f.s->fresh), 1);
	assert_int_equal(slow_store_count(f.s, &f.s->bad), 1);
	assert_int_equal(damage_count(f.damage), 0);
	teardown(&f);
}

static void
a_local_flip_is_fetched_once_more(void **state)
{
	struct chunk_id id = {0};
	struct fix f;

	(void)state;
	setup(&f, NULL);
	f.s->local = true;
	f.s->flip_count = 1;
	id = sample_chunk(f.s, 70000, 1);
	check(&f, &id, 1);
	assert_int_equal(gets(&f), 2);
	assert_int_equal(slow_store_count(f.s, &f.s->fresh), 1);
	assert_int_equal(damage_count(f.damage), 0);
	teardown(&f);
}

static void
damage_is_found_told_and_remembered(void **state)
{
	struct str text = {0};
	char hex[DIGEST_HEX_LEN + 1];
	struct chunk_id id = {0};
	struct buf *b;
	struct fix f;

	(void)state;
	setup(&f, NULL);
	f.s->flip_count = 2;
	f.s->flip_fresh = true;
	id = sample_chunk(f.s, 70000, 1);
	assert_int_equal(chunks_get(f.c, &id, &b), -EBADMSG);
	assert_int_equal(gets(&f), 2);
	assert_int_equal(damage_count(f.damage), 1);
	assert_int_equal(stats(&f).damaged, 1);
	damage_text(f.damage, &text);
	assert_non_null(strstr(str_get(&text), digest_hex(&id.digest, hex)));
	assert_non_null(strstr(str_get(&text), "crc is wrong"));
	/* Asked again at once, nobody is bothered. */
	assert_int_equal(chunks_get(f.c, &id, &b), -EBADMSG);
	assert_int_equal(chunks_try(f.c, &id, &b), -EBADMSG);
	assert_int_equal(gets(&f), 2);
	str_fini(&text);
	teardown(&f);
}

static void
a_missing_chunk_is_reported(void **state)
{
	struct str text = {0};
	struct chunk_id id = {0};
	struct buf *b;
	struct fix f;

	(void)state;
	setup(&f, NULL);
	memset(&id, 0x5a, sizeof(id));
	id.size = 4096;
	assert_int_equal(chunks_get(f.c, &id, &b), -ENOENT);
	assert_int_equal(chunks_get(f.c, &id, &b), -ENOENT);
	assert_int_equal(gets(&f), 1);
	damage_text(f.damage, &text);
	assert_non_null(strstr(str_get(&text), "is missing"));
	str_fini(&text);
	teardown(&f);
}

static void
a_transport_error_is_no_damage(void **state)
{
	static const int errors[][2] = {{-EIO, -EIO},
	    {-EHOSTDOWN, -EHOSTDOWN}, {-ETIMEDOUT, -ETIMEDOUT},
	    {-EACCES, -EACCES},
	    /* Throttled; nobody may take it for "ask again, and wait". */
	    {-EAGAIN, -EIO}};
	struct chunk_id id = {0};
	struct buf *b;
	struct fix f;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		setup(&f, NULL);
		id = sample_chunk(f.s, 4096, 1);
		slow_store_fail(f.s, errors[i][0], 1);
		assert_int_equal(chunks_get(f.c, &id, &b), errors[i][1]);
		assert_int_equal(damage_count(f.damage), 0);
		/* And not remembered. */
		check(&f, &id, 1);
		assert_int_equal(gets(&f), 2);
		teardown(&f);
	}
}

static void
an_outage_after_a_flip_is_no_damage(void **state)
{
	struct chunk_id id = {0};
	struct buf *b;
	struct fix f;

	(void)state;
	setup(&f, NULL);
	f.s->local = true;
	f.s->flip_count = 1;
	f.s->fresh_error = -EHOSTDOWN;
	id = sample_chunk(f.s, 4096, 1);
	assert_int_equal(chunks_get(f.c, &id, &b), -EHOSTDOWN);
	assert_int_equal(damage_count(f.damage), 0);
	assert_int_equal(slow_store_count(f.s, &f.s->bad), 1);
	check(&f, &id, 1);
	teardown(&f);
}

static void
the_zero_chunk_is_never_fetched(void **state)
{
	static const char hex[] = "bb9f8df61474d25e71fa00722318cd38"
	    "7396ca1736605e1248821cc0de3d3af8";
	struct chunk_id id = {.size = 4 << 20};
	struct buf *b;
	struct fix f;
	size_t i;

	(void)state;
	setup(&f, NULL);
	assert_int_equal(digest_parse(hex, &id.digest), 0);
	assert_true(chunk_is_zero(&id));
	assert_int_equal(chunks_try(f.c, &id, &b), 0);
	assert_int_equal(b->len, 4 << 20);
	for (i = 0; i < b->len; i++)
		if (b->data[i] != 0)
			fail();
	buf_unref(b);
	assert_int_equal(chunks_get(f.c, &id, &b), 0);
	buf_unref(b);
	assert_true(chunks_prefetch(f.c, &id));
	assert_int_equal(gets(&f), 0);
	assert_int_equal(slow_store_count(f.s, &f.s->looks), 0);
	/* Another length is another thing. */
	id.size = 4096;
	assert_false(chunk_is_zero(&id));
	assert_int_equal(chunks_get(f.c, &id, &b), -ENOENT);
	teardown(&f);
}

static void
a_wrong_length_fails_alone(void **state)
{
	struct chunk_id id, lie;
	struct buf *b;
	struct fix f;

	(void)state;
	setup(&f, NULL);
	id = sample_chunk(f.s, 4096, 1);
	lie = id;
	lie.size = 4095;
	assert_int_equal(chunks_get(f.c, &lie, &b), -EBADMSG);
	check(&f, &id, 1);
	assert_int_equal(chunks_get(f.c, &lie, &b), -EBADMSG);
	lie.size = 0;
	assert_int_equal(chunks_get(f.c, &lie, &b), -EBADMSG);
	lie.size = UINT32_MAX;
	assert_int_equal(chunks_get(f.c, &lie, &b), -EBADMSG);
	assert_false(chunks_prefetch(f.c, &lie));
	teardown(&f);
}

#define N 64

static void
memory_stays_within_its_limit(void **state)
{
	const struct chunks_opts o = {.memory = 20 * 70000};
	struct chunk_id ids[N];
	struct asked a[N];
	struct chunks_stats st;
	struct fix f;
	unsigned i, round;

	(void)state;
	setup(&f, &o);
	for (i = 0; i < N; i++)
		ids[i] = sample_chunk(f.s, 60000 + 100 * i, i);
	f.s->hold = true;
	for (i = 0; i < N; i++)
		ask(&f, &a[i], &ids[i]);
	slow_store_await(f.s, &f.s->looks, N);
	slow_store_await(f.s, &f.s->now, 8);
	st = stats(&f);
	assert_in_range(st.in_flight, 8, 11);
	assert_true(st.memory <= st.memory_limit);
	slow_store_set(f.s, &f.s->hold, false);
	for (i = 0; i < N; i++) {
		assert_int_equal(answer_of(&a[i]), 0);
		assert_int_equal(a[i].len, ids[i].size);
		st = stats(&f);
		assert_true(st.memory <= st.memory_limit);
	}
	assert_int_equal(gets(&f), N);
	for (round = 0; round < 3; round++)
		for (i = 0; i < N; i++) {
			check(&f, &ids[(i * 13) % N], (i * 13) % N);
			st = stats(&f);
			assert_true(st.memory <= st.memory_limit);
		}
	assert_true(gets(&f) > N);
	teardown(&f);
}

static void
a_chunk_larger_than_memory_is_still_read(void **state)
{
	const struct chunks_opts o = {.memory = 1000};
	struct chunk_id a, b;
	struct fix f;

	(void)state;
	setup(&f, &o);
	a = sample_chunk(f.s, 50000, 1);
	b = sample_chunk(f.s, 40000, 2);
	check(&f, &a, 1);
	check(&f, &b, 2);
	check(&f, &a, 1);
	assert_int_equal(stats(&f).memory, 0);
	assert_false(chunks_prefetch(f.c, &b));
	teardown(&f);
}

static void
least_recently_used_goes_first(void **state)
{
	const struct chunks_opts o = {.memory = 35000};
	struct chunk_id id[4];
	struct fix f;
	unsigned i;

	(void)state;
	setup(&f, &o);
	for (i = 0; i < 4; i++)
		id[i] = sample_chunk(f.s, 10000, i);
	check(&f, &id[0], 0);
	check(&f, &id[1], 1);
	check(&f, &id[2], 2);
	check(&f, &id[0], 0);
	check(&f, &id[3], 3);	/* in the place of 1 */
	assert_int_equal(gets(&f), 4);
	check(&f, &id[0], 0);
	check(&f, &id[2], 2);
	assert_int_equal(gets(&f), 4);
	check(&f, &id[1], 1);
	assert_int_equal(gets(&f), 5);
	teardown(&f);
}

static void
prefetch_is_refused_when_there_is_no_room(void **state)
{
	const struct chunks_opts o = {.memory = 10 * 10000};
	struct chunk_id id[10];
	struct asked a;
	struct fix f;
	unsigned i, accepted = 0;

	(void)state;
	setup(&f, &o);
	for (i = 0; i < 10; i++)
		id[i] = sample_chunk(f.s, 10000, i);
	f.s->hold = true;
	for (i = 0; i < 10; i++)
		accepted += chunks_prefetch(f.c, &id[i]);
	assert_int_equal(accepted, 4);
	/* Who waits for one of them joins its flight. */
	ask(&f, &a, &id[0]);
	slow_store_set(f.s, &f.s->hold, false);
	assert_int_equal(answer_of(&a), 0);
	check(&f, &id[3], 3);
	slow_store_await(f.s, &f.s->gets, 4);
	assert_int_equal(gets(&f), 4);
	/* Those that nobody used still count against the next ones. */
	while (stats(&f).in_flight > 0)
		usleep(1000);
	assert_true(chunks_prefetch(f.c, &id[4]));
	assert_true(chunks_prefetch(f.c, &id[5]));
	assert_false(chunks_prefetch(f.c, &id[6]));
	teardown(&f);
}

static void
the_wanted_go_before_the_prefetched(void **state)
{
	const struct chunks_opts o = {.fetchers = 1, .decoders = 1};
	char key[KEY_CHUNK_LEN + 1];
	struct chunk_id id[4];
	struct asked a;
	struct fix f;
	unsigned i;

	(void)state;
	setup(&f, &o);
	for (i = 0; i < 4; i++)
		id[i] = sample_chunk(f.s, 10000, i);
	f.s->hold = true;
	for (i = 0; i < 3; i++)
		assert_true(chunks_prefetch(f.c, &id[i]));
	slow_store_await(f.s, &f.s->looks, 3);
	slow_store_await(f.s, &f.s->now, 1);
	ask(&f, &a, &id[3]);
	slow_store_await(f.s, &f.s->looks, 4);
	/* It has been looked for locally; now it gets in line. */
	usleep(100 * 1000);
	slow_store_set(f.s, &f.s->hold, false);
	assert_int_equal(answer_of(&a), 0);
	slow_store_await(f.s, &f.s->gets, 4);
	key_chunk(&id[0].digest, key);
	assert_string_equal(f.s->log[0], key);
	key_chunk(&id[3].digest, key);
	assert_string_equal(f.s->log[1], key);
	teardown(&f);
}

static void
deadlines_hold_while_the_store_hangs(void **state)
{
	const struct chunks_opts o = {.timeout_ms = 300, .fetchers = 2};
	struct chunk_id id[20];
	struct asked a[20];
	uint64_t start, end;
	struct fix f;
	unsigned i;

	(void)state;
	setup(&f, &o);
	for (i = 0; i < 20; i++)
		id[i] = sample_chunk(f.s, 10000, i);
	f.s->hold = true;
	start = clock_mono_ms();
	for (i = 0; i < 20; i++)
		ask(&f, &a[i], &id[i]);
	for (i = 0; i < 20; i++)
		assert_int_equal(answer_of(&a[i]), -ETIMEDOUT);
	end = clock_mono_ms();
	assert_in_range(end - start, 300, 3000);
	assert_int_equal(damage_count(f.damage), 0);
	slow_store_set(f.s, &f.s->hold, false);
	check(&f, &id[0], 0);
	/* Most of those in the queue were never asked for. */
	assert_in_range(gets(&f), 1, 12);
	teardown(&f);
}

static void
who_joins_late_has_all_of_his_time(void **state)
{
	const struct chunks_opts o = {.timeout_ms = 600};
	struct asked first, second;
	struct chunk_id id = {0};
	struct fix f;

	(void)state;
	setup(&f, &o);
	id = sample_chunk(f.s, 10000, 1);
	f.s->hold = true;
	ask(&f, &first, &id);
	slow_store_await(f.s, &f.s->gets, 1);
	usleep(300 * 1000);
	ask(&f, &second, &id);
	assert_int_equal(answer_of(&first), -ETIMEDOUT);
	assert_false(is_answered(&second));
	/* The store gave up when the first one's time was over. */
	slow_store_await(f.s, &f.s->gets, 2);
	slow_store_set(f.s, &f.s->hold, false);
	assert_int_equal(answer_of(&second), 0);
	teardown(&f);
}

static void
local_reads_go_on_during_an_outage(void **state)
{
	const struct chunks_opts o = {.fetchers = 2, .decoders = 1};
	struct chunk_id far[6], near;
	struct asked a[6];
	struct fix f;
	unsigned i;

	(void)state;
	setup(&f, &o);
	for (i = 0; i < 6; i++)
		far[i] = sample_chunk(f.s, 10000, i);
	near = sample_chunk(f.s, 10000, 99);
	f.s->hold = true;
	for (i = 0; i < 6; i++)
		ask(&f, &a[i], &far[i]);
	slow_store_await(f.s, &f.s->now, 2);
	slow_store_await(f.s, &f.s->looks, 6);
	pthread_mutex_lock(&f.s->lock);
	f.s->local = true;
	f.s->only = "none of them";
	pthread_mutex_unlock(&f.s->lock);
	check(&f, &near, 99);
	for (i = 0; i < 6; i++)
		assert_false(is_answered(&a[i]));
	slow_store_set(f.s, &f.s->hold, false);
	for (i = 0; i < 6; i++)
		assert_int_equal(answer_of(&a[i]), 0);
	teardown(&f);
}

static void
local_reads_go_on_when_an_outage_has_all_memory(void **state)
{
	const struct chunks_opts o = {.memory = 6 * 10300, .timeout_ms = 3000};
	struct chunk_id far[6], near[2];
	struct asked a[6];
	struct fix f;
	unsigned i;

	(void)state;
	setup(&f, &o);
	for (i = 0; i < 6; i++)
		far[i] = sample_chunk(f.s, 10000, i);
	for (i = 0; i < 2; i++)
		near[i] = sample_chunk(f.s, 10000, 90 + i);
	f.s->hold = true;
	for (i = 0; i < 6; i++)
		ask(&f, &a[i], &far[i]);
	slow_store_await(f.s, &f.s->looks, 6);
	slow_store_await(f.s, &f.s->now, 3);
	pthread_mutex_lock(&f.s->lock);
	f.s->local = true;
	f.s->only = "none of them";
	pthread_mutex_unlock(&f.s->lock);
	for (i = 0; i < 4; i++)
		check(&f, &near[i % 2], 90 + i % 2);
	assert_true(stats(&f).memory <= stats(&f).memory_limit);
	for (i = 0; i < 6; i++)
		assert_false(is_answered(&a[i]));
	slow_store_set(f.s, &f.s->hold, false);
	for (i = 0; i < 6; i++)
		assert_int_equal(answer_of(&a[i]), 0);
	teardown(&f);
}

static void
shutdown_answers_everybody(void **state)
{
	const struct chunks_opts o = {.memory = 50000, .fetchers = 2};
	struct chunk_id id[10];
	struct asked a[10];
	struct buf *b;
	struct fix f;
	uint64_t start;
	unsigned i;

	(void)state;
	setup(&f, &o);
	for (i = 0; i < 10; i++)
		id[i] = sample_chunk(f.s, 10000, i);
	check(&f, &id[9], 9);
	f.s->hold = true;
	/* Under way, waiting for a thread, and waiting for room. */
	for (i = 0; i < 9; i++)
		ask(&f, &a[i], &id[i]);
	slow_store_await(f.s, &f.s->now, 2);
	start = clock_mono_ms();
	chunks_shutdown(f.c);
	for (i = 0; i < 9; i++)
		assert_int_equal(answer_of(&a[i]), -ESHUTDOWN);
	assert_int_equal(chunks_get(f.c, &id[0], &b), -ESHUTDOWN);
	id[0].size++;
	assert_false(chunks_prefetch(f.c, &id[0]));
	teardown(&f);
	assert_true(clock_mono_ms() - start < 5000);
}

struct storm {
	struct fix *f;
	struct chunk_id *ids;
	unsigned n, seed;
};

static void *
storm_run(void *arg)
{
	struct storm *s = arg;
	unsigned x = s->seed, i, k;
	struct buf *b;
	intptr_t bad = 0;

	for (i = 0; i < 400; i++) {
		x = x * 1664525u + 1013904223u;
		k = (x >> 16) % s->n;
		if ((x >> 8) % 5 == 0) {
			chunks_prefetch(s->f->c, &s->ids[k]);
			continue;
		}
		if (chunks_get(s->f->c, &s->ids[k], &b) != 0) {
			bad++;
			continue;
		}
		bad += b->len != s->ids[k].size;
		buf_unref(b);
	}
	return (void *)bad;
}

static void
a_storm_of_readers_gets_the_right_bytes(void **state)
{
	const struct chunks_opts o = {.memory = 100000};
	struct chunk_id ids[N];
	struct storm s[8];
	pthread_t t[8];
	struct chunks_stats st;
	struct fix f;
	unsigned i;
	void *bad;

	(void)state;
	setup(&f, &o);
	for (i = 0; i < N; i++)
		ids[i] = sample_chunk(f.s, 5000 + i, i);
	for (i = 0; i < 8; i++) {
		s[i] = (struct storm){&f, ids, N, i + 1};
		assert_int_equal(pthread_create(&t[i], NULL, storm_run, &s[i]),
		    0);
	}
	for (i = 0; i < 8; i++) {
		pthread_join(t[i], &bad);
		assert_null(bad);
	}
	st = stats(&f);
	assert_true(st.memory <= st.memory_limit);
	teardown(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(second_read_costs_nothing),
	    cmocka_unit_test(what_is_local_never_reaches_the_fetchers),
	    cmocka_unit_test(fifty_readers_are_one_get),
	    cmocka_unit_test(a_flip_on_the_way_is_fetched_once_more),
	    cmocka_unit_test(a_local_flip_is_fetched_once_more),
	    cmocka_unit_test(damage_is_found_told_and_remembered),
	    cmocka_unit_test(a_missing_chunk_is_reported),
	    cmocka_unit_test(a_transport_error_is_no_damage),
	    cmocka_unit_test(an_outage_after_a_flip_is_no_damage),
	    cmocka_unit_test(the_zero_chunk_is_never_fetched),
	    cmocka_unit_test(a_wrong_length_fails_alone),
	    cmocka_unit_test(memory_stays_within_its_limit),
	    cmocka_unit_test(a_chunk_larger_than_memory_is_still_read),
	    cmocka_unit_test(least_recently_used_goes_first),
	    cmocka_unit_test(prefetch_is_refused_when_there_is_no_room),
	    cmocka_unit_test(the_wanted_go_before_the_prefetched),
	    cmocka_unit_test(deadlines_hold_while_the_store_hangs),
	    cmocka_unit_test(who_joins_late_has_all_of_his_time),
	    cmocka_unit_test(local_reads_go_on_during_an_outage),
	    cmocka_unit_test(local_reads_go_on_when_an_outage_has_all_memory),
	    cmocka_unit_test(shutdown_answers_everybody),
	    cmocka_unit_test(a_storm_of_readers_gets_the_right_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
