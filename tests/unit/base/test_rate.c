/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/rate.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <unistd.h>

#include "../cm.h"

static void
burst_then_debt(void **state)
{
	struct rate *r = NULL;

	(void)state;
	assert_int_equal(rate_new(10, 3, &r), 0);
	assert_int_equal(rate_take(r, 1), 0);
	assert_int_equal(rate_take(r, 1), 0);
	assert_int_equal(rate_take(r, 1), 0);
	/* Each further one costs 100 ms more. */
	assert_in_range(rate_take(r, 1), 50, 101);
	assert_in_range(rate_take(r, 1), 150, 201);
	assert_in_range(rate_take(r, 10), 1100, 1201);
	rate_free(r);
}

static void
who_cannot_wait_leaves_no_debt(void **state)
{
	struct rate *r = NULL;
	uint64_t ms;

	(void)state;
	assert_int_equal(rate_new(10, 1, &r), 0);
	assert_int_equal(rate_take_within(r, 1, 0, &ms), 0);
	assert_int_equal(ms, 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(rate_take_within(r, 1, 20, &ms), -ETIMEDOUT);
	assert_int_equal(rate_take_within(r, 1, 200, &ms), 0);
	assert_in_range(ms, 1, 101);
	rate_free(r);
}

static void
refills(void **state)
{
	struct rate *r = NULL;

	(void)state;
	assert_int_equal(rate_new(1000, 5, &r), 0);
	assert_true(rate_take(r, 25) > 0);
	usleep(60000);
	/* Full again, but not more than full. */
	assert_int_equal(rate_take(r, 5), 0);
	assert_true(rate_take(r, 50) >= 45);
	rate_free(r);
}

static void
no_limit_and_nonsense(void **state)
{
	struct rate *r = NULL;

	(void)state;
	assert_int_equal(rate_new(0, 0, &r), 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(rate_take(r, 1e9), 0);
	rate_free(r);
	rate_free(NULL);
	r = NULL;
	assert_int_equal(rate_new(-1, 0, &r), -EINVAL);
	assert_int_equal(rate_new(1, -1, &r), -EINVAL);
	assert_int_equal(rate_new(NAN, 1, &r), -EINVAL);
	assert_null(r);
	assert_int_equal(rate_new(1e-300, 0, &r), 0);
	assert_true(rate_take(r, 1e300) > 1000);
	rate_free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(burst_then_debt),
	    cmocka_unit_test(who_cannot_wait_leaves_no_debt),
	    cmocka_unit_test(refills),
	    cmocka_unit_test(no_limit_and_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
