/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/price.h"

#include <errno.h>

#include "base/num.h"
#include "store/store.h"

#include "../cm.h"

static void
texts_are_exact(void **state)
{
	static const struct {
		const char *text;
		uint64_t price;
	} good[] = {
	    {"0", 0}, {"5", 5 * PRICE_UNIT}, {"0.005", 5000000},
	    {"0.000000001", 1}, {"007.50", 7500000000}, {"0.1", 100000000},
	    {"999999.999999999", PRICE_MAX - 1}, {"1000000", PRICE_MAX},
	};
	static const struct {
		const char *text;
		int err;
	} bad[] = {
	    {"", -EINVAL}, {".", -EINVAL}, {".5", -EINVAL}, {"5.", -EINVAL},
	    {"-1", -EINVAL}, {"+1", -EINVAL}, {" 1", -EINVAL},
	    {"1 ", -EINVAL}, {"1e3", -EINVAL}, {"1,5", -EINVAL},
	    {"1.2.3", -EINVAL}, {"0x1", -EINVAL}, {"nan", -EINVAL},
	    {"0.0000000001", -ERANGE}, {"1000000.000000001", -ERANGE},
	    {"1000001", -ERANGE}, {"99999999999999999999999", -ERANGE},
	};
	uint64_t v;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(price_parse(good[i].text, &v), 0);
		assert_int_equal(v, good[i].price);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		v = 7;
		assert_int_equal(price_parse(bad[i].text, &v), bad[i].err);
		assert_int_equal(v, 7);
	}
}

static void
each_verb_has_its_price(void **state)
{
	static const struct prices p = {
	    .list = 1 * PRICE_UNIT,
	    .get = 10 * PRICE_UNIT,
	    .put = 100 * PRICE_UNIT,
	    .del = 1000 * PRICE_UNIT,
	    .out = 10000 * PRICE_UNIT,
	    .in = 100000 * PRICE_UNIT,
	};
	static const uint64_t want[STORE_VERBS] = {
	    [STORE_LIST] = 1, [STORE_GET] = 10, [STORE_STAT] = 10,
	    [STORE_PUT] = 100, [STORE_COPY] = 100, [STORE_DELETE] = 1000,
	};
	struct store_counts c;

	(void)state;
	for (int v = 0; v < STORE_VERBS; v++) {
		c = (struct store_counts){0};
		c.requests[v] = 1000;
		assert_int_equal(price_of(&p, &c), want[v] * PRICE_UNIT);
	}
	c = (struct store_counts){.bytes_read = GIB / 2};
	assert_int_equal(price_of(&p, &c), 5000 * PRICE_UNIT);
	c = (struct store_counts){.bytes_written = 3 * GIB};
	assert_int_equal(price_of(&p, &c), 300000 * PRICE_UNIT);
}

/* As somebody would work it out on paper. */
static void
a_bill(void **state)
{
	static const struct prices p = {
	    .list = 5000000, .get = 400000, .put = 5000000, .out = 90000000,
	};
	struct store_counts c = {
	    .requests = {[STORE_LIST] = 1234, [STORE_GET] = 56789,
		[STORE_PUT] = 1, [STORE_DELETE] = 99},
	    .bytes_read = 10 * GIB + 1,
	    .bytes_written = 77 * GIB,
	};

	(void)state;
	/* 0.00617 + 0.0227156 + 0.000005 + 0.9 + 0.000000000084 */
	assert_int_equal(price_of(&p, &c), 928890600);
	c = (struct store_counts){.requests[STORE_GET] = 1};
	assert_int_equal(price_of(&p, &c), 400);
	/* A byte of 10 GiB more is lost, half a unit is not. */
	c = (struct store_counts){.bytes_read = 5};
	assert_int_equal(price_of(&p, &c), 0);
	c = (struct store_counts){.bytes_read = 6};
	assert_int_equal(price_of(&p, &c), 1);
}

static void
no_sum_wraps(void **state)
{
	static const struct prices dear = {
	    PRICE_MAX, PRICE_MAX, PRICE_MAX, PRICE_MAX, PRICE_MAX, PRICE_MAX,
	};
	struct store_counts c = {
	    .bytes_read = UINT64_MAX,
	    .bytes_written = UINT64_MAX,
	};

	(void)state;
	assert_int_equal(price_of(&dear, &c), UINT64_MAX);
	for (int v = 0; v < STORE_VERBS; v++)
		c.requests[v] = UINT64_MAX / 2;
	assert_int_equal(price_of(&dear, &c), UINT64_MAX);
	c = (struct store_counts){.bytes_read = GIB - 1};
	assert_int_equal(price_of(&dear, &c),
	    PRICE_MAX - (PRICE_MAX + GIB / 2) / GIB);
}

static void
for_people(void **state)
{
	static const struct {
		uint64_t amount;
		const char *exact, *brief;
	} v[] = {
	    {0, "0.0", "0.00"},
	    {1, "0.000000001", "0.000000001"},
	    {19900, "0.0000199", "0.0000199"},
	    {19949, "0.000019949", "0.0000199"},
	    {19950, "0.00001995", "0.0000200"},
	    {123456789, "0.123456789", "0.123"},
	    {100000000, "0.1", "0.100"},
	    {999999999, "0.999999999", "1.000"},
	    {PRICE_UNIT, "1.0", "1.00"},
	    {12345678912, "12.345678912", "12.35"},
	    {UINT64_MAX, "18446744073.709551615", "18446744073.70"},
	};
	char buf[PRICE_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		assert_string_equal(price_exact(buf, v[i].amount), v[i].exact);
		assert_string_equal(price_short(buf, v[i].amount), v[i].brief);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(texts_are_exact),
	    cmocka_unit_test(each_verb_has_its_price),
	    cmocka_unit_test(a_bill),
	    cmocka_unit_test(no_sum_wraps),
	    cmocka_unit_test(for_people),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
