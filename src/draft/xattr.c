/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/buf.h"
#include "base/lock.h"
#include "base/str.h"
#include "draft/draft_priv.h"
#include "draft/journal.h"
#include "draft/xattrs.h"
#include "pbs/acl.h"

#define VALUE_MAX ((size_t)64 << 10)

/* What an archive holds: format document section 7.3. */
static int
check_name(const char *name)
{
	if (strlen(name) > RECORD_NAME_MAX)
		return -ERANGE;
	if (streq(name, XATTR_ACL_ACCESS) || streq(name, XATTR_ACL_DEFAULT) ||
	    streq(name, XATTR_CAPABILITY) || streq(name, "security.NTACL"))
		return 0;
	if ((str_starts(name, "user.") && name[5] != '\0') ||
	    (str_starts(name, "trusted.") && name[8] != '\0'))
		return 0;
	return -EOPNOTSUPP;
}

int
draft_xattr_list(struct draft *d, uint64_t ino, unsigned flags,
    struct buf **ret)
{
	_cleanup_(str_fini) struct str out = {0};
	struct inode *i;
	size_t n;
	int r;

	r = inode_get_with(d, ino, inode_load_meta, flags, &i);
	if (r < 0)
		return r;
	LOCK(&d->lock);
	for (n = 0; n < i->n_xattrs; n++)
		str_addn(&out, i->xattrs[n].name,
		    strlen(i->xattrs[n].name) + 1);
	inode_unref(d, i);
	r = str_error(&out);
	if (r < 0)
		return r;
	*ret = buf_copy(str_get(&out), out.len);
	return *ret != NULL ? 0 : -ENOMEM;
}

int
draft_xattr_get(struct draft *d, uint64_t ino, const char *name,
    unsigned flags, struct buf **ret)
{
	const struct inode_xattr *x;
	struct inode *i;
	int r;

	r = inode_get_with(d, ino, inode_load_meta, flags, &i);
	if (r < 0)
		return r;
	LOCK(&d->lock);
	x = xattrs_find(i, name);
	if (x == NULL) {
		r = -ENODATA;
	} else {
		*ret = buf_copy(x->value, x->len);
		r = *ret != NULL ? 0 : -ENOMEM;
	}
	inode_unref(d, i);
	return r;
}

static bool
is_acl(const char *name)
{
	return streq(name, XATTR_ACL_ACCESS) || streq(name, XATTR_ACL_DEFAULT);
}

/* Checks an ACL and what it says of the mode; 1 if it says no more than that,
 * so that there is nothing to keep. */
static int
check_acl(const struct inode *i, const char *name, const void *p, size_t len,
    uint32_t *mode)
{
	struct pxar_meta *m;
	bool is_none;
	int r;

	if (S_ISLNK(i->mode))
		return -EOPNOTSUPP;
	if (streq(name, XATTR_ACL_DEFAULT) && !S_ISDIR(i->mode))
		return -EACCES;
	m = calloc(1, sizeof(*m));
	if (m == NULL)
		return -ENOMEM;
	if (streq(name, XATTR_ACL_ACCESS)) {
		r = acl_set_access(m, *mode, p, len, mode);
		is_none = !m->has_group_obj && m->n_acl_users == 0 &&
		    m->n_acl_groups == 0;
	} else {
		r = acl_set_default(m, p, len);
		is_none = !m->has_default;
	}
	pxar_meta_free(m);
	return r < 0 ? r : is_none;
}

/* With the lock: what next is to have; p NULL: not that one. */
static int
edit(const struct inode *i, struct inode *next, const char *name,
    const void *p, size_t len, int how)
{
	bool there = xattrs_find(i, name) != NULL;
	uint32_t mode = i->mode & 07777;
	int r = 0;

	if (how == XATTR_CREATE && there)
		return -EEXIST;
	/* No ACL is one that says what the mode says. */
	if (!there && (how == XATTR_REPLACE || (p == NULL && !is_acl(name))))
		return -ENODATA;
	if (p != NULL && is_acl(name))
		r = check_acl(i, name, p, len, &mode);
	if (r < 0)
		return r;
	if (p == NULL || r == 1)
		xattrs_drop(next, name);
	else
		r = xattrs_set(next, name, p, len);
	if (r >= 0 && xattrs_size(next) > RECORD_XATTRS_MAX)
		r = -ENOSPC;
	next->mode = (i->mode & S_IFMT) | (mode & 07777);
	return r < 0 ? r : 0;
}

/* With the lock. */
static int
change(struct draft *d, struct inode *i, const char *name, const void *p,
    size_t len, int how, uint64_t *ret_seq)
{
	_cleanup_(str_fini) struct str txn = {0};
	struct inode next = *i;
	int r;

	r = xattrs_copy(i, &next);
	if (r < 0)
		return r;
	next.own_meta = true;
	(void)clock_gettime(CLOCK_REALTIME, &next.ctime);
	r = edit(i, &next, name, p, len, how);
	if (r == 0)
		r = log_inode(d, &next, &txn);
	if (r == 0)
		r = draft_log(d, &txn, ret_seq);
	if (r == 0) {
		i->mode = next.mode;
		i->ctime = next.ctime;
		xattrs_clear(i);
		i->xattrs = next.xattrs;
		i->n_xattrs = next.n_xattrs;
		i->own_attr = i->own_meta = true;
		inode_keep(d, i);
	} else {
		xattrs_clear(&next);
	}
	return r;
}

static int
edit_xattr(struct draft *d, uint64_t ino, const char *name, const void *p,
    size_t len, int how, unsigned flags)
{
	struct inode *i;
	uint64_t seq = 0;
	int r;

	r = draft_enter(d, flags);
	if (r < 0)
		return r;
	r = inode_get_with(d, ino, inode_load_meta, flags, &i);
	if (r == 0) {
		LOCK(&d->lock);
		r = change(d, i, name, p, len, how, &seq);
		inode_unref(d, i);
	}
	if (r == 0)
		r = journal_commit(d->journal, seq);
	draft_leave(d);
	return r;
}

int
draft_xattr_set(struct draft *d, uint64_t ino, const char *name,
    const void *p, size_t len, int how, unsigned flags)
{
	int r;

	r = check_name(name);
	if (r < 0)
		return r;
	if (len > VALUE_MAX)
		return -E2BIG;
	return edit_xattr(d, ino, name, p != NULL ? p : "", len, how, flags);
}

int
draft_xattr_remove(struct draft *d, uint64_t ino, const char *name,
    unsigned flags)
{
	int r;

	r = check_name(name);
	return r < 0 ? r : edit_xattr(d, ino, name, NULL, 0, 0, flags);
}
