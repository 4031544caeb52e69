/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/guard.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "repo/guard_file.h"
#include "repo/known.h"
#include "repo/known_set.h"

/* Batches that nobody has seen answered, before a collector has to wait. */
#define BATCHES 8
#define DOOMED_MAX ((BATCHES + 1) * GUARD_BATCH_MAX)
/* A tree that somebody has may be so old. */
#define RECENT_S 3600

/* What is being deleted. */
struct batch {
	uint64_t since;		/* ms: that it was not answered; 0: it is the
				 * collector's still */
	size_t n;
	struct digest v[];	/* sorted */
};

/*
 * Holds and marks are those of one of two epochs, as in userspace RCU: a mark
 * of the current one was made while there were holds of both, one of the last
 * while there were holds of that and of one before, which are all released.  So
 * if the last has no hold any more, its marks go, and the current one becomes
 * the last.
 */
struct epoch {
	uint64_t holds;
	struct known_set marks;
};

struct guard {
	char *path;		/* owned; NULL: none */
	struct known *known;	/* borrowed, or NULL; its lock comes after ours,
				 * and is not taken within it */

	pthread_mutex_t lock;	/* guards all below */
	pthread_cond_t changed;	/* of what is doomed, and of what follows */
	bool shutdown;
	unsigned waiting;	/* marks that wait, since changed was told */
	bool busy;		/* the collector's thread is in here */
	bool collecting;
	bool wrote;		/* this collection has written the file */
	uint64_t now;		/* number of the current epoch */
	struct epoch last, cur;
	uint64_t grace;		/* ms */
	uint64_t distrust;	/* ms: since when; 0 */
	/* Owned; the one that is the collector's is the last. */
	struct batch *batches[BATCHES + 1];
	size_t n;
};

/* With the lock, as all but what is said to be without. */
static deadline_t
end_of(const struct guard *g, uint64_t since)
{
	uint64_t end;

	/* 0 is never. */
	return __builtin_add_overflow(since, g->grace, &end) ? 0 : MAX(end, 1);
}

static void
tell(struct guard *g)
{
	g->waiting = 0;
	pthread_cond_broadcast(&g->changed);
}

static void
drop_batch(struct guard *g, size_t i)
{
	free(g->batches[i]);
	g->n--;
	memmove(&g->batches[i], &g->batches[i + 1],
	    (g->n - i) * sizeof(g->batches[0]));
	tell(g);
}

/* What has waited long enough. */
static void
expire(struct guard *g)
{
	size_t i = 0;

	while (i < g->n) {
		uint64_t since = g->batches[i]->since;

		if (since != 0 && deadline_left(end_of(g, since)) == 0)
			drop_batch(g, i);
		else
			i++;
	}
	if (g->distrust != 0 && deadline_left(end_of(g, g->distrust)) == 0)
		g->distrust = 0;
}

/* Whether d may be deleted at any moment, and to which one that lasts at
 * least; 0: until it is settled. */
static bool
is_doomed(struct guard *g, const struct digest *d, deadline_t *ret)
{
	expire(g);
	for (size_t i = g->n; i-- > 0;) {
		const struct batch *b = g->batches[i];

		if (bsearch(d, b->v, b->n, sizeof(*d), digest_cmp) == NULL)
			continue;
		*ret = b->since != 0 ? end_of(g, b->since) : 0;
		return true;
	}
	if (g->distrust == 0)
		return false;
	*ret = end_of(g, g->distrust);
	return true;
}

/* What is not needed any more. */
static void
tidy(struct guard *g)
{
	if (g->collecting)
		return;
	if (g->last.holds == 0) {
		struct epoch e = g->last;

		known_set_clear(&e.marks);
		g->last = g->cur;
		g->cur = e;
		g->now++;
	}
	if (g->last.holds == 0 && g->cur.holds == 0)
		known_set_clear(&g->last.marks);
}

uint64_t
guard_hold(struct guard *g)
{
	if (g == NULL)
		return 0;
	LOCK(&g->lock);
	g->cur.holds++;
	return g->now;
}

void
guard_release(struct guard *g, uint64_t hold)
{
	struct epoch *e;

	if (g == NULL || hold == 0)
		return;
	LOCK(&g->lock);
	assert(hold == g->now || hold == g->now - 1);
	e = hold == g->now ? &g->cur : &g->last;
	assert(e->holds > 0);
	e->holds--;
	tidy(g);
}

int
guard_mark(struct guard *g, const struct digest *d)
{
	deadline_t until;
	int r;

	if (g == NULL)
		return 0;
	LOCK(&g->lock);
	assert(g->cur.holds + g->last.holds > 0);
	while (!g->shutdown && is_doomed(g, d, &until)) {
		g->waiting++;
		cond_wait_until(&g->changed, &g->lock, until);
		g->waiting -= g->waiting > 0;
	}
	if (g->shutdown)
		return -ESHUTDOWN;
	r = known_set_add(&g->cur.marks, d);
	return MIN(r, 0);
}

static bool
is_marked(const struct guard *g, const struct digest *d)
{
	return known_set_has(&g->cur.marks, d) ||
	    known_set_has(&g->last.marks, d);
}

bool
guard_is_marked(struct guard *g, const struct digest *d)
{
	LOCK(&g->lock);
	return is_marked(g, d);
}

unsigned
guard_waiting(struct guard *g)
{
	LOCK(&g->lock);
	return g->waiting;
}

/* One call of the collector at a time. */
static void
enter(struct guard *g)
{
	while (g->busy)
		pthread_cond_wait(&g->changed, &g->lock);
	g->busy = true;
}

static void
leave(struct guard *g)
{
	g->busy = false;
	tell(g);
}

/* The batch that is the collector's; or NULL. */
static struct batch *
open_batch(const struct guard *g)
{
	struct batch *b = g->n > 0 ? g->batches[g->n - 1] : NULL;

	return b != NULL && b->since == 0 ? b : NULL;
}

int
guard_begin(struct guard *g)
{
	LOCK(&g->lock);

	if (g->shutdown)
		return -ESHUTDOWN;
	if (g->collecting)
		return -EBUSY;
	g->collecting = true;
	g->wrote = false;
	return 0;
}

/* All that is doomed; without the lock, but of who is busy. */
static int
write_file(struct guard *g)
{
	struct digest *all;
	size_t n = 0;
	int r;

	if (g->path == NULL)
		return 0;
	all = calloc(DOOMED_MAX, sizeof(*all));
	if (all == NULL)
		return -ENOMEM;
	{
		LOCK(&g->lock);

		expire(g);
		for (size_t i = 0; i < g->n; i++) {
			const struct batch *b = g->batches[i];

			memcpy(all + n, b->v, b->n * sizeof(*all));
			n += b->n;
		}
	}
	r = guard_file_write(g->path, all, n);
	if (r < 0)
		log_err("%s: cannot note what is being deleted: %s", g->path,
		    strerror(-r));
	free(all);
	return r;
}

static int
wait_for_place(struct guard *g)
{
	for (;;) {
		if (g->shutdown)
			return -ESHUTDOWN;
		expire(g);
		if (g->n < ARRAY_SIZE(g->batches))
			return 0;
		cond_wait_until(&g->changed, &g->lock,
		    end_of(g, g->batches[0]->since));
	}
}

/* From now on who marks one of them waits. */
static int
choose(struct guard *g, const struct digest *d, size_t n, bool *spared,
    struct batch *b)
{
	LOCK(&g->lock);
	int r;

	if (!g->collecting || open_batch(g) != NULL)
		return -EINVAL;
	r = wait_for_place(g);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		spared[i] = is_marked(g, &d[i]);
		if (!spared[i])
			b->v[b->n++] = d[i];
	}
	qsort(b->v, b->n, sizeof(b->v[0]), digest_cmp);
	if (b->n > 0)
		g->batches[g->n++] = b;
	return 0;
}

/* Not deleted after all, if anything fails: then some are known no more, which
 * costs uploads. */
static int
write_down(struct guard *g, const struct batch *b)
{
	int r = 0;

	if (g->known != NULL)
		r = known_condemn(g->known, b->v, b->n);
	if (r == 0)
		r = write_file(g);
	LOCK(&g->lock);
	g->wrote = true;
	if (r < 0)
		drop_batch(g, g->n - 1);
	return r;
}

int
guard_condemn(struct guard *g, const struct digest *d, size_t n, bool *spared)
{
	struct batch *b;
	int r;

	if (n > GUARD_BATCH_MAX)
		return -EINVAL;
	b = calloc(1, sizeof(*b) + n * sizeof(b->v[0]));
	if (b == NULL)
		return -ENOMEM;
	{
		LOCK(&g->lock);
		enter(g);
	}
	r = choose(g, d, n, spared, b);
	if (r < 0 || b->n == 0)
		free(b);
	else
		r = write_down(g, b);
	LOCK(&g->lock);
	leave(g);
	return r;
}

static int
settle(struct guard *g, bool answered)
{
	struct batch *b = open_batch(g);

	if (b == NULL)
		return 1;
	if (answered) {
		drop_batch(g, g->n - 1);
		return 0;
	}
	b->since = MAX(clock_mono_ms(), (uint64_t)1);
	tell(g);
	return 0;
}

int
guard_settle(struct guard *g, bool answered)
{
	LOCK(&g->lock);
	int r;

	enter(g);
	r = settle(g, answered);
	leave(g);
	return r;
}

void
guard_end(struct guard *g)
{
	bool wrote;

	{
		LOCK(&g->lock);
		enter(g);
		(void)settle(g, false);
		wrote = g->wrote;
	}
	/* What is in it for nothing delays the next process a little. */
	if (wrote)
		(void)write_file(g);
	LOCK(&g->lock);
	g->collecting = false;
	tidy(g);
	leave(g);
}

bool
guard_is_collecting(struct guard *g)
{
	LOCK(&g->lock);
	return g->collecting;
}

void
guard_distrust(struct guard *g)
{
	LOCK(&g->lock);
	g->distrust = MAX(clock_mono_ms(), (uint64_t)1);
}

void
guard_set_grace(struct guard *g, uint64_t ms)
{
	LOCK(&g->lock);
	g->grace = ms;
	tell(g);
}

/* It is known no more, once again: who wrote it down may not have come so
 * far. */
static int
load_batches(struct guard *g, const struct digest *v, size_t n)
{
	struct batch *b;
	size_t m;
	int r;

	r = g->known != NULL ? known_condemn(g->known, v, n) : 0;
	/* If its file cannot be written no more are condemned, but these are
	 * known no more. */
	if (r == -ENOMEM)
		return r;
	for (; n > 0; v += m, n -= m) {
		m = MIN(n, (size_t)GUARD_BATCH_MAX);
		b = calloc(1, sizeof(*b) + m * sizeof(b->v[0]));
		if (b == NULL)
			return -ENOMEM;
		b->since = MAX(clock_mono_ms(), (uint64_t)1);
		b->n = m;
		memcpy(b->v, v, m * sizeof(*v));
		qsort(b->v, m, sizeof(*v), digest_cmp);
		g->batches[g->n++] = b;
	}
	return 0;
}

/* Before anybody else has g. */
static int
load(struct guard *g)
{
	_cleanup_free_ struct digest *v = NULL;
	struct stat st;
	size_t n;
	int r;

	r = guard_file_read(g->path, DOOMED_MAX, &v, &n);
	if (r == 1)
		return 0;
	if (r < 0 && r != -ENOMEM) {
		log_warn("%s: cannot read what was being deleted: %s\n"
		    "hint: nothing is uploaded for %u seconds, in case a "
		    "delete is still under way", g->path,
		    r == -EBADMSG ? "it is damaged" : strerror(-r),
		    GUARD_GRACE_MS / 1000);
		guard_distrust(g);
		return 0;
	}
	if (r < 0)
		return r;
	r = load_batches(g, v, n);
	/* Who has listed snapshots before that may know some that are gone, and
	 * their chunks with them. */
	if (r == 0 && g->known != NULL && stat(g->path, &st) == 0 &&
	    st.st_mtime > clock_real_s() - RECENT_S)
		(void)known_condemn(g->known, NULL, 0);
	return r;
}

int
guard_new(const char *path, struct known *known, struct guard **ret)
{
	struct guard *g = calloc(1, sizeof(*g));
	int r;

	if (g == NULL)
		return -ENOMEM;
	g->known = known;
	g->grace = GUARD_GRACE_MS;
	g->now = 2;
	pthread_mutex_init(&g->lock, NULL);
	r = cond_init(&g->changed);
	if (r < 0) {
		pthread_mutex_destroy(&g->lock);
		free(g);
		return r;
	}
	r = known_set_init(&g->last.marks, SIZE_MAX);
	if (r == 0)
		r = known_set_init(&g->cur.marks, SIZE_MAX);
	if (r == 0 && path != NULL) {
		g->path = strdup(path);
		r = g->path == NULL ? -ENOMEM : load(g);
	}
	if (r < 0) {
		guard_free(g);
		return r;
	}
	*ret = g;
	return 0;
}

void
guard_shutdown(struct guard *g)
{
	if (g == NULL)
		return;
	LOCK(&g->lock);
	g->shutdown = true;
	tell(g);
}

void
guard_free(struct guard *g)
{
	if (g == NULL)
		return;
	while (g->n > 0)
		free(g->batches[--g->n]);
	known_set_fini(&g->last.marks);
	known_set_fini(&g->cur.marks);
	pthread_cond_destroy(&g->changed);
	pthread_mutex_destroy(&g->lock);
	free(g->path);
	free(g);
}
