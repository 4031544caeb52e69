/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

#include "../cm.h"

static void
starts_empty(void **state)
{
	struct str s = {0};
	char *p;

	(void)state;
	assert_string_equal(str_get(&s), "");
	assert_int_equal(str_error(&s), 0);
	p = str_take(&s);
	assert_string_equal(p, "");
	free(p);
	str_fini(&s);
	str_fini(&s);
}

static void
grows(void **state)
{
	struct str s = {0};
	char *p;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		str_addc(&s, 'x');
		str_add(&s, "yz");
	}
	assert_int_equal(s.len, 30000);
	assert_int_equal(strlen(str_get(&s)), 30000);
	str_reset(&s);
	assert_string_equal(str_get(&s), "");
	str_addn(&s, "a\0b", 3);
	assert_int_equal(s.len, 3);
	assert_memory_equal(str_get(&s), "a\0b", 4);
	p = str_take(&s);
	assert_memory_equal(p, "a\0b", 4);
	free(p);
	assert_int_equal(s.len, 0);
	assert_null(s.s);
}

/* Around the border where the text fits into what is allocated. */
static void
formats_across_borders(void **state)
{
	(void)state;
	for (int width = 0; width < 300; width++) {
		struct str s = {0};

		str_add(&s, "<");
		str_addf(&s, "%*d", width, 7);
		str_add(&s, ">");
		assert_int_equal(s.len, 2 + (width > 1 ? width : 1));
		assert_int_equal(strlen(str_get(&s)), s.len);
		assert_true(str_ends(str_get(&s), "7>"));
		str_fini(&s);
	}
}

static void
comparisons(void **state)
{
	(void)state;
	assert_true(streq("a", "a"));
	assert_false(streq("a", "ab"));
	assert_true(str_starts("vm/10", "vm/"));
	assert_true(str_starts("vm", ""));
	assert_false(str_starts("v", "vm"));
	assert_true(str_ends("a.fidx", ".fidx"));
	assert_false(str_ends("fidx", ".fidx"));
	assert_true(str_ends("x", ""));
}

static void
escapes_what_terminals_obey(void **state)
{
	static const struct {
		const char *in;
		size_t len;
		const char *out;
	} t[] = {
	    {"plain name", 10, "plain name"},
	    {"", 0, ""},
	    {"a\nb\tc", 5, "a\\x0ab\\x09c"},
	    {"\0", 1, "\\x00"},
	    {"\x1b[31m", 5, "\\x1b[31m"},
	    {"\x7f", 1, "\\x7f"},
	    {"a\\b", 3, "a\\x5cb"},
	    {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9,
		"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
	    {"\xff\xfe", 2, "\\xff\\xfe"},
	    {"\x80", 1, "\\x80"},
	    {"\xc3", 1, "\\xc3"},			/* cut off */
	    {"\xe2\x82" "a", 3, "\\xe2\\x82a"},
	    {"\xc0\xaf", 2, "\\xc0\\xaf"},		/* overlong */
	    {"\xe0\x80\xaf", 3, "\\xe0\\x80\\xaf"},
	    {"\xf0\x80\x80\xaf", 4, "\\xf0\\x80\\x80\\xaf"},
	    {"\xed\xa0\x80", 3, "\\xed\\xa0\\x80"},	/* surrogate */
	    {"\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80"},
	    {"\xc2\x9b", 2, "\\xc2\\x9b"},		/* C1: CSI */
	    {"\xc2\xa0", 2, "\xc2\xa0"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct str s = {0};

		str_escape(&s, t[i].in, t[i].len);
		assert_string_equal(str_get(&s), t[i].out);
		str_fini(&s);
	}
}

static void
tells_characters_from_bytes(void **state)
{
	static const struct {
		const char *in;
		size_t len, utf8, printable;
	} t[] = {
	    {"a", 1, 1, 1},
	    {"\n", 1, 1, 0},
	    {"\x7f", 1, 1, 0},
	    {"\xc3\xa4x", 3, 2, 2},
	    {"\xc2\x9b", 2, 2, 0},
	    {"\xc2\xa0", 2, 2, 2},
	    {"\xf4\x8f\xbf\xbf", 4, 4, 4},
	    {"\xf4\x90\x80\x80", 4, 0, 0},
	    {"\xed\xa0\x80", 3, 0, 0},
	    {"\xe0\x9f\xbf", 3, 0, 0},
	    {"\xc1\xbf", 2, 0, 0},
	    {"\xc3", 1, 0, 0},
	    {"\x80", 1, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(str_utf8(t[i].in, t[i].len), t[i].utf8);
		assert_int_equal(str_printable(t[i].in, t[i].len),
		    t[i].printable);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(starts_empty),
	    cmocka_unit_test(grows),
	    cmocka_unit_test(formats_across_borders),
	    cmocka_unit_test(comparisons),
	    cmocka_unit_test(escapes_what_terminals_obey),
	    cmocka_unit_test(tells_characters_from_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
