/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/edit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"
#include "edit_world.h"
#include "store/store.h"

#include "../cm.h"

#define BELOW ".cnt/host/web1/"

static void
put(struct world *w, const char *key, const char *text)
{
	assert_int_equal(store_put(w->trip->s.below, key, text, strlen(text),
	    NULL, NULL), 0);
}

/* host/web1 with notes, and its second snapshot protected or not. */
static void
begin(struct world *w, bool is_dir, bool protected)
{
	world_open(w, is_dir);
	put(w, BELOW "notes", "of it\n");
	put(w, ".cnt/host/web10/notes", "of another\n");
	if (!protected)
		assert_int_equal(repo_protect(w->repo, &w_group, W_TIME + 3600,
		    false), 0);
	assert_int_equal(repo_refresh(w->repo, NULL), 0);
	world_reset(w);
}

static size_t
below(const struct picture *p, const char *prefix)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++)
		n += str_starts(p->v[i].key, prefix);
	return n;
}

static void
all_of_a_group_and_nothing_else(void **state)
{
	static const struct group_name *const groups[] = {&w_group, &w_prefix,
	    &w_nested, &w_inner};
	struct picture before, after;
	char prefix[KEY_MAX + 1];
	struct world w;

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(groups); i++) {
		const struct group_name *g = groups[i / 2];

		begin(&w, i % 2, false);
		picture_take(&w, &before);
		assert_int_equal(repo_forget_group(w.repo, g), 0);
		picture_take(&w, &after);
		assert_int_equal(w.trip->n[STORE_LIST], 1);
		assert_in_range(w.trip->n[STORE_DELETE], 3, 4);
		assert_true(str_ends(w.trip->first_deleted,
		    "/index.json.blob"));
		world_shows_all(&w);
		world_check(&w);
		key_group(prefix, g->ns, g->type, g->id, "");
		assert_true(below(&before, prefix) > 4);
		assert_int_equal(below(&after, prefix), 0);
		picture_compare(&before, &after, prefix);
		assert_int_equal(repo_forget_group(w.repo, g), -ENOENT);
		picture_free(&before);
		picture_free(&after);
		world_close(&w);
	}
}

static void
a_protected_one_keeps_its_group(void **state)
{
	struct picture before, after;
	struct world w;

	(void)state;
	for (int is_dir = 0; is_dir < 2; is_dir++) {
		begin(&w, is_dir, true);
		picture_take(&w, &before);
		assert_int_equal(repo_forget_group(w.repo, &w_group), -EPERM);
		world_shows_all(&w);
		world_check(&w);
		picture_take(&w, &after);
		picture_compare(&before, &after, BELOW "2024-01-01T00:00:00Z/");
		/* Manifest, index, two blobs. */
		assert_int_equal(after.n, before.n - 4);
		picture_free(&before);
		picture_free(&after);
		world_close(&w);
	}
}

/* What the tree does not show, the listing does. */
static void
protection_is_asked_of_the_store(void **state)
{
	struct world w;

	(void)state;
	begin(&w, false, false);
	put(&w, BELOW "2024-01-01T00:00:00Z/.protected", "");
	assert_int_equal(repo_forget_group(w.repo, &w_group), -EPERM);
	world_shows_all(&w);
	assert_int_equal(repo_protect(w.repo, &w_group, W_TIME, false), 0);
	assert_int_equal(repo_forget_group(w.repo, &w_group), 0);
	world_shows_all(&w);
	world_close(&w);
}

static void
strange_objects_are_left_alone(void **state)
{
	static const char *const strange[] = {BELOW "README",
	    BELOW "not-a-time/f", BELOW "2024-13-01T00:00:00Z/index.json.blob",
	    BELOW "2024-01-01T00:00:00/a.img.fidx", BELOW "owner2/owner"};
	struct picture p;
	struct world w;

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(strange); i++) {
		begin(&w, i % 2, false);
		put(&w, strange[i / 2], "?");
		assert_int_equal(repo_forget_group(w.repo, &w_group),
		    -ENOTEMPTY);
		picture_take(&w, &p);
		/* It, the owner and the notes. */
		assert_int_equal(below(&p, BELOW), 3);
		assert_true(picture_has(&p, strange[i / 2]));
		picture_free(&p);
		world_shows_all(&w);
		world_check(&w);
		world_close(&w);
	}
}

/* A server leaves them when the last snapshot of a group goes. */
static void
notes_of_a_gone_group_go_too(void **state)
{
	struct picture before, after;
	struct group_name gone = w_group;
	struct world w;

	(void)state;
	for (int is_dir = 0; is_dir < 2; is_dir++) {
		memcpy(gone.id, "web", 4);
		begin(&w, is_dir, true);
		picture_take(&w, &before);
		put(&w, ".cnt/host/web/notes", "left behind");
		assert_int_equal(repo_refresh(w.repo, NULL), 0);
		assert_int_equal(repo_forget_group(w.repo, &gone), 0);
		picture_take(&w, &after);
		picture_compare(&before, &after, NULL);
		assert_int_equal(repo_forget_group(w.repo, &gone), -ENOENT);
		picture_free(&before);
		picture_free(&after);
		world_close(&w);
	}
}

static void
requests_for_many_snapshots(void **state)
{
	const struct group_name g = {"a", BACKUP_VM, "7"};
	char key[KEY_MAX + 1];
	struct picture p;
	struct world w;

	(void)state;
	begin(&w, false, true);
	put(&w, ".cnt/ns/a/vm/7/owner", "root@pam\n");
	for (int i = 0; i < 250; i++) {
		key_file(key, g.ns, g.type, g.id, W_TIME + i,
		    "index.json.blob");
		put(&w, key, "not looked at");
		key_file(key, g.ns, g.type, g.id, W_TIME + i, "a.fidx");
		put(&w, key, "neither");
	}
	assert_int_equal(repo_forget_group(w.repo, &g), 0);
	assert_int_equal(w.trip->n[STORE_LIST], 1);
	/* Manifests and the rest, by the hundred; the owner. */
	assert_int_equal(w.trip->n[STORE_DELETE], 7);
	picture_take(&w, &p);
	assert_int_equal(below(&p, ".cnt/ns/a/vm/"), 0);
	picture_free(&p);
	world_shows_all(&w);
	world_close(&w);
}

static bool
fail_one(bool is_dir, enum fail_mode mode, unsigned at)
{
	struct picture before, after;
	struct world w;
	bool reached;
	int r;

	begin(&w, is_dir, false);
	picture_take(&w, &before);
	w.trip->fail_at = at;
	w.trip->mode = mode;
	r = repo_forget_group(w.repo, &w_group);
	reached = w.trip->calls >= at;
	assert_true(r == 0 || r == w.trip->error);
	/* No snapshot that lacks anything, and none without an owner. */
	world_check(&w);
	picture_take(&w, &after);
	picture_compare(&before, &after, BELOW);
	if (below(&after, BELOW) > 0)
		assert_true(picture_has(&after, BELOW "owner"));
	if (r == 0 || mode == FAIL_BEFORE || mode == FAIL_LOST)
		world_shows_all(&w);
	/* Another process finds what is left, and ends it. */
	world_reset(&w);
	assert_int_equal(repo_refresh(w.repo, NULL), 0);
	r = repo_forget_group(w.repo, &w_group);
	assert_int_equal(r, below(&after, BELOW) > 0 ? 0 : -ENOENT);
	picture_free(&after);
	picture_take(&w, &after);
	assert_int_equal(below(&after, BELOW), 0);
	picture_compare(&before, &after, BELOW);
	world_shows_all(&w);
	picture_free(&before);
	picture_free(&after);
	world_close(&w);
	return reached;
}

static void
it_may_fail_at_any_request(void **state)
{
	(void)state;
	for (int n = 0; n < 2 * FAIL_MODES; n++) {
		unsigned at = 1;

		while (fail_one(n % 2, (enum fail_mode)(n / 2), at))
			at++;
		assert_int_equal(at, 6);
	}
}

/* Namespaces: the notes that keep one from being empty go before its marker. */
static void
a_namespace_has_its_marker_until_the_end(void **state)
{
	struct picture p;
	struct world w;

	(void)state;
	for (unsigned at = 1; at <= 4; at++) {
		begin(&w, false, true);
		put(&w, ".cnt/ns/e/.namespace", "");
		put(&w, ".cnt/ns/e/vm/1/notes", "left behind");
		assert_int_equal(repo_refresh(w.repo, NULL), 0);
		world_reset(&w);
		w.trip->fail_at = at;
		w.trip->mode = FAIL_LOST_ALL_AFTER;
		assert_int_equal(repo_remove_ns(w.repo, "e"),
		    at < 4 ? w.trip->error : 0);
		picture_take(&w, &p);
		assert_int_equal(below(&p, ".cnt/ns/e/"),
		    at < 2 ? 2 : at < 3 ? 1 : 0);
		assert_int_equal(picture_has(&p, ".cnt/ns/e/.namespace"),
		    at < 3);
		picture_free(&p);
		world_close(&w);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_of_a_group_and_nothing_else),
	    cmocka_unit_test(a_protected_one_keeps_its_group),
	    cmocka_unit_test(protection_is_asked_of_the_store),
	    cmocka_unit_test(strange_objects_are_left_alone),
	    cmocka_unit_test(notes_of_a_gone_group_go_too),
	    cmocka_unit_test(requests_for_many_snapshots),
	    cmocka_unit_test(it_may_fail_at_any_request),
	    cmocka_unit_test(a_namespace_has_its_marker_until_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
