/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/nearest.h"

#include <string.h>

#include "../cm.h"

static void
distances(void **state)
{
	char long_name[200];

	(void)state;
	assert_int_equal(nearest_distance("", ""), 0);
	assert_int_equal(nearest_distance("mount", "mount"), 0);
	assert_int_equal(nearest_distance("", "abc"), 3);
	assert_int_equal(nearest_distance("abc", ""), 3);
	assert_int_equal(nearest_distance("cache-sise", "cache-size"), 1);
	assert_int_equal(nearest_distance("endpiont", "endpoint"), 1);
	assert_int_equal(nearest_distance("ca", "abc"), 3);
	assert_int_equal(nearest_distance("kitten", "sitting"), 3);
	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	assert_true(nearest_distance(long_name, "x") > 20);
	assert_int_equal(nearest_distance(long_name, long_name), 0);
}

static const char *
best(const char *wanted)
{
	static const char *const names[] = {
	    "mount", "umount", "ls", "cat", "export", "check", "refresh",
	    "status"};
	struct nearest n;

	nearest_init(&n, wanted);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		nearest_offer(&n, names[i]);
	return n.best;
}

static void
guesses(void **state)
{
	(void)state;
	assert_string_equal(best("unmount"), "umount");
	assert_string_equal(best("mout"), "mount");
	assert_string_equal(best("refrehs"), "refresh");
	assert_string_equal(best("stat"), "status");
	assert_null(best("nonsense"));
	assert_null(best("xyzzy"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(distances),
	    cmocka_unit_test(guesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
