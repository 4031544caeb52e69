/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/repo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/num.h"
#include "pbs/manifest.h"
#include "repo/chunks.h"
#include "repo/tree.h"
#include "samples.h"
#include "slow_store.h"
#include "store/backends.h"

#include "../cm.h"

#define T2 (SAMPLE_T1 + 86400)

static char dir[] = "/tmp/test_repo.XXXXXX";
static char listing[64];

static void
open_lists_and_asks_for_nothing_else(void **state)
{
	struct slow_store *s = sample_store();
	struct repo *r;
	struct tree *t;

	(void)state;
	assert_int_equal(sample_open(s, NULL, &r), 0);
	assert_int_equal(s->lists, 1);
	assert_int_equal(s->gets + s->looks + s->stats, 0);
	assert_false(repo_is_offline(r));
	t = repo_tree(r);
	assert_int_equal(t->n_groups, 1);
	assert_int_equal(t->n_snaps, 1);
	assert_int_equal(t->n_files, 3);
	assert_true(sample_snap(t)->finished);
	assert_true(llabs(t->listed_at - clock_real_s()) < 60);
	tree_unref(t);
	repo_free(r);
}

static void
nothing_at_all_is_no_datastore(void **state)
{
	struct slow_store *s = slow_store_new();
	struct repo *r = NULL;

	(void)state;
	assert_int_equal(sample_open(s, listing, &r), -ENOENT);
	assert_null(r);
	assert_int_equal(access(listing, F_OK), -1);
}

static void
an_empty_datastore_has_a_marker_or_chunks(void **state)
{
	struct slow_store *s = slow_store_new();
	struct repo *r;
	struct tree *t;

	(void)state;
	slow_store_put(s, ".in-use", "{}", 2);
	assert_int_equal(sample_open(s, NULL, &r), 0);
	assert_int_equal(s->lists, 1);
	assert_int_equal(s->stats, 1);
	assert_int_equal(s->gets, 0);
	t = repo_tree(r);
	assert_int_equal(t->n_groups, 0);
	tree_unref(t);
	repo_free(r);

	s = slow_store_new();
	sample_chunk(s, 100, 1);
	assert_int_equal(sample_open(s, NULL, &r), 0);
	assert_int_equal(s->lists, 2);
	assert_int_equal(s->stats, 1);
	repo_free(r);
}

static void
an_empty_directory_is_told_from_an_empty_datastore(void **state)
{
	const struct repo_opts o = {0};
	char path[128];
	struct store *s;
	struct repo *r;

	(void)state;
	snprintf(path, sizeof(path), "%s/store", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(store_dir_new(path, &s), 0);
	assert_int_equal(repo_open(s, &o, &r), -ENOENT);
	snprintf(path, sizeof(path), "%s/store/.chunks", dir);
	assert_int_equal(mkdir(path, 0750), 0);
	snprintf(path, sizeof(path), "%s/store", dir);
	assert_int_equal(store_dir_new(path, &s), 0);
	assert_int_equal(repo_open(s, &o, &r), 0);
	repo_free(r);
}

static void
hostile_keys_do_no_harm(void **state)
{
	static const char *const keys[] = {
	    ".cnt/host/h1/2024-13-41T00:00:00Z/index.json.blob",
	    ".cnt/host/-h/owner",
	    ".cnt/ns/a:b/.namespace",
	    ".cnt/host/h1/2024-01-01T00:00:00Z/..%2f.blob",
	    ".cnt/other",
	};
	struct slow_store *s = sample_store();
	struct repo *r;
	struct tree *t;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(keys); i++)
		slow_store_put(s, keys[i], "x", 1);
	assert_int_equal(sample_open(s, listing, &r), 0);
	t = repo_tree(r);
	assert_int_equal(t->n_ignored, ARRAY_SIZE(keys));
	assert_int_equal(t->n_files, 3);
	tree_unref(t);
	repo_free(r);
}

static void
refresh_replaces_the_tree_and_counts(void **state)
{
	const char *keys[] = {SAMPLE_DIR "index.json.blob", SAMPLE_DIR "disk.img.fidx",
	    SAMPLE_DIR "a.conf.blob"};
	struct slow_store *s = sample_store();
	struct repo_changes c;
	struct tree *old, *new;
	struct repo *r;
	struct manifest *m;

	(void)state;
	assert_int_equal(sample_open(s, NULL, &r), 0);
	old = repo_tree(r);
	assert_int_equal(repo_refresh(r, &c), 0);
	assert_int_equal(c.added + c.removed + c.changed, 0);
	sample_snapshot(s, T2, 4);
	slow_store_put(s, ".cnt/host/h1/owner", "u@pbs\n", 6);
	assert_int_equal(repo_refresh(r, &c), 0);
	assert_int_equal(c.added, 3);
	assert_int_equal(c.snaps_added, 1);
	assert_int_equal(c.changed, 1);
	assert_int_equal(c.removed + c.snaps_removed, 0);
	assert_int_equal(store_delete(s->s.below, keys, 3, NULL, NULL, 0), 0);
	assert_int_equal(repo_refresh(r, &c), 0);
	assert_int_equal(c.removed, 3);
	assert_int_equal(c.snaps_removed, 1);
	assert_int_equal(s->lists, 4);
	/* Who holds the old one can still walk it. */
	new = repo_tree(r);
	assert_int_equal(old->n_snaps, 1);
	assert_int_equal(new->n_snaps, 1);
	assert_int_equal(repo_manifest(r, sample_snap(old), 0, &m), -ENOENT);
	assert_null(tree_find_snap(&new->root->groups[0], SAMPLE_T1));
	/* A failed one changes nothing. */
	slow_store_fail(s, -EACCES, 1);
	assert_int_equal(repo_refresh(r, &c), -EACCES);
	tree_unref(old);
	old = repo_tree(r);
	assert_ptr_equal(old, new);
	tree_unref(old);
	tree_unref(new);
	repo_free(r);
}

static void
a_changed_object_is_fetched_again(void **state)
{
	struct slow_store *s = sample_store();
	struct repo *r;
	struct tree *t;
	struct buf *b;

	(void)state;
	assert_int_equal(sample_open(s, NULL, &r), 0);
	t = repo_tree(r);
	assert_int_equal(repo_text(r, sample_snap(t)->group->owner, 0, &b), 0);
	buf_unref(b);
	tree_unref(t);
	slow_store_put(s, ".cnt/host/h1/owner", "user@pbs\n", 9);
	assert_int_equal(repo_refresh(r, NULL), 0);
	t = repo_tree(r);
	assert_int_equal(repo_text(r, sample_snap(t)->group->owner, 0, &b), 0);
	assert_memory_equal(b->data, "user@pbs\n", 9);
	buf_unref(b);
	assert_int_equal(s->gets, 2);
	tree_unref(t);
	repo_free(r);
}

static void
an_outage_shows_the_kept_listing(void **state)
{
	static const int outages[] = {-EHOSTDOWN, -ETIMEDOUT, -EIO};
	struct slow_store *s;
	struct tree *t;
	struct repo *r;
	int64_t at;
	size_t i;

	(void)state;
	unlink(listing);
	s = sample_store();
	assert_int_equal(sample_open(s, listing, &r), 0);
	t = repo_tree(r);
	at = t->listed_at;
	tree_unref(t);
	repo_free(r);
	for (i = 0; i < ARRAY_SIZE(outages); i++) {
		s = sample_store();
		slow_store_fail(s, outages[i], 1);
		assert_int_equal(sample_open(s, listing, &r), 0);
		assert_true(repo_is_offline(r));
		t = repo_tree(r);
		assert_int_equal(t->listed_at, at);
		assert_int_equal(t->n_files, 3);
		assert_true(sample_snap(t)->finished);
		assert_int_equal(sample_file(t, "a.conf.blob")->size, 17);
		assert_true(sample_file(t, "a.conf.blob")->etag[0] != '\0');
		tree_unref(t);
		/* The store is back. */
		assert_int_equal(repo_refresh(r, NULL), 0);
		assert_false(repo_is_offline(r));
		t = repo_tree(r);
		at = t->listed_at;
		tree_unref(t);
		repo_free(r);
	}
}

static void
only_an_outage_shows_the_kept_listing(void **state)
{
	static const int errors[] = {-EACCES, -ENOENT, -EKEYREJECTED, -EDQUOT};
	struct slow_store *s;
	struct repo *r;
	size_t i;

	(void)state;
	s = sample_store();
	assert_int_equal(sample_open(s, listing, &r), 0);
	repo_free(r);
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		s = sample_store();
		slow_store_fail(s, errors[i], 1);
		assert_int_equal(sample_open(s, listing, &r), errors[i]);
	}
	s = sample_store();
	slow_store_fail(s, -EHOSTDOWN, 1);
	assert_int_equal(sample_open(s, NULL, &r), -EHOSTDOWN);
}

static void
a_damaged_listing_is_not_used(void **state)
{
	struct slow_store *s;
	struct iovec iov;
	struct repo *r;
	struct buf *b, *x;
	size_t i;

	(void)state;
	unlink(listing);
	s = sample_store();
	assert_int_equal(sample_open(s, listing, &r), 0);
	repo_free(r);
	assert_int_equal(io_read_file(AT_FDCWD, listing, MIB, &b), 0);
	log_set_level(LOG_LVL_ERR);
	for (i = 0; i <= b->len; i += 7) {
		/* Flipped at each place, and cut there. */
		x = buf_copy(b->data, b->len);
		assert_non_null(x);
		if (i < b->len)
			x->data[i] ^= 0x10;
		else
			x->data[0] ^= 1;
		iov.iov_base = x->data;
		iov.iov_len = x->len;
		assert_int_equal(io_replace(AT_FDCWD, listing, &iov, 1, 0600,
		    0), 0);
		s = sample_store();
		slow_store_fail(s, -EHOSTDOWN, 1);
		assert_int_equal(sample_open(s, listing, &r), -EHOSTDOWN);
		iov.iov_base = b->data;
		iov.iov_len = i == b->len ? i - 1 : i;
		assert_int_equal(io_replace(AT_FDCWD, listing, &iov, 1, 0600,
		    0), 0);
		s = sample_store();
		slow_store_fail(s, -EHOSTDOWN, 1);
		assert_int_equal(sample_open(s, listing, &r), -EHOSTDOWN);
		buf_unref(x);
	}
	log_set_level(LOG_LVL_INFO);
	buf_unref(b);
	unlink(listing);
}

static void
an_unwritable_listing_is_no_reason_to_fail(void **state)
{
	struct slow_store *s = sample_store();
	struct repo *r;

	(void)state;
	assert_int_equal(sample_open(s, "/proc/none/listing", &r), 0);
	repo_free(r);
}

static int
make_dir(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(listing, sizeof(listing), "%s/listing", dir);
	return 0;
}

static int
remove_dir(void **state)
{
	(void)state;
	return io_remove_tree(AT_FDCWD, dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(open_lists_and_asks_for_nothing_else),
	    cmocka_unit_test(nothing_at_all_is_no_datastore),
	    cmocka_unit_test(an_empty_datastore_has_a_marker_or_chunks),
	    cmocka_unit_test(
		an_empty_directory_is_told_from_an_empty_datastore),
	    cmocka_unit_test(hostile_keys_do_no_harm),
	    cmocka_unit_test(refresh_replaces_the_tree_and_counts),
	    cmocka_unit_test(a_changed_object_is_fetched_again),
	    cmocka_unit_test(an_outage_shows_the_kept_listing),
	    cmocka_unit_test(only_an_outage_shows_the_kept_listing),
	    cmocka_unit_test(a_damaged_listing_is_not_used),
	    cmocka_unit_test(an_unwritable_listing_is_no_reason_to_fail),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
