/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/gc_when.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/num.h"

#include "../cm.h"

#define DAY 86400
/* 2026-03-28T12:00:00Z: in Berlin the clock goes forward on the 29th. */
#define NOON 1774699200

static void
times_are_understood(void **state)
{
	static const char *const bad[] = {"", "hourly", "24:00", "12:60",
	    "1:00", "12:0", "12:00:00", "0", "500ms", "-1h", "x", "400d"};
	struct gc_when w;

	(void)state;
	assert_int_equal(gc_when_parse("daily", &w), 0);
	assert_int_equal(w.interval + w.hour + w.minute, 0);
	assert_int_equal(gc_when_parse("03:45", &w), 0);
	assert_int_equal(w.interval, 0);
	assert_int_equal(w.hour, 3);
	assert_int_equal(w.minute, 45);
	assert_int_equal(gc_when_parse("12h", &w), 0);
	assert_int_equal(w.interval, 12 * 3600);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(gc_when_parse(bad[i], &w), -EINVAL);
}

static void
an_interval_runs_from_the_last(void **state)
{
	const struct gc_when w = {.interval = 3600};

	(void)state;
	assert_int_equal(gc_when_next(&w, 0, 1000000), 1003600);
	assert_int_equal(gc_when_next(&w, 1000000, 1001000), 1003600);
	/* Missed: at once. */
	assert_int_equal(gc_when_next(&w, 1000000, 2000000), 1003600);
	/* A clock that was wrong. */
	assert_int_equal(gc_when_next(&w, 3000000, 2000000), 2003600);
}

static void
a_time_of_day_is_local(void **state)
{
	const struct gc_when w = {.hour = 3, .minute = 30};
	const struct gc_when gone = {.hour = 2, .minute = 30};

	(void)state;
	setenv("TZ", "UTC", 1);
	tzset();
	assert_int_equal(gc_when_next(&w, 0, NOON), NOON + 15 * 3600 + 1800);
	/* The time itself was then. */
	assert_int_equal(gc_when_next(&w, NOON + 15 * 3600 + 1800,
	    NOON + 15 * 3600 + 1801), NOON + DAY + 15 * 3600 + 1800);
	/* Days were missed: one is made up for. */
	assert_true(gc_when_next(&w, NOON - 5 * DAY, NOON) < NOON);
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	assert_int_equal(gc_when_next(&w, 0, NOON), NOON + 13 * 3600 + 1800);
	/* A time that there is not that day is not waited for for ever. */
	assert_true(gc_when_next(&gone, 0, NOON) > NOON);
	assert_true(gc_when_next(&gone, 0, NOON) < NOON + DAY);
	unsetenv("TZ");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(times_are_understood),
	    cmocka_unit_test(an_interval_runs_from_the_last),
	    cmocka_unit_test(a_time_of_day_is_local),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
