/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/dircache.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/lock.h"
#include "pbs/pxar.h"
#include "vfs/archive.h"

#define BUCKETS 1024

struct slot {
	uint64_t archive, pos;
	struct pxar_dir *dir;		/* shared */
	size_t bytes;
	LIST_ENTRY(slot) hash;
	TAILQ_ENTRY(slot) lru;
};

struct dircache {
	size_t limit;
	pthread_mutex_t lock;		/* guards all below */
	size_t bytes;
	TAILQ_HEAD(lru, slot) lru;		/* most recently used first */
	LIST_HEAD(bucket, slot) buckets[BUCKETS];
};

int
dircache_new(size_t bytes, struct dircache **ret)
{
	struct dircache *c = calloc(1, sizeof(*c));
	int r;

	if (c == NULL)
		return -ENOMEM;
	r = -pthread_mutex_init(&c->lock, NULL);
	if (r < 0) {
		free(c);
		return r;
	}
	c->limit = bytes;
	TAILQ_INIT(&c->lru);
	*ret = c;
	return 0;
}

static void
drop(struct dircache *c, struct slot *s)
{
	LIST_REMOVE(s, hash);
	TAILQ_REMOVE(&c->lru, s, lru);
	c->bytes -= s->bytes;
	pxar_dir_unref(s->dir);
	free(s);
}

void
dircache_free(struct dircache *c)
{
	struct slot *s;

	if (c == NULL)
		return;
	while ((s = TAILQ_FIRST(&c->lru)) != NULL)
		drop(c, s);
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
		TAILQ_REMOVE(&c->lru, s, lru);
		TAILQ_INSERT_HEAD(&c->lru, s, lru);
		return pxar_dir_ref(s->dir);
	}
	return NULL;
}

/* Keeps dir, or finds that another thread was first; no memory is no error. */
static void
keep(struct dircache *c, uint64_t archive, uint64_t pos, struct pxar_dir *dir)
{
	struct pxar_dir *other;
	struct slot *s, *last;

	LOCK(&c->lock);
	other = find(c, archive, pos);
	if (other != NULL) {
		pxar_dir_unref(other);
		return;
	}
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return;
	s->archive = archive;
	s->pos = pos;
	s->dir = pxar_dir_ref(dir);
	s->bytes = pxar_dir_memory(dir);
	c->bytes += s->bytes;
	TAILQ_INSERT_HEAD(&c->lru, s, lru);
	LIST_INSERT_HEAD(&c->buckets[bucket_of(archive, pos)], s, hash);
	while (c->bytes > c->limit &&
	    (last = TAILQ_LAST(&c->lru, lru)) != s)
		drop(c, last);
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
		keep(c, archive_id(a), pos, d);
	}
	*ret = d;
	return 0;
}
