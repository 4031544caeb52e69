/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/draft_priv.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/lock.h"
#include "base/str.h"
#include "draft/journal.h"
#include "draft/meta.h"
#include "draft/xattrs.h"

/* The set-id bits that go when others write to a file, or it changes hands. */
static mode_t
killed(mode_t mode)
{
	if (!S_ISREG(mode))
		return 0;
	return (mode & S_ISUID) |
	    ((mode & S_IXGRP) != 0 ? mode & S_ISGID : 0);
}

static bool
has_priv(const struct inode *i)
{
	if (!S_ISREG(i->mode))
		return false;
	return killed(i->mode) != 0 || !i->meta_known ||
	    xattrs_find(i, XATTR_CAPABILITY) != NULL;
}

void
attr_apply(struct inode *i, const struct draft_change *c)
{
	(void)clock_gettime(CLOCK_REALTIME, &i->ctime);
	if ((c->set & (DRAFT_SET_UID | DRAFT_SET_GID)) != 0 &&
	    !S_ISDIR(i->mode))
		i->mode &= ~killed(i->mode);
	if ((c->set & DRAFT_SET_MODE) != 0)
		i->mode = (i->mode & S_IFMT) | (c->mode & 07777);
	if ((c->set & DRAFT_SET_UID) != 0)
		i->uid = c->uid;
	if ((c->set & DRAFT_SET_GID) != 0)
		i->gid = c->gid;
	if ((c->set & DRAFT_SET_MTIME_NOW) != 0)
		i->mtime = i->ctime;
	else if ((c->set & DRAFT_SET_MTIME) != 0)
		i->mtime = c->mtime;
}

/*
 * With the lock: the inode becomes as *next is, in one transaction; its xattrs
 * move over if own_meta is set there.
 */
static int
become(struct draft *d, struct inode *i, struct inode *next,
    uint64_t *ret_seq)
{
	_cleanup_(str_fini) struct str txn = {0};
	bool meta = next->own_meta;
	int r;

	r = i->logged && !meta ? log_attr(d, next, &txn) :
	    log_inode(d, next, &txn);
	if (r == 0)
		r = draft_log(d, &txn, ret_seq);
	if (r < 0)
		return r;
	i->mode = next->mode;
	i->uid = next->uid;
	i->gid = next->gid;
	i->mtime = next->mtime;
	i->ctime = next->ctime;
	i->own_attr = true;
	if (meta) {
		xattrs_clear(i);
		i->xattrs = next->xattrs;
		i->n_xattrs = next->n_xattrs;
		next->xattrs = NULL;
		next->n_xattrs = 0;
		i->own_meta = i->meta_known = true;
	}
	inode_keep(d, i);
	return 0;
}

/* The ACL says what the mode says.  next has a set of its own. */
static int
follow_mode(struct inode *next)
{
	const struct inode_xattr *acl = xattrs_find(next, XATTR_ACL_ACCESS);
	struct buf *value;
	int r;

	if (acl == NULL)
		return 0;
	r = meta_acl_chmod(acl->value, acl->len, next->mode, &value);
	if (r != 0)
		return r < 0 ? r : 0;
	r = xattrs_set(next, XATTR_ACL_ACCESS, value->data, value->len);
	buf_unref(value);
	return r;
}

/* With the lock and meta_known.  c is NULL: kill_priv. */
static int
change(struct draft *d, struct inode *i, const struct draft_change *c,
    uint64_t *ret_seq)
{
	struct inode next = *i;
	bool caps, acl;
	int r;

	if (c != NULL) {
		attr_apply(&next, c);
	} else {
		next.mode &= ~killed(i->mode);
		(void)clock_gettime(CLOCK_REALTIME, &next.ctime);
	}
	caps = (c == NULL || (c->set & (DRAFT_SET_UID | DRAFT_SET_GID)) != 0) &&
	    xattrs_find(i, XATTR_CAPABILITY) != NULL && S_ISREG(i->mode);
	acl = next.mode != i->mode && xattrs_find(i, XATTR_ACL_ACCESS) != NULL;
	next.own_meta = false;
	if (!caps && !acl)
		return become(d, i, &next, ret_seq);
	r = xattrs_copy(i, &next);
	if (r < 0)
		return r;
	next.own_meta = true;
	if (caps)
		xattrs_drop(&next, XATTR_CAPABILITY);
	r = follow_mode(&next);
	if (r == 0)
		r = become(d, i, &next, ret_seq);
	xattrs_clear(&next);
	return r;
}

int
attr_kill_priv(struct draft *d, struct inode *i, unsigned flags)
{
	uint64_t seq = 0;
	int r;

	{
		LOCK(&d->lock);
		if (!has_priv(i))
			return 0;
	}
	r = inode_load_meta(d, i, flags);
	if (r < 0)
		return r;
	{
		LOCK(&d->lock);
		if (has_priv(i))
			r = change(d, i, NULL, &seq);
	}
	return r == 0 && seq != 0 ? journal_commit(d->journal, seq) : r;
}

static int
set(struct draft *d, struct inode *i, const struct draft_change *c,
    unsigned flags, uint64_t *ret_seq)
{
	int r = 0;

	if ((c->set & (DRAFT_SET_MODE | DRAFT_SET_UID | DRAFT_SET_GID)) != 0)
		r = inode_load_meta(d, i, flags);
	if (r < 0)
		return r;
	LOCK(&d->lock);
	return change(d, i, c, ret_seq);
}

int
draft_setattr(struct draft *d, uint64_t ino, const struct draft_change *c,
    unsigned flags, struct stat *ret)
{
	struct draft_change rest = *c;
	struct inode *i;
	uint64_t seq = 0;
	int r;

	i = inode_get(d, ino);
	if (i == NULL)
		return -ESTALE;
	r = inode_load(d, i, flags);
	if (r == 0)
		r = inode_count(d, i, flags | BASE_CHEAP);
	/* Not to be exact about names is no reason to fail. */
	r = r == -EAGAIN || !i->loaded ? r : 0;
	/* What depends on xattrs is a change of its own, before the size. */
	if (r == 0 && (c->set & DRAFT_SET_SIZE) != 0 &&
	    (c->set & (DRAFT_SET_MODE | DRAFT_SET_UID | DRAFT_SET_GID)) == 0) {
		r = io_truncate(d, i, c->size, c, flags);
		rest.set = 0;
	} else if (r == 0 && (c->set & DRAFT_SET_SIZE) != 0) {
		r = io_truncate(d, i, c->size, NULL, flags);
		rest.set &= ~(unsigned)DRAFT_SET_SIZE;
	}
	if (r == 0 && rest.set != 0)
		r = draft_enter(d, flags);
	if (r == 0 && rest.set != 0) {
		r = set(d, i, &rest, flags, &seq);
		if (r == 0)
			r = journal_commit(d->journal, seq);
		draft_leave(d);
	}
	{
		LOCK(&d->lock);
		if (r == 0)
			inode_stat(d, i, ret);
		inode_unref(d, i);
	}
	inode_reap(d);
	return r;
}
