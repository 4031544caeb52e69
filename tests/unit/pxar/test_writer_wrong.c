/* SPDX-License-Identifier: GPL-3.0-or-later */

/* What the writer of archives refuses, and that it does so from then on. */
#include "pbs/pxar_writer.h"

#include <errno.h>
#include <stdlib.h>

#include "base/num.h"

#include "writing.h"

/* What must be refused: r, and once more after it, whatever comes. */
static void
refused(struct pxar_writer *w, int r, int want)
{
	size_t len = out.len;

	assert_int_equal(r, want);
	assert_int_equal(pxar_writer_node(w, "zzz", FIFO, NULL), want);
	assert_int_equal(pxar_writer_dir(w, "zzz", DIR), want);
	assert_int_equal(pxar_writer_file(w, "zzz", E(S_IFREG), NULL), want);
	assert_int_equal(pxar_writer_data(w, "", 0), want);
	assert_int_equal(pxar_writer_hardlink(w, "zzz", 1, "a"), want);
	assert_int_equal(pxar_writer_root(w, DIR), want);
	assert_int_equal(pxar_writer_dir_end(w, NULL), want);
	assert_false(pxar_writer_is_done(w));
	assert_int_equal(out.len, len);
	pxar_writer_free(w);
}

static void
wrong_names(void **state)
{
	static const char *const bad[] = {"", ".", "..", "a/b", "/", "a/"};
	char name[PXAR_NAME_MAX + 2];
	struct pxar_writer *w;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		w = begin(1);
		refused(w, pxar_writer_node(w, bad[i], FIFO, NULL), -EINVAL);
		w = begin(1);
		refused(w, pxar_writer_dir(w, bad[i], DIR), -EINVAL);
	}
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	w = begin(1);
	refused(w, pxar_writer_node(w, name, FIFO, NULL), -ENAMETOOLONG);
}

static void
wrong_order(void **state)
{
	struct pxar_writer *w;

	(void)state;
	w = begin(1);
	assert_int_equal(pxar_writer_node(w, "b", FIFO, NULL), 0);
	refused(w, pxar_writer_node(w, "a", FIFO, NULL), -EINVAL);

	/* The same name; also beside a directory, after it is closed. */
	w = begin(1);
	assert_int_equal(pxar_writer_node(w, "b", FIFO, NULL), 0);
	refused(w, pxar_writer_dir(w, "b", DIR), -EINVAL);
	w = begin(1);
	assert_int_equal(pxar_writer_dir(w, "b", DIR), 0);
	assert_int_equal(pxar_writer_node(w, "a", FIFO, NULL), 0);
	assert_int_equal(pxar_writer_node(w, "zz", FIFO, NULL), 0);
	assert_int_equal(pxar_writer_dir_end(w, NULL), 0);
	refused(w, pxar_writer_hardlink(w, "b", 56, "a"), -EINVAL);

	/* By bytes, not by letters; a name before what it begins. */
	w = begin(1);
	assert_int_equal(pxar_writer_node(w, "\x7f", FIFO, NULL), 0);
	assert_int_equal(pxar_writer_node(w, "\x80", FIFO, NULL), 0);
	refused(w, pxar_writer_node(w, "\x7f\x7f", FIFO, NULL), -EINVAL);
	w = begin(1);
	assert_int_equal(pxar_writer_node(w, "ab", FIFO, NULL), 0);
	refused(w, pxar_writer_node(w, "a", FIFO, NULL), -EINVAL);
}

static void
wrong_types(void **state)
{
	struct pxar_writer *w;

	(void)state;
	w = begin(1);
	refused(w, pxar_writer_node(w, "a", E(S_IFREG), NULL), -EINVAL);
	w = begin(1);
	refused(w, pxar_writer_node(w, "a", DIR, NULL), -EINVAL);
	w = begin(1);
	refused(w, pxar_writer_node(w, "a", E(0644), NULL), -EINVAL);
	w = begin(1);
	refused(w, pxar_writer_dir(w, "a", FIFO), -EINVAL);
	w = begin(1);
	refused(w, pxar_writer_file(w, "a", FIFO, NULL), -EINVAL);
	w = begin(1);
	refused(w, pxar_writer_file_ref(w, "a", E(S_IFREG), 16, NULL),
	    -EINVAL);
	w = begin(2);
	refused(w, pxar_writer_file(w, "a", E(S_IFREG), NULL), -EINVAL);
	w = begin(2);
	refused(w, pxar_writer_file_ref(w, "a", FIFO, 16, NULL), -EINVAL);
}

static void
wrong_attributes(void **state)
{
	char target[PXAR_TARGET_MAX + 2];
	struct pxar_writer *w;

	(void)state;
	w = begin(1);
	refused(w, pxar_writer_node(w, "a",
	    E(S_IFIFO, .mtime_nsec = 1000000000), NULL), -EINVAL);
	w = begin(1);
	refused(w, pxar_writer_node(w, "a", E(S_IFIFO | 0200000), NULL),
	    -EINVAL);
	w = begin(1);
	refused(w, pxar_writer_node(w, "a", E(S_IFLNK), NULL), -EINVAL);
	memset(target, 't', sizeof(target) - 1);
	target[sizeof(target) - 1] = '\0';
	w = begin(1);
	refused(w, pxar_writer_node(w, "a", E(S_IFLNK, .target = target),
	    NULL), -ENAMETOOLONG);
	w = begin(1);
	refused(w, pxar_writer_hardlink(w, "a", 0, target), -ENAMETOOLONG);
	target[0] = '\0';
	w = begin(1);
	refused(w, pxar_writer_node(w, "a", E(S_IFLNK, .target = target),
	    NULL), -EINVAL);
}

static void
wrong_links(void **state)
{
	static const char *const bad[] = {"", "/a", "a//b", "a/", "a/../b",
	    "./a"};
	struct pxar_writer *w;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		w = begin(1);
		refused(w, pxar_writer_hardlink(w, "b", 0, bad[i]), -EINVAL);
	}
	/* To itself, to what is still to come. */
	w = begin(1);
	refused(w, pxar_writer_hardlink(w, "b", out.len, "a"), -EINVAL);
	w = begin(1);
	refused(w, pxar_writer_hardlink(w, "b", UINT64_MAX, "a"), -EINVAL);
}

static void
meta_is(struct pxar_meta m, int want)
{
	struct pxar_writer *w = begin(1);

	refused(w, pxar_writer_dir(w, "a", E(S_IFDIR, .meta = &m)), want);
	/* The root has attributes as well. */
	w = NULL;
	assert_int_equal(pxar_writer_new(1,
	    &(struct pxar_sink){gather, &out}, &w), 0);
	refused(w, pxar_writer_root(w, E(S_IFDIR, .meta = &m)), want);
}

static void
wrong_meta(void **state)
{
	struct pxar_acl_id bad = {1, 8};
	char name[PXAR_XATTR_NAME_MAX + 2];
	uint8_t value[1] = {0};
	struct pxar_xattr x = {name, value, 0}, *all;
	size_t n = 300, i;

	(void)state;
	meta_is((struct pxar_meta){.acl_users = &bad, .n_acl_users = 1},
	    -EINVAL);
	meta_is((struct pxar_meta){.acl_groups = &bad, .n_acl_groups = 1},
	    -EINVAL);
	meta_is((struct pxar_meta){.def_users = &bad, .n_def_users = 1},
	    -EINVAL);
	meta_is((struct pxar_meta){.def_groups = &bad, .n_def_groups = 1},
	    -EINVAL);
	meta_is((struct pxar_meta){.has_group_obj = true, .group_obj = 8},
	    -EINVAL);
	meta_is((struct pxar_meta){.has_default = true, .def_user_obj = 8},
	    -EINVAL);
	meta_is((struct pxar_meta){.has_default = true,
	    .def_mask = PXAR_ACL_UNSET - 1}, -EINVAL);
	meta_is((struct pxar_meta){.fcaps = value,
	    .fcaps_len = PXAR_FCAPS_MAX + 1}, -E2BIG);
	name[0] = '\0';
	meta_is((struct pxar_meta){.xattrs = &x, .n_xattrs = 1}, -EINVAL);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	meta_is((struct pxar_meta){.xattrs = &x, .n_xattrs = 1},
	    -ENAMETOOLONG);
	name[4] = '\0';
	x.len = PXAR_XATTR_MAX - 3;
	meta_is((struct pxar_meta){.xattrs = &x, .n_xattrs = 1}, -E2BIG);
	/* Each is small enough, all of them are too much. */
	x.len = 65536;
	all = calloc(n, sizeof(*all));
	assert_non_null(all);
	for (i = 0; i < n; i++)
		all[i] = x;
	meta_is((struct pxar_meta){.xattrs = all, .n_xattrs = n}, -E2BIG);
	free(all);
}

static void
wrong_data(void **state)
{
	const struct pxar_entry *two = E(S_IFREG, .size = 2);
	struct pxar_writer *w;

	(void)state;
	w = begin(1);
	refused(w, pxar_writer_data(w, "a", 1), -EINVAL);
	w = begin(1);
	assert_int_equal(pxar_writer_file(w, "a", two, NULL), 0);
	refused(w, pxar_writer_data(w, "abc", 3), -EINVAL);
	w = begin(1);
	assert_int_equal(pxar_writer_file(w, "a", two, NULL), 0);
	assert_int_equal(pxar_writer_data(w, "ab", 2), 0);
	refused(w, pxar_writer_data(w, "c", 1), -EINVAL);

	/* Too few before whatever comes next. */
	w = begin(1);
	assert_int_equal(pxar_writer_file(w, "a", two, NULL), 0);
	assert_int_equal(pxar_writer_data(w, "a", 1), 0);
	refused(w, pxar_writer_node(w, "b", FIFO, NULL), -EINVAL);
	w = begin(1);
	assert_int_equal(pxar_writer_file(w, "a", two, NULL), 0);
	refused(w, pxar_writer_dir_end(w, NULL), -EINVAL);
	w = begin(1);
	assert_int_equal(pxar_writer_file(w, "a", two, NULL), 0);
	refused(w, pxar_writer_file(w, "b", two, NULL), -EINVAL);

	w = begin(1);
	refused(w, pxar_writer_file(w, "a",
	    E(S_IFREG, .size = UINT64_MAX - 100), NULL), -EFBIG);
}

static void
wrong_offsets(void **state)
{
	const struct pxar_entry *e = E(S_IFREG, .size = 100);
	struct pxar_writer *w;

	(void)state;
	w = begin(2);
	refused(w, pxar_writer_file_ref(w, "a", e, 0, NULL), -EINVAL);
	w = begin(2);
	refused(w, pxar_writer_file_ref(w, "a", e, 15, NULL), -EINVAL);
	w = begin(2);
	refused(w, pxar_writer_file_ref(w, "a", e, INT64_MAX - 115, NULL),
	    -EINVAL);
	w = begin(2);
	refused(w, pxar_writer_file_ref(w, "a", e, UINT64_MAX - 50, NULL),
	    -EINVAL);
	w = begin(2);
	assert_int_equal(pxar_writer_file_ref(w, "a", e, 17, NULL), 0);
	assert_int_equal(pxar_writer_file_ref(w, "b", e, 18, NULL), 0);
	refused(w, pxar_writer_file_ref(w, "c", e, 18, NULL), -EINVAL);
}

static void
wrong_sequence(void **state)
{
	struct pxar_sink sink = {gather, &out};
	struct pxar_writer *w;

	(void)state;
	assert_int_equal(pxar_writer_new(0, &sink, &w), -EINVAL);
	assert_int_equal(pxar_writer_new(3, &sink, &w), -EINVAL);
	assert_int_equal(pxar_writer_new(1, &sink, &w), 0);
	refused(w, pxar_writer_node(w, "a", FIFO, NULL), -EINVAL);
	assert_int_equal(pxar_writer_new(1, &sink, &w), 0);
	refused(w, pxar_writer_dir_end(w, NULL), -EINVAL);
	assert_int_equal(pxar_writer_new(1, &sink, &w), 0);
	refused(w, pxar_writer_root(w, FIFO), -EINVAL);
	w = begin(1);
	refused(w, pxar_writer_root(w, DIR), -EINVAL);
	/* After the end; it stays ended. */
	w = begin(1);
	assert_int_equal(pxar_writer_dir_end(w, NULL), 0);
	assert_int_equal(pxar_writer_node(w, "a", FIFO, NULL), -EINVAL);
	assert_int_equal(pxar_writer_dir_end(w, NULL), -EINVAL);
	assert_int_equal(pxar_writer_root(w, DIR), -EINVAL);
	pxar_writer_free(w);
	pxar_writer_free(NULL);
}

static int fail_after;	/* calls of the sink until it fails */

static int
failing(void *arg, const void *p, size_t len)
{
	if (fail_after-- == 0)
		return -ENOSPC;
	return gather(arg, p, len);
}

static int
small_archive(struct pxar_writer *w)
{
	int r;

	r = pxar_writer_root(w, DIR);
	if (r == 0)
		r = pxar_writer_file(w, "a", E(S_IFREG, .size = 2), NULL);
	if (r == 0)
		r = pxar_writer_data(w, "ab", 2);
	if (r == 0)
		r = pxar_writer_dir(w, "d", DIR);
	if (r == 0)
		r = pxar_writer_dir_end(w, NULL);
	if (r == 0)
		r = pxar_writer_dir_end(w, NULL);
	return r;
}

/* Wherever the sink fails its error is the last word. */
static void
sink_errors(void **state)
{
	struct pxar_sink sink = {failing, &out};
	struct pxar_writer *w;
	int n, r;

	(void)state;
	for (n = 0;; n++) {
		fail_after = n;
		assert_int_equal(pxar_writer_new(1, &sink, &w), 0);
		r = small_archive(w);
		if (r == 0)
			break;
		fail_after = -1;
		refused(w, r, -ENOSPC);
	}
	/* One call of the sink for each of the writer. */
	assert_int_equal(n, 6);
	pxar_writer_free(w);
}

#define T(f) cmocka_unit_test_teardown(f, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(wrong_names),
	    T(wrong_order),
	    T(wrong_types),
	    T(wrong_attributes),
	    T(wrong_links),
	    T(wrong_meta),
	    T(wrong_data),
	    T(wrong_offsets),
	    T(wrong_sequence),
	    T(sink_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
