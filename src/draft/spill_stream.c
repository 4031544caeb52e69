/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/spill.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/num.h"
#include "draft/draft_priv.h"
#include "draft/io.h"
#include "pbs/chunker.h"
#include "pbs/names.h"

/* Looked at of an image at a time. */
#define SLOTS 256
/* A stream's run that is longer has a cut for certain, and a chunk more. */
#define RUN_SURE (SPILL_CHUNK_MAX + SPILL_CHUNK)
#define REWRITES 16

static enum spill_kind
kind_of_top(const char *name)
{
	static const char *const blobs[] = {".conf", ".log", ".json", ".key"};
	size_t k, len = strlen(name);

	for (k = 0; k < ARRAY_SIZE(blobs); k++) {
		size_t n = strlen(blobs[k]);

		if (len > n && strcmp(name + len - n, blobs[k]) == 0)
			return SPILL_BLOB;
	}
	if (len > 4 && strcmp(name + len - 4, ".img") == 0)
		return SPILL_IMAGE;
	return SPILL_STREAM;
}

/* The lock is held.  To be wrong costs uploads that are of no use, no more. */
static enum spill_kind
kind_of(const struct draft *d, const struct inode *i, uint64_t size)
{
	struct dentry *e;

	RB_FOREACH(e, dentries, &d->root->names) {
		if (e->child == i)
			return kind_of_top(e->name);
	}
	if (i->archive != NULL && !base_is_tree(i->archive)) {
		if (i->archive->kind == ARCHIVE_FIXED)
			return SPILL_IMAGE;
		return i->archive->kind == ARCHIVE_BLOB ? SPILL_BLOB :
		    SPILL_STREAM;
	}
	return size >= SPILL_LARGE ? SPILL_STREAM : SPILL_SMALL;
}

void
spill_look(struct spill_item *item, struct inode *i, struct spill_look *ret)
{
	struct draft *d = item->d;
	uint64_t chunked;

	LOCK(&d->lock);
	*ret = (struct spill_look){.size = inode_size_now(i)};
	ret->kind = kind_of(d, i, ret->size);
	ret->closed = i->nwrite == 0;
	ret->write_end = i->write_end;
	ret->idle = clock_mono_ms() - i->written_at >= SPILL_IDLE_MS;
	if (i->content == NULL)
		return;
	ret->staged = content_staged(i->content);
	chunked = content_chunked(i->content);
	/* A header that is written again at the end is nothing. */
	ret->hot = i->rewrites > REWRITES + chunked / SPILL_CHUNK / 4;
}

/* Where the part that is under way and holds off ends; or 0, and *end is
 * lowered to where the next one begins. */
static uint64_t
flying_end(const struct spill_item *item, uint64_t off, uint64_t *end)
{
	const struct spill_part *p;

	LIST_FOREACH(p, &item->flying, link) {
		if (p->p.off <= off && off < p->p.off + p->p.len)
			return p->p.off + p->p.len;
		if (p->p.off > off)
			*end = MIN(*end, p->p.off);
	}
	return 0;
}

int
spill_next_run(struct spill_item *item, struct inode *i, uint64_t from,
    uint64_t max, uint64_t *ret_off, uint64_t *ret_len)
{
	uint64_t end, skip;
	struct piece p;

	LOCK(&item->d->lock);
	do {
		end = UINT64_MAX;
		if (i->content == NULL ||
		    content_next(i->content, from, PIECE_STAGED, &p) < 0)
			return -ENXIO;
		from = MAX(from, p.off);
		skip = flying_end(item, from, &end);
		if (skip > 0)
			from = skip;
	} while (skip > 0);
	*ret_off = from;
	*ret_len = p.off + p.len - from;
	while (*ret_len < max && from + *ret_len < end &&
	    content_at(i->content, from + *ret_len, &p) == 0 &&
	    p.kind == PIECE_STAGED)
		*ret_len += p.len;
	*ret_len = MIN(*ret_len, end - from);
	*ret_len = MIN(*ret_len, max);
	return 0;
}

/* Whether the writer has gone on, or does so elsewhere. */
static bool
is_behind(const struct spill_look *l, enum spill_mode mode, uint64_t off,
    uint64_t end)
{
	if (mode >= SPILL_URGENT || l->idle)
		return true;
	if (mode == SPILL_TIGHT)
		return l->write_end <= off || l->write_end >= end;
	return l->write_end >= end + SPILL_CHUNK;
}

static int
upload(struct spill *s, struct spill_item *item, struct inode *i,
    uint64_t off, uint64_t len)
{
	_cleanup_(buf_unrefp) struct buf *plain = buf_new(len);
	uint64_t seq;
	int r;

	if (plain == NULL)
		return -ENOMEM;
	r = spill_read(item->d, i, off, len, plain->data, &seq);
	return r < 0 ? r :
	    spill_upload_range(s, item, plain, off, seq, PIECE_NATURAL);
}

/* What was found in the scratch buffer. */
static int
upload_scratch(struct spill *s, struct spill_item *item, uint64_t off,
    uint64_t len, uint64_t seq)
{
	_cleanup_(buf_unrefp) struct buf *plain = buf_copy(s->scratch, len);

	return plain == NULL ? -ENOMEM :
	    spill_upload_range(s, item, plain, off, seq, PIECE_NATURAL);
}

static int
natural_slots(struct spill *s, struct spill_item *item, struct inode *i,
    const struct spill_look *l, enum spill_mode mode)
{
	uint64_t off, len, slot, end;
	unsigned k;
	int r;

	if (mode >= SPILL_TIGHT)
		item->cursor = 0;
	for (k = 0; k < SLOTS; k++) {
		if (spill_next_run(item, i, item->cursor, SPILL_CHUNK_MAX,
		        &off, &len) < 0) {
			item->cursor = 0;
			return 0;
		}
		slot = (off + SPILL_CHUNK - 1) / SPILL_CHUNK * SPILL_CHUNK;
		end = slot + SPILL_CHUNK;
		/* The last one may be shorter, if no more comes. */
		if (end > l->size && slot < l->size &&
		    (l->closed || mode == SPILL_ALL))
			end = l->size;
		if (end > off + len || end > l->size) {
			item->cursor = off + len;
			continue;
		}
		item->cursor = end;
		if (!is_behind(l, mode, slot, end))
			continue;
		if (!spill_has_room(s))
			return -EAGAIN;
		r = upload(s, item, i, slot, end - slot);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Where the chunker cuts what begins at off; 0: not within len. */
static int
find_cut(struct spill *s, struct spill_item *item, struct inode *i,
    uint64_t off, uint64_t len, uint64_t *ret_cut, uint64_t *ret_seq)
{
	uint64_t n = 0, step, later;
	struct chunker c;
	size_t cut;
	int r;

	chunker_init(&c, CHUNKER_AVG_DATA);
	*ret_cut = 0;
	while (n < len) {
		step = MIN(len - n, MIB);
		r = spill_read(item->d, i, off + n, step, s->scratch + n,
		    n == 0 ? ret_seq : &later);
		if (r < 0)
			return r;
		cut = chunker_scan(&c, s->scratch + n, step);
		if (cut > 0) {
			*ret_cut = n + cut;
			return 0;
		}
		n += step;
	}
	return 0;
}

static int
natural_stream(struct spill *s, struct spill_item *item, struct inode *i,
    const struct spill_look *l, enum spill_mode mode)
{
	uint64_t from = 0, off, len, cut, seq;
	int r;

	while (spill_next_run(item, i, from, RUN_SURE, &off, &len) == 0) {
		from = off + len;
		if (len < RUN_SURE && mode < SPILL_TIGHT && !l->idle)
			continue;
		/* Nothing was found there, and there is not much more now. */
		if (off == item->barren && off + len <= item->barren_end +
		        MIB && mode < SPILL_ALL)
			continue;
		if (!spill_has_room(s))
			return -EAGAIN;
		r = find_cut(s, item, i, off, MIN(len, SPILL_CHUNK_MAX), &cut,
		    &seq);
		if (r < 0)
			return r;
		if (cut == 0) {
			item->barren = off;
			item->barren_end = off + len;
			continue;
		}
		from = off + cut;
		if (!is_behind(l, mode, off, from))
			continue;
		r = upload_scratch(s, item, off, cut, seq);
		if (r < 0)
			return r;
	}
	return 0;
}

int
spill_natural(struct spill *s, struct spill_item *item, struct inode *i,
    const struct spill_look *l, enum spill_mode mode)
{
	int r = 0;

	if (l->hot && mode < SPILL_TIGHT)
		return 0;
	if (l->kind == SPILL_IMAGE)
		r = natural_slots(s, item, i, l, mode);
	else if (l->kind == SPILL_STREAM)
		r = natural_stream(s, item, i, l, mode);
	/* It is being written: another time. */
	return r == -ESTALE ? 0 : r;
}
