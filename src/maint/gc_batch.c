/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/gc_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "maint/agent.h"
#include "pbs/names.h"
#include "repo/guard.h"
#include "store/filters.h"
#include "store/store.h"

/* Where each is a request of its own, so many fit into one deadline. */
#define SINGLE_BATCH 100
/* A delete is not begun with less time than this. */
#define DELETE_MS_MIN (GUARD_DELETE_MS / 2)

/* Then the store does not delete at all. */
#define FAILURES_MAX 2

#define NAME_SIZE (KEY_CHUNK_LEN + sizeof(".0.bad"))

struct victim {
	char key[NAME_SIZE];
	struct digest d;
	uint64_t size;
	bool bad;		/* was set aside: nobody is to refer to it */
	bool kept;		/* it is not gone */
};

struct gc_batch {
	struct gc *g;		/* borrowed */
	size_t n, max;
	size_t refused;		/* told so far */
	unsigned failures;	/* batches in a row of which nothing went */
	struct victim v[GUARD_BATCH_MAX];
	/* Of those that are to go. */
	const char *keys[GUARD_BATCH_MAX];
	struct digest digests[GUARD_BATCH_MAX];
	bool spared[GUARD_BATCH_MAX];
};

int
gc_batch_new(struct gc *g, struct gc_batch **ret)
{
	struct gc_batch *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return -ENOMEM;
	b->g = g;
	b->max = g->o->single_deletes ? SINGLE_BATCH : GUARD_BATCH_MAX;
	*ret = b;
	return 0;
}

void
gc_batch_free(struct gc_batch *b)
{
	free(b);
}

static void
count_removed(struct gc_result *res, const struct victim *x)
{
	if (x->bad) {
		res->removed_bad++;
		res->removed_bad_bytes += x->size;
	} else {
		res->removed++;
		res->removed_bytes += x->size;
	}
}

/* Those that somebody is about to refer to stay. */
static int
condemn(struct gc_batch *b, size_t *ret_condemned)
{
	struct agent *a = b->g->o->agent;
	size_t n = 0, at = 0, left = 0;
	int r;

	for (size_t i = 0; i < b->n; i++)
		if (!b->v[i].bad)
			b->digests[n++] = b->v[i].d;
	*ret_condemned = 0;
	if (n == 0)
		return 0;
	r = a->ops->gc_condemn(a, b->digests, n, b->spared);
	if (r < 0)
		return r;
	for (size_t i = 0; i < b->n; i++) {
		if (!b->v[i].bad && b->spared[at++]) {
			b->g->res->spared++;
			continue;
		}
		*ret_condemned += !b->v[i].bad;
		if (left != i)
			b->v[left] = b->v[i];
		left++;
	}
	b->n = left;
	return 0;
}

static void
on_refused(void *arg, const char *key, const char *why)
{
	struct gc_batch *b = arg;

	b->refused++;
	for (size_t i = 0; i < b->n; i++)
		if (streq(b->v[i].key, key))
			b->v[i].kept = true;
	gc_event(b->g, GC_UNDELETED, key, why);
}

/*
 * Whether it is certain that the store does nothing more of it: it answered
 * the first try, or refused all of it.  -EIO for some keys is an answer; for
 * all of them it could be anything.  Of many requests an error is the first
 * one's, and another may have had no answer.
 */
static bool
is_answered(const struct gc_batch *b, int r, uint64_t retries)
{
	if (r < 0 && b->g->o->single_deletes)
		return false;
	switch (r) {
	case 0:
		return retries == 0;
	case -EIO:
		return retries == 0 && b->refused < b->n;
	case -EACCES:
	case -EDQUOT:
	case -EPERM:
	case -EROFS:
		return retries == 0;
	default:
		return false;
	}
}

static uint64_t
retries_of(struct store *s)
{
	struct store_counts c;

	store_counts(s, &c);
	return c.retries;
}

static int
delete_all(struct gc_batch *b, size_t condemned, deadline_t deadline)
{
	struct gc *g = b->g;
	struct agent *a = g->o->agent;
	uint64_t retries = retries_of(g->store);
	int r, settled = 0;

	for (size_t i = 0; i < b->n; i++) {
		b->keys[i] = b->v[i].key;
		b->v[i].kept = false;
	}
	b->refused = 0;
	g->res->cache_removed += store_cache_forget(g->store, b->keys, b->n);
	r = store_delete(g->store, b->keys, b->n, on_refused, b, deadline);
	retries = retries_of(g->store) - retries;
	if (condemned > 0)
		settled = a->ops->gc_settle(a, is_answered(b, r, retries));
	for (size_t i = 0; i < b->n; i++) {
		if (b->v[i].kept)
			g->res->undeleted++;
		else if (r == 0 || b->refused > 0)
			count_removed(g->res, &b->v[i]);
	}
	b->failures = r == -EIO && b->refused >= b->n ? b->failures + 1 : 0;
	/* Some could not be deleted; that was said of each, and others may go
	 * all the same. */
	if (r == -EIO && b->failures < FAILURES_MAX)
		r = 0;
	return r < 0 ? r : settled < 0 ? settled : 0;
}

int
gc_batch_flush(struct gc_batch *b)
{
	struct agent *a = b->g->o->agent;
	deadline_t deadline;
	size_t condemned;
	int r = gc_stopped(b->g);

	while (r == 0 && b->n > 0) {
		/* What is condemned now may be referred to again so long after
		 * the answer that it allows for this deadline. */
		deadline = deadline_in(GUARD_DELETE_MS);
		r = condemn(b, &condemned);
		if (r < 0)
			return r;
		if (b->n == 0)
			break;
		if (deadline_left(deadline) < DELETE_MS_MIN) {
			/* It had to wait; nothing was sent. */
			if (condemned > 0)
				r = a->ops->gc_settle(a, true);
			r = r < 0 ? r : gc_stopped(b->g);
			continue;
		}
		r = delete_all(b, condemned, deadline);
		break;
	}
	b->n = 0;
	return r;
}

int
gc_batch_add(struct gc_batch *b, const char *key, const struct digest *d,
    uint64_t size)
{
	struct victim *x = &b->v[b->n];

	memset(x, 0, sizeof(*x));
	if (strlen(key) >= sizeof(x->key))
		return -EINVAL;
	memcpy(x->key, key, strlen(key) + 1);
	x->bad = d == NULL;
	if (d != NULL)
		x->d = *d;
	x->size = size;
	if (b->g->o->dry_run) {
		count_removed(b->g->res, x);
		gc_event(b->g, GC_WOULD, key, "");
		return 0;
	}
	return ++b->n == b->max ? gc_batch_flush(b) : 0;
}
