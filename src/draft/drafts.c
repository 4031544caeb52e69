/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/drafts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/chunk_keys.h"
#include "draft/draft_priv.h"
#include "draft/journal.h"
#include "draft/learn.h"
#include "draft/staging.h"
#include "repo/repo.h"
#include "repo/tree.h"

#define STAGING_DEFAULT (10 * GIB)

static int
cmp_group(const struct draft *a, const struct draft *b)
{
	int c = strcmp(a->group.ns, b->group.ns);

	if (c == 0)
		c = (a->group.type > b->group.type) -
		    (a->group.type < b->group.type);
	return c != 0 ? c : strcmp(a->group.id, b->group.id);
}

RB_GENERATE(drafts_by_group, draft, by_group, cmp_group)

static int
start(struct drafts *ds)
{
	uint64_t limit = ds->opts.staging;
	int r;

	r = staging_new(limit != 0 ? limit : STAGING_DEFAULT, ds->opts.floor,
	    &ds->staging);
	if (r == 0)
		r = chunk_keys_new(repo_keys(ds->repo),
		    ds->opts.sign_only ? NULL : ds->opts.key, &ds->keys);
	if (r == 0)
		r = state_open(ds);
	if (r == 0)
		r = learn_new(ds, &ds->learn);
	if (r == 0)
		r = io_start(ds, &ds->io);
	if (r == 0)
		r = state_load(ds);
	/* Uploads what it finds: nothing of it may be refused any more. */
	if (r == 0)
		r = spill_start(ds, &ds->spill);
	if (r == 0)
		r = publish_idle_start(ds);
	ds->opts.state = ds->opts.identity = NULL;
	return r;
}

int
drafts_open(struct repo *repo, const struct drafts_opts *o,
    struct drafts **ret)
{
	struct drafts *ds = calloc(1, sizeof(*ds));
	int r;

	if (ds == NULL)
		return -ENOMEM;
	r = -pthread_mutex_init(&ds->lock, NULL);
	if (r < 0)
		goto err_free;
	r = cond_init(&ds->cond);
	if (r < 0)
		goto err_lock;
	ds->repo = repo;
	ds->opts = *o;
	ds->dir = -1;
	LIST_INIT(&ds->list);
	RB_INIT(&ds->groups);
	if (o->kill_at != 0)
		journal_kill_at(o->kill_at);
	r = start(ds);
	if (r < 0) {
		drafts_free(ds);
		return r;
	}
	*ret = ds;
	return 0;

err_lock:
	pthread_mutex_destroy(&ds->lock);
err_free:
	free(ds);
	return r;
}

size_t
drafts_list(struct drafts *ds, struct draft ***ret)
{
	struct draft *d, **all;
	size_t n = 0;
	LOCK(&ds->lock);

	LIST_FOREACH(d, &ds->list, link)
		n++;
	all = calloc(MAX(n, 1), sizeof(*all));
	n = 0;
	if (all != NULL)
		LIST_FOREACH(d, &ds->list, link)
			all[n++] = d;
	*ret = all;
	return n;
}

void
drafts_shutdown(struct drafts *ds)
{
	_cleanup_free_ struct draft **all = NULL;
	size_t i, n;

	if (ds == NULL)
		return;
	{
		LOCK(&ds->lock);
		__atomic_store_n(&ds->stop, true, __ATOMIC_RELEASE);
		pthread_cond_broadcast(&ds->cond);
	}
	if (ds->staging != NULL)
		staging_shutdown(ds->staging);
	if (ds->spill != NULL)
		spill_stop(ds->spill);
	if (ds->io != NULL)
		io_stop(ds->io);
	n = drafts_list(ds, &all);
	for (i = 0; i < n; i++) {
		LOCK(&all[i]->lock);
		pthread_cond_broadcast(&all[i]->cond);
	}
}

void
drafts_free(struct drafts *ds)
{
	struct draft *d;

	if (ds == NULL)
		return;
	drafts_shutdown(ds);
	publish_idle_stop(ds);
	/* What drafts leave behind is nobody's work any more. */
	spill_free(ds->spill);
	ds->spill = NULL;
	io_free(ds->io);
	ds->io = NULL;
	learn_free(ds->learn);
	while ((d = LIST_FIRST(&ds->list)) != NULL) {
		LIST_REMOVE(d, link);
		draft_free(d);
	}
	chunk_keys_free(ds->keys);
	staging_free(ds->staging);
	if (ds->dir >= 0)
		close(ds->dir);
	free(ds->slots);
	pthread_cond_destroy(&ds->cond);
	pthread_mutex_destroy(&ds->lock);
	free(ds);
}

int
drafts_add(struct drafts *ds, struct draft *d)
{
	struct draft **slots;
	uint32_t n = ds->n_slots;

	if (d->slot >= n) {
		n = MIN(MAX(d->slot + 1, MAX(16, 2 * n)), DRAFT_SLOTS);
		slots = reallocarray(ds->slots, n, sizeof(struct draft *));
		if (slots == NULL)
			return -ENOMEM;
		memset(slots + ds->n_slots, 0,
		    (n - ds->n_slots) * sizeof(struct draft *));
		ds->slots = slots;
		ds->n_slots = n;
	}
	if (ds->slots[d->slot] != NULL ||
	    RB_INSERT(drafts_by_group, &ds->groups, d) != NULL)
		return -EEXIST;
	ds->slots[d->slot] = d;
	LIST_INSERT_HEAD(&ds->list, d, link);
	return 0;
}

struct draft *
drafts_find(struct drafts *ds, const struct group_name *g)
{
	struct draft key = {.group = *g};

	return RB_FIND(drafts_by_group, &ds->groups, &key);
}

/* With the lock.  Those of state directories that are there already have been
 * taken by their drafts. */
static int
free_slot(struct drafts *ds, uint32_t *ret)
{
	uint32_t i = ds->free_from;

	while (i < ds->n_slots && ds->slots[i] != NULL)
		i++;
	if (i >= DRAFT_SLOTS)
		return -ENOSPC;
	ds->free_from = i;
	*ret = i;
	return 0;
}

/* A group that was removed and is there again. */
static int
revive(struct draft *d, struct base *base)
{
	LOCK(&d->lock);

	if (!d->removed)
		return 0;
	d->removed = false;
	return draft_set_base(d, base);
}

int
drafts_get(struct drafts *ds, const struct group_name *g, struct draft **ret)
{
	struct base *base;
	struct draft *d;
	uint32_t slot;
	int r;

	r = draft_latest(ds, g, &base);
	if (r < 0)
		return r;
	{
		LOCK(&ds->lock);
		d = drafts_find(ds, g);
		if (d == NULL) {
			r = free_slot(ds, &slot);
			if (r == 0)
				r = draft_new(ds, g, slot, &d);
			if (r == 0)
				r = draft_set_base(d, base);
			if (r == 0)
				r = drafts_add(ds, d);
			if (r < 0)
				draft_free(d);
		} else {
			r = revive(d, base);
		}
	}
	base_unref(base);
	if (r == 0)
		*ret = d;
	return r;
}

struct draft *
drafts_of(struct drafts *ds, uint64_t ino)
{
	uint32_t slot = (uint32_t)(ino >> DRAFT_SLOT_SHIFT) % DRAFT_SLOTS;

	if ((ino & DRAFT_INO) == 0 || ino >> 63 != 0)
		return NULL;
	LOCK(&ds->lock);
	return slot < ds->n_slots ? ds->slots[slot] : NULL;
}

static bool
state_of(struct draft *d, struct draft_state *ret)
{
	LOCK(&d->lock);

	*ret = (struct draft_state){
	    .group = d->group,
	    .changed = d->changed,
	    .publishing = d->publishing,
	    .staged = d->staged,
	    .uploaded = d->chunked,
	    .since = d->changed ? d->changed_at : 0,
	    .done = d->done,
	    .total = d->total,
	};
	return d->changed || d->publishing;
}

void
drafts_each(struct drafts *ds, draft_state_fn *fn, void *arg)
{
	_cleanup_free_ struct draft **all = NULL;
	size_t i, n = drafts_list(ds, &all);
	struct draft_state s;

	for (i = 0; i < n; i++)
		if (state_of(all[i], &s))
			fn(arg, &s);
}

static void
add_state(void *arg, const struct draft_state *s)
{
	struct drafts_stats *st = arg;

	if (!s->changed)
		return;
	st->changed++;
	st->unsent += s->staged;
	if (st->oldest == 0 || s->since < st->oldest)
		st->oldest = s->since;
}

void
drafts_stats(struct drafts *ds, struct drafts_stats *ret)
{
	struct staging_stats s;

	memset(ret, 0, sizeof(*ret));
	staging_stats(ds->staging, &s);
	ret->staged = s.used;
	ret->staged_limit = s.limit;
	ret->waiting = s.waiting;
	drafts_each(ds, add_state, ret);
}

/* As after any unmounting, what was written is on the disk. */
static int
sync_all(struct drafts *ds)
{
	_cleanup_free_ struct draft **all = NULL;
	size_t i, n = drafts_list(ds, &all);
	struct drafts_stats s;
	struct journal *j;
	int r = 0;

	drafts_stats(ds, &s);
	if (s.changed == 0)
		return 0;
	if (syncfs(ds->dir) < 0) {
		r = -errno;
		log_err("state directory: cannot sync it: %s", strerror(-r));
	}
	for (i = 0; r == 0 && i < n; i++) {
		{
			LOCK(&all[i]->lock);
			j = all[i]->changed ? all[i]->journal : NULL;
		}
		if (j != NULL)
			r = journal_seal(j);
	}
	return r;
}

int
drafts_finish(struct drafts *ds)
{
	_cleanup_free_ struct draft **all = NULL;
	size_t i, n = drafts_list(ds, &all);
	struct draft_state s;
	int r, first = 0;

	/* What it has begun it brings to its end. */
	publish_idle_stop(ds);
	/* Uploads that fsync has promised were waited for by fsync. */
	for (i = 0; ds->opts.idle_s > 0 && i < n; i++) {
		if (!state_of(all[i], &s) || !s.changed)
			continue;
		r = publish_if_changed(all[i]);
		if (r < 0 && r != -ENODATA && first == 0)
			first = r;
	}
	return first != 0 ? first : sync_all(ds);
}
