/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/filters.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/num.h"
#include "cache_rig.h"
#include "scratch.h"
#include "store/cache.h"
#include "suite.h"

#include "../cm.h"

#define SNAP ".cnt/vm/100/2024-01-01T00:00:00Z/"

static void
only_what_was_found_good_is_kept(void **state)
{
	struct rig g = rig_open(*state, 8 * MIB, 0);
	const struct store_get how = {.max = MIB};
	struct buf *b = rig_content(1, 1000);
	struct store_object o;
	char key[80];

	rig_key(1, key);
	assert_int_equal(store_put(g.mem, key, b->data, 1000, NULL, NULL), 0);
	for (int i = 0; i < 3; i++)
		assert_true(rig_has(&g, 1, 1000));
	assert_int_equal(rig_gets(&g), 3);
	assert_int_equal(rig_stats(&g).misses, 3);
	store_verdict(g.s, key, b, true);
	buf_unref(b);
	for (int i = 0; i < 3; i++)
		assert_true(rig_has(&g, 1, 1000));
	assert_int_equal(rig_gets(&g), 3);
	assert_int_equal(rig_stats(&g).hits, 3);
	assert_int_equal(rig_stats(&g).chunks, 1);
	/* Byte for byte as in the store. */
	assert_int_equal(
	    io_read_file(AT_FDCWD, rig_file(g.dir, 1), MIB, &b), 0);
	assert_int_equal(b->len, 1000);
	buf_unref(b);
	/* Past the cache. */
	assert_int_equal(
	    store_get(g.s, key,
		&(struct store_get){.max = MIB, .flags = STORE_FRESH}, &b, &o),
	    0);
	buf_unref(b);
	assert_int_equal(rig_gets(&g), 4);
	/* Without a network. */
	assert_int_equal(
	    store_get(g.s, key,
		&(struct store_get){.max = MIB, .flags = STORE_LOCAL}, &b,
		NULL),
	    0);
	buf_unref(b);
	assert_int_equal(
	    store_get(g.s, key,
		&(struct store_get){.max = MIB, .off = 10, .len = 5}, &b, &o),
	    0);
	assert_int_equal(b->len, 5);
	assert_int_equal(b->data[0], 1 + 70);
	assert_int_equal(o.size, 1000);
	buf_unref(b);
	assert_int_equal(rig_gets(&g), 4);
	(void)how;
	store_free(g.s);
}

static void
what_was_found_damaged_is_unlinked(void **state)
{
	struct rig g = rig_open(*state, 8 * MIB, 0);
	struct buf *b;
	char key[80];

	rig_keep(&g, 1, 1000);
	assert_int_equal(access(rig_file(g.dir, 1), F_OK), 0);
	b = rig_content(1, 1000);
	store_verdict(g.s, rig_key(1, key), b, false);
	buf_unref(b);
	assert_int_equal(access(rig_file(g.dir, 1), F_OK), -1);
	assert_false(rig_has(&g, 1, 1000));
	assert_int_equal(rig_stats(&g).chunks, 0);
	assert_int_equal(rig_stats(&g).rejected, 1);
	assert_int_equal(rig_stats(&g).used, CACHE_BASE_COST);
	/* The directory that held it is gone too. */
	assert_int_equal(scratch_files(scratch_path(g.dir, ".chunks")), 0);
	store_free(g.s);
}

static void
files_of_the_wrong_size_or_gone_are_misses(void **state)
{
	struct rig g = rig_open(*state, 8 * MIB, 0);

	for (unsigned n = 0; n < 4; n++)
		rig_keep(&g, n, 1000);
	assert_int_equal(truncate(rig_file(g.dir, 0), 999), 0);
	assert_int_equal(truncate(rig_file(g.dir, 1), 0), 0);
	assert_int_equal(unlink(rig_file(g.dir, 2)), 0);
	assert_int_equal(unlink(rig_file(g.dir, 3)), 0);
	assert_int_equal(symlink("/etc/passwd", rig_file(g.dir, 3)), 0);
	for (unsigned n = 0; n < 4; n++)
		assert_false(rig_has(&g, n, 1000));
	assert_int_equal(rig_stats(&g).chunks, 0);
	assert_int_equal(rig_stats(&g).used, CACHE_BASE_COST);
	for (unsigned n = 0; n < 4; n++)
		rig_keep(&g, n, 1000);
	for (unsigned n = 0; n < 4; n++)
		assert_true(rig_has(&g, n, 1000));
	rig_in_limit(&g);
	store_free(g.s);
}

static void
the_least_recently_used_goes_first(void **state)
{
	/* Ten of them fit. */
	struct rig g =
	    rig_open(*state, CACHE_BASE_COST + 10 * (CHUNK + 12 * KIB), 0);
	uint64_t kept;

	for (unsigned n = 0; n < 10; n++)
		rig_keep(&g, n, CHUNK);
	kept = rig_stats(&g).chunks;
	assert_int_equal(kept, 10);
	assert_true(rig_has(&g, 0, CHUNK));
	assert_true(rig_has(&g, 3, CHUNK));
	for (unsigned n = 10; n < 14; n++) {
		rig_keep(&g, n, CHUNK);
		rig_in_limit(&g);
	}
	for (unsigned n = 0; n < 14; n++)
		assert_int_equal(
		    rig_has(&g, n, CHUNK), n == 0 || n == 3 || n >= 6);
	assert_int_equal(rig_stats(&g).evictions, 4);
	store_free(g.s);
}

static void
order_and_content_survive_reopening(void **state)
{
	uint64_t limit = CACHE_BASE_COST + 10 * (CHUNK + 12 * KIB);
	struct rig g = rig_open(*state, limit, 0);

	for (unsigned n = 0; n < 10; n++)
		rig_keep(&g, n, CHUNK);
	assert_true(rig_has(&g, 1, CHUNK));
	assert_true(rig_has(&g, 0, CHUNK));
	store_free(g.s);
	g = rig_open(*state, limit, 0);
	assert_int_equal(rig_stats(&g).chunks, 10);
	rig_keep(&g, 10, CHUNK);
	rig_keep(&g, 11, CHUNK);
	assert_true(rig_has(&g, 4, CHUNK));
	store_free(g.s);
	/* 5 is the oldest now, then 6. */
	g = rig_open(*state, limit, 0);
	rig_keep(&g, 12, CHUNK);
	rig_keep(&g, 13, CHUNK);
	rig_in_limit(&g);
	for (unsigned n = 0; n < 14; n++)
		assert_int_equal(rig_has(&g, n, CHUNK),
		    n != 2 && n != 3 && n != 5 && n != 6);
	assert_int_equal(rig_gets(&g), 4);
	store_free(g.s);
}

static void
eviction_leaves_readers_alone(void **state)
{
	struct rig g =
	    rig_open(*state, CACHE_BASE_COST + 2 * (CHUNK + 12 * KIB), 0);
	const struct store_get how = {.max = MIB};
	struct buf *b = NULL, *want = rig_content(0, CHUNK);
	char key[80], bytes[16];
	int fd;

	rig_keep(&g, 0, CHUNK);
	assert_int_equal(store_get(g.s, rig_key(0, key), &how, &b, NULL), 0);
	fd = open(rig_file(g.dir, 0), O_RDONLY);
	assert_true(fd >= 0);
	for (unsigned n = 1; n < 5; n++)
		rig_keep(&g, n, CHUNK);
	assert_int_equal(access(rig_file(g.dir, 0), F_OK), -1);
	assert_memory_equal(b->data, want->data, CHUNK);
	assert_int_equal(pread(fd, bytes, sizeof(bytes), CHUNK - 16), 16);
	assert_memory_equal(bytes, want->data + CHUNK - 16, 16);
	close(fd);
	buf_unref(b);
	buf_unref(want);
	store_free(g.s);
}

static void
two_processes_share_a_directory(void **state)
{
	struct rig a = rig_open(*state, 8 * MIB, 0);
	struct rig b;
	struct cache *c;
	struct buf *x;
	char key[80];

	rig_keep(&a, 1, CHUNK);
	b = rig_open(*state, 8 * MIB, 0);
	c = (struct cache *)b.s;
	assert_true(rig_stats(&b).degraded);
	assert_true(rig_has(&b, 1, CHUNK));
	assert_int_equal(rig_gets(&b), 0);
	rig_keep(&b, 2, CHUNK);
	assert_false(rig_has(&b, 2, CHUNK));
	/* Later additions of the first are seen by the second. */
	rig_keep(&a, 3, CHUNK);
	assert_true(rig_has(&b, 3, CHUNK));
	/* What the second finds damaged is gone for both. */
	x = rig_content(3, CHUNK);
	store_verdict(b.s, rig_key(3, key), x, false);
	buf_unref(x);
	assert_false(rig_has(&a, 3, CHUNK));
	assert_int_equal(rig_stats(&a).chunks, 1);
	rig_in_limit(&a);
	store_free(a.s);
	/* It takes over when the first has left. */
	assert_false(c->manager);
	store_free(b.s);
	b = rig_open(*state, 8 * MIB, 0);
	assert_int_equal(rig_stats(&b).chunks, 1);
	assert_false(rig_stats(&b).degraded);
	store_free(b.s);
}

/* Metadata. */

static int
get_meta(const struct rig *g, const char *key, const char *etag, unsigned flags,
    const char *want, char *ret_etag)
{
	const struct store_get how = {.max = MIB, .etag = etag, .flags = flags};
	struct store_object o = {0};
	struct buf *b = NULL;
	int r = store_get(g->s, key, &how, &b, &o);

	if (r == 0) {
		assert_int_equal(b->len, strlen(want));
		assert_memory_equal(b->data, want, b->len);
		assert_int_equal(o.size, b->len);
		if (ret_etag != NULL)
			memcpy(ret_etag, o.etag, sizeof(o.etag));
	}
	buf_unref(b);
	return r;
}

static void
metadata_is_kept_by_version(void **state)
{
	struct rig g = rig_open(*state, 8 * MIB, 0);
	const char *key = SNAP "index.json.blob";
	char one[72], two[72];

	must_put(g.mem, key, "version one");
	assert_int_equal(
	    get_meta(&g, key, NULL, STORE_LOCAL, "version one", NULL), 0);
	assert_int_equal(get_meta(&g, key, NULL, 0, "version one", one), 0);
	assert_int_equal(rig_stats(&g).objects, 1);
	assert_int_equal(rig_gets(&g), 2);
	/* The version is known: no request, also after a restart. */
	for (int i = 0; i < 2; i++) {
		must_put(g.mem, key, "version one");
		assert_int_equal(
		    get_meta(&g, key, one, 0, "version one", NULL), 0);
		assert_int_equal(
		    get_meta(&g, key, one, STORE_LOCAL, "version one", NULL),
		    0);
		assert_int_equal(rig_gets(&g), i == 0 ? 2 : 0);
		if (i == 0) {
			store_free(g.s);
			g = rig_open(*state, 8 * MIB, 0);
		}
	}
	/* Not known: the store decides. */
	assert_int_equal(get_meta(&g, key, NULL, 0, "version one", NULL), 0);
	assert_int_equal(rig_gets(&g), 1);
	must_put(g.mem, key, "version 2");
	assert_int_equal(get_meta(&g, key, "other", 0, "version 2", two), 0);
	assert_string_not_equal(one, two);
	assert_int_equal(rig_gets(&g), 2);
	assert_int_equal(get_meta(&g, key, two, 0, "version 2", NULL), 0);
	assert_int_equal(rig_gets(&g), 2);
	assert_int_equal(rig_stats(&g).objects, 1);
	/* What the listing has shown before is still there, offline. */
	assert_int_equal(
	    get_meta(&g, key, NULL, STORE_LOCAL, "version 2", NULL), 0);
	assert_int_equal(rig_gets(&g), 2);
	assert_int_equal(
	    get_meta(&g, key, two, STORE_FRESH, "version 2", NULL), 0);
	assert_int_equal(rig_gets(&g), 3);
	store_free(g.s);
}

static void
writing_and_deleting_metadata_is_seen(void **state)
{
	struct rig g = rig_open(*state, 8 * MIB, 0);
	const char *key = ".cnt/vm/1/notes";
	struct store_object o;

	assert_int_equal(store_put(g.s, key, "text", 4, NULL, &o), 0);
	assert_int_equal(get_meta(&g, key, o.etag, 0, "text", NULL), 0);
	assert_int_equal(rig_gets(&g), 0);
	assert_int_equal(store_delete(g.s, &key, 1, NULL, NULL, 0), 0);
	assert_int_equal(rig_stats(&g).objects, 0);
	assert_int_equal(get_meta(&g, key, o.etag, 0, "text", NULL), 1);
	store_free(g.s);
}

static void
damaged_metadata_is_fetched_again(void **state)
{
	const char *key = SNAP "index.json.blob";
	struct rig g = rig_open(*state, 8 * MIB, 0);
	struct buf *b = NULL;
	char etag[72];

	must_put(g.mem, key, "the manifest");
	assert_int_equal(get_meta(&g, key, NULL, 0, "the manifest", etag), 0);
	assert_int_equal(
	    io_read_file(AT_FDCWD, scratch_path(g.dir, key), MIB, &b), 0);
	for (size_t i = 0; i < b->len; i++) {
		uint64_t before = rig_gets(&g);

		b->data[i] ^= 1;
		scratch_write(scratch_path(g.dir, key), b->data, b->len);
		b->data[i] ^= 1;
		assert_int_equal(
		    get_meta(&g, key, etag, 0, "the manifest", NULL), 0);
		/* A changed name of the version is another version. */
		assert_int_equal(rig_gets(&g), before + 1);
	}
	for (size_t len = 0; len < b->len; len++) {
		scratch_write(scratch_path(g.dir, key), b->data, len);
		assert_int_equal(
		    get_meta(&g, key, etag, 0, "the manifest", NULL), 0);
	}
	/* Nor does one object pass for another. */
	must_put(g.mem, SNAP "other.blob", "the other");
	assert_int_equal(
	    get_meta(&g, SNAP "other.blob", NULL, 0, "the other", NULL), 0);
	scratch_write(scratch_path(g.dir, SNAP "other.blob"), b->data, b->len);
	assert_int_equal(
	    get_meta(&g, SNAP "other.blob", etag, 0, "the other", NULL), 0);
	buf_unref(b);
	rig_in_limit(&g);
	store_free(g.s);
}

static void
names_that_cannot_be_files_are_not_kept(void **state)
{
	struct rig g = rig_open(*state, 8 * MIB, 0);
	char key[400];

	snprintf(key, sizeof(key), ".cnt/vm/%0300d/owner", 1);
	must_put(g.mem, key, "x");
	must_have(g.s, key, "x");
	must_put(g.mem, ".cnt/vm/1", "x");
	must_put(g.mem, ".cnt/vm/1/owner", "y");
	must_have(g.s, ".cnt/vm/1", "x");
	must_have(g.s, ".cnt/vm/1/owner", "y");
	must_have(g.s, ".cnt/vm/1", "x");
	must_put(g.mem, ".chunks/abcd/short", "x");
	must_have(g.s, ".chunks/abcd/short", "x");
	assert_int_equal(rig_stats(&g).objects, 1);
	assert_false(rig_stats(&g).degraded);
	rig_in_limit(&g);
	store_free(g.s);
}

#define WITH_DIR(f)                                                            \
	cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_DIR(only_what_was_found_good_is_kept),
	    WITH_DIR(what_was_found_damaged_is_unlinked),
	    WITH_DIR(files_of_the_wrong_size_or_gone_are_misses),
	    WITH_DIR(the_least_recently_used_goes_first),
	    WITH_DIR(order_and_content_survive_reopening),
	    WITH_DIR(eviction_leaves_readers_alone),
	    WITH_DIR(two_processes_share_a_directory),
	    WITH_DIR(metadata_is_kept_by_version),
	    WITH_DIR(writing_and_deleting_metadata_is_seen),
	    WITH_DIR(damaged_metadata_is_fetched_again),
	    WITH_DIR(names_that_cannot_be_files_are_not_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
