/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "repo/repo.h"
#include "base/num.h"
#include "repo/change_list.h"
#include "repo/tree_diff.h"

#include "../cm.h"

#define T1 "2024-01-01T00:00:00Z"
#define T2 "2024-01-02T00:00:00Z"

static struct tree *
build(const char *const *keys)
{
	struct tree_builder *b;
	struct tree *t;

	assert_int_equal(tree_builder_new(&b), 0);
	for (; *keys != NULL; keys++)
		assert_int_equal(tree_builder_add(b, *keys, strlen(*keys),
		    1000, "e1"), 0);
	assert_int_equal(tree_builder_finish(b, &t), 0);
	return t;
}

static void
nothing_is_an_empty_root(void **state)
{
	const char *keys[] = {NULL};
	struct tree *t = build(keys);

	(void)state;
	assert_int_equal(t->n_ns, 1);
	assert_string_equal(t->root->path, "");
	assert_string_equal(t->root->name, "");
	assert_null(t->root->parent);
	assert_int_equal(t->root->n_children, 0);
	assert_int_equal(t->root->n_groups, 0);
	assert_ptr_equal(tree_find_ns(t, ""), t->root);
	tree_unref(t);
}

static void
builds_the_hierarchy_from_keys_in_any_order(void **state)
{
	const char *keys[] = {
	    ".cnt/vm/100/" T2 "/index.json.blob",
	    ".cnt/ns/b/ns/x/host/h/" T1 "/index.json.blob",
	    ".cnt/vm/9/owner",
	    ".cnt/ns/a/.namespace",
	    ".cnt/vm/100/" T1 "/.protected",
	    ".cnt/vm/100/" T1 "/index.json.blob",
	    ".cnt/vm/100/" T1 "/drive-scsi0.img.fidx",
	    ".cnt/host/web/" T1 "/root.pxar.didx",
	    ".cnt/vm/100/owner",
	    ".cnt/vm/100/notes",
	    ".cnt/vm/abc/owner",
	    ".cnt/ct/5/owner",
	    ".cnt/ns/a-b/.namespace",
	    ".cnt/ns/a/ns/z/.namespace",
	    NULL,
	};
	struct tree *t = build(keys);
	const struct tree_group *g;
	const struct tree_snap *s;
	const struct tree_ns *ns;
	char key[KEY_MAX + 1];

	(void)state;
	assert_int_equal(t->n_ignored, 0);
	assert_int_equal(t->n_ns, 6);
	assert_int_equal(t->root->n_children, 3);
	assert_string_equal(t->root->children[0]->path, "a");
	assert_string_equal(t->root->children[1]->path, "a-b");
	assert_string_equal(t->root->children[2]->path, "b");
	assert_string_equal(t->root->children[0]->children[0]->name, "z");
	ns = tree_find_ns(t, "b/x");
	assert_non_null(ns);
	assert_string_equal(ns->name, "x");
	assert_string_equal(ns->parent->path, "b");
	assert_int_equal(ns->n_groups, 1);
	assert_null(tree_find_ns(t, "b/y"));
	assert_null(tree_find_ns(t, "x"));

	/* By type, numbers as numbers, then names. */
	assert_int_equal(t->root->n_groups, 5);
	assert_int_equal(t->root->groups[0].type, BACKUP_CT);
	assert_string_equal(t->root->groups[1].id, "web");
	assert_string_equal(t->root->groups[2].id, "9");
	assert_string_equal(t->root->groups[3].id, "100");
	assert_string_equal(t->root->groups[4].id, "abc");

	g = tree_find_group(t->root, BACKUP_VM, "100");
	assert_non_null(g);
	assert_null(tree_find_group(t->root, BACKUP_HOST, "100"));
	assert_int_equal(g->n_snaps, 2);
	assert_string_equal(g->snaps[0].name, T1);
	assert_true(g->snaps[0].protected);
	assert_true(g->snaps[0].finished);
	assert_int_equal(g->snaps[0].n_files, 2);
	assert_string_equal(g->snaps[0].files[0].name, "drive-scsi0.img.fidx");
	assert_false(g->snaps[1].protected);
	assert_ptr_equal(tree_latest(g), &g->snaps[1]);
	s = tree_find_snap(g, 1704067200);
	assert_ptr_equal(s, &g->snaps[0]);
	assert_null(tree_find_snap(g, 1704067201));
	assert_non_null(tree_find_file(s, "index.json.blob"));
	assert_null(tree_find_file(s, ".protected"));
	assert_int_equal(tree_file_key(&s->files[0], key), 0);
	assert_string_equal(key, ".cnt/vm/100/" T1 "/drive-scsi0.img.fidx");
	assert_int_equal(s->files[0].size, strlen(key));
	assert_string_equal(s->files[0].etag, "e1");
	assert_ptr_equal(s->files[0].snap, s);
	assert_int_equal(tree_file_key(g->notes, key), 0);
	assert_string_equal(key, ".cnt/vm/100/notes");
	assert_null(g->notes->snap);
	assert_int_equal(tree_file_key(&ns->groups[0].snaps[0].files[0], key),
	    0);
	assert_string_equal(key,
	    ".cnt/ns/b/ns/x/host/h/" T1 "/index.json.blob");

	g = tree_find_group(t->root, BACKUP_HOST, "web");
	assert_false(g->snaps[0].finished);
	assert_null(tree_latest(g));
	assert_null(g->owner);
	assert_int_equal(t->n_groups, 6);
	assert_int_equal(t->n_snaps, 4);
	assert_int_equal(t->n_files, 5);
	tree_unref(t);
}

static void
what_is_none_of_the_format_is_counted_and_left_alone(void **state)
{
	const char *keys[] = {
	    ".cnt/README",
	    ".cnt/foo/bar",
	    ".cnt/host/",
	    ".cnt/host/file",
	    ".cnt/host/x/not-a-time/f.blob",
	    ".cnt/host/x/2024-13-01T00:00:00Z/index.json.blob",
	    ".cnt/host/x/" T1 "/stray",
	    ".cnt/host/x/" T1 "/../../owner",
	    ".cnt/host/../" T1 "/index.json.blob",
	    ".cnt/ns/../host/x/owner",
	    ".cnt/ns/a b/.namespace",
	    ".cnt//double/x",
	    ".cnt/host/x/" T1 "/index.json.blob/more",
	    ".cnt/ns/1/ns/2/ns/3/ns/4/ns/5/ns/6/ns/7/ns/8/.namespace",
	    "",
	    "/",
	    ".chunks/0000/00",
	    NULL,
	};
	struct tree *t = build(keys);

	(void)state;
	assert_int_equal(t->n_ignored, 17);
	assert_int_equal(t->n_groups, 0);
	assert_int_equal(t->n_ns, 1);
	tree_unref(t);
}

static void
one_object_told_twice_is_one(void **state)
{
	const char *keys[] = {
	    ".cnt/host/x/" T1 "/index.json.blob",
	    ".cnt/host/x/owner",
	    ".cnt/host/x/" T1 "/index.json.blob",
	    ".cnt/host/x/owner",
	    ".cnt/ns/a/.namespace",
	    ".cnt/ns/a/.namespace",
	    NULL,
	};
	struct tree *t = build(keys);

	(void)state;
	assert_int_equal(t->n_files, 1);
	assert_int_equal(t->n_snaps, 1);
	assert_int_equal(t->n_groups, 1);
	assert_int_equal(t->n_ns, 2);
	tree_unref(t);
}

static void
notes_alone_make_no_group(void **state)
{
	const char *keys[] = {
	    ".cnt/host/a/notes",
	    ".cnt/host/b/owner",
	    ".cnt/host/c/notes",
	    ".cnt/ns/n/host/d/notes",
	    ".cnt/ns/n/host/e/" T1 "/.protected",
	    NULL,
	};
	struct tree *t = build(keys);
	const struct tree_ns *n = tree_find_ns(t, "n");

	(void)state;
	assert_int_equal(t->root->n_groups, 1);
	assert_string_equal(t->root->groups[0].id, "b");
	assert_int_equal(n->n_groups, 1);
	assert_string_equal(n->groups[0].id, "e");
	assert_int_equal(n->groups[0].n_snaps, 1);
	assert_int_equal(n->groups[0].snaps[0].n_files, 0);
	assert_int_equal(t->n_groups, 2);
	assert_int_equal(t->n_ignored, 3);
	tree_unref(t);
}

static void
equal_numbers_are_different_groups(void **state)
{
	const char *keys[] = {
	    ".cnt/vm/7/owner", ".cnt/vm/007/owner", ".cnt/vm/07/owner", NULL};
	struct tree *t = build(keys);

	(void)state;
	assert_int_equal(t->root->n_groups, 3);
	assert_string_equal(tree_find_group(t->root, BACKUP_VM, "07")->id,
	    "07");
	assert_string_equal(tree_find_group(t->root, BACKUP_VM, "007")->id,
	    "007");
	tree_unref(t);
}

static void
many_objects_stay_in_order(void **state)
{
	struct tree_builder *b;
	struct tree *t;
	char key[256], when[CLOCK_UTC_LEN + 1];
	unsigned i, k, n = 300, m = 20;
	const struct tree_group *g;

	(void)state;
	assert_int_equal(tree_builder_new(&b), 0);
	for (k = 0; k < m; k++) {
		for (i = 0; i < n; i++) {
			/* Neither in order of groups nor of times. */
			clock_format_utc(when, 1000000 + (k * 7 % m) * 3600);
			snprintf(key, sizeof(key),
			    ".cnt/vm/%u/%s/index.json.blob", i * 37 % n, when);
			assert_int_equal(tree_builder_add(b, key, 1, 2, ""), 0);
		}
	}
	assert_int_equal(tree_builder_finish(b, &t), 0);
	assert_int_equal(t->root->n_groups, n);
	assert_int_equal(t->n_snaps, n * m);
	for (i = 0; i < n; i++) {
		g = &t->root->groups[i];
		assert_int_equal(atoi(g->id), i);
		assert_int_equal(g->n_snaps, m);
		for (k = 0; k < m; k++)
			assert_int_equal(g->snaps[k].time, 1000000 + k * 3600);
	}
	tree_unref(t);
}

static void
differences_are_counted(void **state)
{
	const char *old_keys[] = {
	    ".cnt/host/a/owner",
	    ".cnt/host/a/" T1 "/index.json.blob",
	    ".cnt/host/a/" T1 "/a.blob",
	    ".cnt/host/b/owner",
	    ".cnt/host/b/" T1 "/index.json.blob",
	    ".cnt/ns/gone/.namespace",
	    NULL,
	};
	const char *new_keys[] = {
	    ".cnt/host/a/owner",
	    ".cnt/host/a/notes",
	    ".cnt/host/a/" T1 "/index.json.blob",
	    ".cnt/host/a/" T1 "/.protected",
	    ".cnt/host/a/" T2 "/index.json.blob",
	    ".cnt/ns/new/host/c/owner",
	    NULL,
	};
	struct tree *a = build(old_keys), *b = build(new_keys);
	struct tree_builder *builder;
	struct repo_changes c;
	struct tree *d;

	(void)state;
	tree_diff(a, a, &c);
	assert_int_equal(c.added + c.removed + c.changed, 0);
	tree_diff(a, b, &c);
	/* notes, T2's manifest, ns new, its owner */
	assert_int_equal(c.added, 4);
	/* a.blob, b's owner and manifest, ns gone */
	assert_int_equal(c.removed, 4);
	assert_int_equal(c.changed, 1);
	assert_int_equal(c.snaps_added, 1);
	assert_int_equal(c.snaps_removed, 1);

	assert_int_equal(tree_builder_new(&builder), 0);
	assert_int_equal(tree_builder_add(builder, ".cnt/host/a/owner",
	    strlen(".cnt/host/a/owner"), 1000, "e2"), 0);
	assert_int_equal(tree_builder_finish(builder, &d), 0);
	tree_diff(a, d, &c);
	assert_int_equal(c.changed, 1);
	tree_unref(a);
	tree_unref(b);
	tree_unref(d);
}

static void
differences_have_names(void **state)
{
	const char *old_keys[] = {
	    ".cnt/host/a/owner", ".cnt/host/a/" T1 "/index.json.blob",
	    ".cnt/host/a/" T1 "/a.blob", ".cnt/host/b/owner",
	    ".cnt/host/b/" T1 "/index.json.blob", ".cnt/ns/gone/.namespace",
	    ".cnt/README", NULL,
	};
	const char *new_keys[] = {
	    ".cnt/host/a/owner", ".cnt/host/a/notes",
	    ".cnt/host/a/" T1 "/index.json.blob",
	    ".cnt/host/a/" T2 "/index.json.blob",
	    ".cnt/ns/n/ns/m/host/c/owner", ".cnt/README", ".cnt/host/",
	    ".cnt/host/d/notes", ".cnt/A", NULL,
	};
	static const char *const want[] = {
	    "changed group host/a", "changed snapshot host/a/" T1,
	    "added snapshot host/a/" T2, "removed group host/b",
	    "removed snapshot host/b/" T1, "removed namespace ns/gone",
	    "added namespace ns/n", "added namespace ns/n/ns/m",
	    "added group ns/n/ns/m/host/c", "added ignored .cnt/A",
	    "added ignored .cnt/host/", "added ignored .cnt/host/d/notes",
	};
	struct tree *a = build(old_keys), *b = build(new_keys);
	struct change_list l = {0}, copy;
	struct repo_changes c;
	char text[512];

	(void)state;
	tree_diff_tell(a, b, &c, change_list_add, &l);
	assert_int_equal(l.n, ARRAY_SIZE(want));
	assert_int_equal(change_list_copy(&l, &copy), 0);
	for (size_t i = 0; i < l.n; i++) {
		snprintf(text, sizeof(text), "%s %s %s",
		    repo_change_name(copy.v[i].what),
		    repo_change_kind_name(copy.v[i].kind), copy.v[i].path);
		assert_string_equal(text, want[i]);
	}
	change_list_fini(&copy);
	change_list_fini(&l);
	tree_diff_tell(b, b, &c, change_list_add, &l);
	assert_int_equal(l.n, 0);
	for (int i = 0; i < 1000; i++)
		change_list_add(&l, REPO_ADDED, REPO_SNAP, "x");
	assert_int_equal(l.n, CHANGE_LIST_MAX);
	assert_int_equal(l.left_out, 1000 - CHANGE_LIST_MAX);
	assert_int_equal(change_list_copy(&l, &copy), 0);
	assert_int_equal(copy.left_out, l.left_out);
	change_list_fini(&copy);
	change_list_fini(&l);
	tree_unref(a);
	tree_unref(b);
}

/* However many there are. */
static void
some_of_what_is_ignored_is_named(void **state)
{
	struct tree_builder *b;
	struct tree *t;
	char key[64];

	(void)state;
	assert_int_equal(tree_builder_new(&b), 0);
	for (int i = 0; i < TREE_IGNORED_MAX + 500; i++) {
		snprintf(key, sizeof(key), ".cnt/strange/%d", i * 7919);
		assert_int_equal(tree_builder_add(b, key, 1, 1, ""), 0);
	}
	assert_int_equal(tree_builder_ignore(b, NULL, 7), 0);
	assert_int_equal(tree_builder_finish(b, &t), 0);
	assert_int_equal(t->n_ignored, TREE_IGNORED_MAX + 507);
	assert_int_equal(t->n_ignored_keys, TREE_IGNORED_MAX);
	for (size_t i = 1; i < t->n_ignored_keys; i++)
		assert_true(strcmp(t->ignored[i - 1], t->ignored[i]) < 0);
	tree_unref(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_is_an_empty_root),
	    cmocka_unit_test(builds_the_hierarchy_from_keys_in_any_order),
	    cmocka_unit_test(
		what_is_none_of_the_format_is_counted_and_left_alone),
	    cmocka_unit_test(one_object_told_twice_is_one),
	    cmocka_unit_test(notes_alone_make_no_group),
	    cmocka_unit_test(equal_numbers_are_different_groups),
	    cmocka_unit_test(many_objects_stay_in_order),
	    cmocka_unit_test(differences_are_counted),
	    cmocka_unit_test(differences_have_names),
	    cmocka_unit_test(some_of_what_is_ignored_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
