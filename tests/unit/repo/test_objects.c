/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/repo.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
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

#include "../cm.h"

static void
objects_are_fetched_once(void **state)
{
	struct slow_store *s = sample_store();
	struct manifest *m;
	struct index *x;
	struct buf *b;
	struct repo *r;
	struct tree *t;
	unsigned i;

	(void)state;
	assert_int_equal(sample_open(s, NULL, &r), 0);
	t = repo_tree(r);
	for (i = 0; i < 2; i++) {
		assert_int_equal(repo_manifest(r, sample_snap(t), 0, &m), 0);
		assert_int_equal(m->n_files, 2);
		manifest_unref(m);
	}
	assert_int_equal(s->gets, 1);
	for (i = 0; i < 2; i++) {
		assert_int_equal(repo_index(r, sample_file(t, "disk.img.fidx"), 0,
		    &x), 0);
		assert_int_equal(index_count(x), 4);
		index_unref(x);
	}
	assert_int_equal(s->gets, 2);
	for (i = 0; i < 2; i++) {
		assert_int_equal(repo_blob(r, sample_file(t, "a.conf.blob"), 0,
		    &b), 0);
		assert_int_equal(b->len, 5);
		assert_memory_equal(b->data, "conf\n", 5);
		buf_unref(b);
	}
	assert_int_equal(s->gets, 3);
	assert_int_equal(repo_text(r, sample_snap(t)->group->owner, 0, &b), 0);
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
	struct slow_store *s = sample_store();
	struct index *x;
	struct repo *r;
	struct tree *t;

	(void)state;
	assert_int_equal(sample_open(s, NULL, &r), 0);
	t = repo_tree(r);
	assert_int_equal(repo_index(r, sample_file(t, "disk.img.fidx"), 0, &x), 0);
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
	struct slow_store *s = sample_store();
	pthread_t t[50];
	struct many a;
	struct tree *tree;
	size_t i;
	void *ret;

	(void)state;
	assert_int_equal(sample_open(s, NULL, &a.r), 0);
	tree = repo_tree(a.r);
	a.s = sample_snap(tree);
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
	struct slow_store *s = sample_store();
	pthread_t t[20];
	struct manifest *m;
	struct many a;
	struct tree *tree;
	size_t i;
	void *ret;

	(void)state;
	assert_int_equal(sample_open(s, NULL, &a.r), 0);
	tree = repo_tree(a.r);
	a.s = sample_snap(tree);
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
	struct slow_store *s = sample_store();
	struct manifest *m;
	struct repo *r;
	struct tree *t;
	struct buf *b;

	(void)state;
	assert_int_equal(sample_open(s, NULL, &r), 0);
	t = repo_tree(r);
	assert_int_equal(repo_manifest(r, sample_snap(t), REPO_NOWAIT, &m),
	    -EAGAIN);
	assert_int_equal(s->gets, 0);
	assert_int_equal(repo_manifest(r, sample_snap(t), 0, &m), 0);
	manifest_unref(m);
	assert_int_equal(repo_manifest(r, sample_snap(t), REPO_NOWAIT, &m), 0);
	manifest_unref(m);
	assert_int_equal(s->gets, 1);
	/* What needs no network is fetched. */
	s->local = true;
	assert_int_equal(repo_blob(r, sample_file(t, "a.conf.blob"), REPO_NOWAIT,
	    &b), 0);
	buf_unref(b);
	tree_unref(t);
	repo_free(r);
}

static void
prefetch_fetches_side_by_side(void **state)
{
	struct slow_store *s = sample_store();
	struct manifest *m;
	struct buf *b;
	struct repo *r;
	struct tree *t;

	(void)state;
	slow_store_put(s, SAMPLE_DIR "client.log.blob", "x", 1);
	assert_int_equal(sample_open(s, NULL, &r), 0);
	t = repo_tree(r);
	slow_store_set(s, &s->hold, true);
	repo_prefetch_snap(r, sample_snap(t));
	repo_prefetch_snap(r, sample_snap(t));
	slow_store_await(s, &s->now, 3);
	slow_store_set(s, &s->hold, false);
	assert_int_equal(repo_manifest(r, sample_snap(t), 0, &m), 0);
	manifest_unref(m);
	assert_int_equal(repo_blob(r, sample_file(t, "a.conf.blob"), 0, &b), 0);
	buf_unref(b);
	/* The log is garbage: fetched twice. */
	assert_int_equal(repo_blob(r, sample_file(t, "client.log.blob"), 0, &b),
	    -EBADMSG);
	assert_int_equal(s->gets, 4);
	tree_unref(t);
	repo_free(r);
}

static void
a_flip_is_fetched_once_more(void **state)
{
	struct slow_store *s = sample_store();
	struct manifest *m;
	struct repo *r;
	struct tree *t;

	(void)state;
	assert_int_equal(sample_open(s, NULL, &r), 0);
	t = repo_tree(r);
	s->flip_count = 1;
	assert_int_equal(repo_manifest(r, sample_snap(t), 0, &m), 0);
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
	struct slow_store *s = sample_store();
	struct manifest *m;
	struct index *x;
	struct repo *r;
	struct tree *t;
	struct buf *b;

	(void)state;
	slow_store_put(s, SAMPLE_DIR "index.json.blob", "", 0);
	slow_store_put(s, SAMPLE_DIR "a.conf.blob", "0123456789abcdef", 16);
	assert_int_equal(sample_open(s, NULL, &r), 0);
	t = repo_tree(r);
	assert_int_equal(repo_manifest(r, sample_snap(t), 0, &m), -EBADMSG);
	assert_int_equal(s->gets, 2);
	assert_int_equal(repo_manifest(r, sample_snap(t), 0, &m), -EBADMSG);
	assert_int_equal(repo_manifest(r, sample_snap(t), REPO_NOWAIT, &m),
	    -EBADMSG);
	assert_int_equal(s->gets, 2);
	check_damage(r, "object " SAMPLE_DIR "index.json.blob ", "");
	/* What the manifest cannot vouch for is still readable. */
	assert_int_equal(repo_index(r, sample_file(t, "disk.img.fidx"), 0, &x), 0);
	index_unref(x);
	assert_int_equal(repo_blob(r, sample_file(t, "a.conf.blob"), 0, &b),
	    -EBADMSG);
	assert_int_equal(damage_count(repo_damage(r)), 2);
	tree_unref(t);
	repo_free(r);
}

static void
what_differs_from_the_manifest_is_damaged(void **state)
{
	struct slow_store *s = sample_store(), *other = slow_store_new();
	const struct store_get how = {.max = MIB};
	struct index *x;
	struct repo *r;
	struct tree *t;
	struct buf *b;

	(void)state;
	/* A sound index, but of another image. */
	sample_snapshot(other, SAMPLE_T1, 5);
	assert_int_equal(store_get(other->s.below, SAMPLE_DIR "disk.img.fidx", &how,
	    &b, NULL), 0);
	slow_store_put(s, SAMPLE_DIR "disk.img.fidx", b->data, b->len);
	buf_unref(b);
	store_free(&other->s);
	assert_int_equal(blob_encode("fake\n", 5, true, &b), 0);
	slow_store_put(s, SAMPLE_DIR "a.conf.blob", b->data, b->len);
	slow_store_put(s, SAMPLE_DIR "extra.conf.blob", b->data, b->len);
	buf_unref(b);

	assert_int_equal(sample_open(s, NULL, &r), 0);
	t = repo_tree(r);
	assert_int_equal(repo_index(r, sample_file(t, "disk.img.fidx"), 0, &x),
	    -EBADMSG);
	check_damage(r, SAMPLE_DIR "disk.img.fidx",
	    "size 294912 and checksum ");
	check_damage(r, SAMPLE_DIR "disk.img.fidx",
	    "but the manifest says size 229376 and checksum ");
	assert_int_equal(repo_blob(r, sample_file(t, "a.conf.blob"), 0, &b),
	    -EBADMSG);
	/* One that the manifest does not know is taken as it is. */
	assert_int_equal(repo_blob(r, sample_file(t, "extra.conf.blob"), 0, &b),
	    0);
	buf_unref(b);
	tree_unref(t);
	repo_free(r);
}

/* One wrong digest costs one chunk and not the image. */
static void
an_index_with_a_wrong_checksum_is_reported_and_read(void **state)
{
	struct slow_store *s = sample_store();
	const struct store_get how = {.max = MIB};
	struct index *x;
	struct repo *r;
	struct tree *t;
	struct buf *b;

	(void)state;
	assert_int_equal(store_get(s->s.below, SAMPLE_DIR "disk.img.fidx", &how, &b,
	    NULL), 0);
	b->data[INDEX_HEADER_LEN + 40] ^= 1;
	slow_store_put(s, SAMPLE_DIR "disk.img.fidx", b->data, b->len);
	buf_unref(b);
	assert_int_equal(sample_open(s, NULL, &r), 0);
	t = repo_tree(r);
	assert_int_equal(repo_index(r, sample_file(t, "disk.img.fidx"), 0, &x), 0);
	assert_false(index_is_intact(x));
	index_unref(x);
	assert_int_equal(s->gets, 3);	/* manifest, index, index once more */
	check_damage(r, "object " SAMPLE_DIR "disk.img.fidx ", "checksum");
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
	struct slow_store *s = sample_store();
	uint8_t raw[50];
	struct repo *r;
	struct tree *t;
	struct buf *b;

	(void)state;
	assert_int_equal(hex_decode(raw, sizeof(raw), hex), 0);
	slow_store_put(s, SAMPLE_DIR "secret.conf.blob", raw, sizeof(raw));
	assert_int_equal(sample_open(s, NULL, &r), 0);
	t = repo_tree(r);
	assert_int_equal(repo_blob(r, sample_file(t, "secret.conf.blob"), 0, &b),
	    -ENOKEY);
	assert_int_equal(repo_blob(r, sample_file(t, "secret.conf.blob"), 0, &b),
	    -ENOKEY);
	assert_int_equal(s->gets, 2);	/* and the manifest */
	assert_int_equal(damage_count(repo_damage(r)), 0);
	tree_unref(t);
	repo_free(r);
}

static void
throttling_is_told_from_would_wait(void **state)
{
	struct slow_store *s = sample_store();
	struct manifest *m;
	struct repo *r;
	struct tree *t;

	(void)state;
	assert_int_equal(sample_open(s, NULL, &r), 0);
	t = repo_tree(r);
	slow_store_fail(s, -EAGAIN, 1);
	assert_int_equal(repo_manifest(r, sample_snap(t), 0, &m), -EIO);
	assert_int_equal(s->gets, 1);
	tree_unref(t);
	repo_free(r);
}

static void
gone_meanwhile_is_no_damage(void **state)
{
	const char *key = ".cnt/host/h1/owner";
	struct slow_store *s = sample_store();
	struct repo *r;
	struct tree *t;
	struct buf *b;

	(void)state;
	assert_int_equal(sample_open(s, NULL, &r), 0);
	t = repo_tree(r);
	assert_int_equal(store_delete(s->s.below, &key, 1, NULL, NULL, 0), 0);
	assert_int_equal(repo_text(r, sample_snap(t)->group->owner, 0, &b),
	    -ENOENT);
	assert_int_equal(damage_count(repo_damage(r)), 0);
	tree_unref(t);
	repo_free(r);
}

static void
text_is_bounded(void **state)
{
	struct slow_store *s = sample_store();
	struct repo *r;
	struct tree *t;
	struct buf *b;
	char *p;

	(void)state;
	p = calloc(1, MIB + 1);
	assert_non_null(p);
	slow_store_put(s, ".cnt/host/h1/notes", p, MIB + 1);
	free(p);
	assert_int_equal(sample_open(s, NULL, &r), 0);
	t = repo_tree(r);
	assert_int_equal(repo_text(r, sample_snap(t)->group->notes, 0, &b),
	    -EBADMSG);
	tree_unref(t);
	repo_free(r);
}

static void
shutdown_ends_all_waits(void **state)
{
	struct slow_store *s = sample_store();
	pthread_t t[10];
	struct many a;
	struct tree *tree;
	uint64_t start;
	size_t i;
	void *ret;

	(void)state;
	assert_int_equal(sample_open(s, NULL, &a.r), 0);
	tree = repo_tree(a.r);
	a.s = sample_snap(tree);
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
	struct slow_store *s = sample_store();
	pthread_t first;
	struct manifest *m;
	struct many a;
	struct tree *tree;
	uint64_t start;
	void *ret;

	(void)state;
	assert_int_equal(repo_open(&s->s, &o, &a.r), 0);
	tree = repo_tree(a.r);
	a.s = sample_snap(tree);
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

static void *
get_index(void *arg)
{
	struct many *a = arg;
	struct tree *t = repo_tree(a->r);
	struct index *x;
	int r = repo_index(a->r, sample_file(t, "disk.img.fidx"), 0, &x);

	if (r == 0)
		index_unref(x);
	tree_unref(t);
	return (void *)(intptr_t)r;
}

static void
an_index_and_its_manifest_share_a_deadline(void **state)
{
	const struct repo_opts o = {.timeout_ms = 1000};
	struct slow_store *s = sample_store();
	struct many a = {0};
	pthread_t thread;
	uint64_t start = clock_mono_ms();
	void *ret;

	(void)state;
	assert_int_equal(repo_open(&s->s, &o, &a.r), 0);
	slow_store_set(s, &s->hold, true);
	assert_int_equal(pthread_create(&thread, NULL, get_index, &a), 0);
	slow_store_await(s, &s->gets, 1);
	usleep(700 * 1000);
	pthread_mutex_lock(&s->lock);
	s->pass = "disk.img.fidx";
	pthread_cond_broadcast(&s->change);
	pthread_mutex_unlock(&s->lock);
	pthread_join(thread, &ret);
	assert_ptr_equal(ret, (void *)(intptr_t)-ETIMEDOUT);
	assert_in_range(clock_mono_ms() - start, 950, 1600);
	repo_free(a.r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(objects_are_fetched_once),
	    cmocka_unit_test(an_index_brings_its_manifest),
	    cmocka_unit_test(fifty_who_want_a_manifest_are_one_get),
	    cmocka_unit_test(all_who_wait_get_the_error),
	    cmocka_unit_test(nowait_never_waits),
	    cmocka_unit_test(prefetch_fetches_side_by_side),
	    cmocka_unit_test(a_flip_is_fetched_once_more),
	    cmocka_unit_test(damaged_objects_are_reported_and_remembered),
	    cmocka_unit_test(what_differs_from_the_manifest_is_damaged),
	    cmocka_unit_test(an_index_with_a_wrong_checksum_is_reported_and_read),
	    cmocka_unit_test(encrypted_blobs_need_a_key),
	    cmocka_unit_test(throttling_is_told_from_would_wait),
	    cmocka_unit_test(gone_meanwhile_is_no_damage),
	    cmocka_unit_test(text_is_bounded),
	    cmocka_unit_test(shutdown_ends_all_waits),
	    cmocka_unit_test(a_wait_for_another_ends_at_its_own_deadline),
	    cmocka_unit_test(an_index_and_its_manifest_share_a_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
