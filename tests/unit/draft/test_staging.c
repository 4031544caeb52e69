/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/staging.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/statvfs.h>

#include "base/num.h"

#include "scratch_dir.h"

static struct staging *
fresh(uint64_t limit)
{
	struct staging *s;

	assert_int_equal(staging_new(limit, 0, &s), 0);
	return s;
}

static struct staging_stats
stats(struct staging *s)
{
	struct staging_stats st;

	staging_stats(s, &st);
	return st;
}

static void
wait_for_waiting(struct staging *s, unsigned n)
{
	for (unsigned i = 0; stats(s).waiting != n; i++) {
		assert_true(i < 10000);
		usleep(1000);
	}
}

static void
bounded(void **state)
{
	struct staging *s = fresh(100);

	(void)state;
	assert_int_equal(staging_reserve(s, 0, 1, -1), 0);
	assert_int_equal(staging_reserve(s, 60, 1, -1), 0);
	assert_int_equal(staging_reserve(s, 40, 1, -1), 0);
	assert_int_equal(stats(s).used, 100);
	assert_int_equal(stats(s).limit, 100);
	assert_int_equal(staging_reserve(s, 1, 1, -1), -EAGAIN);
	assert_int_equal(staging_reserve(s, 1, deadline_in(20), -1), -ENOSPC);
	assert_int_equal(stats(s).waiting, 0);
	staging_release(s, 1);
	assert_int_equal(staging_reserve(s, 1, 1, -1), 0);
	staging_release(s, 100);
	assert_int_equal(staging_reserve(s, 100, 1, -1), 0);
	staging_release(s, 100);
	/* Never: so at once, whatever the deadline. */
	assert_int_equal(staging_reserve(s, 101, 1, -1), -ENOSPC);
	assert_int_equal(staging_reserve(s, UINT64_MAX, 0, -1), -ENOSPC);
	staging_free(s);
	staging_free(NULL);
}

static void
charged_beyond_the_limit(void **state)
{
	struct staging *s = fresh(100);

	(void)state;
	staging_charge(s, 150);
	assert_int_equal(stats(s).used, 150);
	assert_int_equal(staging_pressure(s), 2);
	assert_int_equal(staging_reserve(s, 1, 1, -1), -EAGAIN);
	staging_release(s, 50);
	assert_int_equal(staging_reserve(s, 1, 1, -1), -EAGAIN);
	staging_release(s, 1);
	assert_int_equal(staging_reserve(s, 1, 1, -1), 0);
	staging_release(s, 100);
	staging_free(s);
}

struct one {
	struct staging *s;
	uint64_t bytes;
	deadline_t deadline;
	int dir;
	int r;
	atomic_bool done;
	pthread_t t;
};

static void *
reserve(void *arg)
{
	struct one *o = arg;

	o->r = staging_reserve(o->s, o->bytes, o->deadline, o->dir);
	atomic_store(&o->done, true);
	return NULL;
}

static void
begin(struct one *o)
{
	assert_int_equal(pthread_create(&o->t, NULL, reserve, o), 0);
}

/* A large one that waits is not passed by small ones, with or without
 * waiting. */
static void
first_come_first_served(void **state)
{
	struct staging *s = fresh(100);
	struct one large = {.s = s, .bytes = 80, .deadline = deadline_in(60000)};
	struct one small = {.s = s, .bytes = 10, .deadline = deadline_in(60000)};

	(void)state;
	assert_int_equal(staging_reserve(s, 50, 1, -1), 0);
	begin(&large);
	wait_for_waiting(s, 1);
	assert_int_equal(staging_pressure(s), 2);
	begin(&small);
	wait_for_waiting(s, 2);
	assert_int_equal(staging_reserve(s, 1, 1, -1), -EAGAIN);
	staging_release(s, 20);
	usleep(20000);
	assert_false(atomic_load(&small.done));
	assert_false(atomic_load(&large.done));
	staging_release(s, 10);
	pthread_join(large.t, NULL);
	assert_int_equal(large.r, 0);
	usleep(20000);
	assert_false(atomic_load(&small.done));
	assert_int_equal(stats(s).used, 100);
	staging_release(s, 10);
	pthread_join(small.t, NULL);
	assert_int_equal(small.r, 0);
	assert_int_equal(stats(s).used, 100);
	staging_release(s, 100);
	staging_free(s);
}

/* When the first gives up, the next one need not wait for another release. */
static void
who_gives_up_makes_way(void **state)
{
	struct staging *s = fresh(100);
	struct one large = {.s = s, .bytes = 80, .deadline = deadline_in(100)};
	struct one small = {.s = s, .bytes = 10, .deadline = deadline_in(60000)};

	(void)state;
	assert_int_equal(staging_reserve(s, 50, 1, -1), 0);
	begin(&large);
	wait_for_waiting(s, 1);
	begin(&small);
	pthread_join(large.t, NULL);
	pthread_join(small.t, NULL);
	assert_int_equal(large.r, -ENOSPC);
	assert_int_equal(small.r, 0);
	assert_int_equal(stats(s).used, 60);
	staging_release(s, 60);
	staging_free(s);
}

static void
shut_down(void **state)
{
	struct staging *s = fresh(100);
	struct one o[3];

	(void)state;
	assert_int_equal(staging_reserve(s, 100, 1, -1), 0);
	for (size_t i = 0; i < ARRAY_SIZE(o); i++) {
		o[i] = (struct one){.s = s, .bytes = 1};
		begin(&o[i]);
	}
	wait_for_waiting(s, 3);
	staging_shutdown(s);
	for (size_t i = 0; i < ARRAY_SIZE(o); i++) {
		pthread_join(o[i].t, NULL);
		assert_int_equal(o[i].r, -ESHUTDOWN);
	}
	staging_release(s, 100);
	assert_int_equal(staging_reserve(s, 1, 0, -1), -ESHUTDOWN);
	staging_wait(s, 60000);
	staging_free(s);
}

static void
pressure(void **state)
{
	struct staging *s = fresh(800);

	(void)state;
	assert_int_equal(staging_pressure(s), 0);
	assert_int_equal(staging_reserve(s, 400, 1, -1), 0);
	assert_int_equal(staging_pressure(s), 0);
	assert_int_equal(staging_reserve(s, 1, 1, -1), 0);
	assert_int_equal(staging_pressure(s), 1);
	assert_int_equal(staging_reserve(s, 299, 1, -1), 0);
	assert_int_equal(staging_pressure(s), 1);
	assert_int_equal(staging_reserve(s, 8, 1, -1), 0);
	assert_int_equal(staging_pressure(s), 2);
	staging_release(s, 708);
	assert_int_equal(staging_pressure(s), 0);
	staging_free(s);
}

static void *
wake(void *arg)
{
	usleep(20000);
	staging_wake(arg);
	return NULL;
}

static void
waits_for_pressure(void **state)
{
	struct staging *s = fresh(800);
	uint64_t begun = clock_mono_ms();
	pthread_t t;

	(void)state;
	staging_wait(s, 30);
	assert_true(clock_mono_ms() - begun >= 29);
	/* What rose before the wait is not missed, and counts once. */
	assert_int_equal(staging_reserve(s, 500, 1, -1), 0);
	begun = clock_mono_ms();
	staging_wait(s, 60000);
	assert_true(clock_mono_ms() - begun < 30000);
	begun = clock_mono_ms();
	staging_wait(s, 30);
	assert_true(clock_mono_ms() - begun >= 29);
	/* Falling is no reason. */
	staging_release(s, 500);
	begun = clock_mono_ms();
	staging_wait(s, 30);
	assert_true(clock_mono_ms() - begun >= 29);

	begun = clock_mono_ms();
	assert_int_equal(pthread_create(&t, NULL, wake, s), 0);
	staging_wait(s, 60000);
	assert_true(clock_mono_ms() - begun < 30000);
	pthread_join(t, NULL);
	staging_free(s);
}

static void
keeps_the_floor(void **state)
{
	struct scratch_dir d;
	struct statvfs v;
	struct staging *s;
	uint64_t begun;
	int r = 0;

	(void)state;
	scratch_begin(&d);
	assert_int_equal(fstatvfs(d.fd, &v), 0);
	/* More than there is, now and in a moment. */
	assert_int_equal(staging_new(GIB,
	    (uint64_t)v.f_blocks * v.f_frsize + GIB, &s), 0);
	/* Nothing could be sent away. */
	assert_int_equal(staging_reserve(s, 1, 0, d.fd), -ENOSPC);
	assert_int_equal(staging_reserve(s, 1, 1, d.fd), -ENOSPC);
	staging_charge(s, MIB);
	assert_int_equal(staging_pressure(s), 2);
	assert_int_equal(staging_reserve(s, 1, 1, d.fd), -EAGAIN);
	begun = clock_mono_ms();
	assert_int_equal(staging_reserve(s, 1, deadline_in(120), d.fd),
	    -ENOSPC);
	assert_true(clock_mono_ms() - begun >= 119);
	staging_free(s);

	assert_int_equal(staging_new(UINT64_MAX, 1, &s), 0);
	assert_int_equal(staging_reserve(s, MIB, 1, d.fd), 0);
	/* What has been reserved is not free, written or not; others may have
	 * given some back meanwhile. */
	for (int i = 0; i < 100 && r == 0; i++) {
		uint64_t free_bytes;

		assert_int_equal(fstatvfs(d.fd, &v), 0);
		free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
		r = staging_reserve(s, free_bytes, 1, d.fd);
		if (r == 0)
			staging_release(s, free_bytes);
	}
	assert_int_equal(r, -EAGAIN);
	staging_release(s, MIB);
	staging_free(s);

	assert_int_equal(staging_new(GIB, 1, &s), 0);
	assert_int_equal(staging_reserve(s, 1, 1, -1), -EBADF);
	staging_free(s);
	scratch_end(&d);
}

enum { THREADS = 8, ROUNDS = 300, LIMIT = 1000 };

struct crowd {
	struct staging *s;
	atomic_uint_fast64_t used;
	atomic_uint seed;
};

static void *
in_and_out(void *arg)
{
	struct crowd *c = arg;
	unsigned seed = atomic_fetch_add(&c->seed, 1);

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t n = (uint64_t)rand_r(&seed) % 700 + 1;

		assert_int_equal(staging_reserve(c->s, n, deadline_in(60000),
		    -1), 0);
		assert_true(atomic_fetch_add(&c->used, n) + n <= LIMIT);
		if (i % 8 == 0)
			usleep(100);
		atomic_fetch_sub(&c->used, n);
		staging_release(c->s, n);
	}
	return NULL;
}

static void
many_threads(void **state)
{
	struct crowd c = {.s = fresh(LIMIT)};
	pthread_t t[THREADS];

	(void)state;
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, in_and_out, &c),
		    0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(stats(c.s).used, 0);
	assert_int_equal(stats(c.s).waiting, 0);
	assert_int_equal(staging_pressure(c.s), 0);
	staging_free(c.s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bounded),
	    cmocka_unit_test(charged_beyond_the_limit),
	    cmocka_unit_test(first_come_first_served),
	    cmocka_unit_test(who_gives_up_makes_way),
	    cmocka_unit_test(shut_down),
	    cmocka_unit_test(pressure),
	    cmocka_unit_test(waits_for_pressure),
	    cmocka_unit_test(keeps_the_floor),
	    cmocka_unit_test(many_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
