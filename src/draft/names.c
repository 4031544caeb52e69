/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/lock.h"
#include "base/str.h"
#include "draft/draft_priv.h"
#include "draft/journal.h"

/*
 * What a rename does to the file that had the name, unlink does to any.
 */

int
names_log_loss(struct draft *d, const struct inode *i,
    const struct timespec *now, struct str *txn)
{
	struct inode less = *i;

	if (S_ISDIR(i->mode) || i->nlink <= 1)
		return log_drop(i, txn);
	less.nlink--;
	less.ctime = *now;
	return i->logged ? log_attr(d, &less, txn) : log_inode(d, &less, txn);
}

void
names_lose(struct draft *d, struct inode *i, const struct timespec *now)
{
	i->ctime = *now;
	if (S_ISDIR(i->mode) || i->nlink <= 1) {
		inode_nameless(d, i);
		return;
	}
	i->nlink--;
	inode_keep(d, i);
}

/* Whether a name of the base directory is seen. */
static int
is_hidden(struct draft *d, const struct inode *dir, const char *name,
    size_t len)
{
	LOCK(&d->lock);

	return dentry_find(dir, name, len) != NULL;
}

/* What cannot be read is nothing that could keep a directory: it would have to
 * stay for ever. */
static int
base_is_hidden(struct draft *d, struct inode *dir, struct base_archive *a,
    const struct pxar_dir *table, unsigned flags)
{
	_cleanup_free_ char *name = malloc(PXAR_NAME_MAX + 1);
	struct pxar_entry e;
	struct pxar *px;
	uint64_t link;
	size_t i, len;
	int r;

	if (name == NULL)
		return -ENOMEM;
	r = base_pxar(a, flags, &px);
	for (i = 0; r == 0 && i < pxar_dir_count(table); i++) {
		r = pxar_dir_entry(px, table, i, 0, name, &e, &link);
		if (r == -EBADMSG) {
			r = 0;
			continue;
		}
		if (r < 0)
			break;
		pxar_entry_fini(&e);
		len = strlen(name);
		if (len <= RECORD_NAME_MAX && !is_hidden(d, dir, name, len))
			r = -ENOTEMPTY;
	}
	return r;
}

int
names_check_empty(struct draft *d, struct inode *dir, unsigned flags)
{
	struct pxar_dir *table;
	int r;

	{
		LOCK(&d->lock);
		if (dir->n_children > 0)
			return -ENOTEMPTY;
	}
	r = draft_base_dir(d, dir, flags, &table);
	if (r < 0 || table == NULL)
		return r;
	/* The base does not change: the caller is inside. */
	r = base_is_hidden(d, dir, dir->archive, table, flags);
	pxar_dir_unref(table);
	return r;
}

/* With the lock. */
static int
take_away(struct draft *d, const struct spot *s, uint64_t *ret_seq)
{
	_cleanup_(str_fini) struct str txn = {0};
	_cleanup_free_ struct dentry *e = NULL;
	struct timespec now;
	int r;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	e = dentry_new(s->name, s->len);
	if (e == NULL)
		return -ENOMEM;
	r = log_touch(d, s->dir, &now, &txn);
	if (r == 0)
		r = log_name(s->dir, s->name, s->len, NULL, s->in_base, &txn);
	if (r == 0)
		r = names_log_loss(d, s->child, &now, &txn);
	if (r == 0)
		r = draft_log(d, &txn, ret_seq);
	if (r < 0)
		return r;
	dentry_set(d, s->dir, &e, NULL, s->in_base);
	names_lose(d, s->child, &now);
	inode_keep(d, s->dir);
	s->dir->mtime = s->dir->ctime = now;
	return 0;
}

static int
check_kind(struct draft *d, const struct spot *s, bool dir, unsigned flags)
{
	if (s->child == NULL)
		return -ENOENT;
	if (!dir)
		return S_ISDIR(s->child->mode) ? -EISDIR : 0;
	if (!S_ISDIR(s->child->mode))
		return -ENOTDIR;
	return names_check_empty(d, s->child, flags);
}

static int
remove_at(struct draft *d, uint64_t parent, const char *name, bool dir,
    unsigned flags, uint64_t *ret_seq)
{
	struct spot s;
	int r;

	do {
		r = spot_find(d, parent, name, SPOT_NLINK, flags, &s);
		if (r < 0)
			return r;
		r = check_kind(d, &s, dir, flags);
		if (r == 0) {
			LOCK(&d->lock);
			r = spot_is(&s);
			if (r == -EAGAIN)
				r = 1;
			else if (r == 0 && s.child->n_children > 0)
				r = -ENOTEMPTY;
			if (r == 0)
				r = take_away(d, &s, ret_seq);
		}
		spot_fini(d, &s);
	} while (r == 1);
	return r;
}

static int
remove_name(struct draft *d, uint64_t parent, const char *name, bool dir,
    unsigned flags)
{
	uint64_t seq = 0;
	int r;

	r = draft_enter(d, flags);
	if (r < 0)
		return r;
	r = remove_at(d, parent, name, dir, flags, &seq);
	if (r == 0)
		r = journal_commit(d->journal, seq);
	draft_leave(d);
	return r;
}

int
draft_unlink(struct draft *d, uint64_t parent, const char *name,
    unsigned flags)
{
	return remove_name(d, parent, name, false, flags);
}

int
draft_rmdir(struct draft *d, uint64_t parent, const char *name,
    unsigned flags)
{
	return remove_name(d, parent, name, true, flags);
}

struct inode *
names_top(const struct draft *d, struct inode *dir)
{
	while (dir != NULL && dir->parent != NULL && dir->parent != d->root)
		dir = dir->parent;
	return dir != NULL && dir->parent == d->root ? dir : NULL;
}

/* The format has other names of files within one archive alone. */
static int
check_link(const struct draft *d, struct inode *i, struct inode *dir)
{
	struct inode *top;

	if (S_ISDIR(i->mode))
		return -EPERM;
	if (i->nlink == 0)
		return -ENOENT;
	if (i->nlink >= INT32_MAX)
		return -EMLINK;
	if (dir == d->root)
		return i->parent == d->root ? -EPERM : -EXDEV;
	if (i->parent == NULL)
		return 0;
	if (i->parent == d->root)
		return -EXDEV;
	top = names_top(d, i->parent);
	return top == NULL || top == names_top(d, dir) ? 0 : -EXDEV;
}

/* With the lock. */
static int
link_to(struct draft *d, const struct spot *s, struct inode *i,
    uint64_t *ret_seq)
{
	_cleanup_(str_fini) struct str txn = {0};
	_cleanup_free_ struct dentry *e = NULL;
	struct inode more = *i;
	int r;

	r = check_link(d, i, s->dir);
	if (r < 0)
		return r;
	e = dentry_new(s->name, s->len);
	if (e == NULL)
		return -ENOMEM;
	more.nlink++;
	(void)clock_gettime(CLOCK_REALTIME, &more.ctime);
	r = i->logged ? log_attr(d, &more, &txn) : log_inode(d, &more, &txn);
	if (r == 0)
		r = log_touch(d, s->dir, &more.ctime, &txn);
	if (r == 0)
		r = log_name(s->dir, s->name, s->len, i, s->in_base, &txn);
	if (r == 0)
		r = draft_log(d, &txn, ret_seq);
	if (r < 0)
		return r;
	i->nlink++;
	i->ctime = s->dir->mtime = s->dir->ctime = more.ctime;
	inode_keep(d, i);
	inode_keep(d, s->dir);
	inode_set_parent(d, i, s->dir);
	dentry_set(d, s->dir, &e, i, s->in_base);
	return 0;
}

static int
link_at(struct draft *d, struct inode *i, uint64_t parent, const char *name,
    unsigned flags, struct stat *ret, uint64_t *ret_seq)
{
	struct spot s;
	int r;

	do {
		r = spot_find(d, parent, name, 0, flags, &s);
		if (r < 0)
			return r;
		r = -EEXIST;
		if (s.child == NULL) {
			LOCK(&d->lock);
			r = spot_is(&s);
			if (r == -EAGAIN)
				r = 1;
			else if (r == 0)
				r = link_to(d, &s, i, ret_seq);
			if (r == 0) {
				inode_hold(i);
				inode_stat(d, i, ret);
			}
		}
		spot_fini(d, &s);
	} while (r == 1);
	return r;
}

int
draft_link(struct draft *d, uint64_t ino, uint64_t parent, const char *name,
    unsigned flags, struct stat *ret)
{
	struct inode *i;
	uint64_t seq = 0;
	int r;

	r = draft_enter(d, flags);
	if (r < 0)
		return r;
	i = inode_get(d, ino);
	r = i == NULL ? -ESTALE : inode_load(d, i, flags);
	if (r == 0)
		r = inode_count(d, i, flags);
	if (r == 0)
		r = link_at(d, i, parent, name, flags, ret, &seq);
	if (r == 0) {
		r = journal_commit(d->journal, seq);
		if (r < 0)
			draft_forget(d, ino, 1);
	}
	if (i != NULL) {
		LOCK(&d->lock);
		inode_unref(d, i);
	}
	draft_leave(d);
	return r;
}
