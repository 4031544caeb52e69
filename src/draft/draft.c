/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/draft.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/log.h"
#include "draft/draft_priv.h"
#include "draft/drafts.h"
#include "draft/journal.h"
#include "draft/publish.h"
#include "repo/edit.h"
#include "repo/repo.h"
#include "repo/tree.h"

static int
new_root(struct draft *d)
{
	struct inode *i;
	int r;

	r = inode_new(d, DRAFT_INO | DRAFT_INO_NEW |
	    (uint64_t)d->slot << DRAFT_SLOT_SHIFT, &i);
	if (r < 0)
		return r;
	i->mode = S_IFDIR | 0755;
	i->uid = d->all->opts.uid;
	i->gid = d->all->opts.gid;
	i->nlink = 1;
	i->nlink_known = i->loaded = i->meta_known = i->own_attr = true;
	(void)clock_gettime(CLOCK_REALTIME, &i->mtime);
	i->ctime = i->mtime;
	d->root = i;
	return 0;
}

int
draft_new(struct drafts *ds, const struct group_name *g, uint32_t slot,
    struct draft **ret)
{
	struct draft *d = calloc(1, sizeof(*d));
	int r;

	if (d == NULL)
		return -ENOMEM;
	r = -pthread_mutex_init(&d->lock, NULL);
	if (r < 0)
		goto err_free;
	r = cond_init(&d->cond);
	if (r < 0)
		goto err_lock;
	d->all = ds;
	d->group = *g;
	d->slot = slot;
	d->dir = -1;
	d->next_new = d->next_base = 1;
	RB_INIT(&d->inos);
	RB_INIT(&d->bases);
	STAILQ_INIT(&d->parted);
	STAILQ_INIT(&d->graves);
	LIST_INIT(&d->dirs);
	r = base_open(ds->repo, NULL, &d->base);
	if (r == 0)
		r = new_root(d);
	if (r < 0) {
		draft_free(d);
		return r;
	}
	*ret = d;
	return 0;

err_lock:
	pthread_mutex_destroy(&d->lock);
err_free:
	free(d);
	return r;
}

void
draft_forget_graves(struct draft *d)
{
	struct grave *g;

	while ((g = STAILQ_FIRST(&d->graves)) != NULL) {
		STAILQ_REMOVE_HEAD(&d->graves, link);
		free(g);
	}
}

/* Whoever held an inode is gone by now: references do not count any more. */
static void
free_inodes(struct draft *d)
{
	struct inode *i;

	RB_FOREACH(i, inodes_by_ino, &d->inos)
		dentry_forget(i);
	while ((i = RB_ROOT(&d->inos)) != NULL)
		inode_free(d, i);
}

void
draft_free(struct draft *d)
{
	if (d == NULL)
		return;
	if (d->journal != NULL)
		inode_reap(d);
	free_inodes(d);
	parted_clear(d);
	/* These are of a journal that lives on. */
	draft_forget_graves(d);
	journal_close(d->journal);
	base_unref(d->base);
	if (d->dir >= 0)
		close(d->dir);
	pthread_cond_destroy(&d->cond);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static bool
has_base_numbers(struct draft *d)
{
	const struct inode *i;

	/* Those of the base come before the new ones. */
	i = RB_MIN(inodes_by_ino, &d->inos);
	return i != NULL && (i->ino & DRAFT_INO_NEW) == 0;
}

int
draft_number_base(struct draft *d, struct base *base)
{
	uint64_t need = 0;
	size_t i;

	for (i = 0; i < base_count(base); i++)
		need += base_span(base_archive(base, i));
	if (need > DRAFT_INO_MASK - 1)
		return -EOVERFLOW;
	if (need > DRAFT_INO_MASK - d->next_base) {
		if (has_base_numbers(d)) {
			log_limited(LOG_LVL_ERR, "%s/%s: out of inode numbers"
			    "\nhint: mount the store again",
			    backup_type_name(d->group.type), d->group.id);
			return -EOVERFLOW;
		}
		d->next_base = 1;
	}
	for (i = 0; i < base_count(base); i++) {
		struct base_archive *a = base_archive(base, i);

		a->span = base_span(a);
		a->first = DRAFT_INO | d->next_base |
		    (uint64_t)d->slot << DRAFT_SLOT_SHIFT;
		d->next_base += a->span;
	}
	return 0;
}

int
draft_set_base(struct draft *d, struct base *base)
{
	int r;

	r = draft_number_base(d, base);
	if (r < 0)
		return r;
	base_unref(d->base);
	d->base = base_ref(base);
	return 0;
}

int
draft_latest(struct drafts *ds, const struct group_name *g,
    struct base **ret)
{
	struct tree *t = repo_tree(ds->repo);
	const struct tree_group *tg = edit_find_group(t, g);
	int r;

	r = tg != NULL ? base_open(ds->repo, tree_latest(tg), ret) : -ENOENT;
	tree_unref(t);
	return r;
}

int
draft_base_at(struct drafts *ds, const struct group_name *g, int64_t time,
    struct base **ret)
{
	struct tree *t = repo_tree(ds->repo);
	const struct tree_snap *s = edit_find_snap(t, g, time);
	int r;

	r = s != NULL && s->finished ? base_open(ds->repo, s, ret) : -ENOENT;
	tree_unref(t);
	return r;
}
