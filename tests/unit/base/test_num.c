/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/num.h"

#include <errno.h>

#include "../cm.h"

static void
little_endian_at_any_alignment(void **state)
{
	uint8_t b[9] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
	uint8_t out[9] = {0};

	(void)state;
	assert_int_equal(get_le32(b + 1), 0x04030201);
	assert_int_equal(get_le64(b + 1), 0x0807060504030201ULL);
	put_le64(out + 1, 0x0807060504030201ULL);
	assert_memory_equal(b, out, sizeof(b));
	put_le32(out + 3, 0xdeadbeef);
	assert_int_equal(get_le32(out + 3), 0xdeadbeef);
}

static void
sizes(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t v;
	} t[] = {
	    {"0", 0, 0},
	    {"512", 0, 512},
	    {"512B", 0, 512},
	    {"64K", 0, 65536},
	    {"64k", 0, 65536},
	    {"64KB", 0, 65536},
	    {"64KiB", 0, 65536},
	    {"1.5G", 0, 3 * GIB / 2},
	    {"2TiB", 0, (uint64_t)2 << 40},
	    {"0.5M", 0, MIB / 2},
	    {"1.999999999999999K", 0, 2047},
	    {"15E", 0, (uint64_t)15 << 60},
	    {"18446744073709551615", 0, UINT64_MAX},
	    {"18446744073709551616", -ERANGE, 0},
	    {"16E", -ERANGE, 0},
	    {"15.9999999999E", 0, 0},
	    {"", -EINVAL, 0},
	    {"K", -EINVAL, 0},
	    {"-1", -EINVAL, 0},
	    {"+1", -EINVAL, 0},
	    {" 1", -EINVAL, 0},
	    {"1 ", -EINVAL, 0},
	    {"1.5", -EINVAL, 0},
	    {"1.K", -EINVAL, 0},
	    {".5K", -EINVAL, 0},
	    {"1Ki", -EINVAL, 0},
	    {"1KiBB", -EINVAL, 0},
	    {"1X", -EINVAL, 0},
	    {"0x10", -EINVAL, 0},
	    {"1,5G", -EINVAL, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		uint64_t v = 4711;
		int r = num_size(t[i].text, &v);

		if (r != t[i].r)
			fail_msg("'%s': %d, not %d", t[i].text, r, t[i].r);
		if (r < 0)
			assert_int_equal(v, 4711);
		else if (t[i].v != 0 || t[i].text[0] == '0')
			assert_int_equal(v, t[i].v);
	}
}

static void
durations(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t ms;
	} t[] = {
	    {"30", 0, 30000},
	    {"0", 0, 0},
	    {"500ms", 0, 500},
	    {"5m", 0, 300000},
	    {"24h", 0, 86400000},
	    {"1d", 0, 86400000},
	    {"24h5m", 0, 86700000},
	    {"1d2h3m4s5ms", 0, 93784005},
	    {"18446744073709551615ms", 0, UINT64_MAX},
	    {"18446744073709551616ms", -ERANGE, 0},
	    {"18446744073709551615s", -ERANGE, 0},
	    {"18446744073709551615", -ERANGE, 0},
	    {"1s18446744073709551615ms", -ERANGE, 0},
	    {"", -EINVAL, 0},
	    {"s", -EINVAL, 0},
	    {"5m24h", -EINVAL, 0},
	    {"5m5m", -EINVAL, 0},
	    {"5m30", -EINVAL, 0},
	    {"1.5h", -EINVAL, 0},
	    {"-1s", -EINVAL, 0},
	    {"1 s", -EINVAL, 0},
	    {"1sm", -EINVAL, 0},
	    {"1y", -EINVAL, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		uint64_t ms = 4711;
		int r = num_duration(t[i].text, &ms);

		if (r != t[i].r)
			fail_msg("'%s': %d, not %d", t[i].text, r, t[i].r);
		assert_int_equal(ms, r < 0 ? 4711 : t[i].ms);
	}
}

static void
plain_numbers(void **state)
{
	uint64_t v = 0;

	(void)state;
	assert_int_equal(num_u64("18446744073709551615", &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(num_u64("007", &v), 0);
	assert_int_equal(v, 7);
	assert_int_equal(num_u64("18446744073709551616", &v), -ERANGE);
	assert_int_equal(num_u64("", &v), -EINVAL);
	assert_int_equal(num_u64("1k", &v), -EINVAL);
	assert_int_equal(num_u64("-1", &v), -EINVAL);
	assert_int_equal(v, 7);
}

static void
truth(void **state)
{
	bool b = false;

	(void)state;
	assert_int_equal(num_bool("yes", &b), 0);
	assert_true(b);
	assert_int_equal(num_bool("off", &b), 0);
	assert_false(b);
	assert_int_equal(num_bool("1", &b), 0);
	assert_true(b);
	assert_int_equal(num_bool("false", &b), 0);
	assert_false(b);
	assert_int_equal(num_bool("", &b), -EINVAL);
	assert_int_equal(num_bool("2", &b), -EINVAL);
	assert_int_equal(num_bool("Yes", &b), -EINVAL);
}

static void
sizes_for_people(void **state)
{
	char b[NUM_SIZE_MAX];

	(void)state;
	assert_string_equal(num_format_size(b, 0), "0 B");
	assert_string_equal(num_format_size(b, 1023), "1023 B");
	assert_string_equal(num_format_size(b, 1024), "1.0 KiB");
	assert_string_equal(num_format_size(b, 1536 * MIB), "1.5 GiB");
	assert_string_equal(num_format_size(b, MIB - 1), "1.0 MiB");
	assert_string_equal(num_format_size(b, UINT64_MAX), "16.0 EiB");
}

static void
hex(void **state)
{
	uint8_t in[] = {0x00, 0x1f, 0xab, 0xff}, out[4];
	char text[9];

	(void)state;
	hex_encode(text, in, sizeof(in));
	assert_string_equal(text, "001fabff");
	hex_encode(text, in, 0);
	assert_string_equal(text, "");
	assert_int_equal(hex_decode(out, 4, "001fabff"), 0);
	assert_memory_equal(in, out, 4);
	assert_int_equal(hex_decode(out, 0, ""), 0);
	/* Too short, too long, upper case, odd, not hex at all. */
	assert_int_equal(hex_decode(out, 4, "001fab"), -EINVAL);
	assert_int_equal(hex_decode(out, 4, "001fabf"), -EINVAL);
	assert_int_equal(hex_decode(out, 4, "001fabff0"), -EINVAL);
	assert_int_equal(hex_decode(out, 4, "001fABff"), -EINVAL);
	assert_int_equal(hex_decode(out, 4, "001fabfg"), -EINVAL);
	assert_int_equal(hex_decode(out, 4, ""), -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(little_endian_at_any_alignment),
	    cmocka_unit_test(sizes),
	    cmocka_unit_test(durations),
	    cmocka_unit_test(plain_numbers),
	    cmocka_unit_test(truth),
	    cmocka_unit_test(sizes_for_people),
	    cmocka_unit_test(hex),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
