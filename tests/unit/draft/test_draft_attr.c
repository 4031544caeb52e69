/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "../vfs/world.h"
#include "base/buf.h"
#include "base/num.h"
#include "draft/draft_priv.h"
#include "draft/xattrs.h"
#include "draft_world.h"

/* An ACL as the kernel has it: tag, permissions, id of each entry. */
#define TAG_USER_OBJ 1
#define TAG_USER 2
#define TAG_GROUP_OBJ 4
#define TAG_MASK 16
#define TAG_OTHER 32
struct ace {
	uint16_t tag, perm;
	uint32_t id;
};

struct acl {
	uint8_t b[4 + 8 * 8];
	size_t len;
};

static struct acl
acl_of(const struct ace *e, size_t n)
{
	struct acl a = {.len = 4 + 8 * n};
	size_t i;

	put_le32(a.b, 2);
	for (i = 0; i < n; i++) {
		put_le32(a.b + 4 + 8 * i,
		    e[i].tag | (uint32_t)e[i].perm << 16);
		put_le32(a.b + 8 + 8 * i, e[i].id);
	}
	return a;
}

/* u::rwx,u:7:rwx,g::r-x,m::rwx,o::--- with another mask */
static struct acl
named(uint16_t user, uint16_t mask, uint16_t other)
{
	const struct ace e[] = {{TAG_USER_OBJ, user, UINT32_MAX},
	    {TAG_USER, 7, 7}, {TAG_GROUP_OBJ, 5, UINT32_MAX},
	    {TAG_MASK, mask, UINT32_MAX}, {TAG_OTHER, other, UINT32_MAX}};

	return acl_of(e, ARRAY_SIZE(e));
}

static int
set_acl(struct draft_world *w, const char *path, const char *name,
    const struct acl *a)
{
	return draft_xattr_set(w->d, dw_stat(w, path).st_ino, name, a->b,
	    a->len, 0, 0);
}

static void
assert_acl(struct draft_world *w, const char *path, const char *name,
    const struct acl *a)
{
	const char *leaf;
	struct stat st;
	struct buf *b;
	uint64_t dir;

	assert_int_equal(dw_parent(w, path, &dir, &leaf), 0);
	assert_int_equal(draft_lookup(w->d, dir, leaf, 0, &st), 0);
	if (a == NULL) {
		assert_int_equal(draft_xattr_get(w->d, st.st_ino, name, 0,
		    &b), -ENODATA);
	} else {
		assert_int_equal(draft_xattr_get(w->d, st.st_ino, name, 0,
		    &b), 0);
		assert_int_equal(b->len, a->len);
		assert_memory_equal(b->data, a->b, a->len);
		buf_unref(b);
	}
	draft_forget(w->d, st.st_ino, 1);
	dw_drop(w, dir);
}

static void
test_acl(void **state)
{
	struct acl a = named(7, 7, 0), def = named(7, 5, 1), none;
	const struct ace plain[] = {{TAG_USER_OBJ, 6, UINT32_MAX},
	    {TAG_GROUP_OBJ, 4, UINT32_MAX}, {TAG_OTHER, 0, UINT32_MAX}};
	struct draft_world w;
	int i;

	(void)state;
	none = acl_of(plain, ARRAY_SIZE(plain));
	draft_world_open(&w, draft_world_empty());
	assert_int_equal(dw_make(&w, "t", S_IFDIR | 0755), 0);
	assert_int_equal(dw_make(&w, "t/f", S_IFREG | 0644), 0);
	assert_int_equal(dw_make(&w, "t/g", S_IFREG | 0644), 0);
	assert_int_equal(dw_symlink(&w, "t/l", "x"), 0);
	assert_int_equal(set_acl(&w, "t/l", XATTR_ACL_ACCESS, &a),
	    -EOPNOTSUPP);
	assert_int_equal(set_acl(&w, "t/f", XATTR_ACL_DEFAULT, &a), -EACCES);
	assert_int_equal(set_acl(&w, "t/f", XATTR_ACL_ACCESS, &a), 0);
	assert_int_equal(dw_stat(&w, "t/f").st_mode, S_IFREG | 0770);
	/* No more than a mode: nothing is kept. */
	assert_int_equal(set_acl(&w, "t/g", XATTR_ACL_ACCESS, &none), 0);
	assert_int_equal(dw_stat(&w, "t/g").st_mode, S_IFREG | 0640);
	assert_acl(&w, "t/g", XATTR_ACL_ACCESS, NULL);
	a.b[4] = 99;
	assert_int_equal(set_acl(&w, "t/f", XATTR_ACL_ACCESS, &a), -EINVAL);
	/* chmod of the group's bits is that of the mask. */
	assert_int_equal(dw_chmod(&w, "t/f", 0751), 0);
	a = named(7, 5, 1);
	/* A default ACL takes the place of the umask. */
	assert_int_equal(set_acl(&w, "t", XATTR_ACL_DEFAULT, &def), 0);
	assert_int_equal(dw_make(&w, "t/d", S_IFDIR | 0777), 0);
	assert_int_equal(dw_make(&w, "t/d/n", S_IFREG | 0666), 0);
	for (i = 0; i < 3; i++) {
		assert_acl(&w, "t/f", XATTR_ACL_ACCESS, &a);
		assert_acl(&w, "t", XATTR_ACL_DEFAULT, &def);
		assert_acl(&w, "t/d", XATTR_ACL_DEFAULT, &def);
		assert_acl(&w, "t/d", XATTR_ACL_ACCESS, &def);
		assert_int_equal(dw_stat(&w, "t/d").st_mode, S_IFDIR | 0751);
		assert_int_equal(dw_stat(&w, "t/d/n").st_mode,
		    S_IFREG | 0640);
		assert_acl(&w, "t/d/n", XATTR_ACL_DEFAULT, NULL);
		/* Taken up again, then out of a snapshot. */
		if (i == 1)
			assert_int_equal(draft_publish(w.d, T2), 0);
		draft_world_again(&w);
	}
	assert_int_equal(dw_set(&w, "t", XATTR_ACL_DEFAULT, NULL), 0);
	assert_int_equal(dw_set(&w, "t", XATTR_ACL_DEFAULT, NULL), 0);
	assert_int_equal(dw_make(&w, "t/e", S_IFREG | 0666), 0);
	assert_int_equal(dw_stat(&w, "t/e").st_mode, S_IFREG | 0644);
	draft_world_close(&w);
}

static void
set_priv(struct draft_world *w)
{
	assert_int_equal(dw_chmod(w, "t/f", 06755), 0);
	assert_int_equal(dw_set(w, "t/f", XATTR_CAPABILITY, "caps"), 0);
}

static void
assert_no_priv(struct draft_world *w)
{
	assert_int_equal(dw_stat(w, "t/f").st_mode, S_IFREG | 0755);
	assert_null(dw_get(w, "t/f", XATTR_CAPABILITY));
}

static int
chown_to(struct draft_world *w, const char *path, uid_t uid)
{
	const struct draft_change c = {.set = DRAFT_SET_UID, .uid = uid};
	struct stat st;

	return draft_setattr(w->d, dw_stat(w, path).st_ino, &c, 0, &st);
}

static void
test_priv(void **state)
{
	struct draft_world w;

	(void)state;
	draft_world_open(&w, draft_world_empty());
	assert_int_equal(dw_make(&w, "t", S_IFDIR | 0755), 0);
	assert_int_equal(dw_make(&w, "t/f", S_IFREG | 0755), 0);
	set_priv(&w);
	assert_int_equal(dw_stat(&w, "t/f").st_mode, S_IFREG | 06755);
	assert_int_equal(dw_write(&w, "t/f", "x", 1, 0), 0);
	assert_no_priv(&w);
	set_priv(&w);
	assert_int_equal(dw_truncate(&w, "t/f", 0), 0);
	assert_no_priv(&w);
	set_priv(&w);
	assert_int_equal(chown_to(&w, "t/f", 5), 0);
	assert_no_priv(&w);
	assert_int_equal(dw_stat(&w, "t/f").st_uid, 5);
	draft_world_again(&w);
	assert_no_priv(&w);
	/* Without execution by the group it means locking; it stays. */
	assert_int_equal(dw_chmod(&w, "t/f", 02644), 0);
	assert_int_equal(dw_write(&w, "t/f", "x", 1, 0), 0);
	assert_int_equal(dw_stat(&w, "t/f").st_mode, S_IFREG | 02644);
	/* Directories keep theirs, and hand the group on. */
	assert_int_equal(dw_chmod(&w, "t", 02755), 0);
	assert_int_equal(chown_to(&w, "t", 5), 0);
	assert_int_equal(dw_make(&w, "t/d", S_IFDIR | 0755), 0);
	assert_int_equal(dw_stat(&w, "t/d").st_mode, S_IFDIR | 02755);
	assert_int_equal(dw_stat(&w, "t/d").st_gid, dw_stat(&w, "t").st_gid);
	draft_world_close(&w);
}

static void
test_times(void **state)
{
	const struct draft_change c = {.set = DRAFT_SET_MTIME,
	    .mtime = {.tv_sec = -5, .tv_nsec = 123456789}};
	struct draft_world w;
	struct stat before, st;

	(void)state;
	draft_world_open(&w, draft_world_tree(2));
	before = dw_stat(&w, "root/d0");
	assert_int_equal(before.st_mtim.tv_sec, 0);
	assert_int_equal(dw_make(&w, "root/d0/new", S_IFREG | 0600), 0);
	st = dw_stat(&w, "root/d0");
	assert_true(st.st_mtim.tv_sec > 0);
	assert_int_equal(draft_setattr(w.d, st.st_ino, &c, 0, &st), 0);
	draft_world_again(&w);
	st = dw_stat(&w, "root/d0");
	assert_true(st.st_mtim.tv_sec == -5 &&
	    st.st_mtim.tv_nsec == 123456789);
	assert_true(st.st_ctim.tv_sec > 0);
	/* A rename is a change of both directories. */
	assert_int_equal(dw_rename(&w, "root/d0/new", "root/d1/new", 0), 0);
	assert_true(dw_stat(&w, "root/d0").st_mtim.tv_sec > 0);
	assert_true(dw_stat(&w, "root/d1").st_mtim.tv_sec > 0);
	draft_world_close(&w);
}

static void
test_names(void **state)
{
	char name[5 + 257], odd[] = "t/a\n\x01\xff b\\";
	struct draft_world w;
	struct stat st;
	char *list;

	(void)state;
	draft_world_open(&w, draft_world_empty());
	assert_int_equal(dw_make(&w, "t", S_IFDIR | 0755), 0);
	memset(name, 'x', sizeof(name));
	memcpy(name, "t/", 2);
	name[2 + 256] = '\0';
	assert_int_equal(dw_make(&w, name, S_IFREG | 0600), -ENAMETOOLONG);
	assert_int_equal(dw_find(&w, name, &st), -ENAMETOOLONG);
	name[2 + 255] = '\0';
	assert_int_equal(dw_make(&w, name, S_IFREG | 0600), 0);
	assert_int_equal(dw_make(&w, odd, S_IFREG | 0600), 0);
	draft_world_again(&w);
	assert_int_equal(dw_find(&w, name, &st), 0);
	assert_int_equal(dw_find(&w, odd, &st), 0);
	assert_int_equal(dw_rename(&w, name, odd, 0), 0);
	draft_world_again(&w);
	list = dw_list(&w, "t");
	assert_string_equal(list, "a\n\x01\xff b\\ ");
	free(list);
	draft_world_close(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_acl),
	    cmocka_unit_test(test_priv),
	    cmocka_unit_test(test_times),
	    cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
