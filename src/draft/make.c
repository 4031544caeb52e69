/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/draft_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/lock.h"
#include "base/str.h"
#include "draft/journal.h"
#include "draft/spot.h"
#include "draft/xattrs.h"
#include "pbs/acl.h"

static bool
type_is_known(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFBLK:
	case S_IFCHR:
	case S_IFIFO:
	case S_IFSOCK:
		return true;
	default:
		return false;
	}
}

/* Mode and ACLs from those of the directory.  With the lock. */
static int
inherit(const struct inode *dir, const struct draft_new *n, struct inode *i)
{
	const struct inode_xattr *def = xattrs_find(dir, XATTR_ACL_DEFAULT);
	struct buf *access = NULL;
	uint32_t mode = n->mode & 07777;
	int r = 1;

	if (S_ISLNK(n->mode)) {
		i->mode = S_IFLNK | 0777;
		return 0;
	}
	if (def != NULL)
		r = acl_inherit(def->value, def->len, n->mode, &mode, &access);
	if (r < 0)
		return r;
	if (r == 1)
		mode &= ~n->umask;
	i->mode = (n->mode & S_IFMT) | (mode & 07777);
	if (r == 0 && access != NULL)
		r = xattrs_set(i, XATTR_ACL_ACCESS, access->data, access->len);
	buf_unref(access);
	if (r >= 0 && def != NULL && S_ISDIR(n->mode))
		r = xattrs_set(i, XATTR_ACL_DEFAULT, def->value, def->len);
	if (r < 0)
		return r;
	i->own_meta = i->n_xattrs > 0;
	return 0;
}

static int
fill(struct draft *d, const struct inode *dir, const struct draft_new *n,
    struct inode *i)
{
	int r;

	(void)d;
	i->loaded = i->meta_known = i->own_attr = i->nlink_known = true;
	i->nlink = 1;
	i->uid = n->uid;
	i->gid = n->gid;
	if (S_ISBLK(n->mode) || S_ISCHR(n->mode))
		i->rdev = n->rdev;
	r = inherit(dir, n, i);
	if (r < 0)
		return r;
	if ((dir->mode & S_ISGID) != 0) {
		i->gid = dir->gid;
		if (S_ISDIR(n->mode))
			i->mode |= S_ISGID;
	}
	if (S_ISLNK(n->mode)) {
		i->target = strdup(n->target);
		if (i->target == NULL)
			return -ENOMEM;
		i->size = strlen(n->target);
	}
	(void)clock_gettime(CLOCK_REALTIME, &i->mtime);
	i->ctime = i->mtime;
	return 0;
}

/* With the lock.  A reference. */
static int
make(struct draft *d, const struct spot *s, const struct draft_new *n,
    struct inode **ret, uint64_t *ret_seq)
{
	_cleanup_(str_fini) struct str txn = {0};
	_cleanup_free_ struct dentry *e = NULL;
	struct inode *i;
	int r;

	r = inode_new(d, d->root->ino + d->next_new, &i);
	if (r < 0)
		return r;
	e = dentry_new(s->name, s->len);
	r = e != NULL ? fill(d, s->dir, n, i) : -ENOMEM;
	if (r == 0)
		r = log_inode(d, i, &txn);
	if (r == 0)
		r = log_touch(d, s->dir, &i->mtime, &txn);
	if (r == 0)
		r = log_name(s->dir, s->name, s->len, i, s->in_base, &txn);
	if (r == 0)
		r = draft_log(d, &txn, ret_seq);
	if (r < 0) {
		inode_unref(d, i);
		return r;
	}
	d->next_new++;
	inode_keep(d, i);
	inode_keep(d, s->dir);
	s->dir->mtime = s->dir->ctime = i->mtime;
	inode_set_parent(d, i, s->dir);
	dentry_set(d, s->dir, &e, i, s->in_base);
	*ret = i;
	return 0;
}

static int
make_at(struct draft *d, uint64_t parent, const char *name,
    const struct draft_new *n, unsigned flags, struct stat *ret,
    uint64_t *ret_seq)
{
	struct inode *i;
	struct spot s;
	int r;

	do {
		r = spot_find(d, parent, name, 0, flags, &s);
		if (r < 0)
			return r;
		/* Its default ACL. */
		r = s.child != NULL ? -EEXIST :
		    inode_load_meta(d, s.dir, flags);
		if (r == 0) {
			LOCK(&d->lock);
			r = spot_is(&s);
			if (r == -EAGAIN) {
				r = 1;
			} else if (r == 0) {
				r = make(d, &s, n, &i, ret_seq);
				if (r == 0) {
					inode_hold(i);
					inode_stat(d, i, ret);
					inode_unref(d, i);
				}
			}
		}
		spot_fini(d, &s);
	} while (r == 1);
	return r;
}

int
draft_make(struct draft *d, uint64_t parent, const char *name,
    const struct draft_new *n, unsigned flags, struct stat *ret)
{
	uint64_t seq = 0;
	int r;

	if (!type_is_known(n->mode) || (S_ISLNK(n->mode) && n->target == NULL))
		return -EINVAL;
	if (S_ISLNK(n->mode) && n->target[0] == '\0')
		return -ENOENT;
	if (S_ISLNK(n->mode) && strlen(n->target) > RECORD_TARGET_MAX)
		return -ENAMETOOLONG;
	r = draft_enter(d, flags);
	if (r < 0)
		return r;
	r = make_at(d, parent, name, n, flags, ret, &seq);
	if (r == 0) {
		r = journal_commit(d->journal, seq);
		if (r < 0)
			draft_forget(d, ret->st_ino, 1);
	}
	draft_leave(d);
	return r;
}
