/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/acl.h"

#include "../cm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/num.h"
#include "pbs/acl_format.h"
#include "pbs/pxar.h"

#define ID ACL_NO_ID
#define U ACL_TAG_USER_OBJ
#define UN ACL_TAG_USER
#define G ACL_TAG_GROUP_OBJ
#define GN ACL_TAG_GROUP
#define M ACL_TAG_MASK
#define O ACL_TAG_OTHER

/* {tag, permissions, id}, ... as a value. */
struct ace {
	uint32_t tag, perm, id;
};
#define ACL(...)                                                               \
	make((const struct ace[]){__VA_ARGS__},                                \
	    ARRAY_SIZE(((const struct ace[]){__VA_ARGS__})))

static struct buf *
make(const struct ace *e, size_t n)
{
	struct buf *b = buf_new(ACL_HEADER_SIZE + n * ACL_ENTRY_SIZE);
	size_t i;

	assert_non_null(b);
	put_le32(b->data, ACL_VERSION);
	for (i = 0; i < n; i++) {
		uint8_t *p = b->data + ACL_HEADER_SIZE + i * ACL_ENTRY_SIZE;

		put_le32(p, e[i].tag | e[i].perm << 16);
		put_le32(p + 4, e[i].id);
	}
	return b;
}

static struct pxar_meta *
new_meta(void)
{
	struct pxar_meta *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	return m;
}

static void
assert_value(struct buf *have, struct buf *want)
{
	assert_int_equal(have->len, want->len);
	assert_memory_equal(have->data, want->data, want->len);
	buf_unref(have);
	buf_unref(want);
}

static void
with_mask(void **state)
{
	struct pxar_entry e = {.mode = S_IFREG | 04600};
	struct pxar_meta *m = new_meta();
	struct buf *v = ACL({U, 7, ID}, {UN, 6, 1000}, {UN, 0, 0}, {G, 4, ID},
	    {GN, 1, 5}, {M, 5, ID}, {O, 2, ID}), *back;

	(void)state;
	/* Other fields stay. */
	m->has_projid = true;
	m->has_default = true;
	assert_int_equal(acl_set_access(m, e.mode, v->data, v->len, &e.mode),
	    0);
	assert_int_equal(e.mode, S_IFREG | 04752);
	assert_true(m->has_group_obj);
	assert_int_equal(m->group_obj, 4);
	assert_int_equal(m->n_acl_users, 2);
	assert_int_equal(m->acl_users[0].id, 0);
	assert_int_equal(m->acl_users[1].id, 1000);
	assert_int_equal(m->acl_users[1].perm, 6);
	assert_int_equal(m->n_acl_groups, 1);
	assert_true(m->has_projid);
	assert_true(m->has_default);
	e.meta = m;
	assert_int_equal(acl_access(&e, &back), 0);
	buf_unref(v);
	assert_value(back, ACL({U, 7, ID}, {UN, 0, 0}, {UN, 6, 1000},
	    {G, 4, ID}, {GN, 1, 5}, {M, 5, ID}, {O, 2, ID}));

	/* A mode alone takes the ACL away. */
	v = ACL({U, 6, ID}, {G, 4, ID}, {O, 0, ID});
	assert_int_equal(acl_set_access(m, e.mode, v->data, v->len, &e.mode),
	    0);
	buf_unref(v);
	assert_int_equal(e.mode, S_IFREG | 04640);
	assert_int_equal(acl_access(&e, &back), 1);
	assert_int_equal(m->n_acl_users, 0);
	assert_null(m->acl_users);
	pxar_meta_free(m);
}

static void
mask_only(void **state)
{
	struct pxar_meta *m = new_meta();
	struct buf *v = ACL({U, 6, ID}, {G, 7, ID}, {M, 0, ID}, {O, 0, ID});
	uint32_t mode;

	(void)state;
	assert_int_equal(acl_set_access(m, S_IFDIR, v->data, v->len, &mode),
	    0);
	assert_int_equal(mode, S_IFDIR | 0600);
	assert_true(m->has_group_obj);
	assert_int_equal(m->group_obj, 7);
	buf_unref(v);
	/* None at all leaves the mode. */
	assert_int_equal(acl_set_access(m, 0751, NULL, 0, &mode), 0);
	assert_int_equal(mode, 0751);
	assert_false(m->has_group_obj);
	pxar_meta_free(m);
}

static void
defaults(void **state)
{
	struct pxar_meta *m = new_meta();
	struct pxar_entry e = {.mode = S_IFDIR | 0755, .meta = m};
	struct buf *v = ACL({U, 7, ID}, {UN, 4, 9}, {G, 5, ID}, {GN, 2, 3},
	    {M, 6, ID}, {O, 1, ID}), *back;

	(void)state;
	assert_int_equal(acl_set_default(m, v->data, v->len), 0);
	assert_true(m->has_default);
	assert_int_equal(m->def_user_obj, 7);
	assert_int_equal(m->def_group_obj, 5);
	assert_int_equal(m->def_mask, 6);
	assert_int_equal(m->def_other, 1);
	assert_int_equal(acl_default(&e, &back), 0);
	assert_value(back, v);

	v = ACL({U, 7, ID}, {G, 5, ID}, {O, 0, ID});
	assert_int_equal(acl_set_default(m, v->data, v->len), 0);
	assert_true(m->def_mask == PXAR_ACL_UNSET);
	assert_int_equal(m->n_def_users, 0);
	assert_int_equal(acl_default(&e, &back), 0);
	assert_value(back, v);

	/* A value without entries is none. */
	v = make(NULL, 0);
	assert_int_equal(acl_set_default(m, v->data, v->len), 0);
	assert_false(m->has_default);
	assert_int_equal(acl_default(&e, &back), 1);
	buf_unref(v);
	pxar_meta_free(m);
}

static void
refused(struct buf *v)
{
	struct pxar_acl_id *users = calloc(1, sizeof(*users));
	struct pxar_meta *m = new_meta();
	struct buf *b = NULL;
	uint32_t mode = 0;

	m->acl_users = users;
	m->n_acl_users = 1;
	m->has_default = true;
	assert_int_equal(acl_set_access(m, 0, v->data, v->len, &mode),
	    -EINVAL);
	assert_int_equal(acl_set_default(m, v->data, v->len), -EINVAL);
	assert_int_equal(acl_inherit(v->data, v->len, 0, &mode, &b), -EINVAL);
	assert_null(b);
	/* Nothing has changed. */
	assert_ptr_equal(m->acl_users, users);
	assert_int_equal(m->n_acl_users, 1);
	assert_true(m->has_default);
	pxar_meta_free(m);
	buf_unref(v);
}

static void
wrong_values(void **state)
{
	struct buf *v;
	size_t i;

	(void)state;
	/* Any length but whole entries. */
	v = ACL({U, 7, ID}, {G, 5, ID}, {O, 0, ID});
	for (i = v->len; i-- > 0;)
		if (i != ACL_HEADER_SIZE)
			refused(buf_copy(v->data, i));
	v->data[0] = 1;
	refused(v);
	/* Something missing, twice, in the wrong place. */
	refused(ACL({U, 7, ID}));
	refused(ACL({G, 7, ID}, {O, 0, ID}));
	refused(ACL({U, 7, ID}, {O, 0, ID}));
	refused(ACL({U, 7, ID}, {G, 7, ID}));
	refused(ACL({U, 7, ID}, {U, 7, ID}, {G, 5, ID}, {O, 0, ID}));
	refused(ACL({U, 7, ID}, {G, 5, ID}, {G, 5, ID}, {O, 0, ID}));
	refused(ACL({U, 7, ID}, {G, 5, ID}, {O, 0, ID}, {O, 0, ID}));
	refused(ACL({U, 7, ID}, {G, 5, ID}, {M, 5, ID}, {M, 5, ID}, {O, 0, ID}));
	refused(ACL({G, 5, ID}, {U, 7, ID}, {O, 0, ID}));
	refused(ACL({U, 7, ID}, {G, 5, ID}, {UN, 5, 1}, {M, 7, ID}, {O, 0, ID}));
	refused(ACL({U, 7, ID}, {GN, 5, 1}, {G, 5, ID}, {M, 7, ID}, {O, 0, ID}));
	refused(ACL({U, 7, ID}, {G, 5, ID}, {O, 0, ID}, {M, 7, ID}));
	/* Named ones without a mask, or without a name, or twice. */
	refused(ACL({U, 7, ID}, {UN, 5, 1}, {G, 5, ID}, {O, 0, ID}));
	refused(ACL({U, 7, ID}, {G, 5, ID}, {GN, 5, 1}, {O, 0, ID}));
	refused(ACL({U, 7, ID}, {UN, 5, ID}, {G, 5, ID}, {M, 7, ID}, {O, 0, ID}));
	refused(ACL({U, 7, ID}, {UN, 5, 1}, {UN, 5, 2}, {UN, 4, 1}, {G, 5, ID},
	    {M, 7, ID}, {O, 0, ID}));
	refused(ACL({U, 7, ID}, {G, 5, ID}, {GN, 5, 1}, {GN, 5, 1}, {M, 7, ID},
	    {O, 0, ID}));
	/* No tag, two of them, no permissions. */
	refused(ACL({0, 7, ID}, {G, 5, ID}, {O, 0, ID}));
	refused(ACL({U | UN, 7, ID}, {G, 5, ID}, {O, 0, ID}));
	refused(ACL({U, 7, ID}, {G, 5, ID}, {O, 8, ID}));
	refused(ACL({U, 0x8000, ID}, {G, 5, ID}, {O, 0, ID}));
	refused(ACL({U, 7, ID}, {G, 5, ID}, {0x40, 0, ID}, {O, 0, ID}));
}

/* More than an xattr can hold. */
static void
too_long(void **state)
{
	size_t n = 8192;
	struct ace *e = calloc(n, sizeof(*e));
	size_t i;

	(void)state;
	assert_non_null(e);
	e[0] = (struct ace){U, 7, ID};
	for (i = 1; i < n - 3; i++)
		e[i] = (struct ace){UN, 7, (uint32_t)i};
	e[n - 3] = (struct ace){G, 7, ID};
	e[n - 2] = (struct ace){M, 7, ID};
	e[n - 1] = (struct ace){O, 7, ID};
	refused(make(e, n));
	free(e);
}

static void
inherit(struct buf *def, uint32_t mode, uint32_t want_mode, struct buf *want)
{
	uint32_t got = 0;
	struct buf *b;

	assert_int_equal(acl_inherit(def->data, def->len, mode, &got, &b), 0);
	assert_int_equal(got, want_mode);
	if (want == NULL)
		assert_null(b);
	else
		assert_value(b, want);
	buf_unref(def);
}

static void
inherited(void **state)
{
	struct buf *b = NULL, *none = make(NULL, 0);
	uint32_t mode = 0;

	(void)state;
	/* Of the mode asked for and the ACL, what both allow. */
	inherit(ACL({U, 6, ID}, {G, 5, ID}, {O, 1, ID}), S_IFREG | 02777,
	    S_IFREG | 02651, NULL);
	inherit(ACL({U, 7, ID}, {G, 7, ID}, {O, 7, ID}), 0640, 0640, NULL);
	/* With a mask that one is limited, and the group's stays. */
	inherit(ACL({U, 7, ID}, {UN, 7, 5}, {G, 7, ID}, {M, 6, ID}, {O, 5, ID}),
	    S_IFREG | 0644, S_IFREG | 0644,
	    ACL({U, 6, ID}, {UN, 7, 5}, {G, 7, ID}, {M, 4, ID}, {O, 4, ID}));
	inherit(ACL({U, 7, ID}, {G, 2, ID}, {GN, 1, 8}, {M, 7, ID}, {O, 0, ID}),
	    S_IFDIR | 0777, S_IFDIR | 0770,
	    ACL({U, 7, ID}, {G, 2, ID}, {GN, 1, 8}, {M, 7, ID}, {O, 0, ID}));
	inherit(ACL({U, 7, ID}, {G, 7, ID}, {M, 7, ID}, {O, 7, ID}), 0, 0,
	    ACL({U, 0, ID}, {G, 7, ID}, {M, 0, ID}, {O, 0, ID}));

	/* No ACL: the umask is somebody else's matter. */
	assert_int_equal(acl_inherit(NULL, 0, 0666, &mode, &b), 1);
	assert_int_equal(mode, 0666);
	assert_null(b);
	assert_int_equal(acl_inherit(none->data, none->len, 0606, &mode, &b),
	    1);
	assert_int_equal(mode, 0606);
	assert_null(b);
	buf_unref(none);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(with_mask),
	    cmocka_unit_test(mask_only),
	    cmocka_unit_test(defaults),
	    cmocka_unit_test(wrong_values),
	    cmocka_unit_test(too_long),
	    cmocka_unit_test(inherited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
