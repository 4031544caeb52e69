/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/acl.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/num.h"
#include "pbs/acl_format.h"
#include "pbs/pxar.h"

/* One ACL as it goes into the fields of a struct pxar_meta. */
struct parts {
	uint32_t user_obj, group_obj, mask, other;
	bool has_mask;
	struct pxar_acl_id *users, *groups;	/* owned */
	size_t n_users, n_groups;
};

static void
parts_fini(struct parts *p)
{
	free(p->users);
	free(p->groups);
}

static enum acl_tag
tag_of(const uint8_t *e)
{
	return get_le32(e) & 0xffff;
}

static uint32_t
perm_of(const uint8_t *e)
{
	return get_le32(e) >> 16;
}

static void
set_perm(uint8_t *e, uint32_t perm)
{
	put_le32(e, (uint32_t)tag_of(e) | perm << 16);
}

/* Which tags may come before one of this tag. */
static uint32_t
tags_before(enum acl_tag tag)
{
	switch (tag) {
	case ACL_TAG_USER_OBJ:
		return 0;
	case ACL_TAG_USER:
	case ACL_TAG_GROUP_OBJ:
		return ACL_TAG_USER_OBJ | ACL_TAG_USER;
	case ACL_TAG_GROUP:
	case ACL_TAG_MASK:
		return ACL_TAG_GROUP_OBJ | ACL_TAG_GROUP;
	case ACL_TAG_OTHER:
		return ACL_TAG_GROUP_OBJ | ACL_TAG_GROUP | ACL_TAG_MASK;
	}
	return 0;
}

/* All that can be said without comparing ids.  1 if there is no ACL; *ret_n
 * entries. */
static int
check(const uint8_t *p, size_t len, size_t *ret_n)
{
	uint32_t seen = 0;
	size_t i, n;

	if (p == NULL)
		return 1;
	if (len < ACL_HEADER_SIZE || len > ACL_VALUE_MAX ||
	    (len - ACL_HEADER_SIZE) % ACL_ENTRY_SIZE != 0 ||
	    get_le32(p) != ACL_VERSION)
		return -EINVAL;
	n = (len - ACL_HEADER_SIZE) / ACL_ENTRY_SIZE;
	if (n == 0)
		return 1;
	for (i = 0; i < n; i++) {
		const uint8_t *e = p + ACL_HEADER_SIZE + i * ACL_ENTRY_SIZE;
		uint32_t tag = tag_of(e), last = 0;

		if (i > 0)
			last = tag_of(e - ACL_ENTRY_SIZE);
		if (perm_of(e) > ACL_PERM_MAX)
			return -EINVAL;
		if (tag == ACL_TAG_USER_OBJ ? i > 0 :
		    (tags_before(tag) & last) == 0)
			return -EINVAL;
		if ((tag == ACL_TAG_USER || tag == ACL_TAG_GROUP) &&
		    get_le32(e + 4) == ACL_NO_ID)
			return -EINVAL;
		seen |= tag;
	}
	/* The order lets nothing be left out of what precedes the end. */
	if ((seen & ACL_TAG_OTHER) == 0)
		return -EINVAL;
	if ((seen & (ACL_TAG_USER | ACL_TAG_GROUP)) != 0 &&
	    (seen & ACL_TAG_MASK) == 0)
		return -EINVAL;
	*ret_n = n;
	return 0;
}

static int
compare_id(const void *pa, const void *pb)
{
	const struct pxar_acl_id *a = pa, *b = pb;

	return (a->id > b->id) - (a->id < b->id);
}

/* In the order of an archive, each id once. */
static int
sort_ids(struct pxar_acl_id *ids, size_t n)
{
	size_t i;

	if (n > 1)
		qsort(ids, n, sizeof(*ids), compare_id);
	for (i = 1; i < n; i++)
		if (ids[i - 1].id == ids[i].id)
			return -EINVAL;
	return 0;
}

/* The n entries with that tag; one allocation, none if there are none. */
static int
collect(const uint8_t *p, size_t n, enum acl_tag tag,
    struct pxar_acl_id **ret, size_t *ret_n)
{
	const uint8_t *e;
	size_t i, k = 0;

	for (i = 0; i < n; i++)
		k += tag_of(p + i * ACL_ENTRY_SIZE) == tag;
	if (k == 0)
		return 0;
	*ret = calloc(k, sizeof(**ret));
	if (*ret == NULL)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		e = p + i * ACL_ENTRY_SIZE;
		if (tag_of(e) == tag)
			(*ret)[(*ret_n)++] = (struct pxar_acl_id){
			    .id = get_le32(e + 4),
			    .perm = perm_of(e),
			};
	}
	return sort_ids(*ret, *ret_n);
}

/* 1 if there is no ACL; *ret is to be ended in any case. */
static int
parse(const void *value, size_t len, struct parts *ret)
{
	const uint8_t *p = value;
	size_t i, n;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = check(p, len, &n);
	if (r != 0)
		return r;
	p += ACL_HEADER_SIZE;
	for (i = 0; i < n; i++) {
		const uint8_t *e = p + i * ACL_ENTRY_SIZE;

		switch (tag_of(e)) {
		case ACL_TAG_USER_OBJ:
			ret->user_obj = perm_of(e);
			break;
		case ACL_TAG_GROUP_OBJ:
			ret->group_obj = perm_of(e);
			break;
		case ACL_TAG_MASK:
			ret->has_mask = true;
			ret->mask = perm_of(e);
			break;
		case ACL_TAG_OTHER:
			ret->other = perm_of(e);
			break;
		case ACL_TAG_USER:
		case ACL_TAG_GROUP:
			break;
		}
	}
	r = collect(p, n, ACL_TAG_USER, &ret->users, &ret->n_users);
	if (r == 0)
		r = collect(p, n, ACL_TAG_GROUP, &ret->groups, &ret->n_groups);
	return r;
}

int
acl_set_access(struct pxar_meta *m, uint32_t mode, const void *value,
    size_t len, uint32_t *ret_mode)
{
	_cleanup_(parts_fini) struct parts p;
	int r;

	r = parse(value, len, &p);
	if (r < 0)
		return r;
	/* The mask stands in the mode for the group, which is stored only where
	 * there is one. */
	*ret_mode = r == 1 ? mode : (mode & ~(uint32_t)0777) |
	    p.user_obj << 6 | (p.has_mask ? p.mask : p.group_obj) << 3 |
	    p.other;
	free(m->acl_users);
	free(m->acl_groups);
	m->acl_users = steal(&p.users);
	m->n_acl_users = p.n_users;
	m->acl_groups = steal(&p.groups);
	m->n_acl_groups = p.n_groups;
	m->has_group_obj = p.has_mask;
	m->group_obj = p.has_mask ? p.group_obj : 0;
	return 0;
}

int
acl_set_default(struct pxar_meta *m, const void *value, size_t len)
{
	_cleanup_(parts_fini) struct parts p;
	int r;

	r = parse(value, len, &p);
	if (r < 0)
		return r;
	m->has_default = r == 0;
	m->def_user_obj = p.user_obj;
	m->def_group_obj = p.group_obj;
	m->def_other = p.other;
	m->def_mask = p.has_mask ? p.mask : PXAR_ACL_UNSET;
	free(m->def_users);
	free(m->def_groups);
	m->def_users = steal(&p.users);
	m->n_def_users = p.n_users;
	m->def_groups = steal(&p.groups);
	m->n_def_groups = p.n_groups;
	return 0;
}

/* Takes from an entry what the bits of the mode do not allow; what is left. */
static uint32_t
limit(uint8_t *e, uint32_t mode, unsigned shift)
{
	uint32_t perm = perm_of(e) & mode >> shift;

	set_perm(e, perm);
	return perm << shift;
}

int
acl_inherit(const void *def, size_t len, uint32_t mode, uint32_t *ret_mode,
    struct buf **ret_access)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	uint8_t *group = NULL, *e;
	uint32_t bits = 0;
	bool more = false;
	struct parts p;
	size_t i, n;
	int r;

	*ret_access = NULL;
	*ret_mode = mode;
	/* Also for what check leaves out. */
	r = parse(def, len, &p);
	parts_fini(&p);
	if (r != 0)
		return r;
	b = buf_copy(def, len);
	if (b == NULL)
		return -ENOMEM;
	n = (len - ACL_HEADER_SIZE) / ACL_ENTRY_SIZE;
	for (i = 0; i < n; i++) {
		e = b->data + ACL_HEADER_SIZE + i * ACL_ENTRY_SIZE;
		switch (tag_of(e)) {
		case ACL_TAG_USER_OBJ:
			bits |= limit(e, mode, 6);
			break;
		case ACL_TAG_OTHER:
			bits |= limit(e, mode, 0);
			break;
		case ACL_TAG_GROUP_OBJ:
			group = e;
			break;
		case ACL_TAG_MASK:
			/* Stands for the group's from here on. */
			group = e;
			more = true;
			break;
		case ACL_TAG_USER:
		case ACL_TAG_GROUP:
			more = true;
			break;
		}
	}
	bits |= limit(group, mode, 3);
	*ret_mode = (mode & ~(uint32_t)0777) | bits;
	if (more)
		*ret_access = steal(&b);
	return 0;
}
