/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../pxar/mkpxar.h"
#include "../repo/slow_store.h"
#include "../vfs/world.h"
#include "draft_world.h"

#define assert_list(w, path, text)                                             \
	do {                                                                   \
		char *list_ = dw_list(w, path);                                \
		assert_string_equal(list_, text);                              \
		free(list_);                                                   \
	} while (0)

static void
assert_text(struct draft_world *w, const char *path, const char *text)
{
	char b[256];
	ssize_t n = dw_read(w, path, b, sizeof(b), 0);

	if (n < 0)
		fail_msg("%s: %s", path, strerror((int)-n));
	assert_int_equal(n, strlen(text));
	assert_memory_equal(b, text, strlen(text));
}

static void
test_new(void **state)
{
	struct draft_world w;
	int i;

	(void)state;
	draft_world_open(&w, draft_world_empty());
	assert_list(&w, "", "");
	assert_int_equal(dw_make(&w, "root", S_IFDIR | 0777), 0);
	assert_int_equal(dw_make(&w, "root", S_IFDIR | 0777), -EEXIST);
	assert_int_equal(dw_make(&w, "root/f", S_IFREG | 0666), 0);
	assert_int_equal(dw_make(&w, "root/p", S_IFIFO | 0666), 0);
	assert_int_equal(dw_make(&w, "root/s", S_IFSOCK | 0666), 0);
	assert_int_equal(dw_make(&w, "root/c", S_IFCHR | 0600), 0);
	assert_int_equal(dw_symlink(&w, "root/l", "where to"), 0);
	assert_int_equal(dw_make(&w, "none/f", S_IFREG), -ENOENT);
	assert_int_equal(dw_make(&w, "root/f/g", S_IFREG), -ENOTDIR);
	assert_int_equal(dw_write(&w, "root/f", "hello", 5, 0), 0);
	for (i = 0; i < 2; i++) {
		assert_list(&w, "", "root ");
		assert_list(&w, "root", "c f l p s ");
		assert_int_equal(dw_stat(&w, "root").st_mode, S_IFDIR | 0755);
		assert_int_equal(dw_stat(&w, "root").st_nlink, 1);
		assert_int_equal(dw_stat(&w, "root/f").st_mode,
		    S_IFREG | 0644);
		assert_int_equal(dw_stat(&w, "root/f").st_uid, 1000);
		assert_int_equal(dw_stat(&w, "root/f").st_size, 5);
		assert_int_equal(dw_stat(&w, "root/c").st_rdev, 0x501);
		assert_int_equal(dw_stat(&w, "root/l").st_size, 8);
		assert_text(&w, "root/f", "hello");
		draft_world_again(&w);
	}
	draft_world_close(&w);
}

static void
test_base(void **state)
{
	int version = *(int *)*state, i;
	struct draft_world w;
	struct stat st, other;

	draft_world_open(&w, draft_world_tree(version));
	assert_list(&w, "", "a.conf disk.img root ");
	assert_list(&w, "root",
	    "d0 d1 d2 d3 hard0 hard1 hard2 hard3 sym tagged ");
	assert_text(&w, "root/d2/a3/f1", "d2/a3/f1\n");
	assert_text(&w, "a.conf", "conf\n");
	assert_text(&w, "disk.img", "0123456789");
	st = dw_stat(&w, "root/d0/a0/f0");
	assert_int_equal(st.st_nlink, 3);
	other = dw_stat(&w, "root/hard0");
	assert_true(st.st_ino == other.st_ino);
	assert_int_equal(dw_stat(&w, "root/d0/a1/f0").st_nlink, 1);

	/* A name less. */
	assert_int_equal(dw_unlink(&w, "root/d0/a0/f0"), 0);
	assert_int_equal(dw_stat(&w, "root/hard0").st_nlink, 2);
	assert_text(&w, "root/d0/hard", "d0/a0/f0\n");
	assert_int_equal(dw_write(&w, "root/hard0", "X", 1, 0), 0);
	assert_int_equal(dw_rename(&w, "root/d1", "root/d2/moved", 0), 0);
	assert_int_equal(dw_rename(&w, "root/d2", "root/d2/x", 0), -EINVAL);
	assert_int_equal(dw_rename(&w, "root/d2", "root/d2/moved/a0", 0),
	    -EINVAL);
	assert_int_equal(dw_rename(&w, "root/d3", "root/d2", 0), -ENOTEMPTY);
	assert_int_equal(dw_rename(&w, "root/sym", "root/d2", 0), -EISDIR);
	assert_int_equal(dw_rename(&w, "root/d3", "root/sym", 0), -ENOTDIR);
	assert_int_equal(dw_rmdir(&w, "root/d3"), -ENOTEMPTY);
	assert_int_equal(dw_rmdir(&w, "root/sym"), -ENOTDIR);
	assert_int_equal(dw_unlink(&w, "root/d3"), -EISDIR);
	assert_int_equal(dw_link(&w, "root/d3", "root/x"), -EPERM);
	assert_int_equal(dw_link(&w, "root/tagged", "x"), -EXDEV);
	assert_int_equal(dw_link(&w, "a.conf", "root/x"), -EXDEV);
	assert_int_equal(dw_link(&w, "a.conf", "x"), -EPERM);
	assert_int_equal(dw_make(&w, "other", S_IFDIR | 0700), 0);
	assert_int_equal(dw_link(&w, "root/tagged", "other/x"), -EXDEV);
	assert_int_equal(dw_link(&w, "root/tagged", "root/d3/t"), 0);
	assert_int_equal(dw_rename(&w, "root/d3/t", "other/t", 0), -EXDEV);
	assert_int_equal(dw_rename(&w, "root/tagged", "root/d3/t", 0), 0);
	assert_int_equal(dw_rename(&w, "root/d3", "root/d0",
	    RENAME_EXCHANGE), 0);
	assert_int_equal(dw_rename(&w, "root/d3", "root/d0",
	    RENAME_NOREPLACE), -EEXIST);
	for (i = 0; i < 2; i++) {
		assert_list(&w, "root",
		    "d0 d2 d3 hard0 hard1 hard2 hard3 sym tagged ");
		assert_list(&w, "root/d2", "a0 a1 a2 a3 hard moved ");
		assert_list(&w, "root/d2/moved", "a0 a1 a2 a3 hard ");
		assert_text(&w, "root/d2/moved/a1/f2", "d1/a1/f2\n");
		assert_list(&w, "root/d3/a0", "f1 f2 f3 ");
		assert_list(&w, "root/d0", "a0 a1 a2 a3 hard t ");
		assert_text(&w, "root/d3/hard", "X0/a0/f0\n");
		assert_int_equal(dw_stat(&w, "root/d3/hard").st_nlink, 2);
		assert_int_equal(dw_stat(&w, "root/tagged").st_nlink, 2);
		draft_world_again(&w);
	}
	draft_world_close(&w);
}

static void
test_remove_all(void **state)
{
	char path[64];
	struct draft_world w;
	int i, k, n;

	(void)state;
	draft_world_open(&w, draft_world_tree(2));
	for (k = 0; k < 4; k++) {
		for (n = 0; n < 4; n++) {
			snprintf(path, sizeof(path), "root/d1/a%d/f%d", k, n);
			assert_int_equal(dw_unlink(&w, path), 0);
		}
		snprintf(path, sizeof(path), "root/d1/a%d", k);
		assert_int_equal(dw_rmdir(&w, path), 0);
	}
	assert_int_equal(dw_rmdir(&w, "root/d1"), -ENOTEMPTY);
	assert_int_equal(dw_unlink(&w, "root/d1/hard"), 0);
	assert_int_equal(dw_rmdir(&w, "root/d1"), 0);
	assert_int_equal(dw_stat(&w, "root/hard1").st_nlink, 1);
	/* A new one of that name has nothing of the old. */
	assert_int_equal(dw_make(&w, "root/d1", S_IFDIR | 0755), 0);
	for (i = 0; i < 2; i++) {
		assert_list(&w, "root/d1", "");
		draft_world_again(&w);
	}
	assert_int_equal(dw_unlink(&w, "disk.img"), 0);
	assert_list(&w, "", "a.conf root ");
	draft_world_close(&w);
}

/* What cannot be read is no reason to refuse the rest of a directory. */
static void
test_damaged(void **state)
{
	struct slow_store *s = slow_store_new();
	struct mk *m = malloc(sizeof(*m));
	const uint64_t junk = 0x1234567812345678;
	struct draft_world w;
	struct snap_maker sm;
	struct stat st;
	uint64_t bad;
	int i;

	(void)state;
	assert_non_null(m);
	mk_init(m, 2);
	mk_root(m, MK(S_IFDIR | 0755));
	mk_dir(m, "d", MK(S_IFDIR | 0755));
	mk_file(m, "a", MK(S_IFREG | 0644), "a", 1);
	bad = mk_file(m, "b", MK(S_IFREG | 0644), "b", 1);
	mk_file(m, "c", MK(S_IFREG | 0644), "c", 1);
	mk_finish(m);
	/* The type of its ENTRY record. */
	memcpy(m->main.p + bad + 16 + 2, &junk, 8);
	snap_begin(&sm, s, "", BACKUP_HOST, "h1", T1);
	snap_pxar(&sm, "root", m);
	snap_finish(&sm, NULL);
	mk_fini(m);
	free(m);
	draft_world_open(&w, s);
	assert_list(&w, "root/d", "a c ");
	assert_int_equal(dw_find(&w, "root/d/b", &st), -EBADMSG);
	assert_int_equal(dw_make(&w, "root/d/b", S_IFREG | 0644), -EBADMSG);
	assert_text(&w, "root/d/c", "c");
	assert_int_equal(dw_make(&w, "root/d/e", S_IFREG | 0644), 0);
	assert_int_equal(dw_rename(&w, "root/d/a", "root/d/c", 0), 0);
	for (i = 0; i < 2; i++) {
		assert_list(&w, "root/d", "c e ");
		assert_text(&w, "root/d/c", "a");
		draft_world_again(&w);
	}
	/* It goes with its directory. */
	assert_int_equal(dw_unlink(&w, "root/d/c"), 0);
	assert_int_equal(dw_rmdir(&w, "root/d"), -ENOTEMPTY);
	assert_int_equal(dw_unlink(&w, "root/d/e"), 0);
	assert_int_equal(dw_rmdir(&w, "root/d"), 0);
	assert_list(&w, "root", "");
	draft_world_close(&w);
}

static void
test_held(void **state)
{
	struct draft_world w;
	struct draft_file *f;
	const char *name;
	struct stat st, now;
	uint64_t dir;

	(void)state;
	draft_world_open(&w, draft_world_tree(2));
	assert_int_equal(dw_parent(&w, "root/tagged", &dir, &name), 0);
	assert_int_equal(draft_lookup(w.d, dir, name, 0, &st), 0);
	assert_int_equal(draft_open(w.d, st.st_ino, O_RDWR, 0, &f), 0);
	assert_int_equal(dw_rename(&w, "root/d0/a0/f1", "root/tagged", 0), 0);
	assert_true(dw_stat(&w, "root/tagged").st_ino != st.st_ino);
	/* Nobody can name it, and it is all there. */
	assert_int_equal(draft_getattr(w.d, st.st_ino, 0, &now), 0);
	assert_int_equal(now.st_nlink, 0);
	assert_int_equal(draft_write(f, "abc", 3, 1, 0), 0);
	assert_int_equal(draft_getattr(w.d, st.st_ino, 0, &now), 0);
	assert_int_equal(now.st_size, 4);
	assert_int_equal(draft_link(w.d, st.st_ino, dir, "back", 0, &now),
	    -ENOENT);
	draft_close(f);
	draft_forget(w.d, st.st_ino, 1);
	assert_int_equal(draft_getattr(w.d, st.st_ino, 0, &now), -ESTALE);
	draft_world_again(&w);
	draft_world_close(&w);
}

static void
test_xattrs(void **state)
{
	struct draft_world w;
	char *v;
	int i;

	(void)state;
	draft_world_open(&w, draft_world_tree(2));
	assert_int_equal(dw_set(&w, "root/tagged", "user.size", "large"), 0);
	assert_int_equal(dw_set(&w, "root/tagged", "system.x", "large"),
	    -EOPNOTSUPP);
	assert_int_equal(dw_set(&w, "root/tagged", "security.selinux", "x"),
	    -EOPNOTSUPP);
	assert_int_equal(dw_set(&w, "root/d0", "trusted.t", ""), 0);
	assert_int_equal(dw_set(&w, "root/d0", "user.none", NULL), -ENODATA);
	for (i = 0; i < 2; i++) {
		v = dw_get(&w, "root/tagged", "user.colour");
		assert_string_equal(v, "blue");
		free(v);
		v = dw_get(&w, "root/tagged", "user.size");
		assert_string_equal(v, "large");
		free(v);
		v = dw_get(&w, "root/d0", "trusted.t");
		assert_string_equal(v, "");
		free(v);
		assert_null(dw_get(&w, "root/d1", "trusted.t"));
		draft_world_again(&w);
	}
	assert_int_equal(dw_set(&w, "root/tagged", "user.colour", NULL), 0);
	assert_null(dw_get(&w, "root/tagged", "user.colour"));
	draft_world_close(&w);
}

int
main(void)
{
	static int one = 1, two = 2;
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_new),
	    cmocka_unit_test_prestate(test_base, &one),
	    cmocka_unit_test_prestate(test_base, &two),
	    cmocka_unit_test(test_remove_all),
	    cmocka_unit_test(test_damaged),
	    cmocka_unit_test(test_held),
	    cmocka_unit_test(test_xattrs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
