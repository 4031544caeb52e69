/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/edit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "edit_world.h"
#include "pbs/manifest.h"
#include "store/backends.h"
#include "store/filters.h"

#include "../cm.h"

#define OWNER "root@pam"
#define DIR1 ".cnt/host/web1/2024-01-01T00:00:00Z/"
#define DIR_PROTECTED ".cnt/host/web1/2024-01-01T01:00:00Z/"

static const struct group_name fresh = {"", BACKUP_VM, "100"};

/* Whether path is in the directory of a directory store. */
static bool
is_there(const struct world *w, const char *path)
{
	char full[512];
	struct stat st;

	snprintf(full, sizeof(full), "%s/store/%s", w->dir, path);
	return lstat(full, &st) == 0;
}

static void
mode_is(const struct world *w, const char *path, mode_t mode)
{
	char full[512];
	struct stat st;

	snprintf(full, sizeof(full), "%s/store/%s", w->dir, path);
	assert_int_equal(lstat(full, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

static void
content_is(struct world *w, const char *key, const char *text)
{
	const struct store_get how = {.max = 4096};
	struct buf *b;

	assert_int_equal(store_get(w->trip->s.below, key, &how, &b, NULL), 0);
	assert_int_equal(b->len, strlen(text));
	assert_memory_equal(b->data, text, b->len);
	buf_unref(b);
}

static void
a_group_has_an_owner(void **state)
{
	mode_t old = umask(077);
	struct picture before, after;
	struct world w;

	(void)state;
	for (int is_dir = 0; is_dir < 2; is_dir++) {
		world_open(&w, is_dir != 0);
		picture_take(&w, &before);
		assert_int_equal(repo_create_group(w.repo, &fresh, OWNER), 0);
		assert_int_equal(w.trip->n[STORE_PUT], 1);
		assert_int_equal(w.trip->calls, 1);
		content_is(&w, ".cnt/vm/100/owner", OWNER "\n");
		if (is_dir) {
			mode_is(&w, "vm", 0755);
			mode_is(&w, "vm/100", 0755);
			mode_is(&w, "vm/100/owner", 0644);
		}
		world_shows_all(&w);
		assert_int_equal(repo_create_group(w.repo, &fresh, OWNER),
		    -EEXIST);
		assert_int_equal(repo_set_notes(w.repo, &fresh, "n", 1), 0);
		world_reset(&w);
		assert_int_equal(repo_remove_group(w.repo, &fresh), 0);
		assert_int_equal(w.trip->n[STORE_LIST], 1);
		assert_int_equal(w.trip->n[STORE_DELETE], 2);
		assert_int_equal(w.trip->calls, 3);
		world_shows_all(&w);
		if (is_dir)
			assert_false(is_there(&w, "vm/100"));
		assert_int_equal(repo_remove_group(w.repo, &fresh), -ENOENT);
		assert_int_equal(repo_remove_group(w.repo, &w_group),
		    -ENOTEMPTY);
		picture_take(&w, &after);
		picture_compare(&before, &after, NULL);
		picture_free(&before);
		picture_free(&after);
		world_close(&w);
	}
	umask(old);
}

static void
names_and_owners_are_checked(void **state)
{
	static const char *const owners[] = {"", "root", "root@pam\n", " a@b",
	    "a b@pam", "root@pam\nx", "root@", "@pam", "a:b@pam"};
	struct group_name g = fresh;
	struct world w;

	(void)state;
	world_open(&w, false);
	for (size_t i = 0; i < ARRAY_SIZE(owners); i++)
		assert_int_equal(repo_create_group(w.repo, &fresh, owners[i]),
		    -EINVAL);
	memcpy(g.id, "../x", 5);
	assert_int_equal(repo_create_group(w.repo, &g, OWNER), -EINVAL);
	g = fresh;
	memcpy(g.ns, "none", 5);
	assert_int_equal(repo_create_group(w.repo, &g, OWNER), -ENOENT);
	memcpy(g.ns, "a//b", 5);
	assert_int_equal(repo_create_group(w.repo, &g, OWNER), -EINVAL);
	assert_int_equal(repo_create_ns(w.repo, ""), -EINVAL);
	assert_int_equal(repo_create_ns(w.repo, "-x"), -EINVAL);
	assert_int_equal(repo_create_ns(w.repo, "1/2/3/4/5/6/7/8"), -EINVAL);
	assert_int_equal(w.trip->calls, 0);
	world_close(&w);
}

static void
a_group_that_is_in_use_keeps_its_owner(void **state)
{
	char path[256];
	struct world w;

	(void)state;
	world_open(&w, false);
	assert_int_equal(repo_create_group(w.repo, &fresh, OWNER), 0);
	/* Somebody else's, since the last listing. */
	assert_int_equal(store_put(w.trip->s.below,
	    ".cnt/vm/100/2024-01-01T00:00:00Z/a.img.fidx", "x", 1, NULL, NULL),
	    0);
	assert_int_equal(repo_remove_group(w.repo, &fresh), -ENOTEMPTY);
	content_is(&w, ".cnt/vm/100/owner", OWNER "\n");
	world_close(&w);

	/* A backup that has only begun. */
	world_open(&w, true);
	assert_int_equal(repo_create_group(w.repo, &fresh, OWNER), 0);
	snprintf(path, sizeof(path), "%s/store/vm/100/2024-01-01T00:00:00Z",
	    w.dir);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(repo_remove_group(w.repo, &fresh), -ENOTEMPTY);
	content_is(&w, ".cnt/vm/100/owner", OWNER "\n");
	world_close(&w);
}

static void
namespaces_have_markers(void **state)
{
	struct picture before, after;
	struct world w;
	struct tree *t;

	(void)state;
	for (int is_dir = 0; is_dir < 2; is_dir++) {
		world_open(&w, is_dir != 0);
		picture_take(&w, &before);
		assert_int_equal(repo_create_ns(w.repo, "a/c/d"), 0);
		assert_int_equal(w.trip->n[STORE_PUT], 2);
		assert_int_equal(w.trip->calls, 2);
		assert_string_equal(w.trip->last_put,
		    ".cnt/ns/a/ns/c/ns/d/.namespace");
		t = repo_tree(w.repo);
		assert_non_null(tree_find_ns(t, "a/c/d"));
		tree_unref(t);
		world_shows_all(&w);
		assert_int_equal(repo_create_ns(w.repo, "a/c"), -EEXIST);
		assert_int_equal(repo_remove_ns(w.repo, "a/c"), -ENOTEMPTY);
		assert_int_equal(repo_remove_ns(w.repo, "a"), -ENOTEMPTY);
		assert_int_equal(repo_remove_ns(w.repo, "ab"), -ENOTEMPTY);
		assert_int_equal(repo_remove_ns(w.repo, "b"), -ENOENT);
		world_reset(&w);
		assert_int_equal(repo_remove_ns(w.repo, "a/c/d"), 0);
		assert_int_equal(w.trip->n[STORE_LIST], 1);
		assert_int_equal(w.trip->n[STORE_DELETE], 1);
		assert_int_equal(repo_remove_ns(w.repo, "a/c"), 0);
		if (is_dir)
			assert_false(is_there(&w, "ns/a/ns/c"));
		world_shows_all(&w);
		picture_take(&w, &after);
		picture_compare(&before, &after, NULL);
		picture_free(&before);
		picture_free(&after);
		world_close(&w);
	}
}

/* One without a marker is there for what is in it, and goes with that. */
static void
an_implied_namespace_goes_with_its_content(void **state)
{
	static const struct group_name g = {"x/y", BACKUP_CT, "1"};
	struct world w;
	struct tree *t;

	(void)state;
	world_open(&w, false);
	assert_int_equal(store_put(w.trip->s.below,
	    ".cnt/ns/x/ns/y/ct/1/owner", OWNER "\n", 9, NULL, NULL), 0);
	assert_int_equal(repo_refresh(w.repo, NULL), 0);
	/* Another change leaves it as it is. */
	assert_int_equal(repo_create_group(w.repo, &fresh, OWNER), 0);
	world_shows_all(&w);
	assert_int_equal(repo_remove_group(w.repo, &g), 0);
	t = repo_tree(w.repo);
	assert_null(tree_find_ns(t, "x"));
	tree_unref(t);
	world_shows_all(&w);
	world_close(&w);
}

static void
notes_of_a_gone_group_do_not_keep_a_namespace(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, false);
	assert_int_equal(repo_create_ns(w.repo, "n"), 0);
	assert_int_equal(store_put(w.trip->s.below, ".cnt/ns/n/vm/1/notes",
	    "x", 1, NULL, NULL), 0);
	assert_int_equal(repo_remove_ns(w.repo, "n"), 0);
	world_shows_all(&w);
	assert_int_equal(repo_create_ns(w.repo, "n"), 0);
	assert_int_equal(store_put(w.trip->s.below, ".cnt/ns/n/stray", "x", 1,
	    NULL, NULL), 0);
	assert_int_equal(repo_remove_ns(w.repo, "n"), -ENOTEMPTY);
	world_close(&w);
}

static void
forgetting_deletes_what_is_listed(void **state)
{
	struct picture before, after;
	struct world w;
	struct tree *t;

	(void)state;
	for (int is_dir = 0; is_dir < 2; is_dir++) {
		world_open(&w, is_dir != 0);
		picture_take(&w, &before);
		assert_int_equal(repo_forget(w.repo, &w_group, W_TIME), 0);
		assert_int_equal(w.trip->n[STORE_LIST], 1);
		assert_int_equal(w.trip->n[STORE_DELETE], 2);
		assert_int_equal(w.trip->calls, 3);
		assert_string_equal(w.trip->first_deleted,
		    DIR1 "index.json.blob");
		picture_take(&w, &after);
		assert_int_equal(after.n, before.n - 4);
		picture_compare(&before, &after, DIR1);
		t = repo_tree(w.repo);
		assert_null(world_snap(t, &w_group, W_TIME));
		assert_non_null(world_snap(t, &w_group, W_TIME + 3600));
		tree_unref(t);
		world_shows_all(&w);
		world_check(&w);
		if (is_dir) {
			assert_false(is_there(&w,
			    "host/web1/2024-01-01T00:00:00Z"));
			assert_true(is_there(&w, "host/web1/owner"));
		}
		world_reset(&w);
		assert_int_equal(repo_forget(w.repo, &w_group, W_TIME),
		    -ENOENT);
		assert_int_equal(repo_forget(w.repo, &w_group, W_TIME + 3600),
		    -EPERM);
		assert_int_equal(w.trip->n[STORE_DELETE], 0);
		picture_free(&before);
		picture_free(&after);
		world_close(&w);
	}
}

static void
what_was_being_written_goes_with_the_snapshot(void **state)
{
	static const char *const junk[] = {".tmp_0123", "a.img.tmp_fidx",
	    ".index.json.lck", "index.json.blob.tmp_ABCDEF"};
	char path[512];
	struct world w;
	int fd;

	(void)state;
	for (int more = 0; more < 2; more++) {
		world_open(&w, true);
		for (size_t i = 0; i < ARRAY_SIZE(junk) + (size_t)more; i++) {
			snprintf(path, sizeof(path), "%s/store/host/web1/"
			    "2024-01-01T00:00:00Z/%s", w.dir,
			    i < ARRAY_SIZE(junk) ? junk[i] : ".unknown");
			fd = open(path, O_CREAT | O_WRONLY, 0644);
			assert_true(fd >= 0);
			close(fd);
		}
		assert_int_equal(repo_forget(w.repo, &w_group, W_TIME), 0);
		assert_int_equal(is_there(&w,
		    "host/web1/2024-01-01T00:00:00Z"), more);
		assert_int_equal(is_there(&w,
		    "host/web1/2024-01-01T00:00:00Z/.tmp_0123"), more);
		world_close(&w);
	}
}

/* The tree does not know of it. */
static void
protection_is_asked_of_the_store(void **state)
{
	struct world w;
	struct tree *t;

	(void)state;
	world_open(&w, false);
	assert_int_equal(store_put(w.trip->s.below, DIR1 ".protected", "", 0,
	    NULL, NULL), 0);
	assert_int_equal(repo_forget(w.repo, &w_group, W_TIME), -EPERM);
	assert_int_equal(w.trip->n[STORE_DELETE], 0);
	t = repo_tree(w.repo);
	assert_true(world_snap(t, &w_group, W_TIME)->protected);
	tree_unref(t);
	world_close(&w);
}

static bool
fail_forget(bool is_dir, enum fail_mode mode, unsigned at)
{
	struct picture before, after;
	struct world w;
	bool reached;
	int r;

	world_open(&w, is_dir);
	picture_take(&w, &before);
	w.trip->fail_at = at;
	w.trip->mode = mode;
	r = repo_forget(w.repo, &w_group, W_TIME);
	reached = w.trip->calls >= at;
	assert_true(r == 0 || r == w.trip->error);
	world_check(&w);
	picture_take(&w, &after);
	picture_compare(&before, &after, DIR1);
	if (r == 0 || mode == FAIL_BEFORE || mode == FAIL_LOST)
		world_shows_all(&w);
	/* Again, until it is gone. */
	world_reset(&w);
	assert_int_equal(repo_refresh(w.repo, NULL), 0);
	r = repo_forget(w.repo, &w_group, W_TIME);
	assert_true(r == 0 || r == -ENOENT);
	picture_free(&after);
	picture_take(&w, &after);
	assert_int_equal(after.n, before.n - 4);
	world_shows_all(&w);
	picture_free(&before);
	picture_free(&after);
	world_close(&w);
	return reached;
}

static void
forgetting_may_fail_at_any_request(void **state)
{
	(void)state;
	for (int mode = 0; mode < FAIL_MODES; mode++)
		for (int is_dir = 0; is_dir < 2; is_dir++) {
			unsigned at = 1;

			while (fail_forget(is_dir != 0, (enum fail_mode)mode,
			    at))
				at++;
			assert_true(at > 3);
		}
}

/* The other changes: name, the change, and what may be another afterwards. */
static int
do_create_group(struct repo *r)
{
	return repo_create_group(r, &fresh, OWNER);
}

static int
do_remove_group(struct repo *r)
{
	static const struct group_name empty = {"e", BACKUP_VM, "1"};

	return repo_remove_group(r, &empty);
}

static int
do_create_ns(struct repo *r)
{
	return repo_create_ns(r, "n/m");
}

static int
do_remove_ns(struct repo *r)
{
	return repo_remove_ns(r, "f");
}

static int
do_protect(struct repo *r)
{
	return repo_protect(r, &w_group, W_TIME, true);
}

static int
do_unprotect(struct repo *r)
{
	return repo_protect(r, &w_group, W_TIME + 3600, false);
}

static int
do_notes(struct repo *r)
{
	return repo_set_notes(r, &w_group, "text", 4);
}

static int
do_snap_notes(struct repo *r)
{
	return repo_set_snap_notes(r, &w_group, W_TIME, "text");
}

static const struct change {
	int (*fn)(struct repo *);
	const char *below;
	int again;	/* what a second time says */
	unsigned calls;
} changes[] = {
    {do_create_group, ".cnt/vm/100/", -EEXIST, 1},
    {do_remove_group, ".cnt/ns/e/vm/1/", -ENOENT, 2},
    {do_create_ns, ".cnt/ns/n/", -EEXIST, 2},
    {do_remove_ns, ".cnt/ns/f/", -ENOENT, 2},
    {do_protect, DIR1 ".protected", 0, 1},
    {do_unprotect, DIR_PROTECTED ".protected", 0, 1},
    {do_notes, ".cnt/host/web1/notes", 0, 1},
    {do_snap_notes, DIR1 "index.json.blob", 0, 2},
};

static bool
fail_change(const struct change *c, bool is_dir, enum fail_mode mode,
    unsigned at)
{
	struct picture before, after;
	struct world w;
	bool reached;
	int r;

	world_open(&w, is_dir);
	assert_int_equal(store_put(w.trip->s.below, ".cnt/ns/e/vm/1/owner",
	    OWNER "\n", 9, NULL, NULL), 0);
	assert_int_equal(store_put(w.trip->s.below, ".cnt/ns/f/.namespace",
	    "", 0, NULL, NULL), 0);
	assert_int_equal(repo_refresh(w.repo, NULL), 0);
	world_reset(&w);
	picture_take(&w, &before);
	w.trip->fail_at = at;
	w.trip->mode = mode;
	r = c->fn(w.repo);
	reached = at != 0 && w.trip->calls >= at;
	if (at == 0)
		assert_int_equal(w.trip->calls, c->calls);
	assert_int_equal(r, reached ? w.trip->error : 0);
	world_check(&w);
	picture_take(&w, &after);
	picture_compare(&before, &after, c->below);
	if (r == 0 || mode == FAIL_BEFORE)
		world_shows_all(&w);
	/* Again: it is done, whatever came of the first attempt. */
	world_reset(&w);
	r = c->fn(w.repo);
	assert_true(r == 0 || r == c->again);
	world_check(&w);
	world_shows_all(&w);
	assert_int_equal(c->fn(w.repo), c->again);
	picture_free(&before);
	picture_free(&after);
	world_close(&w);
	return reached;
}

static void
changes_may_fail_at_any_request(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		for (int n = 0; n < 2 * FAIL_MODES; n++) {
			unsigned at = 1;

			fail_change(&changes[i], n % 2, FAIL_BEFORE, 0);
			while (fail_change(&changes[i], n % 2,
			    (enum fail_mode)(n / 2), at))
				at++;
			assert_int_equal(at, changes[i].calls + 1);
		}
}

static void
snapshot_notes_are_in_the_manifest(void **state)
{
	struct manifest *m;
	struct world w;
	struct tree *t;

	(void)state;
	world_open(&w, false);
	assert_int_equal(repo_set_snap_notes(w.repo, &w_group, W_TIME,
	    "one\ntwo"), 0);
	assert_int_equal(w.trip->n[STORE_GET], 1);
	assert_int_equal(w.trip->n[STORE_PUT], 1);
	t = repo_tree(w.repo);
	assert_int_equal(repo_manifest(w.repo, world_snap(t, &w_group, W_TIME),
	    0, &m), 0);
	assert_string_equal(m->notes, "one\ntwo");
	manifest_unref(m);
	tree_unref(t);
	world_check(&w);
	world_shows_all(&w);
	assert_int_equal(repo_set_snap_notes(w.repo, &w_group, W_TIME, ""), 0);
	t = repo_tree(w.repo);
	assert_int_equal(repo_manifest(w.repo, world_snap(t, &w_group, W_TIME),
	    0, &m), 0);
	assert_null(m->notes);
	manifest_unref(m);
	tree_unref(t);
	assert_int_equal(repo_set_snap_notes(w.repo, &w_group, W_TIME,
	    "\xff"), -EINVAL);
	assert_int_equal(repo_set_snap_notes(w.repo, &w_group, 1, "x"),
	    -ENOENT);
	assert_int_equal(repo_set_notes(w.repo, &w_group, "a\0b", 3), -EINVAL);
	/* What is no manifest is not made one. */
	assert_int_equal(store_put(w.trip->s.below, DIR1 "index.json.blob",
	    "xx", 2, NULL, NULL), 0);
	assert_int_equal(repo_set_snap_notes(w.repo, &w_group, W_TIME, "x"),
	    -EBADMSG);
	content_is(&w, DIR1 "index.json.blob", "xx");
	world_close(&w);
}

/* A mount while the store is away knows what was changed. */
static void
the_kept_listing_knows(void **state)
{
	struct repo_opts o = {.timeout_ms = 5000, .kept_first = true};
	struct tree *t, *u;
	char path[256];
	struct world w;
	struct repo *r;
	struct store *s;

	(void)state;
	world_open(&w, true);
	assert_int_equal(repo_create_ns(w.repo, "n"), 0);
	assert_int_equal(repo_create_group(w.repo, &fresh, OWNER), 0);
	assert_int_equal(repo_forget(w.repo, &w_group, W_TIME), 0);
	snprintf(path, sizeof(path), "%s/store", w.dir);
	assert_int_equal(store_dir_new(path, &s), 0);
	snprintf(path, sizeof(path), "%s/listing", w.dir);
	o.listing = path;
	assert_int_equal(repo_open(s, &o, &r), 0);
	t = repo_tree(r);
	u = repo_tree(w.repo);
	assert_non_null(tree_find_ns(t, "n"));
	assert_non_null(tree_find_ns(t, "ab"));
	assert_non_null(tree_find_group(t->root, BACKUP_VM, "100"));
	assert_null(world_snap(t, &w_group, W_TIME));
	assert_true(world_snap(t, &w_group, W_TIME + 3600)->protected);
	assert_int_equal(t->n_files, u->n_files);
	assert_int_equal(t->listed_at, u->listed_at);
	tree_unref(t);
	tree_unref(u);
	repo_free(r);
	world_close(&w);
}

struct doing {
	pthread_t thread;
	int (*fn)(struct repo *);
	struct repo *repo;
	int r;
};

static void *
doing_run(void *arg)
{
	struct doing *d = arg;

	d->r = d->fn(d->repo);
	return NULL;
}

static int
do_refresh(struct repo *r)
{
	return repo_refresh(r, NULL);
}

/* One that began before a change does not undo it. */
static void
an_older_listing_does_not_undo_a_change(void **state)
{
	struct doing refresh = {.fn = do_refresh};
	struct doing create = {.fn = do_create_group};
	struct world w;
	struct tree *t;

	(void)state;
	world_open(&w, false);
	refresh.repo = create.repo = w.repo;
	world_hold_list(&w, true);
	assert_int_equal(pthread_create(&refresh.thread, NULL, doing_run,
	    &refresh), 0);
	world_await(&w, STORE_LIST, 1);
	assert_int_equal(pthread_create(&create.thread, NULL, doing_run,
	    &create), 0);
	world_await(&w, STORE_PUT, 1);
	usleep(100000);		/* time enough to do it too early */
	world_hold_list(&w, false);
	pthread_join(refresh.thread, NULL);
	pthread_join(create.thread, NULL);
	assert_int_equal(refresh.r, 0);
	assert_int_equal(create.r, 0);
	t = repo_tree(w.repo);
	assert_non_null(tree_find_group(t->root, BACKUP_VM, "100"));
	tree_unref(t);
	world_shows_all(&w);
	world_close(&w);
}

static void
a_read_only_store_is_not_changed(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, false);
	assert_int_equal(store_ro_new(w.trip->s.below, &w.trip->s.below), 0);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		if (changes[i].fn != do_remove_ns &&
		    changes[i].fn != do_remove_group)
			assert_int_equal(changes[i].fn(w.repo), -EROFS);
	assert_int_equal(repo_forget(w.repo, &w_group, W_TIME), -EROFS);
	world_shows_all(&w);
	world_close(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_group_has_an_owner),
	    cmocka_unit_test(names_and_owners_are_checked),
	    cmocka_unit_test(a_group_that_is_in_use_keeps_its_owner),
	    cmocka_unit_test(namespaces_have_markers),
	    cmocka_unit_test(an_implied_namespace_goes_with_its_content),
	    cmocka_unit_test(notes_of_a_gone_group_do_not_keep_a_namespace),
	    cmocka_unit_test(forgetting_deletes_what_is_listed),
	    cmocka_unit_test(what_was_being_written_goes_with_the_snapshot),
	    cmocka_unit_test(protection_is_asked_of_the_store),
	    cmocka_unit_test(forgetting_may_fail_at_any_request),
	    cmocka_unit_test(changes_may_fail_at_any_request),
	    cmocka_unit_test(snapshot_notes_are_in_the_manifest),
	    cmocka_unit_test(the_kept_listing_knows),
	    cmocka_unit_test(an_older_listing_does_not_undo_a_change),
	    cmocka_unit_test(a_read_only_store_is_not_changed),
	};

	log_set_level(LOG_LVL_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
