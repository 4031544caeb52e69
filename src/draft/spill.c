/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/spill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "draft/draft_priv.h"
#include "draft/io.h"
#include "draft/staging.h"
#include "repo/claim.h"

#define FLYING_MAX (64 * MIB)	/* of the memory that uploads have */
#define ITEMS_MAX 256		/* looked at in one go */
#define DRAFTS_MAX 64
#define TICK_MS 100
#define TICK_PARKED_MS 20
#define TICK_LITTER_MS 500
#define TICK_IDLE_MS 60000
#define HOLD_MS 10000
#define ROUNDS 64
#define DESPERATE_MS 50
#define STEPS_MAX 1024

static int
item_cmp(const struct spill_item *a, const struct spill_item *b)
{
	if (a->d != b->d)
		return (uintptr_t)a->d < (uintptr_t)b->d ? -1 : 1;
	return (a->ino > b->ino) - (a->ino < b->ino);
}

#define UNUSED static __attribute__((unused))
RB_GENERATE_INTERNAL(spill_items, spill_item, link, item_cmp, UNUSED)

static void
item_move(struct spill_item *item, struct spill_queue *q)
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
	item_move(item, &s->fresh);
	return item;
}

struct spill_item *
spill_item_get(struct spill *s, struct draft *d, uint64_t ino)
{
	LOCK(&s->lock);
	return item_get(s, d, ino);
}

static void
item_free(struct spill *s, struct spill_item *item)
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

	LOCK(&s->lock);
	sd = draft_get(s, d);
	if (sd == NULL || sd->suspended > 0)
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

static bool
is_backing_off(const struct spill *s)
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
		item_move(item, &s->fresh);
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
		cond_wait_until(&s->cond, &s->lock, deadline_in(TICK_MS));
	sd->suspended++;
	staging_wake(s->ds->staging);
	while (sd->busy || sd->flying > 0)
		pthread_cond_wait(&s->cond, &s->lock);
}

void
spill_resume(struct draft *d)
{
	struct spill *s = d->all->spill;

	LOCK(&s->lock);
	draft_get(s, d)->suspended--;
	staging_wake(s->ds->staging);
}

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

int
spill_inode(struct draft *d, struct inode *i)
{
	struct spill *s = d->all->spill;
	struct spill_request q = {.d = d, .ino = i->ino};

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

static struct inode *
find(struct draft *d, uint64_t ino)
{
	LOCK(&d->lock);
	return inode_find(d, ino);
}

static void
let_go(struct draft *d, struct inode *i)
{
	{
		LOCK(&d->lock);
		inode_unref(d, i);
	}
	inode_reap(d);
}

/* Nothing is left to upload of it: a staging file may be. */
static void
item_over(struct spill *s, struct spill_item *item, struct inode *i,
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
	if (item->when == when && LIST_EMPTY(&item->flying))
		item_free(s, item);
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
	i = find(d, item->ino);
	if (i == NULL) {
		item_over(s, item, NULL, when);
		return;
	}
	spill_look(item, i, &l);
	if (l.staged == 0) {
		item_over(s, item, i, when);
		let_go(d, i);
		return;
	}
	(void)spill_natural(s, item, i, &l, mode);
	let_go(d, i);
	q = &s->large;
	if (l.kind == SPILL_SMALL || l.kind == SPILL_BLOB)
		q = &s->small;
	else if (!l.idle)
		q = &s->fresh;
	LOCK(&s->lock);
	if (item->when == when)
		item_move(item, q);
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
		if (!spill_begin(s, v[k]->d))
			continue;
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
work_small(struct spill *s, enum spill_mode mode, uint64_t want)
{
	struct draft *v[DRAFTS_MAX];
	uint64_t now = clock_mono_ms(), sent = 0;
	size_t n, k;

	if (now < s->walk_at)
		return;
	n = small_drafts(s, v, DRAFTS_MAX);
	for (k = 0; k < n && s->flying < want && spill_has_room(s); k++) {
		if (!spill_begin(s, v[k]))
			continue;
		sent += spill_pack(s, v[k], mode, want - s->flying);
		spill_end(s, v[k]);
	}
	/* A walk over a large tree is not to be had for nothing. */
	if (sent == 0)
		s->walk_at = now +
		    (mode >= SPILL_URGENT ? TICK_MS : SPILL_COLD_MS);
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
	struct inode *i = find(q->d, q->ino);
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
		let_go(q->d, i);
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
		if (!is_backing_off(s)) {
			s->stalled = NULL;
			(void)spill_submit(s, j);
		}
		spill_end(s, d);
	}
}

/* Whose upload has failed is told here, when nobody looks at requests. */
static void
end_requests(struct spill *s)
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

static void
work(struct spill *s)
{
	int pressure;
	unsigned k;

	submit_stalled(s);
	if (is_backing_off(s))
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

/* Only a draft whose chunks have no index yet keeps garbage collection out. */
static void
keep_claim(struct spill *s, struct spill_draft *sd)
{
	uint64_t chunked;
	unsigned flying;

	{
		LOCK(&sd->d->lock);
		chunked = sd->d->chunked;
	}
	{
		LOCK(&s->lock);
		flying = sd->flying;
	}
	if (chunked > 0 && !sd->holds && clock_mono_ms() >= s->hold_at &&
	    spill_hold(s, sd) < 0) {
		s->hold_at = clock_mono_ms() + HOLD_MS;
		log_limited(LOG_LVL_WARN, "garbage is being collected while "
		    "an open snapshot has chunks that no index names\n"
		    "hint: what was uploaded for it lately is safe; publish "
		    "soon");
	}
	if (chunked == 0 && flying == 0 && sd->holds) {
		claim_drop(s->ds->opts.claim);
		sd->holds = false;
	}
}

static void
keep_claims(struct spill *s)
{
	struct spill_draft *sd;

	if (s->ds->opts.claim == NULL)
		return;
	{
		LOCK(&s->lock);
		sd = LIST_FIRST(&s->drafts);
	}
	/* New ones come first; none goes. */
	for (; sd != NULL; sd = LIST_NEXT(sd, link))
		keep_claim(s, sd);
}

static bool
is_stopped(struct spill *s, bool *ret_flying, bool *ret_litter)
{
	struct spill_draft *sd;

	LOCK(&s->lock);
	*ret_flying = false;
	LIST_FOREACH(sd, &s->drafts, link) {
		if (sd->flying > 0)
			*ret_flying = true;
	}
	*ret_litter = s->litter_since != 0 &&
	    clock_mono_ms() - s->litter_since >= TICK_LITTER_MS;
	return s->stop;
}

static void
sleep_some(struct spill *s)
{
	int pressure = staging_pressure(s->ds->staging);
	uint64_t now = clock_mono_ms();
	uint64_t ms = TICK_IDLE_MS;

	{
		LOCK(&s->lock);
		/* Nobody waits in a staging area that was shut down. */
		if (s->stop) {
			if (STAILQ_EMPTY(&s->done))
				cond_wait_until(&s->cond, &s->lock,
				    deadline_in(TICK_PARKED_MS));
			return;
		}
		if (s->litter_since != 0)
			ms = TICK_LITTER_MS;
		if (!TAILQ_EMPTY(&s->fresh.head) || pressure > 0)
			ms = TICK_MS;
	}
	if (is_backing_off(s))
		ms = MIN(MAX(ms, s->retry_at - now), (uint64_t)TICK_LITTER_MS);
	if (!STAILQ_EMPTY(&s->parked) || s->stalled != NULL ||
	    s->desperate_at != 0)
		ms = TICK_PARKED_MS;
	staging_wait(s->ds->staging, (unsigned)ms);
}

static void *
run(void *arg)
{
	struct spill *s = arg;
	bool stop, flying, litter, did;

	for (;;) {
		did = spill_settle(s);
		end_requests(s);
		stop = is_stopped(s, &flying, &litter);
		if (stop && s->stalled != NULL) {
			spill_drop(s, s->stalled);
			s->stalled = NULL;
		} else if (stop && !flying) {
			break;
		}
		if (litter || staging_pressure(s->ds->staging) > 0)
			spill_clean(s);
		if (!stop)
			work(s);
		keep_claims(s);
		if (!did)
			sleep_some(s);
	}
	spill_clean(s);
	return NULL;
}

/* What an earlier mount has left. */
static int
find_items(struct spill *s)
{
	struct draft *d;
	struct inode *i;

	LIST_FOREACH(d, &s->ds->list, link) {
		LOCK(&d->lock);
		if (d->chunked > 0 && draft_get(s, d) == NULL)
			return -ENOMEM;
		RB_FOREACH(i, inodes_by_ino, &d->inos) {
			if (i->staged_file && item_get(s, d, i->ino) == NULL)
				return -ENOMEM;
		}
	}
	return 0;
}

int
spill_start(struct drafts *ds, struct spill **ret)
{
	struct spill *s = calloc(1, sizeof(*s));
	int r;

	if (s == NULL)
		return -ENOMEM;
	s->ds = ds;
	pthread_mutex_init(&s->lock, NULL);
	TAILQ_INIT(&s->fresh.head);
	TAILQ_INIT(&s->large.head);
	TAILQ_INIT(&s->small.head);
	STAILQ_INIT(&s->done);
	STAILQ_INIT(&s->ranges);
	STAILQ_INIT(&s->parked);
	r = cond_init(&s->cond);
	s->scratch = malloc(SPILL_CHUNK_MAX);
	if (r == 0 && s->scratch == NULL)
		r = -ENOMEM;
	if (r == 0)
		r = find_items(s);
	/* The thread may need it before the caller has it. */
	*ret = s;
	if (r == 0)
		r = -pthread_create(&s->thread, NULL, run, s);
	s->running = r == 0;
	if (r < 0) {
		*ret = NULL;
		spill_free(s);
	}
	return r;
}

void
spill_stop(struct spill *s)
{
	if (s == NULL)
		return;
	LOCK(&s->lock);
	s->stop = true;
	pthread_cond_broadcast(&s->cond);
	staging_wake(s->ds->staging);
}

static void
free_queue(struct spill *s, struct spill_queue *q)
{
	struct spill_item *item;

	while ((item = TAILQ_FIRST(&q->head)) != NULL)
		item_free(s, item);
}

void
spill_free(struct spill *s)
{
	struct spill_draft *sd;

	if (s == NULL)
		return;
	spill_stop(s);
	if (s->running)
		pthread_join(s->thread, NULL);
	if (s->ds->spill == s)
		s->ds->spill = NULL;
	spill_pack_stop(s);
	free_queue(s, &s->fresh);
	free_queue(s, &s->large);
	free_queue(s, &s->small);
	while ((sd = LIST_FIRST(&s->drafts)) != NULL) {
		LIST_REMOVE(sd, link);
		if (sd->holds)
			claim_drop(s->ds->opts.claim);
		free(sd);
	}
	pthread_cond_destroy(&s->cond);
	pthread_mutex_destroy(&s->lock);
	free(s->scratch);
	free(s);
}
