/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/dircache.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/workq.h"
#include "pbs/pxar.h"
#include "vfs/archive.h"

#define BUCKETS 1024

struct slot {
	uint64_t archive, pos;
	struct pxar_dir *dir;		/* shared */
	size_t bytes;
	unsigned holders;		/* of one in large; if 0: */
	deadline_t until;		/* when it goes */
	LIST_ENTRY(slot) hash;
	TAILQ_ENTRY(slot) lru;		/* in lru or large */
};
TAILQ_HEAD(slots, slot);

struct dircache {
	size_t limit;
	unsigned linger_ms;
	pthread_mutex_t lock;		/* guards all below */
	pthread_cond_t cond;		/* for the job */
	struct workq *q;		/* owned; for one job, which */
	struct work job;		/* drops what is large and unused */
	bool has_job, stop;
	size_t bytes;			/* of all in lru */
	struct slots lru;		/* most recently used first */
	struct slots large;		/* each larger than limit */
	LIST_HEAD(bucket, slot) buckets[BUCKETS];
};

int
dircache_new(size_t bytes, unsigned linger_ms, struct dircache **ret)
{
	struct dircache *c = calloc(1, sizeof(*c));
	int r;

	if (c == NULL)
		return -ENOMEM;
	r = workq_new("dircache", 1, &c->q);
	if (r < 0)
		goto err_free;
	r = cond_init(&c->cond);
	if (r < 0)
		goto err_workq;
	pthread_mutex_init(&c->lock, NULL);
	c->limit = bytes;
	c->linger_ms = linger_ms;
	TAILQ_INIT(&c->lru);
	TAILQ_INIT(&c->large);
	*ret = c;
	return 0;

err_workq:
	workq_free(c->q);
err_free:
	free(c);
	return r;
}

static bool
is_large(const struct dircache *c, const struct slot *s)
{
	return s->bytes > c->limit;
}

static void
drop(struct dircache *c, struct slot *s)
{
	LIST_REMOVE(s, hash);
	if (is_large(c, s)) {
		TAILQ_REMOVE(&c->large, s, lru);
	} else {
		TAILQ_REMOVE(&c->lru, s, lru);
		c->bytes -= s->bytes;
	}
	pxar_dir_unref(s->dir);
	free(s);
}

void
dircache_free(struct dircache *c)
{
	struct slot *s;

	if (c == NULL)
		return;
	{
		LOCK(&c->lock);
		c->stop = true;
		pthread_cond_broadcast(&c->cond);
	}
	workq_free(c->q);
	while ((s = TAILQ_FIRST(&c->lru)) != NULL)
		drop(c, s);
	while ((s = TAILQ_FIRST(&c->large)) != NULL)
		drop(c, s);
	pthread_cond_destroy(&c->cond);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static size_t
bucket_of(uint64_t archive, uint64_t pos)
{
	return (size_t)((archive * 31 + pos) * 0x9e3779b97f4a7c15u >> 32) %
	    BUCKETS;
}

static struct pxar_dir *
find(struct dircache *c, uint64_t archive, uint64_t pos)
{
	struct slot *s;

	LIST_FOREACH(s, &c->buckets[bucket_of(archive, pos)], hash) {
		if (s->archive != archive || s->pos != pos)
			continue;
		if (is_large(c, s)) {
			s->holders++;
		} else {
			TAILQ_REMOVE(&c->lru, s, lru);
			TAILQ_INSERT_HEAD(&c->lru, s, lru);
		}
		return pxar_dir_ref(s->dir);
	}
	return NULL;
}

/* Keeps dir and returns it, or in its place that of a thread that was first;
 * no memory is no error. */
static struct pxar_dir *
keep(struct dircache *c, uint64_t archive, uint64_t pos, struct pxar_dir *dir)
{
	struct pxar_dir *other;
	struct slot *s, *last;

	LOCK(&c->lock);
	other = find(c, archive, pos);
	if (other != NULL) {
		pxar_dir_unref(dir);
		return other;
	}
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return dir;
	s->archive = archive;
	s->pos = pos;
	s->dir = pxar_dir_ref(dir);
	s->bytes = pxar_dir_memory(dir);
	LIST_INSERT_HEAD(&c->buckets[bucket_of(archive, pos)], s, hash);
	if (is_large(c, s)) {
		s->holders = 1;
		TAILQ_INSERT_HEAD(&c->large, s, lru);
		return dir;
	}
	c->bytes += s->bytes;
	TAILQ_INSERT_HEAD(&c->lru, s, lru);
	while (c->bytes > c->limit) {
		last = TAILQ_LAST(&c->lru, slots);
		drop(c, last);
	}
	return dir;
}

int
dircache_get(struct dircache *c, struct archive *a, uint64_t pos,
    unsigned flags, struct pxar_dir **ret)
{
	struct pxar_dir *d;
	int r;

	{
		LOCK(&c->lock);
		d = find(c, archive_id(a), pos);
	}
	if (d == NULL) {
		r = pxar_dir_open(archive_pxar(a, flags), pos, &d);
		if (r < 0)
			return archive_error(a, r);
		d = keep(c, archive_id(a), pos, d);
	}
	*ret = d;
	return 0;
}

/* Drops what is due; when the next one is, 0: none.  With the lock. */
static deadline_t
drop_unused(struct dircache *c)
{
	struct slot *s, *next;
	deadline_t first = 0;

	for (s = TAILQ_FIRST(&c->large); s != NULL; s = next) {
		next = TAILQ_NEXT(s, lru);
		if (s->holders > 0)
			continue;
		if (deadline_left(s->until) == 0)
			drop(c, s);
		else if (first == 0 || s->until < first)
			first = s->until;
	}
	return first;
}

static void
run(struct work *w)
{
	struct dircache *c = (struct dircache *)((char *)w -
	    offsetof(struct dircache, job));
	LOCK(&c->lock);

	while (!c->stop)
		(void)cond_wait_until(&c->cond, &c->lock, drop_unused(c));
}

/* Nobody holds s any more.  One at a time may wait for that to change. */
static void
release(struct dircache *c, struct slot *s)
{
	struct slot *other, *next;

	for (other = TAILQ_FIRST(&c->large); other != NULL; other = next) {
		next = TAILQ_NEXT(other, lru);
		if (other != s && other->holders == 0)
			drop(c, other);
	}
	if (!c->has_job) {
		c->job.fn = run;
		c->has_job = workq_add(c->q, &c->job) == 0;
	}
	if (!c->has_job) {
		drop(c, s);
		return;
	}
	s->until = deadline_in(c->linger_ms);
	pthread_cond_signal(&c->cond);
}

void
dircache_put(struct dircache *c, struct pxar_dir *d)
{
	struct slot *s;

	if (d == NULL)
		return;
	{
		LOCK(&c->lock);
		TAILQ_FOREACH(s, &c->large, lru)
			if (s->dir == d)
				break;
		if (s != NULL && --s->holders == 0)
			release(c, s);
	}
	pxar_dir_unref(d);
}

size_t
dircache_memory(struct dircache *c)
{
	size_t bytes;
	struct slot *s;

	LOCK(&c->lock);
	bytes = c->bytes;
	TAILQ_FOREACH(s, &c->large, lru)
		bytes += s->bytes;
	return bytes;
}
