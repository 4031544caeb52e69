/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/snap_path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "base/str.h"

#include "../cm.h"

static void
groups_are_found(void **state)
{
	struct group_name g;

	(void)state;
	assert_int_equal(snap_path_group("host/web1", &g), 0);
	assert_string_equal(g.ns, "");
	assert_int_equal(g.type, BACKUP_HOST);
	assert_string_equal(g.id, "web1");
	assert_int_equal(snap_path_group("/ns/a/ns/b/vm/100/", &g), 0);
	assert_string_equal(g.ns, "a/b");
	assert_int_equal(g.type, BACKUP_VM);
	assert_string_equal(g.id, "100");
}

static void
snapshots_are_found(void **state)
{
	struct group_name g;
	int64_t t;

	(void)state;
	assert_int_equal(snap_path_snap("ns/a/ct/1/2024-01-01T00:00:00Z", &g,
	    &t), 0);
	assert_string_equal(g.ns, "a");
	assert_int_equal(g.type, BACKUP_CT);
	assert_string_equal(g.id, "1");
	assert_int_equal(t, 1704067200);
}

static void
other_paths_are_not(void **state)
{
	static const char *const paths[] = {"", "/", "host", "host/", "ns/a",
	    "host/web1/2024-01-01T00:00:00Z/root", "host/web1/latest",
	    "host/web1/2024-13-01T00:00:00Z", "other/web1", "host/../web1",
	    "host//web1", "ns/../host/web1", "ns/a/b/host/web1", "host/web 1",
	    "host/web1/2024-01-01T00:00:00Z/../../web2", "host/web1/owner"};
	char *long_path = calloc(1, 5000);
	struct group_name g;
	int64_t t;

	(void)state;
	assert_non_null(long_path);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		assert_int_equal(snap_path_group(paths[i], &g), -EINVAL);
		assert_int_equal(snap_path_snap(paths[i], &g, &t), -EINVAL);
	}
	memset(long_path, 'a', 4999);
	memcpy(long_path, "host/", 5);
	assert_int_equal(snap_path_group(long_path, &g), -EINVAL);
	long_path[900] = '\0';
	assert_int_equal(snap_path_group(long_path, &g), -EINVAL);
	free(long_path);
}

static void
any_is_told_apart(void **state)
{
	static const struct {
		const char *path;
		enum snap_path_kind kind;
		const char *text;
	} cases[] = {
	    {"", SNAP_PATH_NS, "/"},
	    {"//", SNAP_PATH_NS, "/"},
	    {"ns/a", SNAP_PATH_NS, "ns/a"},
	    {"/ns/a/ns/b/", SNAP_PATH_NS, "ns/a/ns/b"},
	    {"vm/100/", SNAP_PATH_GROUP, "vm/100"},
	    {"ns/a/vm/100", SNAP_PATH_GROUP, "ns/a/vm/100"},
	    {"/ct/1/2024-01-01T00:00:00Z", SNAP_PATH_SNAP,
		"ct/1/2024-01-01T00:00:00Z"},
	};
	static const char *const bad[] = {"ns", "ns/a/b", "ns/..", "vm",
	    "ns/a/ns", "ns/.namespace", "vm/1/latest", "x", "ns/a b"};
	struct snap_path p;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct str s = {0};

		assert_int_equal(snap_path_any(cases[i].path, &p), 0);
		assert_int_equal(p.kind, cases[i].kind);
		assert_int_equal(snap_path_text(&p, &s), 0);
		assert_string_equal(str_get(&s), cases[i].text);
		str_fini(&s);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(snap_path_any(bad[i], &p), -EINVAL);
	assert_true(snap_path_is_below("a", ""));
	assert_true(snap_path_is_below("a", "a"));
	assert_true(snap_path_is_below("a/b", "a"));
	assert_false(snap_path_is_below("ab", "a"));
	assert_false(snap_path_is_below("", "a"));
	assert_false(snap_path_is_below("a", "a/b"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(groups_are_found),
	    cmocka_unit_test(snapshots_are_found),
	    cmocka_unit_test(other_paths_are_not),
	    cmocka_unit_test(any_is_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
