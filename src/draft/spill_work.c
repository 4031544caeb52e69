/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/spill.h"

#include <errno.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/num.h"
#include "draft/draft_priv.h"
#include "draft/io.h"
#include "draft/staging.h"

/*
 * What is uploaded now.
 */

#define ITEMS_MAX 256		/* looked at in one go */
#define DRAFTS_MAX 64
#define ROUNDS 64
#define STEPS_MAX 1024
#define DESPERATE_MS 50
#define WALK_MS 100

/* Bytes that were written before seq and are still staged. */
static bool
is_staged(struct draft *d, struct inode *i, uint64_t seq)
{
	struct piece p;
	uint64_t pos = 0;

	LOCK(&d->lock);
	if (i->content == NULL)
		return false;
	for (; content_next(i->content, pos, PIECE_STAGED, &p) == 0;
	    pos = p.off + p.len) {
		if (p.seq <= seq)
			return true;
	}
	return false;
}

bool
spill_item_over(struct spill *s, struct spill_item *item, struct inode *i,
    uint64_t when)
{
	bool litter = false;

	if (i != NULL) {
		LOCK(&item->d->lock);
		litter = i->staged_file && i->nwrite == 0;
	}
	if (litter)
		spill_garbage(item->d, item->ino, 0, 0, 0);
	LOCK(&s->lock);
	if (item->when != when || !LIST_EMPTY(&item->flying))
		return false;
	spill_item_free(s, item);
	return true;
}

/* One file: uploads what it can, and says where to look at it next. */
static void
work_item(struct spill *s, struct spill_item *item, enum spill_mode mode)
{
	struct draft *d = item->d;
	struct spill_queue *q;
	struct spill_look l;
	uint64_t when;
	struct inode *i;

	{
		LOCK(&s->lock);
		when = item->when;
	}
	i = inode_get(d, item->ino);
	if (i == NULL) {
		(void)spill_item_over(s, item, NULL, when);
		return;
	}
	spill_look(item, i, &l);
	if (l.staged == 0) {
		(void)spill_item_over(s, item, i, when);
		inode_put(d, i);
		return;
	}
	(void)spill_natural(s, item, i, &l, mode);
	inode_put(d, i);
	q = &s->large;
	if (l.kind == SPILL_SMALL || l.kind == SPILL_BLOB)
		q = &s->small;
	else if (!l.idle)
		q = &s->fresh;
	LOCK(&s->lock);
	if (item->when == when)
		spill_item_move(item, q);
}

static size_t
take_items(struct spill *s, struct spill_queue *q, struct spill_item **v,
    size_t max)
{
	struct spill_item *item;
	size_t n = 0;

	LOCK(&s->lock);
	TAILQ_FOREACH(item, &q->head, order) {
		if (n == max)
			break;
		v[n++] = item;
	}
	return n;
}

/* True if more than fits into one go was there. */
static bool
work_queue(struct spill *s, struct spill_queue *q, enum spill_mode mode,
    uint64_t want)
{
	struct spill_item *v[ITEMS_MAX];
	size_t n, k;

	n = take_items(s, q, v, ITEMS_MAX);
	for (k = 0; k < n && s->flying < want && spill_has_room(s); k++) {
		if (!spill_begin(s, v[k]->d)) {
			spill_item_pass(s, v[k]);
			continue;
		}
		{
			struct draft *d = v[k]->d;

			work_item(s, v[k], mode);
			spill_end(s, d);
		}
	}
	return n == ITEMS_MAX;
}

/* Drafts with small files, those with the oldest first. */
static size_t
small_drafts(struct spill *s, struct draft **v, size_t max)
{
	struct spill_item *item;
	size_t n = 0, k, steps = 0;

	LOCK(&s->lock);
	TAILQ_FOREACH(item, &s->small.head, order) {
		for (k = 0; k < n && v[k] != item->d; k++)
			;
		if (k == n && n < max)
			v[n++] = item->d;
		if (n == max || ++steps == STEPS_MAX)
			break;
	}
	return n;
}

static void
pass_over_small(struct spill *s, const struct draft *d)
{
	struct spill_item *item;
	size_t steps;

	LOCK(&s->lock);
	for (steps = 0; steps < STEPS_MAX; steps++) {
		item = TAILQ_FIRST(&s->small.head);
		if (item == NULL || item->d != d)
			break;
		spill_item_move(item, &s->small);
	}
}

static void
work_small(struct spill *s, enum spill_mode mode, uint64_t want)
{
	struct draft *v[DRAFTS_MAX];
	uint64_t now = clock_mono_ms(), sent = 0;
	bool urgent = mode >= SPILL_URGENT;
	size_t n, k;

	if (now < s->walk_at[urgent])
		return;
	n = small_drafts(s, v, DRAFTS_MAX);
	for (k = 0; k < n && s->flying < want && spill_has_room(s); k++) {
		if (!spill_begin(s, v[k])) {
			pass_over_small(s, v[k]);
			continue;
		}
		sent += spill_pack(s, v[k], mode, want - s->flying);
		spill_end(s, v[k]);
	}
	/* A walk over a large tree is not to be had for nothing. */
	if (sent == 0)
		s->walk_at[urgent] = now + (urgent ? WALK_MS : SPILL_COLD_MS);
}

/* How much should be on its way into the store, to get below half. */
static uint64_t
wanted(const struct staging_stats *st)
{
	if (st->used > st->limit / 2)
		return MAX(st->used - st->limit / 2, st->used / 4);
	/* The file system is full, or somebody wants a lot. */
	return st->used / 4 + 1;
}

/*
 * Nothing that an index can use is left, and room is needed.  Who waits may
 * have got room already and not know it yet: unless all is full, it has to
 * last for a moment.
 */
static bool
is_desperate(struct spill *s, const struct staging_stats *st, int pressure)
{
	uint64_t now = clock_mono_ms();

	if (pressure < 2 || s->flying > 0 || !spill_has_room(s)) {
		s->desperate_at = 0;
		return false;
	}
	if (s->desperate_at == 0)
		s->desperate_at = now + DESPERATE_MS;
	return st->used > st->limit / 8 * 7 || now >= s->desperate_at;
}

static void
relieve(struct spill *s, int pressure)
{
	enum spill_mode mode = pressure > 1 ? SPILL_URGENT : SPILL_TIGHT;
	struct staging_stats st;
	uint64_t want;

	staging_stats(s->ds->staging, &st);
	want = wanted(&st);
	(void)work_queue(s, &s->large, mode, want);
	(void)work_queue(s, &s->fresh, mode, want);
	work_small(s, mode, want);
	if (is_desperate(s, &st, pressure))
		(void)spill_gather(s, want);
}

/* One file that somebody waits for. */
static void
serve(struct spill *s, struct spill_request *q)
{
	struct spill_item *item = spill_item_get(s, q->d, q->ino);
	struct inode *i = inode_get(q->d, q->ino);
	struct spill_look l;
	int r = 0;

	if (i != NULL && item == NULL)
		r = -ENOMEM;
	if (i != NULL && r == 0 && is_staged(q->d, i, q->seq)) {
		spill_look(item, i, &l);
		r = spill_natural(s, item, i, &l, SPILL_ALL);
		if (r == 0)
			r = spill_gather_file(s, item, i);
		if (r == 0 || r == -ESTALE)
			r = -EAGAIN;
	}
	if (i != NULL)
		inode_put(q->d, i);
	LOCK(&s->lock);
	if (r == -EAGAIN && q->err == 0)
		return;
	q->err = q->err < 0 ? q->err : r;
	q->done = true;
	pthread_cond_broadcast(&s->cond);
}

static void
serve_requests(struct spill *s)
{
	struct spill_request *v[DRAFTS_MAX], *q;
	size_t n = 0, k;

	{
		LOCK(&s->lock);
		LIST_FOREACH(q, &s->requests, link) {
			if (!q->done && n < DRAFTS_MAX)
				v[n++] = q;
		}
	}
	for (k = 0; k < n; k++) {
		struct draft *d = v[k]->d;

		if (!spill_begin(s, d))
			continue;
		serve(s, v[k]);
		spill_end(s, d);
	}
}

/* A job that found no room; not if a snapshot is being made of its draft. */
static void
submit_stalled(struct spill *s)
{
	struct spill_job *j = s->stalled;
	struct draft *d;

	if (j == NULL)
		return;
	d = j->d;
	if (!spill_begin(s, d)) {
		s->stalled = NULL;
		spill_drop(s, j);
	} else {
		if (!spill_is_backing_off(s)) {
			s->stalled = NULL;
			(void)spill_submit(s, j);
		}
		spill_end(s, d);
	}
}

/* Whose upload has failed is told here, when nobody looks at requests. */
void
spill_end_requests(struct spill *s)
{
	struct spill_request *q;

	LOCK(&s->lock);
	LIST_FOREACH(q, &s->requests, link) {
		if (s->stop && q->err == 0)
			q->err = -ESHUTDOWN;
		if (q->err < 0)
			q->done = true;
	}
	pthread_cond_broadcast(&s->cond);
}

void
spill_work(struct spill *s)
{
	int pressure;
	unsigned k;

	submit_stalled(s);
	if (spill_is_backing_off(s))
		return;
	s->retry_at = 0;
	serve_requests(s);
	for (k = 0; k < ROUNDS && spill_has_room(s); k++) {
		if (!work_queue(s, &s->fresh, SPILL_EAGER, UINT64_MAX))
			break;
	}
	pressure = staging_pressure(s->ds->staging);
	if (pressure > 0)
		relieve(s, pressure);
}
