/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/pxar_writer_priv.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/num.h"
#include "pbs/pxar_format.h"

static int
check_xattr(const struct pxar_xattr *x, uint64_t *bytes)
{
	size_t n = strlen(x->name);

	if (n == 0)
		return -EINVAL;
	if (n > PXAR_XATTR_NAME_MAX)
		return -ENAMETOOLONG;
	if (x->len > PXAR_XATTR_MAX - n)
		return -E2BIG;
	*bytes += PXAR_HEADER_SIZE + n + 1 + x->len;
	return 0;
}

static bool
ids_are_valid(const struct pxar_acl_id *ids, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (ids[i].perm > PXAR_PERM_MAX)
			return false;
	return true;
}

static bool
perm_is_valid(uint64_t perm)
{
	return perm <= PXAR_PERM_MAX || perm == PXAR_ACL_UNSET;
}

static bool
acl_is_valid(const struct pxar_meta *m)
{
	return ids_are_valid(m->acl_users, m->n_acl_users) &&
	    ids_are_valid(m->acl_groups, m->n_acl_groups) &&
	    ids_are_valid(m->def_users, m->n_def_users) &&
	    ids_are_valid(m->def_groups, m->n_def_groups) &&
	    (!m->has_group_obj || m->group_obj <= PXAR_PERM_MAX) &&
	    (!m->has_default || (perm_is_valid(m->def_user_obj) &&
	     perm_is_valid(m->def_group_obj) && perm_is_valid(m->def_other) &&
	     perm_is_valid(m->def_mask)));
}

int
pxar_writer_check_meta(const struct pxar_meta *m)
{
	/* More than the records of fixed size that there is at most one of. */
	uint64_t bytes = 256;
	size_t i;
	int r;

	for (i = 0; i < m->n_xattrs; i++) {
		r = check_xattr(&m->xattrs[i], &bytes);
		if (r < 0)
			return r;
	}
	if (!acl_is_valid(m))
		return -EINVAL;
	if (m->fcaps != NULL) {
		if (m->fcaps_len > PXAR_FCAPS_MAX)
			return -E2BIG;
		bytes += m->fcaps_len;
	}
	bytes += (PXAR_HEADER_SIZE + 16) * ((uint64_t)m->n_acl_users +
	    m->n_acl_groups + m->n_def_users + m->n_def_groups);
	return bytes <= PXAR_META_MAX ? 0 : -E2BIG;
}

static void
put_ids(struct pxar_out *o, uint64_t type, const struct pxar_acl_id *ids,
    size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		pxar_out_head(o, type, 16);
		pxar_out_put64(o, ids[i].id);
		pxar_out_put64(o, ids[i].perm);
	}
}

static void
put_default(struct pxar_out *o, const struct pxar_meta *m)
{
	pxar_out_head(o, PXAR_ACL_DEFAULT, 32);
	pxar_out_put64(o, m->def_user_obj);
	pxar_out_put64(o, m->def_group_obj);
	pxar_out_put64(o, m->def_other);
	pxar_out_put64(o, m->def_mask);
}

static void
put_number(struct pxar_out *o, uint64_t type, uint64_t v)
{
	pxar_out_head(o, type, 8);
	pxar_out_put64(o, v);
}

void
pxar_writer_meta(struct pxar_out *o, const struct pxar_meta *m)
{
	size_t i, n;

	for (i = 0; i < m->n_xattrs; i++) {
		const struct pxar_xattr *x = &m->xattrs[i];

		n = strlen(x->name) + 1;
		pxar_out_head(o, PXAR_XATTR, n + x->len);
		pxar_out_put(o, x->name, n);
		pxar_out_put(o, x->value, x->len);
	}
	put_ids(o, PXAR_ACL_USER, m->acl_users, m->n_acl_users);
	put_ids(o, PXAR_ACL_GROUP, m->acl_groups, m->n_acl_groups);
	if (m->has_group_obj)
		put_number(o, PXAR_ACL_GROUP_OBJ, m->group_obj);
	if (m->has_default)
		put_default(o, m);
	put_ids(o, PXAR_ACL_DEFAULT_USER, m->def_users, m->n_def_users);
	put_ids(o, PXAR_ACL_DEFAULT_GROUP, m->def_groups, m->n_def_groups);
	if (m->fcaps != NULL) {
		pxar_out_head(o, PXAR_FCAPS, m->fcaps_len);
		pxar_out_put(o, m->fcaps, m->fcaps_len);
	}
	if (m->has_projid)
		put_number(o, PXAR_QUOTA_PROJID, m->projid);
}
