/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../vfs/world.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/draft_priv.h"
#include "draft_world.h"
#include "repo/repo.h"

/*
 * What those see who hold something while the draft becomes a view of another
 * snapshot.
 */

/* As the kernel does: until draft_forget. */
static struct stat
hold(struct draft_world *w, const char *path)
{
	const char *name;
	struct stat st;
	uint64_t dir;

	assert_int_equal(dw_parent(w, path, &dir, &name), 0);
	assert_int_equal(draft_lookup(w->d, dir, name, 0, &st), 0);
	dw_drop(w, dir);
	return st;
}

static void
assert_same(struct draft_world *w, const char *path, const struct stat *was)
{
	struct stat st;

	assert_int_equal(draft_getattr(w->d, was->st_ino, 0, &st), 0);
	assert_int_equal(st.st_mode, was->st_mode);
	assert_int_equal(st.st_size, was->st_size);
	assert_int_equal(st.st_nlink, was->st_nlink);
	assert_true(st.st_mtim.tv_sec == was->st_mtim.tv_sec &&
	    st.st_mtim.tv_nsec == was->st_mtim.tv_nsec);
	assert_true(dw_stat(w, path).st_ino == was->st_ino);
}

struct listing {
	struct str names;
	uint64_t cookie;
	size_t left;		/* stop after so many */
};

static int
add_name(void *arg, const struct draft_dirent *e)
{
	struct listing *l = arg;

	if (l->left == 0)
		return 1;
	l->left--;
	l->cookie = e->cookie;
	str_addf(&l->names, "%s ", e->name);
	return 0;
}

static void
test_held(void **state)
{
	static const char *const paths[] = {"root", "root/d0", "root/d0/a1/f0",
	    "root/hard2", "root/moved", "root/moved/a0/f2", "root/new",
	    "root/new/file", "root/new/other", "root/sym", "a.conf",
	    "disk.img", "two", "two/x"};
	struct stat was[ARRAY_SIZE(paths)], st, orphan;
	struct draft_world w;
	struct draft_file *f;
	size_t i;
	char b[16];

	(void)state;
	draft_world_open(&w, draft_world_tree(2));
	assert_int_equal(dw_rename(&w, "root/d1", "root/moved", 0), 0);
	assert_int_equal(dw_make(&w, "root/new", S_IFDIR | 0755), 0);
	assert_int_equal(dw_make(&w, "root/new/file", S_IFREG | 0644), 0);
	assert_int_equal(dw_write(&w, "root/new/file", "new\n", 4, 0), 0);
	assert_int_equal(dw_link(&w, "root/new/file", "root/new/other"), 0);
	assert_int_equal(dw_write(&w, "root/hard2", "H", 1, 0), 0);
	assert_int_equal(dw_write(&w, "disk.img", "D", 1, 3), 0);
	assert_int_equal(dw_make(&w, "two", S_IFDIR | 0755), 0);
	assert_int_equal(dw_make(&w, "two/x", S_IFREG | 0644), 0);
	assert_int_equal(dw_chmod(&w, "root/d0/a1/f0", 0640), 0);
	orphan = hold(&w, "root/tagged");
	assert_int_equal(draft_open(w.d, orphan.st_ino, O_RDWR, 0, &f), 0);
	assert_int_equal(draft_write(f, "tt", 2, 0, 0), 0);
	assert_int_equal(dw_unlink(&w, "root/tagged"), 0);
	for (i = 0; i < ARRAY_SIZE(paths); i++)
		was[i] = hold(&w, paths[i]);
	assert_int_equal(draft_publish(w.d, T2), 0);
	assert_false(w.d->changed);
	assert_int_equal(w.d->staged, 2);	/* the orphan's */
	for (i = 0; i < ARRAY_SIZE(paths); i++)
		assert_same(&w, paths[i], &was[i]);
	assert_int_equal(dw_read(&w, "root/new/other", b, sizeof(b), 0), 4);
	assert_memory_equal(b, "new\n", 4);
	assert_int_equal(dw_read(&w, "disk.img", b, sizeof(b), 0), 10);
	assert_memory_equal(b, "012D456789", 10);
	/* Changing goes on with the same numbers. */
	assert_int_equal(dw_write(&w, "root/new/file", "N", 1, 0), 0);
	assert_true(dw_stat(&w, "root/new/other").st_ino == was[7].st_ino);
	assert_int_equal(dw_rename(&w, "root/moved", "root/d1", 0), 0);
	assert_true(dw_stat(&w, "root/d1").st_ino == was[4].st_ino);
	/* And so does what has no name. */
	assert_int_equal(draft_write(f, "u", 1, 1, 0), 0);
	assert_int_equal(draft_getattr(w.d, orphan.st_ino, 0, &st), 0);
	assert_int_equal(st.st_size, 2);
	draft_close(f);
	draft_forget(w.d, orphan.st_ino, 1);
	for (i = 0; i < ARRAY_SIZE(paths); i++)
		draft_forget(w.d, was[i].st_ino, 1);
	draft_world_again(&w);
	assert_int_equal(dw_read(&w, "root/new/other", b, sizeof(b), 0), 4);
	assert_memory_equal(b, "New\n", 4);
	assert_int_equal(dw_find(&w, "root/tagged", &st), -ENOENT);
	assert_int_equal(dw_find(&w, "root/moved", &st), -ENOENT);
	draft_world_close(&w);
}

/* An open directory tells every name once, whatever becomes of the base. */
static void
test_open_dir(void **state)
{
	struct listing l = {.left = 4};
	struct draft_world w;
	struct draft_dir *dir;
	struct stat st;
	char name[32];
	int i;

	(void)state;
	draft_world_open(&w, draft_world_tree(2));
	for (i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "root/A%d", i);
		assert_int_equal(dw_make(&w, name, S_IFREG | 0644), 0);
	}
	assert_int_equal(dw_unlink(&w, "root/d0/hard"), 0);
	assert_int_equal(dw_unlink(&w, "root/hard3"), 0);
	assert_int_equal(dw_make(&w, "root/hard3", S_IFIFO | 0644), 0);
	assert_int_equal(dw_unlink(&w, "root/tagged"), 0);
	st = hold(&w, "root");
	assert_int_equal(draft_opendir(w.d, st.st_ino, 0, &dir), 0);
	assert_int_equal(draft_readdir(dir, 0, 0, add_name, &l), 0);
	assert_int_equal(draft_publish(w.d, T2), 0);
	l.left = SIZE_MAX;
	assert_int_equal(draft_readdir(dir, l.cookie, 0, add_name, &l), 0);
	assert_string_equal(str_get(&l.names), "d0 d1 d2 d3 hard0 hard1 hard2 "
	    "hard3 sym A0 A1 A2 A3 ");
	draft_closedir(dir);
	str_fini(&l.names);
	draft_forget(w.d, st.st_ino, 1);
	/* Nobody knows of anything but the root. */
	assert_ptr_equal(RB_MIN(inodes_by_ino, &w.d->inos), w.d->root);
	assert_null(RB_NEXT(inodes_by_ino, &w.d->inos, w.d->root));
	draft_world_close(&w);
}

static void
count_replaced(void *arg, const struct group_name *g)
{
	unsigned *n = arg;

	assert_string_equal(g->id, "h1");
	++*n;
}

/* A draft that nobody changed follows what is the latest snapshot. */
static void
test_refreshed(void **state)
{
	struct draft_world w;
	struct snap_maker m;
	struct stat old, st;
	unsigned replaced = 0;

	(void)state;
	draft_world_open(&w, draft_world_tree(2));
	old = hold(&w, "root");
	snap_begin(&m, w.s, "", BACKUP_HOST, "h1", T2);
	snap_blob(&m, "b.conf.blob", "b", 1);
	snap_finish(&m, NULL);
	assert_int_equal(repo_refresh(w.repo, NULL), 0);
	drafts_refreshed(w.ds, count_replaced, &replaced);
	assert_int_equal(replaced, 1);
	assert_int_equal(dw_find(&w, "root", &st), -ENOENT);
	assert_int_equal(dw_stat(&w, "b.conf").st_size, 1);
	assert_int_equal(draft_getattr(w.d, old.st_ino, 0, &st), -ESTALE);
	/* One with changes stays what it is. */
	assert_int_equal(dw_make(&w, "mine", S_IFDIR | 0755), 0);
	snap_begin(&m, w.s, "", BACKUP_HOST, "h1", T3);
	snap_blob(&m, "c.conf.blob", "c", 1);
	snap_finish(&m, NULL);
	assert_int_equal(repo_refresh(w.repo, NULL), 0);
	drafts_refreshed(w.ds, count_replaced, &replaced);
	assert_int_equal(replaced, 1);
	assert_int_equal(dw_stat(&w, "b.conf").st_size, 1);
	draft_world_again(&w);
	assert_int_equal(dw_stat(&w, "b.conf").st_size, 1);
	assert_int_equal(dw_find(&w, "mine", &st), 0);
	assert_int_equal(dw_find(&w, "c.conf", &st), -ENOENT);
	draft_world_close(&w);
}

/* The base was forgotten by somebody: what is new is there, the rest says that
 * it is not. */
static void
test_base_gone(void **state)
{
	const struct group_name g = {.type = BACKUP_HOST, .id = "h1"};
	char b[16];
	struct draft_world w;
	struct stat st;

	(void)state;
	draft_world_open(&w, draft_world_tree(2));
	assert_int_equal(dw_make(&w, "mine", S_IFDIR | 0755), 0);
	assert_int_equal(dw_make(&w, "mine/f", S_IFREG | 0644), 0);
	assert_int_equal(dw_write(&w, "mine/f", "data", 4, 0), 0);
	assert_int_equal(dw_make(&w, "root/f", S_IFREG | 0644), 0);
	assert_int_equal(repo_forget(w.repo, &g, T1), 0);
	draft_world_again(&w);
	assert_int_equal(dw_read(&w, "mine/f", b, sizeof(b), 0), 4);
	assert_memory_equal(b, "data", 4);
	assert_int_equal(dw_find(&w, "a.conf", &st), -EIO);
	assert_int_equal(dw_find(&w, "none", &st), -ENOENT);
	draft_world_close(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_held),
	    cmocka_unit_test(test_open_dir),
	    cmocka_unit_test(test_refreshed),
	    cmocka_unit_test(test_base_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
