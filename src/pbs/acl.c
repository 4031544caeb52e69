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

/* One list in a form that both kinds of ACL fill. */
struct list {
	uint32_t user_obj, group_obj, mask, other;
	bool has_mask;
	const struct pxar_acl_id *users, *groups;	/* borrowed */
	size_t n_users, n_groups;
};

static uint8_t *
put(uint8_t *p, enum acl_tag tag, uint32_t perm, uint32_t id)
{
	put_le32(p, (uint32_t)tag | perm << 16);
	put_le32(p + 4, id);
	return p + ACL_ENTRY_SIZE;
}

static int
compare_id(const void *pa, const void *pb)
{
	const struct pxar_acl_id *a = pa, *b = pb;

	return (a->id > b->id) - (a->id < b->id);
}

static int
put_named(uint8_t **p, enum acl_tag tag, const struct pxar_acl_id *ids,
    size_t n)
{
	_cleanup_free_ struct pxar_acl_id *sorted = NULL;
	size_t i;

	if (n == 0)
		return 0;
	sorted = calloc(n, sizeof(*sorted));
	if (sorted == NULL)
		return -ENOMEM;
	memcpy(sorted, ids, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), compare_id);
	for (i = 0; i < n; i++)
		*p = put(*p, tag, sorted[i].perm, sorted[i].id);
	return 0;
}

static int
encode(const struct list *l, struct buf **ret)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	uint8_t *p;
	int r;

	b = buf_new(ACL_HEADER_SIZE +
	    (3 + l->has_mask + l->n_users + l->n_groups) * ACL_ENTRY_SIZE);
	if (b == NULL)
		return -ENOMEM;
	p = b->data;
	put_le32(p, ACL_VERSION);
	p = put(p + ACL_HEADER_SIZE, ACL_TAG_USER_OBJ, l->user_obj, ACL_NO_ID);
	r = put_named(&p, ACL_TAG_USER, l->users, l->n_users);
	if (r < 0)
		return r;
	p = put(p, ACL_TAG_GROUP_OBJ, l->group_obj, ACL_NO_ID);
	r = put_named(&p, ACL_TAG_GROUP, l->groups, l->n_groups);
	if (r < 0)
		return r;
	if (l->has_mask)
		p = put(p, ACL_TAG_MASK, l->mask, ACL_NO_ID);
	put(p, ACL_TAG_OTHER, l->other, ACL_NO_ID);
	*ret = steal(&b);
	return 0;
}

int
acl_access(const struct pxar_entry *e, struct buf **ret)
{
	const struct pxar_meta *m = e->meta;
	struct list l;

	if (m == NULL ||
	    (m->n_acl_users == 0 && m->n_acl_groups == 0 && !m->has_group_obj))
		return 1;
	/* The group bits of the mode are the mask, as in st_mode.  Named
	 * entries need a mask, so there is one even where the archive forgot
	 * the group's own permissions. */
	l = (struct list){
	    .user_obj = e->mode >> 6 & 7,
	    .group_obj = m->has_group_obj ? m->group_obj : e->mode >> 3 & 7,
	    .has_mask = true,
	    .mask = e->mode >> 3 & 7,
	    .other = e->mode & 7,
	    .users = m->acl_users,
	    .n_users = m->n_acl_users,
	    .groups = m->acl_groups,
	    .n_groups = m->n_acl_groups,
	};
	return encode(&l, ret);
}

static uint32_t
union_of(const struct pxar_acl_id *ids, size_t n)
{
	uint32_t perm = 0;
	size_t i;

	for (i = 0; i < n; i++)
		perm |= ids[i].perm;
	return perm;
}

int
acl_default(const struct pxar_entry *e, struct buf **ret)
{
	const struct pxar_meta *m = e->meta;
	bool named;
	struct list l;

	if (m == NULL || !m->has_default)
		return 1;
	/* Without its three base entries it is no ACL that a kernel takes. */
	if (m->def_user_obj == PXAR_ACL_UNSET ||
	    m->def_group_obj == PXAR_ACL_UNSET ||
	    m->def_other == PXAR_ACL_UNSET)
		return 1;
	named = m->n_def_users > 0 || m->n_def_groups > 0;
	l = (struct list){
	    .user_obj = (uint32_t)m->def_user_obj,
	    .group_obj = (uint32_t)m->def_group_obj,
	    .other = (uint32_t)m->def_other,
	    .has_mask = named || m->def_mask != PXAR_ACL_UNSET,
	    .users = m->def_users,
	    .n_users = m->n_def_users,
	    .groups = m->def_groups,
	    .n_groups = m->n_def_groups,
	};
	/* A mask that is missing allows what the entries under it allow. */
	if (m->def_mask != PXAR_ACL_UNSET)
		l.mask = (uint32_t)m->def_mask;
	else
		l.mask = l.group_obj | union_of(l.users, l.n_users) |
		    union_of(l.groups, l.n_groups);
	return encode(&l, ret);
}
