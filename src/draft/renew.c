/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/drafts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "draft/draft_priv.h"
#include "draft/journal.h"
#include "draft/spill.h"
#include "repo/repo.h"
#include "repo/tree.h"

/*
 * What becomes of open snapshots when the finished ones change: those without
 * changes follow the latest, those with changes keep what they are a view of.
 */

static bool
is_open(struct draft *d)
{
	struct inode *i;

	if (d->inside > 0 || d->frozen > 0 || d->making || d->compacting ||
	    d->publishing || !LIST_EMPTY(&d->dirs))
		return true;
	RB_FOREACH(i, inodes_by_ino, &d->inos)
		if (i->nopen > 0)
			return true;
	return false;
}

/* With the lock, nothing open, nothing changed: numbers that the kernel knows
 * are stale from now on. */
static void
let_go(struct draft *d)
{
	struct inode *i = RB_MIN(inodes_by_ino, &d->inos), *next;

	/* One that goes may take its parents with it, which are anywhere. */
	if (i != NULL)
		inode_ref(i);
	for (; i != NULL; i = next) {
		if (i != d->root && i->nlookup > 0) {
			i->nlookup = 0;
			inode_unref(d, i);
		}
		next = RB_NEXT(inodes_by_ino, &d->inos, i);
		if (next != NULL)
			inode_ref(next);
		inode_unref(d, i);
	}
}

/* What is left of it afterwards is a view of nothing. */
static int
close_draft(struct draft *d, struct base *none)
{
	int r;
	LOCK(&d->lock);

	if (d->changed || d->unsettled || is_open(d))
		return -EBUSY;
	d->removed = true;
	let_go(d);
	r = draft_set_base(d, none);
	journal_close(d->journal);
	d->journal = NULL;
	if (d->dir >= 0)
		close(d->dir);
	d->dir = -1;
	return r;
}

static int
remove_draft(struct draft *d)
{
	char path[32];
	struct base *none;
	int r;

	r = base_open(d->all->repo, NULL, &none);
	if (r < 0)
		return r;
	spill_keep_out(d->all);
	r = close_draft(d, none);
	spill_let_in(d->all);
	base_unref(none);
	(void)snprintf(path, sizeof(path), "open/%05x", d->slot);
	return r < 0 ? r : io_remove_tree(d->all->dir, path);
}

static struct draft *
find(struct drafts *ds, const struct group_name *g)
{
	LOCK(&ds->lock);

	return drafts_find(ds, g);
}

int
drafts_remove(struct drafts *ds, const struct group_name *g)
{
	struct draft *d = find(ds, g);

	return d != NULL && !d->removed ? remove_draft(d) : 0;
}

/* 1: it may get that base; draft_thaw later. */
static int
begin_refresh(struct draft *d, const struct base *base)
{
	LOCK(&d->lock);

	if (d->removed || d->changed || d->unsettled || is_open(d) ||
	    base_time(base) == base_time(d->base))
		return 0;
	d->frozen++;
	return 1;
}

/* Frozen, not changed, not open: true if it shows another snapshot now. */
static bool
replace(struct draft *d, struct base *base)
{
	int r = -EAGAIN;

	for (int tries = 0; r == -EAGAIN && tries < 100; tries++) {
		{
			LOCK(&d->lock);
			let_go(d);
		}
		r = draft_reset(d, base);
	}
	if (r < 0)
		log_warn("%s/%s: the open snapshot is still based on an older "
		    "one: %s", backup_type_name(d->group.type), d->group.id,
		    strerror(-r));
	return r == 0;
}

/* True if it shows another snapshot than was told of. */
static bool
refresh(struct drafts *ds, struct draft *d)
{
	bool replaced = false;
	struct base *base;

	if (draft_latest(ds, &d->group, &base) == 0) {
		if (begin_refresh(d, base) == 1) {
			replaced = replace(d, base);
			draft_thaw(d);
		}
		base_unref(base);
	}
	LOCK(&d->lock);
	replaced = replaced || d->replaced;
	d->replaced = false;
	return replaced;
}

void
drafts_refreshed(struct drafts *ds, drafts_replaced_fn *fn, void *arg)
{
	_cleanup_free_ struct draft **all = NULL;
	size_t i, n = drafts_list(ds, &all);

	for (i = 0; i < n; i++)
		if (refresh(ds, all[i]) && fn != NULL)
			fn(arg, &all[i]->group);
}

void
draft_say_busy(const struct group_name *g, int64_t time, bool changed)
{
	char when[CLOCK_UTC_LEN + 1] = "it";

	if (time != 0)
		(void)clock_format_utc(when, time);
	log_err("%s%s%s/%s: cannot forget %s: current/ is %s\n"
	    "hint: %s", g->ns, g->ns[0] != '\0' ? ":" : "",
	    backup_type_name(g->type), g->id, when,
	    changed ? "based on it and has changes" : "in use",
	    changed ? "publish them first, with pbs3fs snapshot or mkdir; if "
	    "they are not wanted, forget that snapshot, too" :
	    "try again when nobody has anything open in it");
}

/* 1: it is a view of that snapshot alone, and nobody enters until draft_thaw;
 * 0: it is none. */
static int
begin_forget(struct draft *d, int64_t time)
{
	bool changed;

	{
		LOCK(&d->lock);
		if (d->removed || base_time(d->base) != time)
			return 0;
		changed = d->changed || d->unsettled;
		if (!changed && !is_open(d)) {
			d->frozen++;
			return 1;
		}
	}
	draft_say_busy(&d->group, time, changed);
	return -EBUSY;
}

/* Its base may be gone. */
static void
end_forget(struct draft *d)
{
	struct base *base;
	bool replaced;

	if (draft_latest(d->all, &d->group, &base) == 0) {
		replaced = base_time(base) != base_time(d->base) &&
		    replace(d, base);
		base_unref(base);
		LOCK(&d->lock);
		d->replaced = d->replaced || replaced;
	}
	draft_thaw(d);
}

/* Who forgot another snapshot beside this may have left the draft this one. */
static void
leave(struct draft *d, int64_t time)
{
	{
		LOCK(&d->lock);
		if (d->removed || base_time(d->base) != time || d->changed ||
		    d->unsettled || is_open(d))
			return;
		d->frozen++;
	}
	end_forget(d);
}

static bool
is_latest(struct drafts *ds, const struct group_name *g, int64_t time)
{
	struct tree *t = repo_tree(ds->repo);
	const struct tree_group *tg = edit_find_group(t, g);
	const struct tree_snap *s = tg != NULL ? tree_latest(tg) : NULL;
	bool is = s != NULL && s->time == time;

	tree_unref(t);
	return is;
}

int
drafts_forget(struct drafts *ds, const struct group_name *g, int64_t time)
{
	struct draft *d = find(ds, g);
	int r = 0, view;

	/* One that somebody may ask for meanwhile. */
	if (d == NULL && is_latest(ds, g, time))
		r = drafts_get(ds, g, &d);
	if (r < 0)
		return r;
	view = d != NULL ? begin_forget(d, time) : 0;
	if (view < 0)
		return view;
	r = repo_forget(ds->repo, g, time);
	if (view > 0)
		end_forget(d);
	else if (d != NULL && r == 0)
		leave(d, time);
	return r;
}

int
drafts_forget_group(struct drafts *ds, const struct group_name *g)
{
	struct draft *d = find(ds, g);
	bool changed;
	int r;

	r = d != NULL && !d->removed ? remove_draft(d) : 0;
	if (r == -EBUSY) {
		{
			LOCK(&d->lock);
			changed = d->changed || d->unsettled;
		}
		draft_say_busy(g, 0, changed);
	}
	return r < 0 ? r : repo_forget_group(ds->repo, g);
}
