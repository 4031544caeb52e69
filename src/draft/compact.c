/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/content.h"
#include "draft/draft_priv.h"
#include "draft/journal.h"

/* A transaction is ended beyond that. */
#define FRAME_LEN ((size_t)1 << 20)
/* Again when it is so many times as long as what it says. */
#define GROWTH 4

/* Transactions, one behind the other. */
struct frames {
	struct str all;
	size_t *lens;		/* owned */
	size_t n, size;
	size_t begin;		/* of the one that is being made */
};

static void
frames_fini(struct frames *f)
{
	str_fini(&f->all);
	free(f->lens);
}

static int
end_frame(struct frames *f)
{
	size_t *lens, size;

	if (f->all.len == f->begin)
		return 0;
	if (f->n == f->size) {
		size = MAX(16, 2 * f->size);
		lens = reallocarray(f->lens, size, sizeof(*lens));
		if (lens == NULL)
			return -ENOMEM;
		f->lens = lens;
		f->size = size;
	}
	f->lens[f->n++] = f->all.len - f->begin;
	f->begin = f->all.len;
	return 0;
}

static int
go_on(struct frames *f)
{
	return f->all.len - f->begin >= FRAME_LEN ? end_frame(f) : 0;
}

static int
add_piece(const struct draft *d, const struct inode *i, const struct piece *p,
    struct record *rec, struct str *out)
{
	rec->off = p->off;
	rec->len = p->len;
	switch (p->kind) {
	case PIECE_HOLE:
		rec->kind = REC_PUNCH;
		break;
	case PIECE_STAGED:
		rec->kind = REC_STAGED;
		break;
	case PIECE_LOST:
		rec->kind = REC_LOST;
		break;
	case PIECE_CHUNK:
		return log_chunk(d, i->ino, p, out);
	case PIECE_BASE:
		return 0;
	}
	rec->ino = i->ino;
	return record_add(out, rec);
}

/* As if it had been written now, piece by piece, over what the base has. */
static int
add_content(const struct draft *d, const struct inode *i, struct frames *f)
{
	struct record rec = {
	    .ino = i->ino,
	    .mtime_sec = i->mtime.tv_sec,
	    .mtime_nsec = (uint32_t)i->mtime.tv_nsec,
	};
	uint64_t pos, base = 0;
	struct piece p;
	int r;

	if (i->content == NULL)
		return 0;
	for (pos = 0; content_next(i->content, pos, PIECE_BASE, &p) == 0;
	    pos = p.off + p.len)
		base = p.off + p.len;
	rec.kind = REC_OWN;
	rec.len = base;
	r = record_add(&f->all, &rec);
	rec.kind = REC_SIZE;
	rec.len = content_size(i->content);
	if (r == 0)
		r = record_add(&f->all, &rec);
	for (pos = 0; r == 0 && content_at(i->content, pos, &p) == 0;
	    pos = p.off + p.len) {
		r = add_piece(d, i, &p, &rec, &f->all);
		if (r == 0)
			r = go_on(f);
	}
	return r;
}

static int
add_inode(struct draft *d, const struct inode *i, struct frames *f)
{
	int r;

	r = log_inode(d, i, &f->all);
	if (r == 0)
		r = add_content(d, i, f);
	/* The pieces told of the time of the content; the inode has its own. */
	if (r == 0 && i->content != NULL)
		r = log_attr(d, i, &f->all);
	return r == 0 ? go_on(f) : r;
}

static int
add_names(struct inode *dir, struct frames *f)
{
	struct dentry *e;
	int r = 0;

	RB_FOREACH(e, dentries, &dir->names) {
		r = log_name(dir, e->name, e->len, e->child, e->hides,
		    &f->all);
		if (r == 0)
			r = go_on(f);
		if (r < 0)
			break;
	}
	return r;
}

/* With the lock, after the head. */
static int
add_all(struct draft *d, struct frames *f)
{
	struct record rec = {
	    .kind = REC_PUBLISHING,
	    .time = d->unsettled_time,
	    .digest = d->unsettled_manifest,
	};
	struct inode *i;
	int r = 0;

	RB_FOREACH(i, inodes_by_ino, &d->inos) {
		if (r == 0 && i->logged)
			r = add_inode(d, i, f);
	}
	RB_FOREACH(i, inodes_by_ino, &d->inos) {
		if (r == 0 && i->logged)
			r = add_names(i, f);
	}
	if (r == 0 && d->unsettled)
		r = record_add(&f->all, &rec);
	if (r == 0)
		r = end_frame(f);
	return r == 0 ? str_error(&f->all) : r;
}

static int
compact(struct draft *d)
{
	_cleanup_(frames_fini) struct frames f = {0};
	int r;

	r = log_head(d, d->base, 0, &f.all);
	if (r == 0)
		r = end_frame(&f);
	if (r == 0) {
		LOCK(&d->lock);
		r = add_all(d, &f);
	}
	if (r == 0)
		r = journal_rewrite(d->journal, f.all.s, f.lens, f.n);
	return r;
}

int
draft_compact(struct draft *d)
{
	uint64_t size;
	int r;

	{
		LOCK(&d->lock);
		if (d->journal == NULL || d->frozen > 0 || d->compacting ||
		    d->making ||
		    journal_size(d->journal) <= d->compact_at)
			return 0;
		d->compacting = true;
		d->frozen++;
		while (d->inside > 0)
			pthread_cond_wait(&d->cond, &d->lock);
	}
	r = compact(d);
	size = journal_size(d->journal);
	LOCK(&d->lock);
	/* Nothing is lost by a journal that is too long. */
	if (r < 0)
		log_warn("%s/%s: rewriting the journal: %s",
		    backup_type_name(d->group.type), d->group.id,
		    strerror(-r));
	d->compact_at = MAX(JOURNAL_COMPACT_MIN, GROWTH * size);
	d->compacting = false;
	d->frozen--;
	pthread_cond_broadcast(&d->cond);
	return r;
}
