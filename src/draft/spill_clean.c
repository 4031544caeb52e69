/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/spill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "draft/draft_priv.h"
#include "draft/io.h"
#include "draft/journal.h"
#include "draft/staging.h"

/*
 * Blocks and staging files that nobody needs any more go only when the journal
 * says so durably: after the host died, it would otherwise speak of bytes that
 * are not there.
 */

#define BLOCK 4096
#define GAPS 64
#define GRAVES 1024

static int
grave_cmp(const struct spill_grave *a, const struct spill_grave *b)
{
	if (a->d != b->d)
		return (uintptr_t)a->d < (uintptr_t)b->d ? -1 : 1;
	return (a->ino > b->ino) - (a->ino < b->ino);
}

#define UNUSED static __attribute__((unused))
RB_GENERATE_INTERNAL(spill_graves, spill_grave, link, grave_cmp, UNUSED)

/* The lock is held. */
static void
note_litter(struct spill *s)
{
	if (s->litter_since != 0)
		return;
	s->litter_since = MAX(clock_mono_ms(), 1);
	staging_wake(s->ds->staging);
}

void
spill_garbage(struct draft *d, uint64_t ino, uint64_t off, uint64_t len,
    uint64_t bytes)
{
	struct spill *s = d->all->spill;
	struct spill_range *g;

	if (bytes == 0 && len > 0)
		return;
	g = s != NULL ? malloc(sizeof(*g)) : NULL;
	/* The blocks stay until the next mount; their room does not. */
	if (g == NULL) {
		staging_release(d->all->staging, bytes);
		return;
	}
	*g = (struct spill_range){
	    .d = d, .ino = ino, .off = off, .len = len, .bytes = bytes};
	LOCK(&s->lock);
	STAILQ_INSERT_TAIL(&s->ranges, g, link);
	note_litter(s);
}

void
inode_bury(struct draft *d, uint64_t ino, uint64_t staged)
{
	struct spill *s = d->all->spill;
	struct spill_grave *g, *old;

	/* While journals are replayed nothing of it is in the accounts yet. */
	if (s == NULL)
		return;
	g = malloc(sizeof(*g));
	/* The next mount sweeps it away. */
	if (g == NULL) {
		staging_release(d->all->staging, staged);
		return;
	}
	*g = (struct spill_grave){.d = d, .ino = ino, .staged = staged};
	LOCK(&s->lock);
	old = RB_INSERT(spill_graves, &s->graves, g);
	if (old != NULL) {
		old->staged += staged;
		free(g);
	}
	note_litter(s);
}

static int
sync_journal(struct draft *d)
{
	struct journal *j;

	{
		LOCK(&d->lock);
		j = d->journal;
	}
	return j != NULL ? journal_sync(j, 0) : 0;
}

/* What is not STAGED of [*pos, end); *pos goes on behind. */
static size_t
find_gaps(const struct inode *i, uint64_t *pos, uint64_t end,
    uint64_t (*gaps)[2])
{
	struct piece p;
	size_t n = 0;

	while (*pos < end && n < GAPS) {
		if (i->content == NULL ||
		    content_next(i->content, *pos, PIECE_STAGED, &p) < 0)
			p.off = end, p.len = 0;
		if (p.off > *pos) {
			gaps[n][0] = *pos;
			gaps[n++][1] = MIN(p.off, end) - *pos;
		}
		*pos = MAX(p.off + p.len, *pos);
	}
	return n;
}

static void
punch(struct draft *d, struct inode *i, const struct spill_range *g)
{
	uint64_t pos = g->off / BLOCK * BLOCK, end, gaps[GAPS][2];
	struct stage_file *f;
	size_t n, k;
	int r;

	if (__builtin_add_overflow(g->off, g->len + BLOCK - 1, &end))
		end = INT64_MAX;
	end = end / BLOCK * BLOCK;
	r = stage_get(d, i, NULL, &f);
	if (r == -ENOENT)
		return;
	while (r == 0 && pos < end) {
		{
			LOCK(&d->lock);
			n = find_gaps(i, &pos, end, gaps);
		}
		for (k = 0; k < n && r == 0; k++)
			r = staging_punch(f->fd, gaps[k][0], gaps[k][1]);
	}
	if (r < 0)
		log_limited(LOG_LVL_WARN,
		    "staging area: cannot give back room: %s", strerror(-r));
	stage_put(d, i, f);
}

/* A closed file with nothing in it needs no staging file. */
static bool
is_empty(struct draft *d, struct inode *i)
{
	int fd;

	LOCK(&d->lock);
	if (!i->staged_file || i->nwrite > 0 ||
	    (i->stage != NULL && i->stage->refs > 0) ||
	    (i->content != NULL && content_staged(i->content) > 0))
		return false;
	i->staged_file = false;
	fd = stage_idle(i);
	if (fd >= 0)
		close(fd);
	return true;
}

static void
clean_inode(struct draft *d, struct inode *i, struct spill_range *g)
{
	int r;

	pthread_rwlock_wrlock(&i->data);
	if (is_empty(d, i)) {
		r = staging_remove(d->dir, i->ino);
		if (r == 0)
			g->bytes += STAGING_FILE_COST;
		else if (r != -ENOENT)
			log_limited(LOG_LVL_WARN,
			    "staging area: cannot remove a file: %s",
			    strerror(-r));
	} else if (g->len > 0) {
		punch(d, i, g);
	}
	pthread_rwlock_unlock(&i->data);
}

static void
clean_range(struct spill_range *g)
{
	struct draft *d = g->d;
	struct inode *i;

	/* Without it the room stays taken, as the blocks do. */
	if (sync_journal(d) < 0)
		return;
	{
		LOCK(&d->lock);
		i = inode_find(d, g->ino);
	}
	if (i != NULL) {
		clean_inode(d, i, g);
		{
			LOCK(&d->lock);
			inode_unref(d, i);
		}
		inode_reap(d);
	}
	staging_release(d->all->staging, g->bytes);
}

static void
bury(struct spill *s, struct spill_grave *g)
{
	uint64_t room = g->staged;
	int r;

	r = sync_journal(g->d);
	if (r == 0) {
		r = staging_remove(g->d->dir, g->ino);
		if (r == 0)
			room += STAGING_FILE_COST;
		else if (r != -ENOENT)
			log_limited(LOG_LVL_WARN,
			    "staging area: cannot remove a file: %s",
			    strerror(-r));
		staging_release(s->ds->staging, room);
	}
	{
		LOCK(&s->lock);
		RB_REMOVE(spill_graves, &s->graves, g);
		pthread_cond_broadcast(&s->cond);
	}
	free(g);
}

int
spill_exhume(struct draft *d, uint64_t ino)
{
	struct spill_grave key = {.d = d, .ino = ino}, *g;
	struct spill *s = d->all->spill;

	{
		LOCK(&s->lock);
		while ((g = RB_FIND(spill_graves, &s->graves, &key)) != NULL &&
		    g->busy)
			pthread_cond_wait(&s->cond, &s->lock);
		if (g == NULL)
			return 0;
		g->busy = true;
	}
	bury(s, g);
	return 0;
}

static size_t
take_graves(struct spill *s, struct spill_grave **v)
{
	struct spill_grave *g;
	size_t n = 0;

	LOCK(&s->lock);
	RB_FOREACH(g, spill_graves, &s->graves) {
		if (n == GRAVES)
			break;
		if (!g->busy) {
			g->busy = true;
			v[n++] = g;
		}
	}
	return n;
}

void
spill_clean(struct spill *s)
{
	struct spill_ranges ranges = STAILQ_HEAD_INITIALIZER(ranges);
	struct spill_grave *graves[GRAVES];
	struct spill_range *g;
	size_t n, k;

	{
		LOCK(&s->lock);
		if (s->litter_since == 0)
			return;
		s->litter_since = 0;
		STAILQ_CONCAT(&ranges, &s->ranges);
	}
	while ((g = STAILQ_FIRST(&ranges)) != NULL) {
		STAILQ_REMOVE_HEAD(&ranges, link);
		clean_range(g);
		free(g);
	}
	while ((n = take_graves(s, graves)) > 0) {
		for (k = 0; k < n; k++)
			bury(s, graves[k]);
	}
}
