/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/linkmap.h"

#include <stdio.h>

#include "../cm.h"

static void
remembers_the_first(void **state)
{
	struct linkmap m = {0};
	const char *first = NULL;
	char path[32];

	(void)state;
	for (uint64_t i = 0; i < 5000; i++) {
		snprintf(path, sizeof(path), "file-%u", (unsigned)i);
		assert_int_equal(linkmap_put(&m, i * i, path, &first), 0);
	}
	assert_null(first);
	for (uint64_t i = 0; i < 5000; i++) {
		snprintf(path, sizeof(path), "file-%u", (unsigned)i);
		assert_int_equal(linkmap_put(&m, i * i, "again", &first), 1);
		assert_string_equal(first, path);
	}
	linkmap_fini(&m);
	linkmap_fini(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(remembers_the_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
