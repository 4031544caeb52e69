/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/pxar_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/num.h"


bool
pxar_meta_is(uint64_t type)
{
	switch (type) {
	case PXAR_XATTR:
	case PXAR_ACL_USER:
	case PXAR_ACL_GROUP:
	case PXAR_ACL_GROUP_OBJ:
	case PXAR_ACL_DEFAULT:
	case PXAR_ACL_DEFAULT_USER:
	case PXAR_ACL_DEFAULT_GROUP:
	case PXAR_FCAPS:
	case PXAR_QUOTA_PROJID:
		return true;
	default:
		return false;
	}
}

/* Room for one more element; arrays grow at the powers of two. */
static int
grow(void *array, size_t n, size_t size)
{
	void *old, *p;
	size_t bytes;

	if ((n & (n - 1)) != 0)
		return 0;
	memcpy(&old, array, sizeof(old));
	if (__builtin_mul_overflow(n == 0 ? 1 : 2 * n, size, &bytes))
		return -EOVERFLOW;
	p = realloc(old, bytes);
	if (p == NULL)
		return -ENOMEM;
	memcpy(array, &p, sizeof(p));
	return 0;
}

static int
add_xattr(struct pxar_meta *m, struct pxar_win *w, uint64_t len)
{
	_cleanup_free_ char *name = NULL;
	_cleanup_free_ uint8_t *value = NULL;
	size_t name_len, value_len;
	int r;

	/* The final NUL of the name is on top of what both may have. */
	if (len < 2 || len > PXAR_XATTR_MAX + 1)
		return -EBADMSG;
	name = malloc(len);
	if (name == NULL)
		return -ENOMEM;
	r = pxar_win_read(w, name, len);
	if (r < 0)
		return r;
	name_len = strnlen(name, len);
	if (name_len == 0 || name_len == len || name_len > PXAR_XATTR_NAME_MAX)
		return -EBADMSG;
	value_len = len - name_len - 1;
	value = malloc(MAX(value_len, 1));
	if (value == NULL)
		return -ENOMEM;
	memcpy(value, name + name_len + 1, value_len);
	r = grow(&m->xattrs, m->n_xattrs, sizeof(*m->xattrs));
	if (r < 0)
		return r;
	m->xattrs[m->n_xattrs++] = (struct pxar_xattr){
	    .name = steal(&name),
	    .value = steal(&value),
	    .len = value_len,
	};
	return 0;
}

static int
add_acl_id(struct pxar_acl_id **ids, size_t *n, struct pxar_win *w,
    uint64_t len)
{
	uint64_t id, perm;
	uint8_t b[16];
	int r;

	if (len != sizeof(b))
		return -EBADMSG;
	r = pxar_win_read(w, b, sizeof(b));
	if (r < 0)
		return r;
	id = get_le64(b);
	perm = get_le64(b + 8);
	if (id > UINT32_MAX || perm > PXAR_PERM_MAX)
		return -EBADMSG;
	r = grow(ids, *n, sizeof(**ids));
	if (r < 0)
		return r;
	(*ids)[(*n)++] = (struct pxar_acl_id){
	    .id = (uint32_t)id,
	    .perm = (uint32_t)perm,
	};
	return 0;
}

static int
set_group_obj(struct pxar_meta *m, struct pxar_win *w, uint64_t len)
{
	uint8_t b[8];
	int r;

	if (m->has_group_obj || len != sizeof(b))
		return -EBADMSG;
	r = pxar_win_read(w, b, sizeof(b));
	if (r < 0)
		return r;
	if (get_le64(b) > PXAR_PERM_MAX)
		return -EBADMSG;
	m->has_group_obj = true;
	m->group_obj = (uint32_t)get_le64(b);
	return 0;
}

static int
set_default(struct pxar_meta *m, struct pxar_win *w, uint64_t len)
{
	uint64_t *field[] = {&m->def_user_obj, &m->def_group_obj,
	    &m->def_other, &m->def_mask};
	uint8_t b[32];
	size_t i;
	int r;

	if (m->has_default || len != sizeof(b))
		return -EBADMSG;
	r = pxar_win_read(w, b, sizeof(b));
	if (r < 0)
		return r;
	for (i = 0; i < ARRAY_SIZE(field); i++) {
		*field[i] = get_le64(b + 8 * i);
		if (*field[i] > PXAR_PERM_MAX && *field[i] != PXAR_ACL_UNSET)
			return -EBADMSG;
	}
	m->has_default = true;
	return 0;
}

static int
set_fcaps(struct pxar_meta *m, struct pxar_win *w, uint64_t len)
{
	if (m->fcaps != NULL || len > PXAR_FCAPS_MAX)
		return -EBADMSG;
	m->fcaps = malloc(MAX(len, 1));
	if (m->fcaps == NULL)
		return -ENOMEM;
	m->fcaps_len = len;
	return pxar_win_read(w, m->fcaps, len);
}

static int
set_projid(struct pxar_meta *m, struct pxar_win *w, uint64_t len)
{
	uint8_t b[8];
	int r;

	if (m->has_projid || len != sizeof(b))
		return -EBADMSG;
	r = pxar_win_read(w, b, sizeof(b));
	if (r < 0)
		return r;
	m->has_projid = true;
	m->projid = get_le64(b);
	return 0;
}

int
pxar_meta_add(struct pxar_meta *m, struct pxar_win *w,
    const struct pxar_rec *rec)
{
	switch (rec->type) {
	case PXAR_XATTR:
		return add_xattr(m, w, rec->len);
	case PXAR_ACL_USER:
		return add_acl_id(&m->acl_users, &m->n_acl_users, w, rec->len);
	case PXAR_ACL_GROUP:
		return add_acl_id(
		    &m->acl_groups, &m->n_acl_groups, w, rec->len);
	case PXAR_ACL_GROUP_OBJ:
		return set_group_obj(m, w, rec->len);
	case PXAR_ACL_DEFAULT:
		return set_default(m, w, rec->len);
	case PXAR_ACL_DEFAULT_USER:
		return add_acl_id(&m->def_users, &m->n_def_users, w, rec->len);
	case PXAR_ACL_DEFAULT_GROUP:
		return add_acl_id(
		    &m->def_groups, &m->n_def_groups, w, rec->len);
	case PXAR_FCAPS:
		return set_fcaps(m, w, rec->len);
	case PXAR_QUOTA_PROJID:
		return set_projid(m, w, rec->len);
	default:
		return -EBADMSG;
	}
}

void
pxar_meta_free(struct pxar_meta *m)
{
	size_t i;

	if (m == NULL)
		return;
	for (i = 0; i < m->n_xattrs; i++) {
		free(m->xattrs[i].name);
		free(m->xattrs[i].value);
	}
	free(m->xattrs);
	free(m->acl_users);
	free(m->acl_groups);
	free(m->def_users);
	free(m->def_groups);
	free(m->fcaps);
	free(m);
}
