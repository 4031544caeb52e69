/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/spill.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/workq.h"
#include "draft/draft_priv.h"
#include "draft/io.h"
#include "draft/staging.h"

/*
 * As long as nobody knows whether a snapshot was published, nothing that is
 * staged of its draft goes away.  Who changes the draft asks first; but others
 * may want the room, while nobody comes to change it.
 */
#define ASK_MS 10000

struct question {
	struct work work;	/* first */
	struct spill *s;	/* which waits for this to be over */
	struct draft *d;
};

static void
ask_run(struct work *w)
{
	struct question *q = (struct question *)w;
	struct spill *s = q->s;

	/* If it cannot be settled now, somebody will ask again. */
	(void)draft_try_settle(q->d);
	free(q);
	LOCK(&s->lock);
	s->asking = false;
	pthread_cond_broadcast(&s->cond);
	staging_wake(s->ds->staging);
}

/* False if somebody is at it already. */
static bool
begin(struct spill *s)
{
	LOCK(&s->lock);

	if (s->asking || s->stop)
		return false;
	s->asking = true;
	return true;
}

static void
ask(struct spill *s, struct draft *d)
{
	struct question *q;

	if (!begin(s))
		return;
	q = malloc(sizeof(*q));
	if (q != NULL) {
		*q = (struct question){.work.fn = ask_run, .s = s, .d = d};
		if (io_queue(d, &q->work) == 0)
			return;
		free(q);
	}
	LOCK(&s->lock);
	s->asking = false;
}

static bool
is_unsettled(struct draft *d)
{
	LOCK(&d->lock);
	return d->unsettled;
}

void
spill_ask(struct spill *s)
{
	const uint64_t now = clock_mono_ms();
	struct spill_draft *sd;

	s->asks = false;
	{
		LOCK(&s->lock);
		sd = LIST_FIRST(&s->drafts);
	}
	/* New ones come first; none goes. */
	for (; sd != NULL; sd = LIST_NEXT(sd, link)) {
		if (!is_unsettled(sd->d)) {
			sd->ask_at = 0;
			continue;
		}
		s->asks = true;
		if (sd->ask_at == 0) {
			sd->ask_at = now + ASK_MS;
		} else if (now >= sd->ask_at) {
			sd->ask_at = now + ASK_MS;
			ask(s, sd->d);
		}
	}
}
