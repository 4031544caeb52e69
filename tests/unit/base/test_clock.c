/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/clock.h"

#include <errno.h>

#include "../cm.h"

static void
snapshot_names(void **state)
{
	static const struct {
		const char *text;
		int64_t t;
	} v[] = {
	    {"1970-01-01T00:00:00Z", 0},
	    {"2020-06-26T13:56:05Z", 1593179765},
	    {"1969-12-31T23:59:59Z", -1},	/* what timegm says on error */
	    {"2000-02-29T00:00:00Z", 951782400},
	    {"2038-01-19T03:14:08Z", 2147483648},
	    {"0000-01-01T00:00:00Z", -62167219200},
	    {"9999-12-31T23:59:59Z", 253402300799},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		char b[CLOCK_UTC_LEN + 1];
		int64_t t = 4711;

		assert_int_equal(clock_parse_utc(v[i].text, &t), 0);
		assert_int_equal(t, v[i].t);
		assert_int_equal(clock_format_utc(b, t), 0);
		assert_string_equal(b, v[i].text);
	}
}

static void
times_without_a_name(void **state)
{
	char b[CLOCK_UTC_LEN + 1];

	(void)state;
	assert_int_equal(clock_format_utc(b, 253402300800), -ERANGE);
	assert_int_equal(clock_format_utc(b, -62167219201), -ERANGE);
	assert_int_equal(clock_format_utc(b, INT64_MAX), -ERANGE);
	assert_int_equal(clock_format_utc(b, INT64_MIN), -ERANGE);
}

static void
names_without_a_time(void **state)
{
	static const char *const bad[] = {
	    "", "2020", "2020-06-26T13:56:05", "2020-06-26T13:56:05Z ",
	    " 2020-06-26T13:56:05Z", "2020-06-26t13:56:05Z",
	    "2020-06-26 13:56:05Z", "2020-02-30T00:00:00Z",
	    "2021-02-29T00:00:00Z", "2020-13-01T00:00:00Z",
	    "2020-00-01T00:00:00Z", "2020-01-00T00:00:00Z",
	    "2020-01-01T24:00:00Z", "2020-01-01T00:60:00Z",
	    "2020-01-01T00:00:60Z", "2020-1-1T00:00:00Z",
	    "+020-01-01T00:00:00Z", "2020-01-01T00:00:00.5Z",
	    "2020-01-01T00:00:00+00:00",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int64_t t = 4711;

		if (clock_parse_utc(bad[i], &t) != -EINVAL)
			fail_msg("'%s' was accepted", bad[i]);
		assert_int_equal(t, 4711);
	}
}

static void
other_forms(void **state)
{
	int64_t t = 0;

	(void)state;
	assert_int_equal(clock_parse_iso("2015-10-21T07:28:00.000Z", &t), 0);
	assert_int_equal(t, 1445412480);
	assert_int_equal(clock_parse_iso("2015-10-21T07:28:01Z", &t), 0);
	assert_int_equal(t, 1445412481);
	assert_int_equal(clock_parse_iso("2015-10-21T07:28:01.Z", &t), -EINVAL);
	assert_int_equal(clock_parse_iso("2015-10-21T07:28:01", &t), -EINVAL);
	assert_int_equal(clock_parse_http("Wed, 21 Oct 2015 07:28:00 GMT", &t),
	    0);
	assert_int_equal(t, 1445412480);
	assert_int_equal(clock_parse_http("Wed, 21 Oct 2015 07:28:00 UTC", &t),
	    -EINVAL);
	assert_int_equal(clock_parse_http("Wed, 31 Feb 2015 07:28:00 GMT", &t),
	    -EINVAL);
	assert_int_equal(clock_parse_http("", &t), -EINVAL);
	assert_int_equal(clock_parse_http("Wed, 21 Okt 2015 07:28:00 GMT", &t),
	    -EINVAL);
}

static void
deadlines(void **state)
{
	struct timespec ts, now;
	deadline_t d = deadline_in(60000);

	(void)state;
	assert_in_range(deadline_left(d), 50000, 60000);
	assert_int_equal(deadline_left(1), 0);
	assert_true(deadline_left(0) == UINT64_MAX);
	assert_int_equal(deadline_in(UINT64_MAX), 0);
	clock_gettime(CLOCK_MONOTONIC, &now);
	deadline_timespec(d, &ts);
	assert_in_range(ts.tv_sec, now.tv_sec + 50, now.tv_sec + 60);
	deadline_timespec(0, &ts);
	assert_true(ts.tv_sec > now.tv_sec + 86400);
	deadline_timespec(UINT64_MAX, &ts);
	assert_true(ts.tv_sec > now.tv_sec + 86400);
	assert_true(ts.tv_nsec >= 0 && ts.tv_nsec < 1000000000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(snapshot_names),
	    cmocka_unit_test(times_without_a_name),
	    cmocka_unit_test(names_without_a_time),
	    cmocka_unit_test(other_forms),
	    cmocka_unit_test(deadlines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
