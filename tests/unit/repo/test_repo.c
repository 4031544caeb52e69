/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/repo.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "pbs/blob.h"
#include "pbs/index.h"
#include "pbs/manifest.h"
#include "repo/chunks.h"
#include "repo/damage.h"
#include "repo/tree.h"
#include "samples.h"
#include "slow_store.h"
#include "store/backends.h"

#include "../cm.h"

#define T1 1704067200		/* 2024-01-01T00:00:00Z */
#define T2 (T1 + 86400)
#define DIR1 ".cnt/host/h1/2024-01-01T00:00:00Z/"

static char dir[] = "/tmp/test_repo.XXXXXX";
static char listing[64];

static struct slow_store *
with_snapshot(void)
{
	struct slow_store *s = slow_store_new();

	sample_snapshot(s, T1, 4);
	return s;
}

static int
open_with(struct slow_store *s, const char *keep, struct repo **ret)
{
	const struct repo_opts o = {.listing = keep, .timeout_ms = 5000};

	return repo_open(&s->s, &o, ret);
}

/* The one snapshot, as long as t is held. */
static const struct tree_snap *
snap_of(struct tree *t)
{
	const struct tree_group *g;

	g = tree_find_group(t->root, BACKUP_HOST, "h1");
	assert_non_null(g);
	assert_non_null(tree_find_snap(g, T1));
	return tree_find_snap(g, T1);
}

static const struct tree_file *
file_of(struct tree *t, const char *name)
{
	const struct tree_file *f = tree_find_file(snap_of(t), name);

	assert_non_null(f);
	return f;
}

static void
open_lists_and_asks_for_nothing_else(void **state)
{
	struct slow_store *s = with_snapshot();
	struct repo *r;
	struct tree *t;

	(void)state;
	assert_int_equal(open_with(s, NULL, &r), 0);
	assert_int_equal(s->lists, 1);
	assert_int_equal(s->gets + s->looks + s->stats, 0);
	assert_false(repo_is_offline(r));
	t = repo_tree(r);
	assert_int_equal(t->n_groups, 1);
	assert_int_equal(t->n_snaps, 1);
	assert_int_equal(t->n_files, 3);
	assert_true(snap_of(t)->finished);
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
	assert_int_equal(open_with(s, listing, &r), -ENOENT);
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
	assert_int_equal(open_with(s, NULL, &r), 0);
	assert_int_equal(s->lists, 1);
	assert_int_equal(s->stats, 1);
	assert_int_equal(s->gets, 0);
	t = repo_tree(r);
	assert_int_equal(t->n_groups, 0);
	tree_unref(t);
	repo_free(r);

	s = slow_store_new();
	sample_chunk(s, 100, 1);
	assert_int_equal(open_with(s, NULL, &r), 0);
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
	struct slow_store *s = with_snapshot();
	struct repo *r;
	struct tree *t;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(keys); i++)
		slow_store_put(s, keys[i], "x", 1);
	assert_int_equal(open_with(s, listing, &r), 0);
	t = repo_tree(r);
	assert_int_equal(t->n_ignored, ARRAY_SIZE(keys));
	assert_int_equal(t->n_files, 3);
	tree_unref(t);
	repo_free(r);
}

static void
objects_are_fetched_once(void **state)
{
	struct slow_store *s = with_snapshot();
	struct manifest *m;
	struct index *x;
	struct buf *b;
	struct repo *r;
	struct tree *t;
	unsigned i;

	(void)state;
	assert_int_equal(open_with(s, NULL, &r), 0);
	t = repo_tree(r);
	for (i = 0; i < 2; i++) {
		assert_int_equal(repo_manifest(r, snap_of(t), 0, &m), 0);
		assert_int_equal(m->n_files, 2);
		manifest_unref(m);
	}
	assert_int_equal(s->gets, 1);
	for (i = 0; i < 2; i++) {
		assert_int_equal(repo_index(r, file_of(t, "disk.img.fidx"), 0,
		    &x), 0);
		assert_int_equal(index_count(x), 4);
		index_unref(x);
	}
	assert_int_equal(s->gets, 2);
	for (i = 0; i < 2; i++) {
		assert_int_equal(repo_blob(r, file_of(t, "a.conf.blob"), 0,
		    &b), 0);
		assert_int_equal(b->len, 5);
		assert_memory_equal(b->data, "conf\n", 5);
		buf_unref(b);
	}
	assert_int_equal(s->gets, 3);
	assert_int_equal(repo_text(r, snap_of(t)->group->owner, 0, &b), 0);
	assert_memory_equal(b->data, "root@pam\n", 9);
	buf_unref(b);
	assert_int_equal(s->gets, 4);
	assert_int_equal(damage_count(repo_damage(r)), 0);
	tree_unref(t);
	repo_free(r);
}

static void
an_index_brings_its_manifest(void **state)
{
	struct slow_store *s = with_snapshot();
	struct index *x;
	struct repo *r;
	struct tree *t;

	(void)state;
	assert_int_equal(open_with(s, NULL, &r), 0);
	t = repo_tree(r);
	assert_int_equal(repo_index(r, file_of(t, "disk.img.fidx"), 0, &x), 0);
	index_unref(x);
	assert_int_equal(s->gets, 2);
	tree_unref(t);
	repo_free(r);
}

struct many {
	struct repo *r;
	const struct tree_snap *s;
};

static void *
get_manifest(void *arg)
{
	struct many *a = arg;
	struct manifest *m;
	int r;

	r = repo_manifest(a->r, a->s, 0, &m);
	if (r == 0)
		manifest_unref(m);
	return (void *)(intptr_t)r;
}

static void
fifty_who_want_a_manifest_are_one_get(void **state)
{
	struct slow_store *s = with_snapshot();
	pthread_t t[50];
	struct many a;
	struct tree *tree;
	size_t i;
	void *ret;

	(void)state;
	assert_int_equal(open_with(s, NULL, &a.r), 0);
	tree = repo_tree(a.r);
	a.s = snap_of(tree);
	slow_store_set(s, &s->hold, true);
	for (i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, get_manifest, &a),
		    0);
	slow_store_await(s, &s->gets, 1);
	usleep(50 * 1000);
	slow_store_set(s, &s->hold, false);
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		pthread_join(t[i], &ret);
		assert_null(ret);
	}
	assert_int_equal(s->gets, 1);
	tree_unref(tree);
	repo_free(a.r);
}

static void
all_who_wait_get_the_error(void **state)
{
	struct slow_store *s = with_snapshot();
	pthread_t t[20];
	struct manifest *m;
	struct many a;
	struct tree *tree;
	size_t i;
	void *ret;

	(void)state;
	assert_int_equal(open_with(s, NULL, &a.r), 0);
	tree = repo_tree(a.r);
	a.s = snap_of(tree);
	slow_store_set(s, &s->hold, true);
	slow_store_fail(s, -EHOSTDOWN, 20);
	for (i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, get_manifest, &a),
		    0);
	slow_store_await(s, &s->gets, 1);
	usleep(50 * 1000);
	slow_store_set(s, &s->hold, false);
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		pthread_join(t[i], &ret);
		assert_ptr_equal(ret, (void *)(intptr_t)-EHOSTDOWN);
	}
	assert_int_equal(damage_count(repo_damage(a.r)), 0);
	slow_store_fail(s, 0, 0);
	assert_int_equal(repo_manifest(a.r, a.s, 0, &m), 0);
	manifest_unref(m);
	tree_unref(tree);
	repo_free(a.r);
}

static void
nowait_never_waits(void **state)
{
	struct slow_store *s = with_snapshot();
	struct manifest *m;
	struct repo *r;
	struct tree *t;
	struct buf *b;

	(void)state;
	assert_int_equal(open_with(s, NULL, &r), 0);
	t = repo_tree(r);
	assert_int_equal(repo_manifest(r, snap_of(t), REPO_NOWAIT, &m),
	    -EAGAIN);
	assert_int_equal(s->gets, 0);
	assert_int_equal(repo_manifest(r, snap_of(t), 0, &m), 0);
	manifest_unref(m);
	assert_int_equal(repo_manifest(r, snap_of(t), REPO_NOWAIT, &m), 0);
	manifest_unref(m);
	assert_int_equal(s->gets, 1);
	/* What needs no network is fetched. */
	s->local = true;
	assert_int_equal(repo_blob(r, file_of(t, "a.conf.blob"), REPO_NOWAIT,
	    &b), 0);
	buf_unref(b);
	tree_unref(t);
	repo_free(r);
}

static void
prefetch_fetches_side_by_side(void **state)
{
	struct slow_store *s = with_snapshot();
	struct manifest *m;
	struct buf *b;
	struct repo *r;
	struct tree *t;

	(void)state;
	slow_store_put(s, DIR1 "client.log.blob", "x", 1);
	assert_int_equal(open_with(s, NULL, &r), 0);
	t = repo_tree(r);
	slow_store_set(s, &s->hold, true);
	repo_prefetch_snap(r, snap_of(t));
	repo_prefetch_snap(r, snap_of(t));
	slow_store_await(s, &s->now, 3);
	slow_store_set(s, &s->hold, false);
	assert_int_equal(repo_manifest(r, snap_of(t), 0, &m), 0);
	manifest_unref(m);
	assert_int_equal(repo_blob(r, file_of(t, "a.conf.blob"), 0, &b), 0);
	buf_unref(b);
	/* The log is garbage: fetched twice. */
	assert_int_equal(repo_blob(r, file_of(t, "client.log.blob"), 0, &b),
	    -EBADMSG);
	assert_int_equal(s->gets, 4);
	tree_unref(t);
	repo_free(r);
}

static void
a_flip_is_fetched_once_more(void **state)
{
	struct slow_store *s = with_snapshot();
	struct manifest *m;
	struct repo *r;
	struct tree *t;

	(void)state;
	assert_int_equal(open_with(s, NULL, &r), 0);
	t = repo_tree(r);
	s->flip_count = 1;
	assert_int_equal(repo_manifest(r, snap_of(t), 0, &m), 0);
	manifest_unref(m);
	assert_int_equal(s->gets, 2);
	assert_int_equal(s->fresh, 1);
	assert_int_equal(damage_count(repo_damage(r)), 0);
	tree_unref(t);
	repo_free(r);
}

static void
check_damage(struct repo *r, const char *key, const char *why)
{
	struct str text = {0};

	damage_text(repo_damage(r), &text);
	assert_non_null(strstr(str_get(&text), key));
	assert_non_null(strstr(str_get(&text), why));
	str_fini(&text);
}

static void
damaged_objects_are_reported_and_remembered(void **state)
{
	struct slow_store *s = with_snapshot();
	struct manifest *m;
	struct index *x;
	struct repo *r;
	struct tree *t;
	struct buf *b;

	(void)state;
	slow_store_put(s, DIR1 "index.json.blob", "", 0);
	slow_store_put(s, DIR1 "a.conf.blob", "0123456789abcdef", 16);
	assert_int_equal(open_with(s, NULL, &r), 0);
	t = repo_tree(r);
	assert_int_equal(repo_manifest(r, snap_of(t), 0, &m), -EBADMSG);
	assert_int_equal(s->gets, 2);
	assert_int_equal(repo_manifest(r, snap_of(t), 0, &m), -EBADMSG);
	assert_int_equal(repo_manifest(r, snap_of(t), REPO_NOWAIT, &m),
	    -EBADMSG);
	assert_int_equal(s->gets, 2);
	check_damage(r, "object " DIR1 "index.json.blob ", "");
	/* What the manifest cannot vouch for is still readable. */
	assert_int_equal(repo_index(r, file_of(t, "disk.img.fidx"), 0, &x), 0);
	index_unref(x);
	assert_int_equal(repo_blob(r, file_of(t, "a.conf.blob"), 0, &b),
	    -EBADMSG);
	assert_int_equal(damage_count(repo_damage(r)), 2);
	tree_unref(t);
	repo_free(r);
}

static void
what_differs_from_the_manifest_is_damaged(void **state)
{
	struct slow_store *s = with_snapshot(), *other = slow_store_new();
	const struct store_get how = {.max = MIB};
	struct index *x;
	struct repo *r;
	struct tree *t;
	struct buf *b;

	(void)state;
	/* A sound index, but of another image. */
	sample_snapshot(other, T1, 5);
	assert_int_equal(store_get(other->s.below, DIR1 "disk.img.fidx", &how,
	    &b, NULL), 0);
	slow_store_put(s, DIR1 "disk.img.fidx", b->data, b->len);
	buf_unref(b);
	store_free(&other->s);
	assert_int_equal(blob_encode("fake\n", 5, true, &b), 0);
	slow_store_put(s, DIR1 "a.conf.blob", b->data, b->len);
	slow_store_put(s, DIR1 "extra.conf.blob", b->data, b->len);
	buf_unref(b);

	assert_int_equal(open_with(s, NULL, &r), 0);
	t = repo_tree(r);
	assert_int_equal(repo_index(r, file_of(t, "disk.img.fidx"), 0, &x),
	    -EBADMSG);
	check_damage(r, DIR1 "disk.img.fidx",
	    "size 294912 and checksum ");
	check_damage(r, DIR1 "disk.img.fidx",
	    "but the manifest says size 229376 and checksum ");
	assert_int_equal(repo_blob(r, file_of(t, "a.conf.blob"), 0, &b),
	    -EBADMSG);
	/* One that the manifest does not know is taken as it is. */
	assert_int_equal(repo_blob(r, file_of(t, "extra.conf.blob"), 0, &b),
	    0);
	buf_unref(b);
	tree_unref(t);
	repo_free(r);
}

/* One wrong digest costs one chunk and not the image. */
static void
an_index_with_a_wrong_checksum_is_reported_and_read(void **state)
{
	struct slow_store *s = with_snapshot();
	const struct store_get how = {.max = MIB};
	struct index *x;
	struct repo *r;
	struct tree *t;
	struct buf *b;

	(void)state;
	assert_int_equal(store_get(s->s.below, DIR1 "disk.img.fidx", &how, &b,
	    NULL), 0);
	b->data[INDEX_HEADER_LEN + 40] ^= 1;
	slow_store_put(s, DIR1 "disk.img.fidx", b->data, b->len);
	buf_unref(b);
	assert_int_equal(open_with(s, NULL, &r), 0);
	t = repo_tree(r);
	assert_int_equal(repo_index(r, file_of(t, "disk.img.fidx"), 0, &x), 0);
	assert_false(index_is_intact(x));
	index_unref(x);
	assert_int_equal(s->gets, 3);	/* manifest, index, index once more */
	check_damage(r, "object " DIR1 "disk.img.fidx ", "checksum");
	assert_int_equal(damage_count(repo_damage(r)), 1);
	tree_unref(t);
	repo_free(r);
}

static void
encrypted_blobs_need_a_key(void **state)
{
	/* Section 2.6 of the format: "hello\n" encrypted. */
	static const char hex[] =
	    "7b6785be222d4cf0c6d287bea0a1a2a3a4a5a6a7a8a9aaabacadaeaf"
	    "bb08da3d8e1eadcf858337a645d9d07742c64fd077c7";
	struct slow_store *s = with_snapshot();
	uint8_t raw[50];
	struct repo *r;
	struct tree *t;
	struct buf *b;

	(void)state;
	assert_int_equal(hex_decode(raw, sizeof(raw), hex), 0);
	slow_store_put(s, DIR1 "secret.conf.blob", raw, sizeof(raw));
	assert_int_equal(open_with(s, NULL, &r), 0);
	t = repo_tree(r);
	assert_int_equal(repo_blob(r, file_of(t, "secret.conf.blob"), 0, &b),
	    -ENOKEY);
	assert_int_equal(repo_blob(r, file_of(t, "secret.conf.blob"), 0, &b),
	    -ENOKEY);
	assert_int_equal(s->gets, 2);	/* and the manifest */
	assert_int_equal(damage_count(repo_damage(r)), 0);
	tree_unref(t);
	repo_free(r);
}

static void
throttling_is_told_from_would_wait(void **state)
{
	struct slow_store *s = with_snapshot();
	struct manifest *m;
	struct repo *r;
	struct tree *t;

	(void)state;
	assert_int_equal(open_with(s, NULL, &r), 0);
	t = repo_tree(r);
	slow_store_fail(s, -EAGAIN, 1);
	assert_int_equal(repo_manifest(r, snap_of(t), 0, &m), -EIO);
	assert_int_equal(s->gets, 1);
	tree_unref(t);
	repo_free(r);
}

static void
gone_meanwhile_is_no_damage(void **state)
{
	const char *key = ".cnt/host/h1/owner";
	struct slow_store *s = with_snapshot();
	struct repo *r;
	struct tree *t;
	struct buf *b;

	(void)state;
	assert_int_equal(open_with(s, NULL, &r), 0);
	t = repo_tree(r);
	assert_int_equal(store_delete(s->s.below, &key, 1, NULL, NULL, 0), 0);
	assert_int_equal(repo_text(r, snap_of(t)->group->owner, 0, &b),
	    -ENOENT);
	assert_int_equal(damage_count(repo_damage(r)), 0);
	tree_unref(t);
	repo_free(r);
}

static void
text_is_bounded(void **state)
{
	struct slow_store *s = with_snapshot();
	struct repo *r;
	struct tree *t;
	struct buf *b;
	char *p;

	(void)state;
	p = calloc(1, MIB + 1);
	assert_non_null(p);
	slow_store_put(s, ".cnt/host/h1/notes", p, MIB + 1);
	free(p);
	assert_int_equal(open_with(s, NULL, &r), 0);
	t = repo_tree(r);
	assert_int_equal(repo_text(r, snap_of(t)->group->notes, 0, &b),
	    -EBADMSG);
	tree_unref(t);
	repo_free(r);
}

static void
refresh_replaces_the_tree_and_counts(void **state)
{
	const char *keys[] = {DIR1 "index.json.blob", DIR1 "disk.img.fidx",
	    DIR1 "a.conf.blob"};
	struct slow_store *s = with_snapshot();
	struct repo_changes c;
	struct tree *old, *new;
	struct repo *r;
	struct manifest *m;

	(void)state;
	assert_int_equal(open_with(s, NULL, &r), 0);
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
	assert_int_equal(repo_manifest(r, snap_of(old), 0, &m), -ENOENT);
	assert_null(tree_find_snap(&new->root->groups[0], T1));
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
	struct slow_store *s = with_snapshot();
	struct repo *r;
	struct tree *t;
	struct buf *b;

	(void)state;
	assert_int_equal(open_with(s, NULL, &r), 0);
	t = repo_tree(r);
	assert_int_equal(repo_text(r, snap_of(t)->group->owner, 0, &b), 0);
	buf_unref(b);
	tree_unref(t);
	slow_store_put(s, ".cnt/host/h1/owner", "user@pbs\n", 9);
	assert_int_equal(repo_refresh(r, NULL), 0);
	t = repo_tree(r);
	assert_int_equal(repo_text(r, snap_of(t)->group->owner, 0, &b), 0);
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
	s = with_snapshot();
	assert_int_equal(open_with(s, listing, &r), 0);
	t = repo_tree(r);
	at = t->listed_at;
	tree_unref(t);
	repo_free(r);
	for (i = 0; i < ARRAY_SIZE(outages); i++) {
		s = with_snapshot();
		slow_store_fail(s, outages[i], 1);
		assert_int_equal(open_with(s, listing, &r), 0);
		assert_true(repo_is_offline(r));
		t = repo_tree(r);
		assert_int_equal(t->listed_at, at);
		assert_int_equal(t->n_files, 3);
		assert_true(snap_of(t)->finished);
		assert_int_equal(file_of(t, "a.conf.blob")->size, 17);
		assert_true(file_of(t, "a.conf.blob")->etag[0] != '\0');
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
	s = with_snapshot();
	assert_int_equal(open_with(s, listing, &r), 0);
	repo_free(r);
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		s = with_snapshot();
		slow_store_fail(s, errors[i], 1);
		assert_int_equal(open_with(s, listing, &r), errors[i]);
	}
	s = with_snapshot();
	slow_store_fail(s, -EHOSTDOWN, 1);
	assert_int_equal(open_with(s, NULL, &r), -EHOSTDOWN);
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
	s = with_snapshot();
	assert_int_equal(open_with(s, listing, &r), 0);
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
		s = with_snapshot();
		slow_store_fail(s, -EHOSTDOWN, 1);
		assert_int_equal(open_with(s, listing, &r), -EHOSTDOWN);
		iov.iov_base = b->data;
		iov.iov_len = i == b->len ? i - 1 : i;
		assert_int_equal(io_replace(AT_FDCWD, listing, &iov, 1, 0600,
		    0), 0);
		s = with_snapshot();
		slow_store_fail(s, -EHOSTDOWN, 1);
		assert_int_equal(open_with(s, listing, &r), -EHOSTDOWN);
		buf_unref(x);
	}
	log_set_level(LOG_LVL_INFO);
	buf_unref(b);
	unlink(listing);
}

static void
an_unwritable_listing_is_no_reason_to_fail(void **state)
{
	struct slow_store *s = with_snapshot();
	struct repo *r;

	(void)state;
	assert_int_equal(open_with(s, "/proc/none/listing", &r), 0);
	repo_free(r);
}

static void
shutdown_ends_all_waits(void **state)
{
	struct slow_store *s = with_snapshot();
	pthread_t t[10];
	struct many a;
	struct tree *tree;
	uint64_t start;
	size_t i;
	void *ret;

	(void)state;
	assert_int_equal(open_with(s, NULL, &a.r), 0);
	tree = repo_tree(a.r);
	a.s = snap_of(tree);
	slow_store_set(s, &s->hold, true);
	for (i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, get_manifest, &a),
		    0);
	slow_store_await(s, &s->gets, 1);
	usleep(20 * 1000);
	start = clock_mono_ms();
	repo_shutdown(a.r);
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		pthread_join(t[i], &ret);
		assert_ptr_equal(ret, (void *)(intptr_t)-ESHUTDOWN);
	}
	assert_true(clock_mono_ms() - start < 2000);
	tree_unref(tree);
	repo_free(a.r);
}

static void
a_wait_for_another_ends_at_its_own_deadline(void **state)
{
	const struct repo_opts o = {.timeout_ms = 400};
	struct slow_store *s = with_snapshot();
	pthread_t first;
	struct manifest *m;
	struct many a;
	struct tree *tree;
	uint64_t start;
	void *ret;

	(void)state;
	assert_int_equal(repo_open(&s->s, &o, &a.r), 0);
	tree = repo_tree(a.r);
	a.s = snap_of(tree);
	slow_store_set(s, &s->hold, true);
	assert_int_equal(pthread_create(&first, NULL, get_manifest, &a), 0);
	slow_store_await(s, &s->gets, 1);
	usleep(200 * 1000);
	start = clock_mono_ms();
	/* The first gives up half way; then it is ours. */
	assert_int_equal(repo_manifest(a.r, a.s, 0, &m), -ETIMEDOUT);
	assert_in_range(clock_mono_ms() - start, 350, 2000);
	assert_int_equal(slow_store_count(s, &s->gets), 2);
	pthread_join(first, &ret);
	assert_ptr_equal(ret, (void *)(intptr_t)-ETIMEDOUT);
	tree_unref(tree);
	repo_free(a.r);
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
	    cmocka_unit_test(objects_are_fetched_once),
	    cmocka_unit_test(an_index_brings_its_manifest),
	    cmocka_unit_test(fifty_who_want_a_manifest_are_one_get),
	    cmocka_unit_test(all_who_wait_get_the_error),
	    cmocka_unit_test(nowait_never_waits),
	    cmocka_unit_test(prefetch_fetches_side_by_side),
	    cmocka_unit_test(a_flip_is_fetched_once_more),
	    cmocka_unit_test(damaged_objects_are_reported_and_remembered),
	    cmocka_unit_test(what_differs_from_the_manifest_is_damaged),
	    cmocka_unit_test(
	        an_index_with_a_wrong_checksum_is_reported_and_read),
	    cmocka_unit_test(encrypted_blobs_need_a_key),
	    cmocka_unit_test(throttling_is_told_from_would_wait),
	    cmocka_unit_test(gone_meanwhile_is_no_damage),
	    cmocka_unit_test(text_is_bounded),
	    cmocka_unit_test(refresh_replaces_the_tree_and_counts),
	    cmocka_unit_test(a_changed_object_is_fetched_again),
	    cmocka_unit_test(an_outage_shows_the_kept_listing),
	    cmocka_unit_test(only_an_outage_shows_the_kept_listing),
	    cmocka_unit_test(a_damaged_listing_is_not_used),
	    cmocka_unit_test(an_unwritable_listing_is_no_reason_to_fail),
	    cmocka_unit_test(shutdown_ends_all_waits),
	    cmocka_unit_test(a_wait_for_another_ends_at_its_own_deadline),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
