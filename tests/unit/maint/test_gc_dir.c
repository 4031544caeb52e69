/* SPDX-License-Identifier: GPL-3.0-or-later */

/* In a directory, by the rules of a server that collects there as well. */
#include "maint/gc.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "gc_world.h"

#include "../cm.h"

#define A1 GC_INDEX("host/a", "01", "root.pxar.didx")
#define ZERO ".chunks/bb9f/bb9f8df61474d25e71fa00722318cd387396ca1736605e" \
	"1248821cc0de3d3af8"
#define DAY 86400

static int
setup(void **state)
{
	*state = malloc(sizeof(struct gc_world));
	gc_world_open(*state, true);
	return 0;
}

static int
teardown(void **state)
{
	gc_world_close(*state);
	free(*state);
	return 0;
}

static const char *
in_base(const struct gc_world *w, const char *path)
{
	static char full[4][2048];
	static int i;

	i = (i + 1) % 4;
	snprintf(full[i], sizeof(full[i]), "%s/%s", w->base, path);
	return full[i];
}

/* Last used so long ago; written a year ago. */
static void
set_age(struct gc_world *w, const char *path, int64_t age)
{
	const struct timespec t[2] = {
	    {.tv_sec = clock_real_s() - age},
	    {.tv_sec = clock_real_s() - 365 * DAY}};

	assert_int_equal(utimensat(AT_FDCWD, in_base(w, path), t, 0), 0);
}

static int64_t
age_of(struct gc_world *w, const char *path)
{
	struct stat st;

	assert_int_equal(stat(in_base(w, path), &st), 0);
	return clock_real_s() - st.st_atim.tv_sec;
}

static bool
is_there(struct gc_world *w, const char *path)
{
	struct stat st;

	return lstat(in_base(w, path), &st) == 0;
}

static void
write_file(struct gc_world *w, const char *path, const void *p, size_t len)
{
	int fd = open(in_base(w, path), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, len), len);
	close(fd);
}

static void
test_last_access(void **state)
{
	struct gc_world *w = *state;
	const int64_t cutoff = GC_CUTOFF_DEFAULT;

	for (uint64_t i = 0; i < 6; i++)
		gc_put_chunk(w, i);
	gc_put_index(w, A1, 0, 2);
	/* Referred to: old, and older than old; then neither. */
	set_age(w, gc_key(0), cutoff + 60);
	set_age(w, gc_key(1), 300 * DAY);
	set_age(w, gc_key(2), cutoff + 60);
	set_age(w, gc_key(3), cutoff - 60);
	set_age(w, gc_key(4), 60);
	set_age(w, gc_key(5), -1000);
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.removed, 1);
	assert_false(gc_has_chunk(w, 2));
	assert_int_equal(w->res.pending, 3);
	/* A server that collects next finds them in use. */
	assert_in_range(age_of(w, gc_key(0)), 0, 5);
	assert_in_range(age_of(w, gc_key(1)), 0, 5);
	assert_int_equal(w->f->n[STORE_TOUCH], 2);
	/* What nothing refers to ages on. */
	assert_true(age_of(w, gc_key(3)) >= cutoff - 60);
	/* What it was used for is gone: it has a day more. */
	gc_remove(w, A1);
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.removed, 0);
	assert_int_equal(w->res.pending, 5);
	set_age(w, gc_key(1), cutoff + 60);
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.removed, 1);
	assert_false(gc_has_chunk(w, 1));
}

static void
test_dry_run(void **state)
{
	struct gc_world *w = *state;

	gc_put_chunk(w, 0);
	gc_put_chunk(w, 1);
	gc_put_index(w, A1, 0, 1);
	set_age(w, gc_key(0), 10 * DAY);
	set_age(w, gc_key(1), 10 * DAY);
	w->o.dry_run = true;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.removed, 1);
	assert_true(gc_has_chunk(w, 1));
	assert_true(age_of(w, gc_key(0)) > 9 * DAY);
	assert_false(is_there(w, ".gc-status"));
}

/* A server's and others': all but chunks is none of our business. */
static void
test_strangers(void **state)
{
	static const char *const tails[] = {
	    ".tmp_AbCdEf", ".using", ".10.bad", ".old", ".0.bad.tmp_AbCdEf"};
	struct gc_world *w = *state;
	char path[8][160];
	size_t n = ARRAY_SIZE(tails);

	for (uint64_t i = 1; i < 4; i++)
		gc_put_chunk(w, i);
	for (size_t i = 0; i < n; i++) {
		snprintf(path[i], sizeof(path[i]), "%s%s", gc_key(1), tails[i]);
		write_file(w, path[i], "x", i == 1 ? 0 : 1);
	}
	snprintf(path[n++], sizeof(path[0]), ".chunks/README");
	write_file(w, path[n - 1], "x", 1);
	/* A server's mark of a chunk that it does not have. */
	snprintf(path[n++], sizeof(path[0]), "%s", gc_key(2));
	write_file(w, path[n - 1], "", 0);
	for (size_t i = 0; i < n; i++)
		set_age(w, path[i], 100 * DAY);
	w->o.cutoff = 0;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.removed, 2);
	for (size_t i = 0; i < n; i++)
		if (!is_there(w, path[i]))
			fail_msg("%s is gone", path[i]);
}

/* Beside chunk 1. */
static void
in_sub(char out[160], const char *name)
{
	const char *key = gc_key(1);

	snprintf(out, 160, "%.*s%s", (int)(strrchr(key, '/') + 1 - key), key,
	    name);
}

/* What we began and did not finish is ours to remove, a day later. */
static void
test_unfinished(void **state)
{
	static const struct {
		const char *name;
		bool old, goes;
	} v[] = {
	    {".tmp_0123456789abcdef", true, true},
	    {".tmp_0123456789abcdee", false, false},
	    {".tmp_0123456789abcdeg", true, false},
	    {".tmp_0123456789abcde", true, false},
	    {".tmp_AbCdEf", true, false},
	    {"x.tmp_0123456789abcdef", true, false},
	};
	struct gc_world *w = *state;
	char path[160];

	gc_put_chunk(w, 1);
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		in_sub(path, v[i].name);
		write_file(w, path, "x", 1);
		if (v[i].old)
			set_age(w, path, 2 * DAY);
	}
	w->o.cutoff = 0;
	w->o.dry_run = true;
	assert_int_equal(gc_world_run(w), 0);
	in_sub(path, v[0].name);
	assert_true(is_there(w, path));
	w->o.dry_run = false;
	assert_int_equal(gc_world_run(w), 0);
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		in_sub(path, v[i].name);
		if (is_there(w, path) == v[i].goes)
			fail_msg("%s", v[i].name);
	}
}

static void
test_set_aside(void **state)
{
	struct gc_world *w = *state;
	char bad[3][160];

	gc_put_index(w, A1, 0, 2);
	gc_put_chunk(w, 0);
	for (int i = 0; i < 3; i++) {
		snprintf(bad[i], sizeof(bad[i]), "%s.0.bad",
		    gc_key((uint64_t)i));
		gc_put(w, bad[i], "damaged");
		set_age(w, bad[i], 10 * DAY);
	}
	assert_int_equal(gc_world_run(w), 0);
	assert_false(is_there(w, bad[0]));
	assert_true(is_there(w, bad[1]));
	assert_false(is_there(w, bad[2]));
	/* So that a server keeps it, too. */
	assert_in_range(age_of(w, bad[1]), 0, 5);
	assert_int_equal(w->res.missing, 1);
}

/* A server looks for indices everywhere but in hidden directories. */
static void
test_stray_indices(void **state)
{
	static const struct {
		const char *dir, *name;
		bool counts;
	} v[] = {
	    {".", "x.fidx", true},
	    {"elsewhere", "x.didx", true},
	    {"elsewhere/deep/er", "y.fidx", true},
	    {"ns", "x.fidx", true},
	    {"ns/a", "x.fidx", true},
	    {"host/a", "x.didx", true},
	    {"host/a/b/c/d/e", "x.didx", true},
	    {"a b/c\\d", "x y.didx", true},
	    {".hidden", "x.didx", false},
	    {"elsewhere/.hidden", "x.didx", false},
	    {"elsewhere", "x.tmp_didx", false},
	    {"elsewhere", ".x.didx", false},
	};
	struct gc_world *w = *state;
	size_t counts = 0;

	w->o.cutoff = 0;
	for (uint64_t i = 0; i < ARRAY_SIZE(v); i++) {
		char path[200];
		size_t len;
		void *p = gc_index_file(2 * i, 2 * i + 1, 1, &len);

		gc_put_chunk(w, 2 * i);
		gc_put_chunk(w, 2 * i + 1);
		snprintf(path, sizeof(path), "mkdir -p '%s'",
		    in_base(w, v[i].dir));
		assert_int_equal(system(path), 0);
		snprintf(path, sizeof(path), "%s/%s", v[i].dir, v[i].name);
		write_file(w, path, p, len);
		free(p);
		counts += v[i].counts;
	}
	assert_int_equal(gc_world_run(w), 0);
	for (uint64_t i = 0; i < ARRAY_SIZE(v); i++) {
		if (gc_has_chunk(w, 2 * i) != v[i].counts)
			fail_msg("%s/%s", v[i].dir, v[i].name);
		assert_false(gc_has_chunk(w, 2 * i + 1));
	}
	assert_int_equal(w->res.indices, counts);
	assert_int_equal(w->count[GC_STRAY_INDEX], counts);
	/* They are not read again, either. */
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.indices_reused, counts);
	/* One that is none keeps everything. */
	gc_put_chunk(w, 99);
	write_file(w, "elsewhere/z.fidx", "no index", 8);
	assert_int_equal(gc_world_run(w), -EBADMSG);
	assert_true(gc_has_chunk(w, 99));
	assert_int_equal(unlink(in_base(w, "elsewhere/z.fidx")), 0);
	/* A link is followed by nobody. */
	assert_int_equal(symlink("/dev/zero", in_base(w, "elsewhere/l.fidx")),
	    0);
	assert_int_equal(symlink("/", in_base(w, "elsewhere/root")), 0);
	assert_int_equal(gc_world_run(w), 0);
	assert_false(gc_has_chunk(w, 99));
}

/* What a server shows of the last collection, in its own form. */
static void
test_status(void **state)
{
	static const char *const names[] = {"upid", "index-file-count",
	    "index-data-bytes", "disk-bytes", "disk-chunks", "removed-bytes",
	    "removed-chunks", "pending-bytes", "pending-chunks", "removed-bad",
	    "still-bad"};
	struct gc_world *w = *state;
	struct stat st;
	json_t *j, *stats;

	for (uint64_t i = 0; i < 10; i++)
		gc_put_chunk(w, i);
	gc_put_index(w, A1, 0, 4);
	gc_put_index(w, GC_INDEX("host/a", "02", "root.pxar.didx"), 2, 6);
	set_age(w, gc_key(9), 10 * DAY);
	assert_int_equal(gc_world_run(w), 0);
	j = json_load_file(in_base(w, ".gc-status"), 0, NULL);
	assert_non_null(j);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (json_object_get(j, names[i]) == NULL)
			fail_msg("no %s", names[i]);
#define IS(o, name, n) \
	assert_int_equal(json_integer_value(json_object_get(o, name)), n)
	IS(j, "index-file-count", 2);
	IS(j, "index-data-bytes", 800);
	IS(j, "disk-chunks", 6);
	IS(j, "disk-bytes", 60);
	IS(j, "removed-chunks", 1);
	IS(j, "removed-bytes", 10);
	IS(j, "pending-chunks", 3);
	IS(j, "pending-bytes", 30);
	stats = json_object_get(j, "cache-stats");
	IS(stats, "hits", 2);
	IS(stats, "misses", 6);
	assert_memory_equal(json_string_value(json_object_get(j, "upid")),
	    "UPID:", 5);
	json_decref(j);
	assert_int_equal(stat(in_base(w, ".gc-status"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
}

static void
test_zero_chunk(void **state)
{
	struct gc_world *w = *state;

	gc_put(w, ZERO, "zeroes");
	set_age(w, ZERO, 100 * DAY);
	w->o.cutoff = 0;
	assert_int_equal(gc_world_run(w), 0);
	assert_true(is_there(w, ZERO));
	assert_in_range(age_of(w, ZERO), 0, 5);
}

#define DIR_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		DIR_TEST(test_last_access),
		DIR_TEST(test_dry_run),
		DIR_TEST(test_strangers),
		DIR_TEST(test_unfinished),
		DIR_TEST(test_set_aside),
		DIR_TEST(test_stray_indices),
		DIR_TEST(test_status),
		DIR_TEST(test_zero_chunk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
