/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/draft_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/lock.h"
#include "base/str.h"
#include "draft/journal.h"
#include "draft/names.h"

struct move {
	struct spot from, to;
	bool exchange;
};

/* Whether dir is top or below it; -ESTALE where the way up is not known. */
static int
is_below(const struct draft *d, const struct inode *dir,
    const struct inode *top)
{
	for (; dir != top; dir = dir->parent) {
		if (dir == d->root)
			return 0;
		if (dir->parent == NULL)
			return -ESTALE;
	}
	return 1;
}

/* With the lock: a directory goes from one into another. */
static int
check_loop(const struct draft *d, const struct inode *i,
    const struct inode *from, const struct inode *to)
{
	int r;

	if (from == to || !S_ISDIR(i->mode))
		return 0;
	r = is_below(d, to, i);
	return r > 0 ? -EINVAL : r;
}

/* The same for anything. */
static int
check_way(const struct draft *d, const struct inode *i, struct inode *from,
    struct inode *to)
{
	if (from == to || S_ISDIR(i->mode))
		return check_loop(d, i, from, to);
	/* The other names stay where they are: format document 7.2. */
	if (i->nlink > 1 && (to == d->root ||
	    names_top(d, from) != names_top(d, to)))
		return -EXDEV;
	return 0;
}

/* Without the lock, in the order in which system calls complain. */
static int
check_kinds(struct draft *d, const struct move *m, unsigned how,
    unsigned flags)
{
	const struct inode *a = m->from.child, *b = m->to.child;
	int r;

	if (a == NULL || (b == NULL && m->exchange))
		return -ENOENT;
	if (b != NULL && (how & RENAME_NOREPLACE) != 0)
		return -EEXIST;
	{
		LOCK(&d->lock);
		r = check_loop(d, a, m->from.dir, m->to.dir);
	}
	if (r < 0 || b == NULL || m->exchange || a == b)
		return r;
	if (!S_ISDIR(a->mode))
		return S_ISDIR(b->mode) ? -EISDIR : 0;
	if (!S_ISDIR(b->mode))
		return -ENOTDIR;
	return names_check_empty(d, m->to.child, flags);
}

static int
check_locked(const struct draft *d, const struct move *m)
{
	const struct inode *b = m->to.child;
	int r;

	r = spot_is(&m->from);
	if (r == 0)
		r = spot_is(&m->to);
	if (r < 0 || m->from.child == b)
		return r;
	r = check_way(d, m->from.child, m->from.dir, m->to.dir);
	if (r < 0 || b == NULL)
		return r;
	if (m->exchange)
		return check_way(d, b, m->to.dir, m->from.dir);
	return S_ISDIR(b->mode) && b->n_children > 0 ? -ENOTEMPTY : 0;
}

static int
log_moved(struct draft *d, const struct inode *i, const struct timespec *now,
    struct str *txn)
{
	struct inode moved = *i;

	moved.ctime = *now;
	return i->logged ? log_attr(d, &moved, txn) :
	    log_inode(d, &moved, txn);
}

/* Directories are known before their names change; old names go first, so that
 * at no time a directory has two. */
static int
log_move(struct draft *d, const struct move *m, const struct timespec *now,
    struct str *txn)
{
	const struct spot *a = &m->from, *b = &m->to;
	int r;

	r = log_touch(d, a->dir, now, txn);
	if (r == 0 && b->dir != a->dir)
		r = log_touch(d, b->dir, now, txn);
	if (r == 0)
		r = log_moved(d, a->child, now, txn);
	if (r == 0 && m->exchange)
		r = log_moved(d, b->child, now, txn);
	if (r == 0)
		r = log_name(a->dir, a->name, a->len, NULL, a->in_base, txn);
	if (r == 0 && m->exchange)
		r = log_name(b->dir, b->name, b->len, NULL, b->in_base, txn);
	if (r == 0)
		r = log_name(b->dir, b->name, b->len, a->child, b->in_base,
		    txn);
	if (r == 0 && m->exchange)
		r = log_name(a->dir, a->name, a->len, b->child, a->in_base,
		    txn);
	if (r == 0 && !m->exchange && b->child != NULL)
		r = names_log_loss(d, b->child, now, txn);
	return r;
}

static void
touch(struct draft *d, struct inode *dir, const struct timespec *now)
{
	dir->mtime = dir->ctime = *now;
	inode_keep(d, dir);
}

static void
arrive(struct draft *d, struct inode *i, struct inode *dir,
    const struct timespec *now)
{
	i->ctime = *now;
	inode_keep(d, i);
	inode_set_parent(d, i, dir);
}

/* With the lock. */
static int
move_name(struct draft *d, const struct move *m, uint64_t *ret_seq)
{
	const struct spot *a = &m->from, *b = &m->to;
	_cleanup_(str_fini) struct str txn = {0};
	_cleanup_free_ struct dentry *ea = NULL;
	_cleanup_free_ struct dentry *eb = NULL;
	struct timespec now;
	int r;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	ea = dentry_new(a->name, a->len);
	eb = dentry_new(b->name, b->len);
	if (ea == NULL || eb == NULL)
		return -ENOMEM;
	r = log_move(d, m, &now, &txn);
	if (r == 0)
		r = draft_log(d, &txn, ret_seq);
	if (r < 0)
		return r;
	arrive(d, a->child, b->dir, &now);
	if (m->exchange)
		arrive(d, b->child, a->dir, &now);
	dentry_set(d, b->dir, &eb, a->child, b->in_base);
	dentry_set(d, a->dir, &ea, m->exchange ? b->child : NULL, a->in_base);
	if (!m->exchange && b->child != NULL)
		names_lose(d, b->child, &now);
	touch(d, a->dir, &now);
	touch(d, b->dir, &now);
	return 0;
}

static int
try_move(struct draft *d, const struct move *m, unsigned how, unsigned flags,
    uint64_t *ret_seq)
{
	int r;

	r = check_kinds(d, m, how, flags);
	if (r < 0)
		return r;
	LOCK(&d->lock);
	r = check_locked(d, m);
	if (r < 0)
		return r == -EAGAIN ? 1 : r;
	if (m->from.child == m->to.child)
		return 0;
	return move_name(d, m, ret_seq);
}

int
draft_rename(struct draft *d, uint64_t parent, const char *name,
    uint64_t newparent, const char *newname, unsigned how, unsigned flags)
{
	struct move m = {.exchange = how == RENAME_EXCHANGE};
	uint64_t seq = 0;
	int r;

	if (how != 0 && how != RENAME_NOREPLACE && how != RENAME_EXCHANGE)
		return -EINVAL;
	r = draft_enter(d, flags);
	if (r < 0)
		return r;
	do {
		r = spot_find(d, parent, name, SPOT_NLINK, flags, &m.from);
		if (r < 0)
			break;
		r = spot_find(d, newparent, newname, SPOT_NLINK, flags,
		    &m.to);
		if (r == 0) {
			r = try_move(d, &m, how, flags, &seq);
			spot_fini(d, &m.to);
		}
		spot_fini(d, &m.from);
	} while (r == 1);
	if (r == 0 && seq != 0)
		r = journal_commit(d->journal, seq);
	draft_leave(d);
	return r;
}
