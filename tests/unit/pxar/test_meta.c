/* SPDX-License-Identifier: GPL-3.0-or-later */

/* Extended attributes, ACLs, capabilities, quota. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/num.h"
#include "pbs/acl.h"
#include "pbs/pxar.h"
#include "pbs/pxar_format.h"

#include "../cm.h"
#include "mkpxar.h"

#define N(...)                                                                 \
	(const uint64_t[]){__VA_ARGS__},                                       \
	    ARRAY_SIZE(((const uint64_t[]){__VA_ARGS__}))

static void
begin(struct mk *m)
{
	mk_init(m, 1);
	mk_root(m, MK(S_IFDIR | 0755));
}

/* Ends the archive with a file of the attributes given so far and reads it. */
static int
read_back(struct mk *m, unsigned flags, uint32_t mode, struct pxar_entry *e)
{
	struct pxar_source src;
	uint64_t pos;
	struct pxar *a;
	int r;

	pos = mk_file(m, "f", MK(S_IFREG | mode), "12345", 5);
	mk_finish(m);
	src = mk_source(m);
	assert_int_equal(pxar_open(&src, &a), 0);
	r = pxar_stat(a, pos, flags, e);
	pxar_close(a);
	mk_fini(m);
	return r;
}

static int
verdict(struct mk *m)
{
	struct pxar_entry e;
	int r;

	r = read_back(m, PXAR_META, 0644, &e);
	pxar_entry_fini(&e);
	return r;
}

static void
add_all(struct mk *m)
{
	begin(m);
	mk_xattr(m, "user.a", "1", 1);
	mk_xattr(m, "user.empty", "", 0);
	mk_numbers(m, PXAR_ACL_USER, N(1000, 7));
	mk_numbers(m, PXAR_ACL_USER, N(33, 0));
	mk_numbers(m, PXAR_ACL_GROUP, N(50, 6));
	mk_numbers(m, PXAR_ACL_GROUP_OBJ, N(4));
	mk_numbers(m, PXAR_ACL_DEFAULT, N(7, 5, 0, UINT64_MAX));
	mk_numbers(m, PXAR_ACL_DEFAULT_USER, N(1, 2));
	mk_numbers(m, PXAR_ACL_DEFAULT_GROUP, N(4294967294, 3));
	mk_record(&m->pending, PXAR_FCAPS, "\1\0\0\2", 4);
	mk_numbers(m, PXAR_QUOTA_PROJID, N(77));
}

static void
everything(void **state)
{
	struct pxar_meta *x;
	struct pxar_entry e;
	struct mk m;

	(void)state;
	add_all(&m);
	assert_int_equal(read_back(&m, PXAR_META, 0644, &e), 0);
	assert_true(e.has_meta);
	x = e.meta;
	assert_non_null(x);
	assert_int_equal(x->n_xattrs, 2);
	assert_string_equal(x->xattrs[0].name, "user.a");
	assert_int_equal(x->xattrs[0].len, 1);
	assert_memory_equal(x->xattrs[0].value, "1", 1);
	assert_string_equal(x->xattrs[1].name, "user.empty");
	assert_int_equal(x->xattrs[1].len, 0);
	assert_int_equal(x->n_acl_users, 2);
	assert_int_equal(x->acl_users[0].id, 1000);
	assert_int_equal(x->acl_users[0].perm, 7);
	assert_int_equal(x->acl_users[1].id, 33);
	assert_int_equal(x->n_acl_groups, 1);
	assert_true(x->has_group_obj);
	assert_int_equal(x->group_obj, 4);
	assert_true(x->has_default);
	assert_int_equal(x->def_user_obj, 7);
	assert_int_equal(x->def_group_obj, 5);
	assert_int_equal(x->def_other, 0);
	assert_true(x->def_mask == PXAR_ACL_UNSET);
	assert_int_equal(x->n_def_users, 1);
	assert_int_equal(x->n_def_groups, 1);
	assert_int_equal(x->def_groups[0].id, 4294967294u);
	assert_int_equal(x->fcaps_len, 4);
	assert_memory_equal(x->fcaps, "\1\0\0\2", 4);
	assert_true(x->has_projid);
	assert_int_equal(x->projid, 77);
	assert_int_equal(e.size, 5);
	pxar_entry_fini(&e);
}

static void
only_when_asked(void **state)
{
	struct pxar_entry e;
	struct mk m;

	(void)state;
	add_all(&m);
	assert_int_equal(read_back(&m, 0, 0644, &e), 0);
	assert_true(e.has_meta);
	assert_null(e.meta);
	assert_int_equal(e.size, 5);
}

static void
longest_xattr(void **state)
{
	static char name[257], value[65537];
	struct pxar_entry e;
	struct mk m;

	(void)state;
	memset(name, 'n', 255);
	memset(value, 'v', sizeof(value));
	begin(&m);
	mk_xattr(&m, name, value, 65536);
	assert_int_equal(read_back(&m, PXAR_META, 0644, &e), 0);
	assert_string_equal(e.meta->xattrs[0].name, name);
	assert_int_equal(e.meta->xattrs[0].len, 65536);
	assert_memory_equal(e.meta->xattrs[0].value, value, 65536);
	pxar_entry_fini(&e);
	begin(&m);
	mk_xattr(&m, name, value, 65537);
	assert_int_equal(verdict(&m), -EBADMSG);
	name[255] = 'n';
	begin(&m);
	mk_xattr(&m, name, value, 1);
	assert_int_equal(verdict(&m), -EBADMSG);
}

static void
wrong_xattrs(void **state)
{
	static const char caps[65537];
	struct mk m;

	(void)state;
	begin(&m);
	mk_record(&m.pending, PXAR_XATTR, "no end", 6);
	assert_int_equal(verdict(&m), -EBADMSG);
	begin(&m);
	mk_record(&m.pending, PXAR_XATTR, "\0value", 6);
	assert_int_equal(verdict(&m), -EBADMSG);
	begin(&m);
	mk_record(&m.pending, PXAR_XATTR, "", 0);
	assert_int_equal(verdict(&m), -EBADMSG);
	begin(&m);
	mk_record(&m.pending, PXAR_FCAPS, caps, 65536);
	assert_int_equal(verdict(&m), 0);
	begin(&m);
	mk_record(&m.pending, PXAR_FCAPS, caps, sizeof(caps));
	assert_int_equal(verdict(&m), -EBADMSG);
}

static void
wrong_numbers(void **state)
{
	struct mk m;

	(void)state;
	begin(&m);
	mk_numbers(&m, PXAR_ACL_USER, N(1ULL << 32, 7));
	assert_int_equal(verdict(&m), -EBADMSG);
	begin(&m);
	mk_numbers(&m, PXAR_ACL_GROUP, N(1, 8));
	assert_int_equal(verdict(&m), -EBADMSG);
	begin(&m);
	mk_numbers(&m, PXAR_ACL_GROUP, N(1));
	assert_int_equal(verdict(&m), -EBADMSG);
	begin(&m);
	mk_numbers(&m, PXAR_ACL_GROUP_OBJ, N(8));
	assert_int_equal(verdict(&m), -EBADMSG);
	begin(&m);
	mk_numbers(&m, PXAR_ACL_GROUP_OBJ, N(1, 2));
	assert_int_equal(verdict(&m), -EBADMSG);
	begin(&m);
	mk_numbers(&m, PXAR_ACL_DEFAULT, N(7, 5, 9, 7));
	assert_int_equal(verdict(&m), -EBADMSG);
	begin(&m);
	mk_numbers(&m, PXAR_ACL_DEFAULT, N(7, 5, 0));
	assert_int_equal(verdict(&m), -EBADMSG);
	begin(&m);
	mk_numbers(&m, PXAR_QUOTA_PROJID, N(7, 5));
	assert_int_equal(verdict(&m), -EBADMSG);
}

static void
only_once(void **state)
{
	struct mk m;

	(void)state;
	begin(&m);
	mk_numbers(&m, PXAR_ACL_GROUP_OBJ, N(1));
	mk_numbers(&m, PXAR_ACL_GROUP_OBJ, N(1));
	assert_int_equal(verdict(&m), -EBADMSG);
	begin(&m);
	mk_numbers(&m, PXAR_ACL_DEFAULT, N(7, 5, 0, 7));
	mk_numbers(&m, PXAR_ACL_DEFAULT, N(7, 5, 0, 7));
	assert_int_equal(verdict(&m), -EBADMSG);
	begin(&m);
	mk_record(&m.pending, PXAR_FCAPS, "x", 1);
	mk_record(&m.pending, PXAR_FCAPS, "x", 1);
	assert_int_equal(verdict(&m), -EBADMSG);
	begin(&m);
	mk_numbers(&m, PXAR_QUOTA_PROJID, N(7));
	mk_numbers(&m, PXAR_QUOTA_PROJID, N(7));
	assert_int_equal(verdict(&m), -EBADMSG);
}

/* More than any filesystem holds is not an entry but an attack. */
static void
without_end(void **state)
{
	static char value[65536];
	struct pxar_entry e;
	struct mk m;
	int i;

	(void)state;
	begin(&m);
	for (i = 0; i < 250; i++)
		mk_xattr(&m, "user.x", value, sizeof(value));
	assert_int_equal(verdict(&m), 0);
	begin(&m);
	for (i = 0; i < 257; i++)
		mk_xattr(&m, "user.x", value, sizeof(value));
	assert_int_equal(verdict(&m), -EBADMSG);
	begin(&m);
	for (i = 0; i < 257; i++)
		mk_xattr(&m, "user.x", value, sizeof(value));
	assert_int_equal(read_back(&m, 0, 0644, &e), -EBADMSG);
}

typedef int acl_fn(const struct pxar_entry *e, struct buf **ret);

static void
assert_acl(acl_fn *fn, const struct pxar_entry *e, const char *bytes,
    size_t len)
{
	struct buf *b;

	assert_int_equal(fn(e, &b), 0);
	assert_int_equal(b->len, len);
	assert_memory_equal(b->data, bytes, len);
	buf_unref(b);
}

/* What the kernel returns: version 2, then tag, permissions and id. */
#define ACL(tag, perm, id) tag "\0" perm "\0" id
#define ACL_NO_ID "\xff\xff\xff\xff"
#define ACL_HEAD "\2\0\0\0"

static void
acl_with_mask(void **state)
{
	const char want[] = ACL_HEAD
	    ACL("\1", "\6", ACL_NO_ID)
	    ACL("\2", "\0", "\x21\0\0\0") ACL("\2", "\7", "\xe8\3\0\0")
	    ACL("\4", "\4", ACL_NO_ID)
	    ACL("\x8", "\6", "\x32\0\0\0")
	    ACL("\x10", "\5", ACL_NO_ID)
	    ACL("\x20", "\1", ACL_NO_ID);
	struct pxar_entry e;
	struct buf *b;
	struct mk m;

	(void)state;
	begin(&m);
	/* Out of order in the archive, sorted for the kernel. */
	mk_numbers(&m, PXAR_ACL_USER, N(1000, 7));
	mk_numbers(&m, PXAR_ACL_USER, N(33, 0));
	mk_numbers(&m, PXAR_ACL_GROUP, N(50, 6));
	mk_numbers(&m, PXAR_ACL_GROUP_OBJ, N(4));
	assert_int_equal(read_back(&m, PXAR_META, 0651, &e), 0);
	assert_acl(acl_access, &e, want, sizeof(want) - 1);
	assert_int_equal(acl_default(&e, &b), 1);
	pxar_entry_fini(&e);
}

static void
acl_of_a_mask_only(void **state)
{
	const char want[] = ACL_HEAD
	    ACL("\1", "\6", ACL_NO_ID) ACL("\4", "\4", ACL_NO_ID)
	    ACL("\x10", "\7", ACL_NO_ID) ACL("\x20", "\4", ACL_NO_ID);
	struct pxar_entry e;
	struct mk m;

	(void)state;
	begin(&m);
	mk_numbers(&m, PXAR_ACL_GROUP_OBJ, N(4));
	assert_int_equal(read_back(&m, PXAR_META, 0674, &e), 0);
	assert_acl(acl_access, &e, want, sizeof(want) - 1);
	pxar_entry_fini(&e);
}

static void
acl_without_group_obj(void **state)
{
	const char want[] = ACL_HEAD
	    ACL("\1", "\6", ACL_NO_ID) ACL("\2", "\7", "\1\0\0\0")
	    ACL("\4", "\5", ACL_NO_ID) ACL("\x10", "\5", ACL_NO_ID)
	    ACL("\x20", "\0", ACL_NO_ID);
	struct pxar_entry e;
	struct mk m;

	(void)state;
	begin(&m);
	mk_numbers(&m, PXAR_ACL_USER, N(1, 7));
	assert_int_equal(read_back(&m, PXAR_META, 0650, &e), 0);
	assert_acl(acl_access, &e, want, sizeof(want) - 1);
	pxar_entry_fini(&e);
}

static void
acl_defaults(void **state)
{
	const char plain[] = ACL_HEAD
	    ACL("\1", "\7", ACL_NO_ID) ACL("\4", "\5", ACL_NO_ID)
	    ACL("\x20", "\0", ACL_NO_ID);
	const char masked[] = ACL_HEAD
	    ACL("\1", "\7", ACL_NO_ID) ACL("\4", "\5", ACL_NO_ID)
	    ACL("\x8", "\2", "\5\0\0\0") ACL("\x10", "\3", ACL_NO_ID)
	    ACL("\x20", "\0", ACL_NO_ID);
	const char mask_forgotten[] = ACL_HEAD
	    ACL("\1", "\7", ACL_NO_ID) ACL("\2", "\2", "\5\0\0\0")
	    ACL("\4", "\5", ACL_NO_ID) ACL("\x10", "\7", ACL_NO_ID)
	    ACL("\x20", "\0", ACL_NO_ID);
	struct pxar_entry e;
	struct buf *b;
	struct mk m;

	(void)state;
	begin(&m);
	mk_numbers(&m, PXAR_ACL_DEFAULT, N(7, 5, 0, UINT64_MAX));
	assert_int_equal(read_back(&m, PXAR_META, 0750, &e), 0);
	assert_acl(acl_default, &e, plain, sizeof(plain) - 1);
	assert_int_equal(acl_access(&e, &b), 1);
	pxar_entry_fini(&e);

	begin(&m);
	mk_numbers(&m, PXAR_ACL_DEFAULT, N(7, 5, 0, 3));
	mk_numbers(&m, PXAR_ACL_DEFAULT_GROUP, N(5, 2));
	assert_int_equal(read_back(&m, PXAR_META, 0750, &e), 0);
	assert_acl(acl_default, &e, masked, sizeof(masked) - 1);
	pxar_entry_fini(&e);

	begin(&m);
	mk_numbers(&m, PXAR_ACL_DEFAULT, N(7, 5, 0, UINT64_MAX));
	mk_numbers(&m, PXAR_ACL_DEFAULT_USER, N(5, 2));
	assert_int_equal(read_back(&m, PXAR_META, 0750, &e), 0);
	assert_acl(acl_default, &e, mask_forgotten,
	    sizeof(mask_forgotten) - 1);
	pxar_entry_fini(&e);

	begin(&m);
	mk_numbers(&m, PXAR_ACL_DEFAULT, N(UINT64_MAX, 5, 0, 3));
	assert_int_equal(read_back(&m, PXAR_META, 0750, &e), 0);
	assert_int_equal(acl_default(&e, &b), 1);
	pxar_entry_fini(&e);
}

static void
acl_of_nothing(void **state)
{
	struct pxar_entry e;
	struct buf *b;
	struct mk m;

	(void)state;
	begin(&m);
	assert_int_equal(read_back(&m, PXAR_META, 0750, &e), 0);
	assert_int_equal(acl_access(&e, &b), 1);
	assert_int_equal(acl_default(&e, &b), 1);
	pxar_entry_fini(&e);
	begin(&m);
	mk_xattr(&m, "user.a", "1", 1);
	assert_int_equal(read_back(&m, PXAR_META, 0750, &e), 0);
	assert_int_equal(acl_access(&e, &b), 1);
	assert_int_equal(acl_default(&e, &b), 1);
	pxar_entry_fini(&e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(everything),
	    cmocka_unit_test(only_when_asked),
	    cmocka_unit_test(longest_xattr),
	    cmocka_unit_test(wrong_xattrs),
	    cmocka_unit_test(wrong_numbers),
	    cmocka_unit_test(only_once),
	    cmocka_unit_test(without_end),
	    cmocka_unit_test(acl_with_mask),
	    cmocka_unit_test(acl_of_a_mask_only),
	    cmocka_unit_test(acl_without_group_obj),
	    cmocka_unit_test(acl_defaults),
	    cmocka_unit_test(acl_of_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
