/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "repo/guard_file.h"
#include "repo/known.h"

#include "../store/scratch.h"

#include "../cm.h"

static struct digest
nth(unsigned i)
{
	return digest_of(&i, sizeof(i));
}

static struct guard *
guard_at(const char *path, struct known *k)
{
	struct guard *g;

	assert_int_equal(guard_new(path, k, &g), 0);
	return g;
}

static void
mark(struct guard *g, unsigned i)
{
	struct digest d = nth(i);

	assert_int_equal(guard_mark(g, &d), 0);
}

static bool
marked(struct guard *g, unsigned i)
{
	struct digest d = nth(i);

	return guard_is_marked(g, &d);
}

/* from..to; returns how many were spared. */
static unsigned
condemn(struct guard *g, unsigned from, unsigned to)
{
	bool spared[GUARD_BATCH_MAX];
	struct digest d[GUARD_BATCH_MAX] = {0};
	unsigned n = 0;

	for (unsigned i = from; i < to; i++)
		d[i - from] = nth(i);
	memset(spared, 1, sizeof(spared));
	assert_int_equal(guard_condemn(g, d, to - from, spared), 0);
	for (unsigned i = from; i < to; i++)
		n += spared[i - from];
	return n;
}

static void
sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* Somebody who marks one chunk. */
struct marker {
	pthread_t thread;
	struct guard *g;
	unsigned i;
	int r;
	atomic_bool done;
};

static void *
marker_run(void *arg)
{
	struct marker *m = arg;
	struct digest d = nth(m->i);

	m->r = guard_mark(m->g, &d);
	atomic_store(&m->done, true);
	return NULL;
}

static void
marker_start(struct marker *m, struct guard *g, unsigned i)
{
	*m = (struct marker){.g = g, .i = i};
	assert_int_equal(pthread_create(&m->thread, NULL, marker_run, m), 0);
}

static bool
marker_waits(struct marker *m)
{
	sleep_ms(30);
	return !atomic_load(&m->done);
}

static int
marker_join(struct marker *m)
{
	assert_int_equal(pthread_join(m->thread, NULL), 0);
	return m->r;
}

static void
a_mark_lasts_as_long_as_its_holds(void **state)
{
	struct guard *g = guard_at(NULL, NULL);
	uint64_t a, b, c;

	(void)state;
	a = guard_hold(g);
	assert_int_not_equal(a, 0);
	mark(g, 1);
	b = guard_hold(g);
	mark(g, 2);
	guard_release(g, b);
	assert_true(marked(g, 1) && marked(g, 2));
	c = guard_hold(g);
	mark(g, 3);
	mark(g, 1);
	guard_release(g, a);
	assert_true(marked(g, 1) && marked(g, 3));
	guard_release(g, c);
	assert_false(marked(g, 1) || marked(g, 2) || marked(g, 3));
	/* None at all is nothing to say. */
	guard_release(g, 0);
	assert_int_equal(guard_hold(NULL), 0);
	guard_release(NULL, 0);
	assert_int_equal(guard_mark(NULL, &(struct digest){0}), 0);
	guard_free(g);
	guard_free(NULL);
}

/* Holds that always overlap must not keep all marks for ever. */
static void
marks_go_also_if_there_is_always_a_hold(void **state)
{
	struct guard *g = guard_at(NULL, NULL);
	uint64_t h = guard_hold(g), next;

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		mark(g, i);
		next = guard_hold(g);
		assert_true(marked(g, i));
		guard_release(g, h);
		h = next;
		assert_false(i >= 3 && marked(g, i - 3));
	}
	guard_release(g, h);
	assert_false(marked(g, 99));
	guard_free(g);
}

/* Any order of holds and releases: what a hold has marked is there as long as
 * it is. */
static void
no_mark_goes_before_its_hold(void **state)
{
	struct guard *g = guard_at(NULL, NULL);
	uint64_t hold[8] = {0};
	unsigned at[8], n[8], seed = 1, next = 0;

	(void)state;
	for (unsigned step = 0; step < 20000; step++) {
		unsigned k;

		seed = seed * 1103515245 + 12345;
		k = (seed >> 16) % 8;
		if (hold[k] == 0) {
			hold[k] = guard_hold(g);
			at[k] = next;
			n[k] = (seed >> 20) % 4;
			for (unsigned i = 0; i < n[k]; i++)
				mark(g, next++);
		} else {
			guard_release(g, hold[k]);
			hold[k] = 0;
		}
		for (k = 0; k < 8; k++)
			for (unsigned i = 0; hold[k] != 0 && i < n[k]; i++)
				assert_true(marked(g, at[k] + i));
	}
	for (unsigned k = 0; k < 8; k++)
		guard_release(g, hold[k]);
	for (unsigned i = 0; i < next; i++)
		assert_false(marked(g, i));
	guard_free(g);
}

static void
a_collector_keeps_all_marks(void **state)
{
	struct guard *g = guard_at(NULL, NULL);
	uint64_t a;

	(void)state;
	a = guard_hold(g);
	mark(g, 1);
	assert_false(guard_is_collecting(g));
	assert_int_equal(guard_begin(g), 0);
	assert_true(guard_is_collecting(g));
	assert_int_equal(guard_begin(g), -EBUSY);
	guard_release(g, a);
	a = guard_hold(g);
	mark(g, 2);
	guard_release(g, a);
	assert_int_equal(condemn(g, 0, 4), 2);
	assert_int_equal(guard_settle(g, true), 0);
	assert_int_equal(guard_settle(g, true), 1);
	guard_end(g);
	assert_false(marked(g, 1) || marked(g, 2));
	assert_int_equal(guard_begin(g), 0);
	assert_int_equal(condemn(g, 0, 4), 0);
	guard_end(g);
	guard_free(g);
}

static void
a_batch_is_settled_before_the_next(void **state)
{
	struct guard *g = guard_at(NULL, NULL);
	struct digest d[GUARD_BATCH_MAX + 1];
	bool spared[GUARD_BATCH_MAX + 1];
	struct marker m;
	uint64_t a;

	(void)state;
	d[0] = nth(7);
	assert_int_equal(guard_condemn(g, d, 1, spared), -EINVAL);
	assert_int_equal(guard_begin(g), 0);
	assert_int_equal(guard_condemn(g, d, GUARD_BATCH_MAX + 1, spared),
	    -EINVAL);
	assert_int_equal(condemn(g, 7, 8), 0);
	assert_int_equal(guard_condemn(g, d, 1, spared), -EINVAL);
	/* Which did not end the first one. */
	a = guard_hold(g);
	marker_start(&m, g, 7);
	assert_true(marker_waits(&m));
	assert_int_equal(guard_settle(g, true), 0);
	assert_int_equal(marker_join(&m), 0);
	/* Nothing to settle where all is marked. */
	assert_int_equal(condemn(g, 7, 8), 1);
	assert_int_equal(condemn(g, 7, 8), 1);
	assert_int_equal(guard_settle(g, true), 1);
	guard_release(g, a);
	guard_end(g);
	guard_free(g);
}

static void
who_marks_what_is_deleted_waits(void **state)
{
	struct guard *g = guard_at(NULL, NULL);
	uint64_t a = guard_hold(g);
	struct marker in, out;

	(void)state;
	assert_int_equal(guard_begin(g), 0);
	assert_int_equal(condemn(g, 0, 1000), 0);
	marker_start(&out, g, 1000);
	assert_int_equal(marker_join(&out), 0);
	marker_start(&in, g, 999);
	assert_true(marker_waits(&in));
	assert_false(marked(g, 999));
	assert_int_equal(guard_settle(g, true), 0);
	assert_int_equal(marker_join(&in), 0);
	assert_true(marked(g, 999));
	assert_int_equal(condemn(g, 999, 1001), 2);
	guard_end(g);
	guard_release(g, a);
	guard_free(g);
}

static void
shutdown_wakes_who_waits(void **state)
{
	struct guard *g = guard_at(NULL, NULL);
	uint64_t a = guard_hold(g);
	struct digest d = nth(5);
	struct marker m;
	bool spared;

	(void)state;
	assert_int_equal(guard_begin(g), 0);
	assert_int_equal(condemn(g, 0, 10), 0);
	marker_start(&m, g, 3);
	assert_true(marker_waits(&m));
	guard_shutdown(g);
	assert_int_equal(marker_join(&m), -ESHUTDOWN);
	assert_int_equal(guard_mark(g, &d), -ESHUTDOWN);
	assert_int_equal(guard_settle(g, false), 0);
	assert_int_equal(guard_condemn(g, &d, 1, &spared), -ESHUTDOWN);
	guard_end(g);
	assert_int_equal(guard_begin(g), -ESHUTDOWN);
	guard_release(g, a);
	guard_shutdown(NULL);
	guard_free(g);
}

static void
what_is_not_answered_waits_out_its_grace(void **state)
{
	struct guard *g = guard_at(NULL, NULL);
	uint64_t a = guard_hold(g);
	struct marker m, other;

	(void)state;
	assert_int_equal(guard_begin(g), 0);
	assert_int_equal(condemn(g, 0, 10), 0);
	assert_int_equal(guard_settle(g, false), 0);
	marker_start(&m, g, 3);
	assert_true(marker_waits(&m));
	/* The collector goes on, also with what is waiting. */
	assert_int_equal(condemn(g, 3, 13), 0);
	assert_int_equal(guard_settle(g, true), 0);
	marker_start(&other, g, 12);
	assert_int_equal(marker_join(&other), 0);
	assert_true(marker_waits(&m));
	guard_end(g);
	assert_true(marker_waits(&m));
	guard_set_grace(g, 1);
	assert_int_equal(marker_join(&m), 0);
	guard_release(g, a);
	guard_free(g);
}

/* And a collector that is gone has settled nothing. */
static void
a_batch_left_behind_is_not_answered(void **state)
{
	struct guard *g = guard_at(NULL, NULL);
	uint64_t a = guard_hold(g);
	struct marker m;

	(void)state;
	assert_int_equal(guard_begin(g), 0);
	assert_int_equal(condemn(g, 0, 10), 0);
	guard_end(g);
	marker_start(&m, g, 3);
	assert_true(marker_waits(&m));
	guard_set_grace(g, 1);
	assert_int_equal(marker_join(&m), 0);
	guard_release(g, a);
	guard_free(g);
}

static void *
condemner_run(void *arg)
{
	struct marker *m = arg;
	struct digest d = nth(m->i);
	bool spared;

	m->r = guard_condemn(m->g, &d, 1, &spared);
	atomic_store(&m->done, true);
	return NULL;
}

static void
without_answers_a_collector_is_slowed_down(void **state)
{
	struct guard *g = guard_at(NULL, NULL);
	struct marker m = {.g = g, .i = 100};
	unsigned i = 0;

	(void)state;
	assert_int_equal(guard_begin(g), 0);
	for (i = 0; i < 9; i++) {
		assert_int_equal(condemn(g, i, i + 1), 0);
		assert_int_equal(guard_settle(g, false), 0);
	}
	assert_int_equal(pthread_create(&m.thread, NULL, condemner_run, &m),
	    0);
	assert_true(marker_waits(&m));
	guard_set_grace(g, 1);
	assert_int_equal(marker_join(&m), 0);
	guard_end(g);
	guard_free(g);
}

/*
 * What is known.
 */

static struct known *
known_at(const char *path)
{
	struct known *k;

	assert_int_equal(known_new(path, "g", 1000, &k), 0);
	return k;
}

static bool
knows(struct known *k, unsigned i)
{
	struct digest d = nth(i);

	return known_has(k, &d);
}

static void
learn(struct known *k, unsigned i)
{
	struct digest d = nth(i);

	known_add(k, &d);
}

static void
what_is_condemned_is_known_no_more(void **state)
{
	const char *path = scratch_path(*state, "known");
	struct known *k = known_at(path);
	struct guard *g = guard_at(scratch_path(*state, "guard"), k);
	uint64_t era, a = guard_hold(g);

	for (unsigned i = 0; i < 10; i++)
		learn(k, i);
	mark(g, 5);
	era = known_era(k);
	assert_int_equal(guard_begin(g), 0);
	assert_int_equal(known_era(k), era);
	assert_int_equal(condemn(g, 3, 8), 1);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(knows(k, i), i < 3 || i == 5 || i > 7);
	assert_int_not_equal(known_era(k), era);
	/* As the process that comes after this one, if it dies now. */
	{
		struct known *after = known_at(path);

		for (unsigned i = 0; i < 10; i++)
			assert_int_equal(knows(after, i),
			    i < 3 || i == 5 || i > 7);
		known_free(after);
	}
	assert_int_equal(guard_settle(g, true), 0);
	learn(k, 4);
	assert_true(knows(k, 4));
	guard_end(g);
	guard_release(g, a);
	guard_free(g);
	known_free(k);
}

/* Nothing may be deleted that a later process might believe in. */
static void
nothing_is_condemned_that_cannot_be_written_down(void **state)
{
	struct known *k = known_at(NULL);
	char path[200];
	struct guard *g;
	struct digest d = nth(1);
	uint64_t a;
	bool spared;

	snprintf(path, sizeof(path), "%s/no/guard", (char *)*state);
	g = guard_at(path, k);
	learn(k, 1);
	assert_int_equal(guard_begin(g), 0);
	assert_int_equal(guard_condemn(g, &d, 1, &spared), -ENOENT);
	assert_false(knows(k, 1));
	a = guard_hold(g);
	mark(g, 1);
	guard_release(g, a);
	assert_int_equal(guard_settle(g, true), 1);
	guard_end(g);
	guard_free(g);
	known_free(k);
}

static void
what_a_dead_process_was_deleting_waits(void **state)
{
	const char *path = scratch_path(*state, "guard");
	struct known *k = known_at(NULL);
	struct guard *dead = guard_at(path, NULL), *g;
	uint64_t a;
	struct marker m, other;

	assert_int_equal(guard_begin(dead), 0);
	assert_int_equal(condemn(dead, 50, 60), 0);
	assert_int_equal(guard_settle(dead, true), 0);
	assert_int_equal(condemn(dead, 0, 10), 0);
	assert_int_equal(guard_settle(dead, false), 0);
	assert_int_equal(condemn(dead, 10, 20), 0);
	/* It dies here. */
	learn(k, 15);
	assert_int_equal(known_era(k), 0);
	g = guard_at(path, k);
	assert_false(knows(k, 15));
	/* What was listed before may show what is gone. */
	assert_true(known_era(k) > 0);
	a = guard_hold(g);
	mark(g, 55);
	marker_start(&m, g, 15);
	marker_start(&other, g, 5);
	assert_true(marker_waits(&m) && marker_waits(&other));
	guard_set_grace(g, 1);
	assert_int_equal(marker_join(&m), 0);
	assert_int_equal(marker_join(&other), 0);
	guard_release(g, a);
	guard_free(g);
	guard_end(dead);
	guard_free(dead);
	known_free(k);
}

static void
nothing_is_left_after_a_collection(void **state)
{
	const char *path = scratch_path(*state, "guard");
	struct guard *g = guard_at(path, NULL);
	struct digest *v;
	struct stat st;
	size_t n;

	assert_int_equal(guard_begin(g), 0);
	guard_end(g);
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(guard_begin(g), 0);
	assert_int_equal(condemn(g, 0, 1000), 0);
	assert_int_equal(guard_file_read(path, 1000, &v, &n), 0);
	assert_int_equal(n, 1000);
	free(v);
	assert_int_equal(guard_settle(g, true), 0);
	guard_end(g);
	assert_int_equal(guard_file_read(path, 1000, &v, &n), 0);
	assert_int_equal(n, 0);
	free(v);
	guard_free(g);
}

/* Whoever has damaged the file: no chunk may be taken for safe. */
static void
assert_all_wait(const char *path)
{
	struct guard *g = guard_at(path, NULL);
	uint64_t a = guard_hold(g);
	struct marker m;

	marker_start(&m, g, 12345);
	sleep_ms(2);
	assert_false(atomic_load(&m.done));
	guard_set_grace(g, 0);
	assert_int_equal(marker_join(&m), 0);
	guard_release(g, a);
	guard_free(g);
}

static void
a_damaged_file_makes_all_wait(void **state)
{
	const char *path = scratch_path(*state, "guard");
	struct digest v[3] = {nth(1), nth(2), nth(3)};
	uint8_t good[16 + 4 * DIGEST_LEN], bad[sizeof(good) + 1] = {0};
	struct digest *got;
	size_t n;
	int fd;

	assert_int_equal(guard_file_write(path, v, 3), 0);
	fd = open(path, O_RDONLY);
	assert_int_equal(read(fd, good, sizeof(good)), sizeof(good));
	close(fd);
	for (size_t i = 0; i < sizeof(good); i++) {
		memcpy(bad, good, sizeof(good));
		bad[i] ^= 1;
		scratch_write(path, bad, sizeof(good));
		assert_int_equal(guard_file_read(path, 3, &got, &n), -EBADMSG);
	}
	assert_all_wait(path);
	for (size_t len = 0; len < sizeof(good); len++) {
		scratch_write(path, good, len);
		assert_int_equal(guard_file_read(path, 3, &got, &n), -EBADMSG);
	}
	scratch_write(path, bad, sizeof(bad));
	assert_int_equal(guard_file_read(path, 9, &got, &n), -EBADMSG);
	scratch_write(path, good, sizeof(good));
	assert_int_equal(guard_file_read(path, 2, &got, &n), -EBADMSG);
	assert_int_equal(guard_file_read(path, 3, &got, &n), 0);
	assert_int_equal(n, 3);
	assert_memory_equal(got, v, sizeof(v));
	free(got);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_all_wait(path);
}

static void
distrust_makes_all_wait(void **state)
{
	struct guard *g = guard_at(NULL, NULL);
	uint64_t a = guard_hold(g);
	struct marker m;

	(void)state;
	guard_distrust(g);
	marker_start(&m, g, 1);
	assert_true(marker_waits(&m));
	guard_set_grace(g, 40);
	assert_int_equal(marker_join(&m), 0);
	mark(g, 2);
	guard_release(g, a);
	guard_free(g);
}

#define MARKERS 4
#define CHUNKS 64

/* Threads that mark, and a collector: never is one deleted that is marked. */
struct crowd {
	struct guard *g;
	atomic_int refs[CHUNKS];
	atomic_bool deleting[CHUNKS];
	atomic_bool stop;
	atomic_uint wrong;
};

static void *
crowd_run(void *arg)
{
	struct crowd *c = arg;
	unsigned seed = (unsigned)(uintptr_t)pthread_self();

	while (!atomic_load(&c->stop)) {
		uint64_t h = guard_hold(c->g);
		unsigned at[3];

		for (unsigned k = 0; k < 3; k++) {
			at[k] = (unsigned)rand_r(&seed) % CHUNKS;
			mark(c->g, at[k]);
			atomic_fetch_add(&c->refs[at[k]], 1);
			c->wrong += atomic_load(&c->deleting[at[k]]);
		}
		for (unsigned k = 0; k < 3; k++)
			atomic_fetch_sub(&c->refs[at[k]], 1);
		guard_release(c->g, h);
	}
	return NULL;
}

static void
collect_crowd(struct crowd *c, unsigned round)
{
	struct digest d[CHUNKS];
	bool spared[CHUNKS];

	for (unsigned i = 0; i < CHUNKS; i++)
		d[i] = nth(i);
	assert_int_equal(guard_begin(c->g), 0);
	assert_int_equal(guard_condemn(c->g, d, CHUNKS, spared), 0);
	for (unsigned i = 0; i < CHUNKS; i++) {
		if (!spared[i])
			atomic_store(&c->deleting[i], true);
		c->wrong += !spared[i] && atomic_load(&c->refs[i]) > 0;
	}
	sched_yield();
	for (unsigned i = 0; i < CHUNKS; i++)
		atomic_store(&c->deleting[i], false);
	(void)guard_settle(c->g, round % 8 != 0);
	guard_end(c->g);
}

static void
a_crowd_and_a_collector(void **state)
{
	struct crowd c = {.g = guard_at(NULL, NULL)};
	pthread_t t[MARKERS];

	(void)state;
	guard_set_grace(c.g, 1);
	for (unsigned i = 0; i < MARKERS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, crowd_run, &c),
		    0);
	for (unsigned i = 0; i < 300; i++)
		collect_crowd(&c, i);
	atomic_store(&c.stop, true);
	for (unsigned i = 0; i < MARKERS; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	assert_int_equal(c.wrong, 0);
	guard_free(c.g);
}

int
main(void)
{
#define WITH_DIR(f)                                                            \
	cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_mark_lasts_as_long_as_its_holds),
	    cmocka_unit_test(marks_go_also_if_there_is_always_a_hold),
	    cmocka_unit_test(no_mark_goes_before_its_hold),
	    cmocka_unit_test(a_collector_keeps_all_marks),
	    cmocka_unit_test(a_batch_is_settled_before_the_next),
	    cmocka_unit_test(who_marks_what_is_deleted_waits),
	    cmocka_unit_test(shutdown_wakes_who_waits),
	    cmocka_unit_test(what_is_not_answered_waits_out_its_grace),
	    cmocka_unit_test(a_batch_left_behind_is_not_answered),
	    cmocka_unit_test(without_answers_a_collector_is_slowed_down),
	    WITH_DIR(what_is_condemned_is_known_no_more),
	    WITH_DIR(nothing_is_condemned_that_cannot_be_written_down),
	    WITH_DIR(what_a_dead_process_was_deleting_waits),
	    WITH_DIR(nothing_is_left_after_a_collection),
	    WITH_DIR(a_damaged_file_makes_all_wait),
	    cmocka_unit_test(distrust_makes_all_wait),
	    cmocka_unit_test(a_crowd_and_a_collector),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
