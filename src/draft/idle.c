/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/draft_priv.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"

/*
 * Publishes what nobody has written for a while and has nothing open for
 * writing.  A draft that cannot be published is tried again later and later;
 * why it cannot be has been said the first time, by who found it.
 */
#define BUSY_MS 1000		/* until who writes is looked at again */
#define RETRY_MS 60000
#define RETRY_MAX_MS 3600000

static bool
is_open(struct draft *d)
{
	struct inode *i;

	RB_FOREACH(i, inodes_by_ino, &d->inos)
		if (i->nwrite > 0)
			return true;
	return false;
}

/* When to look at it again, in ms of the clock; 0: now is the time. */
static uint64_t
due(struct draft *d, uint64_t now)
{
	const uint64_t idle = (uint64_t)d->all->opts.idle_s * 1000;
	uint64_t at;
	LOCK(&d->lock);

	if (!d->changed || d->publishing || d->removed)
		return now + idle;
	at = MAX(d->touched_ms + idle, d->idle_after);
	if (at > now)
		return at;
	return is_open(d) ? now + MIN(idle, (uint64_t)BUSY_MS) : 0;
}

static void
publish(struct draft *d)
{
	uint64_t wait;
	int r;

	d->quiet = d->idle_failed > 0;
	r = publish_if_changed(d);
	d->quiet = false;
	LOCK(&d->lock);
	if (r == 0) {
		d->idle_failed = 0;
		d->idle_after = 0;
		return;
	}
	wait = (uint64_t)RETRY_MS << MIN(d->idle_failed, 6u);
	wait = MIN(wait, (uint64_t)RETRY_MAX_MS);
	d->idle_failed++;
	d->idle_after = clock_mono_ms() + wait;
}

/* One that is due, or NULL and when to look again.  Drafts stay as long as
 * all. */
static struct draft *
next(struct drafts *ds, uint64_t *ret_at)
{
	const uint64_t now = clock_mono_ms();
	struct draft *d;
	uint64_t at;

	*ret_at = now + (uint64_t)ds->opts.idle_s * 1000;
	LIST_FOREACH(d, &ds->list, link) {
		at = due(d, now);
		if (at == 0)
			return d;
		*ret_at = MIN(*ret_at, at);
	}
	return NULL;
}

static void *
idle_run(void *arg)
{
	struct drafts *ds = arg;
	struct draft *d;
	uint64_t at;

	pthread_mutex_lock(&ds->lock);
	while (!ds->stop && !ds->finishing) {
		d = next(ds, &at);
		if (d == NULL) {
			(void)cond_wait_until(&ds->cond, &ds->lock, at);
			continue;
		}
		pthread_mutex_unlock(&ds->lock);
		publish(d);
		pthread_mutex_lock(&ds->lock);
	}
	pthread_mutex_unlock(&ds->lock);
	return NULL;
}

int
publish_idle_start(struct drafts *ds)
{
	int r;

	if (ds->opts.idle_s == 0)
		return 0;
	r = -pthread_create(&ds->idle, NULL, idle_run, ds);
	if (r < 0)
		log_err("cannot start a thread: %s", strerror(-r));
	ds->has_idle = r == 0;
	return r;
}

void
publish_idle_stop(struct drafts *ds)
{
	{
		LOCK(&ds->lock);
		if (!ds->has_idle)
			return;
		ds->has_idle = false;
		ds->finishing = true;
		pthread_cond_broadcast(&ds->cond);
	}
	pthread_join(ds->idle, NULL);
}
