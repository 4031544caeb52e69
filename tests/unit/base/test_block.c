/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/block.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../cm.h"

#define MIB ((size_t)1 << 20)
#define THREADS 4

/* Sanitizers get each block as it was asked for, and nothing is kept. */
static bool
is_plain(void)
{
	return block_room(3 * MIB) != 3 * MIB;
}

static void
room_suffices_and_sizes_are_few(void **state)
{
	size_t last = 0, sizes = 0;

	(void)state;
	for (size_t n = BLOCK_MIN; n <= 16 * MIB + 100; n += 997) {
		size_t room = block_room(n);

		assert_true(room >= n);
		sizes += room != last;
		last = room;
	}
	if (!is_plain())
		return;
	assert_in_range(sizes, 6, 8);
	/* A chunk of an image, with what comes with it. */
	assert_true(block_room(4 * MIB + 200) < 4 * MIB + MIB / 8);
	assert_int_equal(block_room(SIZE_MAX - 5), SIZE_MAX - 5);
}

static void
gives_the_last_one_again(void **state)
{
	size_t room = block_room(MIB), other = block_room(5 * MIB);
	void *a = block_new(room), *b = block_new(room), *c;

	(void)state;
	assert_non_null(a);
	assert_non_null(b);
	block_free(a, room);
	block_free(b, room);
	if (!is_plain())
		return;
	c = block_new(other);
	assert_ptr_not_equal(c, a);
	assert_ptr_not_equal(c, b);
	block_free(c, other);
	assert_ptr_equal(block_new(room), b);
	assert_ptr_equal(block_new(room), a);
	block_free(a, room);
	block_free(b, room);
}

/* More than is kept: the oldest go, and sanitizers see that nothing is lost. */
static void
keeps_no_more_than_it_may(void **state)
{
	size_t room = block_room(4 * MIB), n = BLOCK_KEPT_MAX / room + 3;
	void **p = calloc(n, sizeof(*p));

	(void)state;
	for (size_t i = 0; i < n; i++) {
		p[i] = block_new(room);
		memset(p[i], (int)i, room);
	}
	for (size_t i = 0; i < n; i++)
		block_free(p[i], room);
	/* What is kept comes back; the rest is new, or the same by chance. */
	for (size_t i = n; is_plain() && i > 3; i--) {
		void *q = block_new(room);

		assert_ptr_equal(q, p[i - 1]);
		assert_int_equal(*(uint8_t *)q, (uint8_t)(i - 1));
	}
	for (size_t i = n; is_plain() && i > 3; i--)
		block_free(p[i - 1], room);
	room = block_room(2 * BLOCK_KEPT_MAX);
	block_free(block_new(room), room);
	free(p);
}

static void
trims(void **state)
{
	size_t room = block_room(2 * MIB), used = 300001;
	uint8_t *p = block_new(room);

	(void)state;
	memset(p, 7, room);
	block_trim(p, room, used);
	for (size_t i = 0; i < used; i++)
		assert_int_equal(p[i], 7);
	if (is_plain())
		assert_int_equal(p[MIB], 0);
	memset(p, 8, room);
	block_free(p, room);
}

static void *
churn(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	for (int i = 0; i < 2000; i++) {
		size_t room = block_room(BLOCK_MIN << rand_r(&seed) % 4);
		unsigned *p = block_new(room);

		*p = seed;
		p[room / sizeof(*p) - 1] = seed;
		sched_yield();
		if (*p != seed || p[room / sizeof(*p) - 1] != seed)
			return p;
		block_free(p, room);
	}
	return NULL;
}

static void
belongs_to_one_thread_at_a_time(void **state)
{
	pthread_t t[THREADS];

	(void)state;
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, churn,
		    (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++) {
		void *bad;

		pthread_join(t[i], &bad);
		assert_null(bad);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(room_suffices_and_sizes_are_few),
	    cmocka_unit_test(gives_the_last_one_again),
	    cmocka_unit_test(keeps_no_more_than_it_may),
	    cmocka_unit_test(trims),
	    cmocka_unit_test(belongs_to_one_thread_at_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
