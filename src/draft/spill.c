/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/spill.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "draft/draft_priv.h"
#include "draft/staging.h"
#include "repo/claim.h"

/*
 * The thread.
 */

#define TICK_MS 100
#define TICK_PARKED_MS 20
#define TICK_LITTER_MS 500
#define TICK_IDLE_MS 60000
#define HOLD_MS 10000

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
	*ret_flying = s->asking;
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
	if (spill_is_backing_off(s))
		ms = MIN(MAX(ms, s->retry_at - now), (uint64_t)TICK_LITTER_MS);
	if (s->asks)
		ms = MIN(ms, (uint64_t)TICK_LITTER_MS);
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
		spill_end_requests(s);
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
			spill_work(s);
		keep_claims(s);
		spill_ask(s);
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
		if (d->chunked > 0 && spill_draft_get(s, d) == NULL)
			return -ENOMEM;
		RB_FOREACH(i, inodes_by_ino, &d->inos) {
			if (i->staged_file &&
			    spill_item_get(s, d, i->ino) == NULL)
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
		spill_item_free(s, item);
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
