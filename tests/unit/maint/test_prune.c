/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/prune.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"

#include "../cm.h"

#define T0 1704067200	/* 2024-01-01T00:00:00Z */

static const char *
told(const struct prune_snap *s)
{
	switch (s->mark) {
	case PRUNE_REMOVE:
		return "remove";
	case PRUNE_KEEP:
		return s->rule[0] != '\0' ? s->rule : "keep";
	case PRUNE_KEEP_PARTIAL:
		return "keep-partial";
	case PRUNE_REMOVE_PARTIAL:
		return "remove-partial";
	case PRUNE_PROTECTED:
		return "protected";
	}
	return "?";
}

static uint64_t
keep(const json_t *c, const char *rule)
{
	return (uint64_t)json_integer_value(
	    json_object_get(json_object_get(c, "keep"), rule));
}

static void
run_case(const json_t *c)
{
	const char *name = json_string_value(json_object_get(c, "name"));
	const json_t *snaps = json_object_get(c, "snapshots"), *s;
	const struct prune_keep k = {
	    .last = keep(c, "keep-last"),
	    .hourly = keep(c, "keep-hourly"),
	    .daily = keep(c, "keep-daily"),
	    .weekly = keep(c, "keep-weekly"),
	    .monthly = keep(c, "keep-monthly"),
	    .yearly = keep(c, "keep-yearly"),
	};
	size_t i, n = json_array_size(snaps);
	struct prune_snap *v = calloc(n + 1, sizeof(*v));

	assert_non_null(name);
	assert_non_null(v);
	assert_int_equal(setenv("TZ", json_string_value(
	    json_object_get(c, "tz")), 1), 0);
	/* The table has the newest first; any order will do. */
	json_array_foreach(snaps, i, s) {
		struct prune_snap *p = &v[(i * 7 + 3) % n];

		if (n % 7 == 0)
			p = &v[n - 1 - i];
		assert_int_equal(p->time, 0);
		assert_int_equal(clock_parse_utc(json_string_value(
		    json_object_get(s, "time")), &p->time), 0);
		p->finished = !json_is_false(json_object_get(s, "finished"));
		p->protected = json_is_true(json_object_get(s, "protected"));
	}
	assert_int_equal(prune_compute(v, n, &k), 0);
	json_array_foreach(snaps, i, s) {
		const char *want = json_string_value(
		    json_object_get(s, "mark"));
		char time[CLOCK_UTC_LEN + 1];

		clock_format_utc(time, v[i].time);
		if (!streq(time, json_string_value(
		    json_object_get(s, "time"))))
			fail_msg("%s: %s is number %zu", name, time, i);
		if (!streq(told(&v[i]), want))
			fail_msg("%s: %s: %s, not %s", name, time,
			    told(&v[i]), want);
	}
	free(v);
}

static void
the_table_of_cases(void **state)
{
	char path[4096];
	json_t *cases;
	json_error_t e;

	(void)state;
	snprintf(path, sizeof(path), "%s/prune/cases.json",
	    getenv("TEST_DATA"));
	cases = json_load_file(path, 0, &e);
	if (cases == NULL)
		fail_msg("%s:%d: %s", path, e.line, e.text);
	assert_true(json_array_size(cases) > 20);
	for (size_t i = 0; i < json_array_size(cases); i++)
		run_case(json_array_get(cases, i));
	json_decref(cases);
}

static void
without_rules_all_stay(void **state)
{
	const struct prune_keep none = {0};
	struct prune_snap v[] = {
	    {.time = T0, .finished = true},
	    {.time = T0 + 1},
	    {.time = T0 + 2, .finished = true, .protected = true},
	};

	(void)state;
	assert_int_equal(prune_compute(v, ARRAY_SIZE(v), &none), 0);
	assert_int_equal(v[0].mark, PRUNE_PROTECTED);
	assert_int_equal(v[1].mark, PRUNE_KEEP_PARTIAL);
	assert_int_equal(v[2].mark, PRUNE_KEEP);
	assert_int_equal(prune_compute(NULL, 0, &none), 0);
}

/* As many as anybody has, and numbers as large as they get. */
static void
many_and_large(void **state)
{
	const struct prune_keep k = {.last = 3, .hourly = 10, .daily = 10,
	    .weekly = UINT64_MAX, .monthly = 2, .yearly = UINT64_MAX};
	const size_t n = 200000;
	struct prune_snap *v = calloc(n, sizeof(*v));
	size_t counts[5] = {0};

	(void)state;
	assert_non_null(v);
	setenv("TZ", "UTC0", 1);
	for (size_t i = 0; i < n; i++) {
		v[i].time = T0 + (int64_t)(i * 7919 % n) * 600;
		v[i].finished = true;
	}
	assert_int_equal(prune_compute(v, n, &k), 0);
	for (size_t i = 0; i < n; i++) {
		counts[v[i].mark]++;
		assert_true(i == 0 || v[i].time < v[i - 1].time);
	}
	/* 1388 days and 20 hours; of each week but those of the newest days
	 * one is kept, and nothing is left for months. */
	assert_int_equal(counts[PRUNE_KEEP] + counts[PRUNE_REMOVE], n);
	assert_in_range(counts[PRUNE_KEEP], 23 + 195, 23 + 199);
	free(v);
}

static void
times_without_a_calendar(void **state)
{
	const struct prune_keep last = {.last = 1}, daily = {.daily = 1};
	struct prune_snap v = {.time = INT64_MAX, .finished = true};

	(void)state;
	assert_int_equal(prune_compute(&v, 1, &last), 0);
	assert_int_equal(v.mark, PRUNE_KEEP);
	assert_int_equal(prune_compute(&v, 1, &daily), -EOVERFLOW);
	v.time = INT64_MIN;
	assert_int_equal(prune_compute(&v, 1, &daily), -EOVERFLOW);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_table_of_cases),
	    cmocka_unit_test(without_rules_all_stay),
	    cmocka_unit_test(many_and_large),
	    cmocka_unit_test(times_without_a_calendar),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
