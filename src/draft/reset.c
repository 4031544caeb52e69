/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/lock.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/dirs.h"
#include "draft/draft_priv.h"
#include "draft/drafts.h"
#include "draft/journal.h"

/* All inodes of a draft, each with a reference. */
struct all {
	struct inode **i;	/* owned */
	size_t n;
};

static int
collect(struct draft *d, struct all *ret)
{
	struct inode *i;
	size_t n = 0;

	RB_FOREACH(i, inodes_by_ino, &d->inos)
		n++;
	ret->i = calloc(MAX(n, 1), sizeof(*ret->i));
	if (ret->i == NULL)
		return -ENOMEM;
	RB_FOREACH(i, inodes_by_ino, &d->inos)
		ret->i[ret->n++] = inode_ref(i);
	return 0;
}

static void
let_go(struct draft *d, struct all *a)
{
	size_t n;

	for (n = 0; n < a->n; n++)
		inode_unref(d, a->i[n]);
	free(a->i);
}

/*
 * With the lock.  Whoever knows an inode by a name has to find it in the new
 * base.  One that only the journal and other inodes know of goes with the
 * journal.
 */
static int
check_placed(struct draft *d)
{
	struct inode *i;
	struct dentry *e;

	RB_FOREACH(i, inodes_by_ino, &d->inos)
		i->counted = i->logged;
	RB_FOREACH(i, inodes_by_ino, &d->inos) {
		if (i->parent != NULL)
			i->parent->counted++;
		RB_FOREACH(e, dentries, &i->names)
			if (e->child != NULL)
				e->child->counted++;
	}
	RB_FOREACH(i, inodes_by_ino, &d->inos)
		if (i != d->root && i->nlink > 0 && !i->placed &&
		    i->refs > i->counted)
			return -EAGAIN;
	return 0;
}

static void
move(struct draft *d, struct inode *i, struct base *base)
{
	struct base_archive *a = NULL;
	struct inode *other;

	if (i == d->root || i->nlink == 0)
		return;
	if (i->placed && i->new_archive < base_count(base))
		a = base_archive(base, i->new_archive);
	other = a != NULL ? inode_at(d, a, i->new_pos) : NULL;
	if (other != NULL)
		inode_unref(d, other);
	if (a != NULL && other == NULL)
		inode_retarget(d, i, a, i->new_pos);
	else
		inode_nameless(d, i);
}

/* With the lock: memory becomes what the journal says already. */
static void
apply(struct draft *d, struct base *base, struct all *all)
{
	struct inode *i;
	size_t n;

	for (n = 0; n < all->n; n++) {
		i = all->i[n];
		dirs_reset(d, i);
		dentry_clear(d, i);
		move(d, i, base);
		i->placed = false;
		if (i->logged) {
			i->logged = false;
			inode_unref(d, i);
		}
	}
	base_unref(d->base);
	d->base = base_ref(base);
	d->changed = false;
	d->changed_at = 0;
	d->unsettled = false;
	d->compact_at = JOURNAL_COMPACT_MIN;
}

static int
rewrite(struct draft *d, struct base *base)
{
	_cleanup_(str_fini) struct str txn = {0};
	int r;

	if (d->journal == NULL)
		return 0;
	r = log_head(d, base, 0, &txn);
	return r == 0 ? journal_rewrite(d->journal, txn.s, &txn.len, 1) : r;
}

int
draft_reset(struct draft *d, struct base *base)
{
	struct all all = {0};
	int r;

	{
		LOCK(&d->lock);
		r = check_placed(d);
		if (r == 0)
			r = draft_number_base(d, base);
	}
	if (r == 0)
		r = rewrite(d, base);
	if (r < 0)
		return r;
	{
		LOCK(&d->lock);
		r = check_placed(d);
		if (r == 0)
			r = collect(d, &all);
		if (r == 0) {
			apply(d, base, &all);
			let_go(d, &all);
		}
	}
	inode_reap(d);
	return r;
}
