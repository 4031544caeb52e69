/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/draft_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/lock.h"
#include "base/num.h"
#include "draft/spot.h"

uint64_t
draft_root(const struct draft *d)
{
	return d->root->ino;
}

int
draft_lookup(struct draft *d, uint64_t parent, const char *name,
    unsigned flags, struct stat *ret)
{
	struct spot s;
	int r;

	r = spot_find(d, parent, name, SPOT_NLINK_IF, flags, &s);
	if (r < 0)
		return r == -EINVAL ? -ENOENT : r;
	r = -ENOENT;
	if (s.child != NULL) {
		LOCK(&d->lock);
		inode_hold(s.child);
		inode_stat(d, s.child, ret);
		r = 0;
	}
	spot_fini(d, &s);
	return r;
}

void
draft_forget(struct draft *d, uint64_t ino, uint64_t n)
{
	{
		LOCK(&d->lock);
		struct inode *i = inode_find(d, ino);

		if (i == NULL)
			return;
		if (i->nlookup > 0) {
			i->nlookup -= MIN(n, i->nlookup);
			if (i->nlookup == 0)
				inode_unref(d, i);
		}
		inode_unref(d, i);
	}
	inode_reap(d);
}

int
draft_getattr(struct draft *d, uint64_t ino, unsigned flags,
    struct stat *ret)
{
	struct inode *i;
	int r;

	r = inode_get_with(d, ino, inode_load, flags, &i);
	if (r < 0)
		return r;
	r = inode_count(d, i, flags | BASE_CHEAP);
	LOCK(&d->lock);
	/* Without an exact count it has the names that are known. */
	if (r != -EAGAIN) {
		inode_stat(d, i, ret);
		r = 0;
	}
	inode_unref(d, i);
	return r;
}

int
draft_parent(struct draft *d, uint64_t ino, unsigned flags, uint64_t *ret)
{
	struct inode *i;
	int r;

	r = inode_get_with(d, ino, inode_load, flags, &i);
	if (r < 0)
		return r;
	LOCK(&d->lock);
	if (!S_ISDIR(i->mode))
		r = -ENOTDIR;
	else if (i == d->root)
		*ret = 0;
	else if (i->parent == NULL)
		r = -ESTALE;
	else
		*ret = i->parent->ino;
	inode_unref(d, i);
	return r;
}

int
draft_readlink(struct draft *d, uint64_t ino, unsigned flags,
    struct buf **ret)
{
	struct inode *i;
	int r;

	r = inode_get_with(d, ino, inode_load, flags, &i);
	if (r < 0)
		return r;
	LOCK(&d->lock);
	if (!S_ISLNK(i->mode) || i->target == NULL) {
		r = -EINVAL;
	} else {
		*ret = buf_copy(i->target, strlen(i->target));
		r = *ret != NULL ? 0 : -ENOMEM;
	}
	inode_unref(d, i);
	return r;
}
