/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/cost.h"

#include <string.h>

#include "base/str.h"
#include "cmd/option.h"
#include "store/store.h"

#include "../cm.h"

static int
setup(void **state)
{
	struct options *o = malloc(sizeof(*o));

	*state = o;
	return o == NULL ? -1 : options_init(o);
}

static int
teardown(void **state)
{
	options_fini(*state);
	free(*state);
	return 0;
}

static const struct store_counts some = {
    .requests = {[STORE_LIST] = 3, [STORE_GET] = 12},
    .bytes_read = 1258291,
    .retries = 2,
};

static void
set(struct options *o, const char *name, const char *value)
{
	assert_int_equal(option_set_named(o, name, value, OPTION_BY_USER, "t"),
	    0);
}

static void
assert_text(const struct options *o, const struct store_counts *c,
    const char *want)
{
	struct str s = {0};

	cost_text(o, c, &s);
	assert_string_equal(str_get(&s), want);
	str_fini(&s);
}

static void
without_prices(void **state)
{
	static const struct store_counts none;
	json_t *j;

	assert_text(*state, &none, "no requests");
	assert_text(*state, &some, "12 GET, 3 LIST, 1.2 MiB read, 2 retries");
	j = cost_json(*state, &some);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(j,
	    "requests"), "get")), 12);
	assert_int_equal(json_integer_value(json_object_get(j, "bytes_read")),
	    1258291);
	assert_true(json_is_null(json_object_get(j, "price")));
	json_decref(j);
}

static void
with_prices(void **state)
{
	struct options *o = *state;
	struct str s = {0};
	json_t *j, *price;

	set(o, "price-list", "0.005");
	set(o, "price-get", "0.0004");
	assert_text(o, &some,
	    "12 GET, 3 LIST, 1.2 MiB read, 2 retries, 0.0000198");
	set(o, "price_out", "0.09");
	set(o, "currency", "EUR");
	/* 0.000015 + 0.0000048 + 0.000105469 */
	assert_text(o, &some,
	    "12 GET, 3 LIST, 1.2 MiB read, 2 retries, 0.000125 EUR");
	j = cost_json(o, &some);
	price = json_object_get(j, "price");
	assert_string_equal(json_string_value(json_object_get(price,
	    "amount")), "0.000125269");
	assert_string_equal(json_string_value(json_object_get(price,
	    "currency")), "EUR");
	cost_text_json(NULL, j, &s);
	assert_string_equal(str_get(&s),
	    "12 GET, 3 LIST, 1.2 MiB read, 2 retries, 0.000125 EUR");
	str_fini(&s);
	json_decref(j);
}

/* Typed in a terminal of another time. */
static void
any_currency(void **state)
{
	json_t *j;

	set(*state, "currency", "\xa4\x1b[2J");
	assert_text(*state, &some, "12 GET, 3 LIST, 1.2 MiB read, 2 retries, "
	    "0.00 \\xa4\\x1b[2J");
	j = cost_json(*state, &some);
	assert_non_null(j);
	assert_true(json_is_object(json_object_get(j, "price")));
	json_decref(j);
}

static void
what_came_between(void **state)
{
	struct store_counts later = some;
	json_t *before = json_object(), *after = json_object(), *j;
	struct str s = {0};

	set(*state, "price-put", "1");
	later.requests[STORE_PUT] += 7;
	later.bytes_written += 4096;
	json_object_set_new(before, "cost", cost_json(*state, &some));
	json_object_set_new(after, "cost", cost_json(*state, &later));
	j = cost_json_mount(before, after);
	cost_text_json(NULL, j, &s);
	assert_string_equal(str_get(&s), "7 PUT, 4.0 KiB written, 0.00700");
	str_reset(&s);
	/* Another daemon than before: never less than nothing. */
	cost_text_json(json_object_get(after, "cost"),
	    json_object_get(before, "cost"), &s);
	assert_string_equal(str_get(&s), "no requests, 0.00");
	str_fini(&s);
	json_decref(j);
	j = cost_json_mount(before, NULL);
	assert_true(json_is_null(j));
	json_decref(j);
	json_decref(before);
	json_decref(after);
}

static void
estimates(void **state)
{
	struct options *o = *state;

	assert_int_equal(cost_deletes(o, 0), 0);
	assert_int_equal(cost_deletes(o, 1), 1);
	assert_int_equal(cost_deletes(o, 1000), 1);
	assert_int_equal(cost_deletes(o, 1001), 2);
	o->no_multi_delete = true;
	assert_int_equal(cost_deletes(o, 1001), 1001);
}

static void
sums(void **state)
{
	struct store_counts sum = some;

	(void)state;
	cost_add(&sum, &some);
	assert_int_equal(sum.requests[STORE_GET], 24);
	assert_int_equal(sum.bytes_read, 2 * some.bytes_read);
	cost_sub(&sum, &some);
	assert_memory_equal(&sum, &some, sizeof(sum));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(without_prices),
	    T(with_prices),
	    T(any_currency),
	    T(what_came_between),
	    T(estimates),
	    T(sums),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
