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

/* One draft after the other: what its journal says durably. */
struct durable {
	struct draft *d;
	uint64_t seq;		/* all changes of content up to here */
	int err;
};

static int
make_durable(struct durable *m, struct draft *d)
{
	struct journal *j;

	{
		LOCK(&d->lock);
		m->d = d;
		m->seq = d->seq;
		j = d->journal;
	}
	m->err = j != NULL ? journal_sync(j, 0) : 0;
	return m->err;
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

/* Whether more was changed in it than is known to be durable.  The lock is
 * held. */
static bool
is_newer(const struct durable *m, const struct inode *i)
{
	return i->content != NULL && content_mark(i->content) > m->seq;
}

/* The same, of what such a gap is now: a file that goes on being written need
 * not be synced for each of them. */
static bool
is_gap_newer(const struct durable *m, const struct inode *i,
    const uint64_t gap[2])
{
	uint64_t off = gap[0], end = gap[0] + gap[1];
	struct piece p;

	for (; i->content != NULL && off < end; off = p.off + p.len) {
		if (content_at(i->content, off, &p) < 0)
			return is_newer(m, i);
		if (p.seq > m->seq)
			return true;
	}
	return false;
}

/* i->data is held, so that gaps stay gaps. */
static int
punch_some(struct durable *m, struct inode *i, struct stage_file *f,
    uint64_t *pos, uint64_t end)
{
	uint64_t gaps[GAPS][2];
	bool newer = false;
	size_t n, k;
	int r = 0;

	{
		LOCK(&m->d->lock);
		n = find_gaps(i, pos, end, gaps);
		for (k = 0; k < n; k++)
			newer = newer || is_gap_newer(m, i, gaps[k]);
	}
	if (newer)
		r = make_durable(m, m->d);
	for (k = 0; k < n && r == 0; k++)
		r = staging_punch(f->fd, gaps[k][0], gaps[k][1]);
	return r;
}

static void
punch(struct durable *m, struct inode *i, const struct spill_range *g)
{
	uint64_t pos = g->off / BLOCK * BLOCK, end;
	struct stage_file *f;
	int r;

	if (__builtin_add_overflow(g->off, g->len + BLOCK - 1, &end))
		end = INT64_MAX;
	end = end / BLOCK * BLOCK;
	r = stage_get(g->d, i, NULL, &f);
	if (r == -ENOENT)
		return;
	while (r == 0 && pos < end)
		r = punch_some(m, i, f, &pos, end);
	if (r < 0)
		log_limited(LOG_LVL_WARN,
		    "staging area: cannot give back room: %s", strerror(-r));
	stage_put(g->d, i, f);
}

/* A closed file with nothing in it needs no staging file. */
static bool
is_empty(const struct durable *m, struct inode *i, bool *ret_newer)
{
	int fd;

	LOCK(&m->d->lock);
	if (!i->staged_file || i->nwrite > 0 ||
	    (i->stage != NULL && i->stage->refs > 0) ||
	    (i->content != NULL && content_staged(i->content) > 0))
		return false;
	*ret_newer = is_newer(m, i);
	i->staged_file = false;
	fd = stage_idle(i);
	if (fd >= 0)
		close(fd);
	return true;
}

static int
remove_file(struct draft *d, uint64_t ino, uint64_t *room)
{
	int r;

	/* Those of a group that was removed went with it. */
	r = d->dir >= 0 ? staging_remove(d->dir, ino) : 0;
	if (r == 0)
		*room += STAGING_FILE_COST;
	else if (r != -ENOENT)
		log_limited(LOG_LVL_WARN,
		    "staging area: cannot remove a file: %s", strerror(-r));
	return r;
}

static void
clean_inode(struct durable *m, struct inode *i, struct spill_range *g)
{
	bool newer;

	pthread_rwlock_wrlock(&i->data);
	if (is_empty(m, i, &newer)) {
		if (!newer || make_durable(m, m->d) == 0)
			(void)remove_file(m->d, i->ino, &g->bytes);
	} else if (g->len > 0) {
		punch(m, i, g);
	}
	pthread_rwlock_unlock(&i->data);
}

static void
clean_range(struct durable *m, struct spill_range *g)
{
	struct draft *d = g->d;
	struct inode *i;

	if (m->d != d)
		(void)make_durable(m, d);
	/* Without it the room stays taken, as the blocks do. */
	if (m->err < 0)
		return;
	i = inode_get(d, g->ino);
	if (i != NULL) {
		clean_inode(m, i, g);
		inode_put(d, i);
	}
	staging_release(d->all->staging, g->bytes);
}

static void
bury(struct spill *s, struct durable *m, struct spill_grave *g)
{
	uint64_t room = g->staged;

	if (m->d != g->d)
		(void)make_durable(m, g->d);
	if (m->err == 0) {
		(void)remove_file(g->d, g->ino, &room);
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
	struct durable m = {0};

	{
		LOCK(&s->lock);
		while ((g = RB_FIND(spill_graves, &s->graves, &key)) != NULL &&
		    g->busy)
			pthread_cond_wait(&s->cond, &s->lock);
		if (g == NULL)
			return 0;
		g->busy = true;
	}
	bury(s, &m, g);
	return m.err;
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
spill_keep_out(struct drafts *ds)
{
	struct spill *s = ds->spill;

	LOCK(&s->lock);
	s->kept_out++;
	while (s->cleaning)
		pthread_cond_wait(&s->cond, &s->lock);
}

void
spill_let_in(struct drafts *ds)
{
	struct spill *s = ds->spill;

	LOCK(&s->lock);
	s->kept_out--;
}

void
spill_clean(struct spill *s)
{
	struct spill_ranges ranges = STAILQ_HEAD_INITIALIZER(ranges);
	struct spill_grave *graves[GRAVES];
	struct durable m = {0};
	struct spill_range *g;
	size_t n, k;

	{
		LOCK(&s->lock);
		if (s->litter_since == 0 || s->kept_out > 0)
			return;
		s->cleaning = true;
		s->litter_since = 0;
		STAILQ_CONCAT(&ranges, &s->ranges);
	}
	while ((g = STAILQ_FIRST(&ranges)) != NULL) {
		STAILQ_REMOVE_HEAD(&ranges, link);
		clean_range(&m, g);
		free(g);
	}
	while ((n = take_graves(s, graves)) > 0) {
		m.d = NULL;
		for (k = 0; k < n; k++)
			bury(s, &m, graves[k]);
	}
	LOCK(&s->lock);
	s->cleaning = false;
	pthread_cond_broadcast(&s->cond);
}
