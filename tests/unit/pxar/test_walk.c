/* SPDX-License-Identifier: GPL-3.0-or-later */

/* Paths of positions, and the hard links of an archive. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/num.h"
#include "pbs/pxar.h"
#include "pbs/pxar_format.h"

#include "../cm.h"
#include "mkpxar.h"

#define DIR_ MK(S_IFDIR | 0755)
#define FILE_ MK(S_IFREG | 0644)

static struct pxar *
open_it(struct mk *m)
{
	struct pxar_source src;
	struct pxar *a;

	mk_finish(m);
	src = mk_source(m);
	assert_int_equal(pxar_open(&src, &a), 0);
	return a;
}

static void
assert_path(struct pxar *a, uint64_t pos, const char *want)
{
	char *path;

	assert_int_equal(pxar_path(a, pos, &path), 0);
	assert_string_equal(path, want);
	free(path);
}

static void
paths(void **state)
{
	uint64_t file, sub, dir, link, deep, begin;
	struct pxar *a;
	struct mk m;
	char *path;

	(void)state;
	mk_init(&m, 2);
	mk_root(&m, DIR_);
	mk_file(&m, "a", FILE_, "x", 1);
	begin = mk_dir(&m, "dir", DIR_);
	file = mk_file(&m, "file", FILE_, "content", 7);
	mk_dir(&m, "sub", DIR_);
	deep = mk_symlink(&m, "deep", MK(S_IFLNK | 0777), "x");
	sub = mk_up(&m);
	dir = mk_up(&m);
	link = mk_link(&m, "link", file, "dir/file");
	a = open_it(&m);
	assert_path(a, pxar_root(a), "");
	assert_path(a, dir, "dir");
	assert_path(a, sub, "dir/sub");
	assert_path(a, file, "dir/file");
	assert_path(a, deep, "dir/sub/deep");
	assert_path(a, link, "link");
	/* Neither inside of records nor where no entry is. */
	assert_int_equal(pxar_path(a, 0, &path), -ENOENT);
	assert_int_equal(pxar_path(a, begin, &path), -ENOENT);
	assert_int_equal(pxar_path(a, file + 1, &path), -ENOENT);
	assert_int_equal(pxar_path(a, sub + 1, &path), -ENOENT);
	assert_int_equal(pxar_path(a, pxar_root(a) + 1, &path), -ENOENT);
	assert_int_equal(pxar_path(a, UINT64_MAX, &path), -ENOENT);
	pxar_close(a);
	mk_fini(&m);
}

/* Deep enough to end a program that would recurse or forget its bounds. */
static void
deep_paths(void **state)
{
	static char name[2001];
	uint64_t pos;
	struct pxar *a;
	struct mk m;
	char *path;
	int i;

	(void)state;
	memset(name, 'd', sizeof(name) - 1);
	mk_init(&m, 1);
	mk_root(&m, DIR_);
	for (i = 0; i < 500; i++)
		mk_dir(&m, name, DIR_);
	pos = mk_file(&m, "f", FILE_, "x", 1);
	a = open_it(&m);
	assert_int_equal(pxar_path(a, pos, &path), 0);
	assert_int_equal(strlen(path), 500 * 2001 + 1);
	free(path);
	pxar_close(a);
	mk_fini(&m);

	mk_init(&m, 1);
	mk_root(&m, DIR_);
	for (i = 0; i < 550; i++)
		mk_dir(&m, name, DIR_);
	pos = mk_file(&m, "f", FILE_, "x", 1);
	a = open_it(&m);
	assert_int_equal(pxar_path(a, pos, &path), -ENAMETOOLONG);
	pxar_close(a);
	mk_fini(&m);
}

struct seen {
	uint64_t pos[8];
	size_t n;
	int stop;	/* what the callback returns */
};

static int
note(void *arg, uint64_t file_pos)
{
	struct seen *s = arg;

	assert_in_range(s->n, 0, ARRAY_SIZE(s->pos) - 1);
	s->pos[s->n++] = file_pos;
	return s->stop;
}

static void
links(void **state)
{
	struct seen s = {0};
	uint64_t f, g, bad;
	struct pxar *a;
	struct mk m;
	size_t i, to_f = 0;

	(void)state;
	mk_init(&m, 1);
	mk_root(&m, DIR_);
	mk_dir(&m, "d", DIR_);
	f = mk_file(&m, "f", FILE_, "x", 1);
	g = mk_file(&m, "g", FILE_, "x", 1);
	mk_up(&m);
	mk_dir(&m, "e", DIR_);
	mk_link(&m, "f2", f, "d/f");
	mk_dir(&m, "sub", DIR_);
	mk_link(&m, "f3", f, "d/f");
	mk_up(&m);
	mk_up(&m);
	bad = mk_link(&m, "bad", f + 1, "d/f");
	mk_link(&m, "g2", g, "d/g");
	a = open_it(&m);
	assert_int_equal(pxar_links(a, note, &s), 0);
	assert_int_equal(s.n, 3);
	for (i = 0; i < s.n; i++) {
		assert_true(s.pos[i] == f || s.pos[i] == g);
		to_f += s.pos[i] == f;
	}
	assert_int_equal(to_f, 2);
	assert_int_not_equal(bad, 0);

	/* The callback ends it, also with what looks like damage. */
	s = (struct seen){.stop = 7};
	assert_int_equal(pxar_links(a, note, &s), 7);
	assert_int_equal(s.n, 1);
	s = (struct seen){.stop = -EBADMSG};
	assert_int_equal(pxar_links(a, note, &s), -EBADMSG);
	assert_int_equal(s.n, 1);
	m.fail_at = m.reads + 3;
	s = (struct seen){0};
	assert_int_equal(pxar_links(a, note, &s), -EIO);
	pxar_close(a);
	mk_fini(&m);
}

/* A damaged table hides what is below, and nothing else. */
static void
links_past_damage(void **state)
{
	struct seen s = {0};
	uint64_t f, table;
	struct pxar *a;
	struct mk m;

	(void)state;
	mk_init(&m, 1);
	mk_root(&m, DIR_);
	f = mk_file(&m, "f", FILE_, "x", 1);
	mk_dir(&m, "d", DIR_);
	mk_link(&m, "f2", f, "f");
	table = mk_up(&m);
	mk_dir(&m, "too-many", DIR_);
	mk_link(&m, "f2", f, "f");
	mk_add(&m, "f2", 2, f, 0);
	mk_add(&m, "f2", 2, f, 0);
	mk_add(&m, "f2", 2, f, 0);
	mk_up(&m);
	mk_link(&m, "f3", f, "f");
	a = open_it(&m);
	m.main.p[table] ^= 1;
	assert_int_equal(pxar_links(a, note, &s), 0);
	assert_int_equal(s.n, 1);
	pxar_close(a);
	mk_fini(&m);
}

/* Neighbours are read with one window. */
static void
links_read_little(void **state)
{
	struct seen s = {0};
	char name[3] = "aa";
	struct pxar *a;
	struct mk m;
	int i;

	(void)state;
	mk_init(&m, 2);
	mk_root(&m, DIR_);
	for (i = 0; i < 26 * 26; i++) {
		name[0] = (char)('a' + i / 26);
		name[1] = (char)('a' + i % 26);
		mk_file(&m, name, FILE_, "x", 1);
	}
	a = open_it(&m);
	m.reads = m.bytes = 0;
	assert_int_equal(pxar_links(a, note, &s), 0);
	assert_in_range(m.reads, 1, m.main.len / 3500);
	assert_in_range(m.bytes, 1, m.main.len * 5 / 4);
	pxar_close(a);
	mk_fini(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(paths),
	    cmocka_unit_test(deep_paths),
	    cmocka_unit_test(links),
	    cmocka_unit_test(links_past_damage),
	    cmocka_unit_test(links_read_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
