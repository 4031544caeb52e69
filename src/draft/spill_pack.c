/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/spill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/num.h"
#include "draft/draft_priv.h"
#include "draft/io.h"
#include "draft/pack_walk.h"
#include "pbs/pxar_writer.h"

#define PARTS_MAX 4096
/* The last files of a walk are not worth a chunk of their own, if there is no
 * need. */
#define PACK_MIN MIB
#define ITEMS_MAX 256
#define ROUNDS 64

/* A chunk that is being filled, in the scratch buffer. */
struct pack_part {
	struct spill_item *item;
	uint64_t off, len, seq, skip;
};
struct pack {
	struct spill *s;
	struct draft *d;
	struct pack_part *parts;	/* owned: PARTS_MAX */
	size_t n;
	uint64_t fill;
	uint64_t staged;
	uint64_t sent;			/* staged bytes that were submitted */
	unsigned flags;			/* of pieces */
};

static int
pack_init(struct pack *k, struct spill *s, unsigned flags)
{
	*k = (struct pack){.s = s, .flags = flags};
	k->parts = malloc(PARTS_MAX * sizeof(*k->parts));
	return k->parts != NULL ? 0 : -ENOMEM;
}

static void
pack_empty(struct pack *k)
{
	k->n = 0;
	k->fill = 0;
	k->staged = 0;
}

static int
pack_job(struct pack *k, struct spill_job **ret)
{
	struct spill_job *j;
	size_t n;
	int r;

	r = spill_job_new(k->s, k->d, k->n, &j);
	if (r < 0)
		return r;
	j->plain = buf_copy(k->s->scratch, k->fill);
	if (j->plain == NULL) {
		spill_job_free(j);
		return -ENOMEM;
	}
	j->bytes = k->staged;
	j->n = k->n;
	for (n = 0; n < k->n; n++) {
		const struct pack_part *p = &k->parts[n];

		j->parts[n] = (struct spill_part){
		    .item = p->item,
		    .seq = p->seq,
		    .p = {
		        .kind = PIECE_CHUNK,
		        .off = p->off,
		        .len = p->len,
		        .chunk_size = (uint32_t)k->fill,
		        .skip = (uint32_t)p->skip,
		        .flags = k->flags,
		    },
		};
		LIST_INSERT_HEAD(&p->item->flying, &j->parts[n], link);
	}
	*ret = j;
	return 0;
}

static int
pack_flush(struct pack *k)
{
	struct spill_job *j;
	uint64_t staged = k->staged;
	int r = 0;

	if (k->n > 0) {
		r = pack_job(k, &j);
		if (r == 0)
			r = spill_submit(k->s, j);
		/* It is stalled, and will go. */
		if (r == 0 || r == -EAGAIN)
			k->sent += staged;
	}
	pack_empty(k);
	return r;
}

/* Bytes of a file behind what is there; -ESTALE: they are being written. */
static int
pack_add(struct pack *k, struct spill_item *item, struct inode *i,
    uint64_t off, uint64_t len)
{
	uint64_t head = k->flags & PIECE_PACKED ? PXAR_PAYLOAD_HEADER_LEN : 0;
	uint8_t *at;
	uint64_t seq;
	int r;

	if (k->n == PARTS_MAX || k->fill + head + len > SPILL_CHUNK_MAX) {
		r = pack_flush(k);
		if (r < 0)
			return r;
	}
	at = k->s->scratch + k->fill;
	r = spill_read(k->d, i, off, len, at + head, &seq);
	if (r < 0)
		return r;
	if (head > 0)
		pxar_payload_header(len, at);
	k->parts[k->n++] = (struct pack_part){
	    .item = item,
	    .off = off,
	    .len = len,
	    .seq = seq,
	    .skip = k->fill + head,
	};
	k->fill += head + len;
	k->staged += len;
	return k->fill >= SPILL_CHUNK ? pack_flush(k) : 0;
}

/* A file that the walk came by. */
static int
pack_file(struct pack *k, uint64_t ino, uint64_t size)
{
	struct spill_item *item = spill_item_get(k->s, k->d, ino);
	struct inode *i;
	int r;

	if (item == NULL)
		return -ENOMEM;
	if (!LIST_EMPTY(&item->flying))
		return 0;
	i = inode_get(k->d, ino);
	if (i == NULL)
		return 0;
	r = pack_add(k, item, i, 0, size);
	inode_put(k->d, i);
	return r == -ESTALE ? 0 : r;
}

static int
pack_files(struct pack *k, const struct pack_found *v, size_t n, uint64_t want)
{
	size_t m;
	int r = 0;

	for (m = 0; m < n && r == 0; m++) {
		if (k->sent >= want || !spill_has_room(k->s))
			return -EAGAIN;
		r = pack_file(k, v[m].ino, v[m].size);
	}
	return r;
}

uint64_t
spill_pack(struct spill *s, struct draft *d, enum spill_mode mode,
    uint64_t want)
{
	uint64_t cold = mode >= SPILL_URGENT ? 0 : SPILL_COLD_MS;
	struct pack_found found[PACK_FOUND];
	struct pack k;
	size_t n;
	int r;

	if (pack_init(&k, s, PIECE_PACKED) < 0)
		return 0;
	k.d = d;
	if (s->walk != NULL && pack_walk_draft(s->walk) != d)
		spill_pack_stop(s);
	r = s->walk == NULL ? pack_walk_new(d, &s->walk) : 0;
	while (r == 0) {
		r = pack_walk_next(s->walk, cold, found, &n);
		if (r == 0)
			r = pack_files(&k, found, n, want);
	}
	if ((k.fill >= PACK_MIN || mode >= SPILL_URGENT) && spill_has_room(s))
		(void)pack_flush(&k);
	if (r != -EAGAIN)
		spill_pack_stop(s);
	free(k.parts);
	return k.sent;
}

void
spill_pack_stop(struct spill *s)
{
	pack_walk_free(s->walk);
	s->walk = NULL;
}

static int
gather_runs(struct pack *k, struct spill_item *item, struct inode *i,
    uint64_t want)
{
	uint64_t from = 0, off, len;
	int r = 0;

	while (r == 0 && k->sent < want &&
	    spill_next_run(item, i, from, SPILL_CHUNK, &off, &len) == 0) {
		if (!spill_has_room(k->s))
			return -EAGAIN;
		/* Not flying yet, so it would be found again. */
		from = off + len;
		r = pack_add(k, item, i, off, len);
		if (r == -ESTALE)
			r = 0;
	}
	return r;
}

int
spill_gather_file(struct spill *s, struct spill_item *item, struct inode *i)
{
	struct pack k;
	int r;

	r = pack_init(&k, s, 0);
	if (r < 0)
		return r;
	k.d = item->d;
	r = gather_runs(&k, item, i, UINT64_MAX);
	if (r == 0)
		r = pack_flush(&k);
	free(k.parts);
	return r;
}

/* The oldest of all queues. */
static size_t
oldest(struct spill *s, struct spill_item **v, size_t max)
{
	struct spill_item *next[3];
	size_t n = 0, k, best;

	LOCK(&s->lock);
	next[0] = TAILQ_FIRST(&s->small.head);
	next[1] = TAILQ_FIRST(&s->large.head);
	next[2] = TAILQ_FIRST(&s->fresh.head);
	while (n < max) {
		best = 3;
		for (k = 0; k < 3; k++) {
			if (next[k] != NULL && (best == 3 ||
			        next[k]->when < next[best]->when))
				best = k;
		}
		if (best == 3)
			break;
		v[n++] = next[best];
		next[best] = TAILQ_NEXT(next[best], order);
	}
	return n;
}

static bool
has_staged(struct draft *d, const struct inode *i)
{
	LOCK(&d->lock);
	return i->content != NULL && content_staged(i->content) > 0;
}

/* No part of the item is in the pack yet.  One that nothing is staged of any
 * more goes, and counts. */
static int
gather_file(struct pack *k, struct spill_item *item, uint64_t want,
    unsigned *gone)
{
	struct inode *i = inode_get(k->d, item->ino);
	uint64_t when;
	int r = 0;

	{
		LOCK(&k->s->lock);
		when = item->when;
	}
	if (i != NULL && has_staged(k->d, i))
		r = gather_runs(k, item, i, want);
	else if (spill_item_over(k->s, item, i, when))
		++*gone;
	if (i != NULL)
		inode_put(k->d, i);
	return r;
}

/* Counts what is not there, or not first, any more. */
static int
gather_item(struct pack *k, struct spill_item *item, uint64_t want,
    unsigned *gone)
{
	int r;

	if (k->d != item->d) {
		r = pack_flush(k);
		if (k->d != NULL)
			spill_end(k->s, k->d);
		k->d = NULL;
		if (r < 0)
			return r;
		if (!spill_begin(k->s, item->d)) {
			spill_item_pass(k->s, item);
			++*gone;
			return 0;
		}
		k->d = item->d;
	}
	return gather_file(k, item, want, gone);
}

/* True if the next ones are to be looked at, too. */
static bool
gather_some(struct pack *k, uint64_t want)
{
	struct spill_item *v[ITEMS_MAX];
	unsigned gone = 0;
	size_t n, m;
	int r = 0;

	n = oldest(k->s, v, ITEMS_MAX);
	for (m = 0; m < n && r == 0 && k->sent < want; m++)
		r = gather_item(k, v[m], want, &gone);
	if (r == 0 && k->d != NULL)
		r = pack_flush(k);
	return r == 0 && n == ITEMS_MAX && gone > 0 && k->sent < want;
}

uint64_t
spill_gather(struct spill *s, uint64_t want)
{
	struct pack k;
	unsigned n;

	if (pack_init(&k, s, 0) < 0)
		return 0;
	for (n = 0; n < ROUNDS && gather_some(&k, want); n++)
		;
	if (k.d != NULL)
		spill_end(s, k.d);
	free(k.parts);
	return k.sent;
}
