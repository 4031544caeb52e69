/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/spill.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/num.h"
#include "draft/draft_priv.h"
#include "draft/staging.h"

/*
 * What the thread knows of files and drafts, and how others tell it.
 */

#define FLYING_MAX (64 * MIB)	/* of the memory that uploads have */
#define RETRY_MS 100		/* without memory */

static int
item_cmp(const struct spill_item *a, const struct spill_item *b)
{
	if (a->d != b->d)
		return (uintptr_t)a->d < (uintptr_t)b->d ? -1 : 1;
	return (a->ino > b->ino) - (a->ino < b->ino);
}

#define UNUSED static __attribute__((unused))
RB_GENERATE_INTERNAL(spill_items, spill_item, link, item_cmp, UNUSED)

void
spill_item_move(struct spill_item *item, struct spill_queue *q)
{
	if (item->queue != NULL)
		TAILQ_REMOVE(&item->queue->head, item, order);
	item->queue = q;
	TAILQ_INSERT_TAIL(&q->head, item, order);
}

/* The lock is held; NULL without memory. */
static struct spill_item *
item_get(struct spill *s, struct draft *d, uint64_t ino)
{
	struct spill_item key = {.d = d, .ino = ino}, *item;

	item = RB_FIND(spill_items, &s->items, &key);
	if (item != NULL)
		return item;
	item = calloc(1, sizeof(*item));
	if (item == NULL)
		return NULL;
	item->d = d;
	item->ino = ino;
	item->when = clock_mono_ms();
	LIST_INIT(&item->flying);
	RB_INSERT(spill_items, &s->items, item);
	spill_item_move(item, &s->fresh);
	return item;
}

struct spill_item *
spill_item_get(struct spill *s, struct draft *d, uint64_t ino)
{
	LOCK(&s->lock);
	return item_get(s, d, ino);
}

void
spill_item_free(struct spill *s, struct spill_item *item)
{
	RB_REMOVE(spill_items, &s->items, item);
	TAILQ_REMOVE(&item->queue->head, item, order);
	free(item);
}

static struct spill_draft *
draft_get(struct spill *s, struct draft *d)
{
	struct spill_draft *sd;

	LIST_FOREACH(sd, &s->drafts, link) {
		if (sd->d == d)
			return sd;
	}
	sd = calloc(1, sizeof(*sd));
	if (sd == NULL)
		return NULL;
	sd->d = d;
	LIST_INSERT_HEAD(&s->drafts, sd, link);
	return sd;
}

void
spill_item_look(struct spill *s, struct spill_item *item)
{
	LOCK(&s->lock);
	if (item->queue != &s->fresh)
		spill_item_move(item, &s->fresh);
}

void
spill_item_pass(struct spill *s, struct spill_item *item)
{
	LOCK(&s->lock);
	spill_item_move(item, item->queue);
}

struct spill_draft *
spill_draft_get(struct spill *s, struct draft *d)
{
	LOCK(&s->lock);
	return draft_get(s, d);
}

bool
spill_begin(struct spill *s, struct draft *d)
{
	struct spill_draft *sd;
	bool unsettled;

	{
		LOCK(&d->lock);
		unsettled = d->unsettled;
	}
	LOCK(&s->lock);
	sd = draft_get(s, d);
	if (sd == NULL || sd->suspended > 0 || unsettled)
		return false;
	sd->busy = true;
	return true;
}

void
spill_end(struct spill *s, struct draft *d)
{
	LOCK(&s->lock);
	draft_get(s, d)->busy = false;
	pthread_cond_broadcast(&s->cond);
}

bool
spill_is_backing_off(const struct spill *s)
{
	return s->retry_at > 0 && clock_mono_ms() < s->retry_at;
}

bool
spill_has_room(const struct spill *s)
{
	return s->stalled == NULL && s->retry_at == 0 &&
	    s->flying < FLYING_MAX;
}

void
spill_wrote(struct draft *d, struct inode *i)
{
	struct spill *s = d->all->spill;
	struct spill_item *item;
	bool wake;

	{
		LOCK(&d->lock);
		if (!i->staged_file)
			return;
	}
	LOCK(&s->lock);
	wake = TAILQ_EMPTY(&s->fresh.head);
	item = item_get(s, d, i->ino);
	/* Without memory it is uploaded when it is published. */
	if (item == NULL)
		return;
	item->when = clock_mono_ms();
	if (item->queue != &s->fresh)
		spill_item_move(item, &s->fresh);
	if (wake)
		staging_wake(s->ds->staging);
}

void
spill_suspend(struct draft *d)
{
	struct spill *s = d->all->spill;
	struct spill_draft *sd;

	LOCK(&s->lock);
	/* There is no other way to say that it cannot be. */
	while ((sd = draft_get(s, d)) == NULL)
		cond_wait_until(&s->cond, &s->lock, deadline_in(RETRY_MS));
	sd->suspended++;
	staging_wake(s->ds->staging);
	while (sd->busy || sd->flying > 0)
		pthread_cond_wait(&s->cond, &s->lock);
}

/* The lock is held. */
static void
look_again(struct spill *s, struct spill_queue *q, const struct draft *d)
{
	struct spill_item *item, *next;

	for (item = TAILQ_FIRST(&q->head); item != NULL; item = next) {
		next = TAILQ_NEXT(item, order);
		if (item->d == d)
			spill_item_move(item, &s->fresh);
	}
}

void
spill_resume(struct draft *d)
{
	struct spill *s = d->all->spill;

	LOCK(&s->lock);
	draft_get(s, d)->suspended--;
	/* Of most nothing may be staged any more. */
	look_again(s, &s->small, d);
	look_again(s, &s->large, d);
	staging_wake(s->ds->staging);
}

int
spill_inode(struct draft *d, struct inode *i)
{
	struct spill *s = d->all->spill;
	struct spill_request q = {.d = d, .ino = i->ino};
	int r;

	/* Nothing is unsettled then. */
	r = draft_enter(d, 0);
	if (r < 0)
		return r;
	draft_leave(d);
	{
		LOCK(&d->lock);
		if (i->content == NULL || content_staged(i->content) == 0)
			return 0;
		q.seq = content_mark(i->content);
	}
	LOCK(&s->lock);
	if (s->stop)
		return -ESHUTDOWN;
	LIST_INSERT_HEAD(&s->requests, &q, link);
	staging_wake(s->ds->staging);
	while (!q.done)
		pthread_cond_wait(&s->cond, &s->lock);
	LIST_REMOVE(&q, link);
	return q.err;
}
