/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/show.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd/exits.h"

#include "../cm.h"

static void
modes(void **state)
{
	char b[11];

	(void)state;
	assert_string_equal(show_mode(S_IFDIR | 0755, b), "drwxr-xr-x");
	assert_string_equal(show_mode(S_IFREG | 04750, b), "-rwsr-x---");
	assert_string_equal(show_mode(S_IFREG | 02640, b), "-rw-r-S---");
	assert_string_equal(show_mode(S_IFDIR | 01777, b), "drwxrwxrwt");
	assert_string_equal(show_mode(S_IFLNK | 0777, b), "lrwxrwxrwx");
	assert_string_equal(show_mode(S_IFSOCK, b), "s---------");
}

static void
names_in_json(void **state)
{
	json_t *j = json_object();

	(void)state;
	assert_int_equal(show_json_name(j, "path", "\xc3\xa4"), 0);
	assert_string_equal(json_string_value(json_object_get(j, "path")),
	    "\xc3\xa4");
	assert_null(json_object_get(j, "path_hex"));
	assert_int_equal(show_json_name(j, "name", "a\xff"), 0);
	assert_string_equal(json_string_value(json_object_get(j, "name")),
	    "a\\xff");
	assert_string_equal(json_string_value(json_object_get(j, "name_hex")),
	    "61ff");
	json_decref(j);
}

static void
statuses(void **state)
{
	(void)state;
	assert_int_equal(exits_of(0), EXIT_OK);
	assert_int_equal(exits_of(-EBADMSG), EXIT_DAMAGED);
	assert_int_equal(exits_of(-ETIMEDOUT), EXIT_UNREACHABLE);
	assert_int_equal(exits_of(-EHOSTDOWN), EXIT_UNREACHABLE);
	assert_int_equal(exits_of(-EACCES), EXIT_DENIED);
	assert_int_equal(exits_of(-ENOKEY), EXIT_DENIED);
	assert_int_equal(exits_of(-ENOENT), EXIT_FAILED);
	assert_int_equal(show_worst(EXIT_DAMAGED, EXIT_FAILED), EXIT_DAMAGED);
	assert_int_equal(show_worst(EXIT_OK, EXIT_FAILED), EXIT_FAILED);
	assert_int_equal(show_worst(EXIT_DENIED, EXIT_DAMAGED), EXIT_DENIED);
	assert_int_equal(exits_of(-EDQUOT), EXIT_LIMIT);
	assert_int_equal(show_worst(EXIT_LIMIT, EXIT_DENIED), EXIT_LIMIT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(modes),
	    cmocka_unit_test(names_in_json),
	    cmocka_unit_test(statuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
