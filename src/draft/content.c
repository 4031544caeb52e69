/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/content.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include <bsd/sys/tree.h>

#include "base/num.h"

/*
 * A piece is in two trees, both ordered by offset: all pieces, and those of its
 * kind, so that the next one of a kind is found without looking at the others.
 * Its kind never changes, and cutting and joining keep the order, so a piece
 * may be changed where it is.
 */
struct node {
	RB_ENTRY(node) by_off;
	RB_ENTRY(node) by_kind;
	struct piece p;
};
RB_HEAD(pieces, node);
RB_HEAD(kindred, node);

#define KINDS (PIECE_LOST + 1)

/* What one change may need: the new piece, and either a hole before it or the
 * far end of the piece that it lies in the middle of. */
#define CHANGE_MAX 2
/* And for a new end of the file after that. */
#define SPARE_MAX (CHANGE_MAX + 1)

struct content {
	struct pieces all;
	struct kindred of[KINDS];
	uint64_t bytes[KINDS];
	uint64_t blocks;	/* with STAGED bytes */
	size_t count;
	uint64_t size;
	uint64_t changed;	/* seq of the last change */
	uint64_t mark;		/* seq: older and newer are not joined */
	/* Set aside before a change begins, which then cannot fail. */
	struct node *spare[SPARE_MAX];
	size_t n_spare;
};

static int
node_cmp(const struct node *a, const struct node *b)
{
	return (a->p.off > b->p.off) - (a->p.off < b->p.off);
}

#define UNUSED static __attribute__((unused))
RB_GENERATE_INTERNAL(pieces, node, by_off, node_cmp, UNUSED)
RB_GENERATE_INTERNAL(kindred, node, by_kind, node_cmp, UNUSED)

static uint64_t
end_of(const struct node *n)
{
	return n->p.off + n->p.len;
}

/* The piece that holds off, which is below the size. */
static struct node *
find(const struct content *c, uint64_t off)
{
	struct node *n = RB_ROOT(&c->all);

	assert(off < c->size);
	while (off < n->p.off || off >= end_of(n))
		n = off < n->p.off ? RB_LEFT(n, by_off) : RB_RIGHT(n, by_off);
	return n;
}

static int
reserve(struct content *c, size_t n)
{
	while (c->n_spare < n) {
		struct node *spare = calloc(1, sizeof(*spare));

		if (spare == NULL)
			return -ENOMEM;
		c->spare[c->n_spare++] = spare;
	}
	return 0;
}

int
content_reserve(struct content *c)
{
	return reserve(c, SPARE_MAX);
}

static void
drop(struct content *c, struct node *n)
{
	RB_REMOVE(pieces, &c->all, n);
	RB_REMOVE(kindred, &c->of[n->p.kind], n);
	c->bytes[n->p.kind] -= n->p.len;
	c->count--;
	if (c->n_spare < SPARE_MAX)
		c->spare[c->n_spare++] = n;
	else
		free(n);
}

/* Of reserved memory, where there is a gap. */
static struct node *
insert(struct content *c, const struct piece *p)
{
	struct node *n;

	assert(c->n_spare > 0);
	n = c->spare[--c->n_spare];
	n->p = *p;
	RB_INSERT(pieces, &c->all, n);
	RB_INSERT(kindred, &c->of[p->kind], n);
	c->bytes[p->kind] += p->len;
	c->count++;
	return n;
}

/* [from, to) of a piece. */
static struct piece
cut(const struct piece *p, uint64_t from, uint64_t to)
{
	struct piece r = *p;
	uint64_t skip = from - p->off;

	r.off = from;
	r.len = to - from;
	if (p->kind == PIECE_BASE)
		r.base_off += skip;
	if (p->kind == PIECE_CHUNK) {
		r.skip += (uint32_t)skip;
		r.flags &= ~(unsigned)PIECE_NATURAL;
		if (skip > 0)
			r.flags &= ~(unsigned)PIECE_PACKED;
	}
	return r;
}

static void
shorten(struct content *c, struct node *n, uint64_t from, uint64_t to)
{
	c->bytes[n->p.kind] -= n->p.len - (to - from);
	n->p = cut(&n->p, from, to);
}

/* Leaves a gap at [off, end), where off is below the size. */
static void
carve(struct content *c, uint64_t off, uint64_t end)
{
	struct node *n = find(c, off), *next;

	if (n->p.off < off) {
		struct piece far;

		next = RB_NEXT(pieces, &c->all, n);
		if (end_of(n) > end) {
			far = cut(&n->p, end, end_of(n));
			shorten(c, n, n->p.off, off);
			insert(c, &far);
			return;
		}
		shorten(c, n, n->p.off, off);
		n = next;
	}
	while (n != NULL && n->p.off < end) {
		next = RB_NEXT(pieces, &c->all, n);
		if (end_of(n) > end)
			shorten(c, n, end, end_of(n));
		else
			drop(c, n);
		n = next;
	}
}

static bool
fits(const struct content *c, const struct piece *a, const struct piece *b)
{
	if (a->kind != b->kind || a->kind == PIECE_CHUNK)
		return false;
	if ((a->seq > c->mark) != (b->seq > c->mark))
		return false;
	return a->kind != PIECE_BASE || a->base_off + a->len == b->base_off;
}

static struct node *
join(struct content *c, struct node *a, struct node *b)
{
	if (a == NULL || b == NULL || !fits(c, &a->p, &b->p))
		return b;
	a->p.seq = MAX(a->p.seq, b->p.seq);
	a->p.len += b->p.len;
	/* Which drop takes off again. */
	c->bytes[a->p.kind] += b->p.len;
	drop(c, b);
	return a;
}

/* Into a gap; of reserved memory. */
static void
put(struct content *c, const struct piece *p)
{
	struct node *n = insert(c, p);

	n = join(c, RB_PREV(pieces, &c->all, n), n);
	join(c, n, RB_NEXT(pieces, &c->all, n));
}

static void
put_plain(struct content *c, enum piece_kind kind, uint64_t off, uint64_t end,
    uint64_t seq)
{
	const struct piece p = {
	    .kind = kind, .off = off, .len = end - off, .seq = seq};

	put(c, &p);
}

/* The file is not any more what a packed header was written for. */
static void
changed(struct content *c, uint64_t seq)
{
	struct node *n = RB_MIN(pieces, &c->all);

	c->changed = MAX(c->changed, seq);
	if (n != NULL)
		n->p.flags &= ~(unsigned)PIECE_PACKED;
}

static bool
range_end(uint64_t off, uint64_t len, uint64_t *ret)
{
	return !__builtin_add_overflow(off, len, ret) && *ret <= INT64_MAX;
}

/* Blocks that [off, end) lies in. */
static uint64_t
blocks_of(uint64_t off, uint64_t end)
{
	return (end + CONTENT_BLOCK - 1) / CONTENT_BLOCK - off / CONTENT_BLOCK;
}

/* Those of them with STAGED bytes. */
static uint64_t
staged_blocks(const struct content *c, uint64_t off, uint64_t end)
{
	uint64_t from = off / CONTENT_BLOCK * CONTENT_BLOCK, sum = 0;
	uint64_t to = from + blocks_of(off, end) * CONTENT_BLOCK, stop;
	struct piece p;

	while (from < to && content_next(c, from, PIECE_STAGED, &p) == 0 &&
	    p.off < to) {
		from = MAX(p.off, from);
		stop = MIN(p.off + p.len, to);
		sum += blocks_of(from, stop);
		from = (stop + CONTENT_BLOCK - 1) / CONTENT_BLOCK *
		    CONTENT_BLOCK;
	}
	return sum;
}

static int
replace(struct content *c, enum piece_kind kind, uint64_t off, uint64_t len,
    uint64_t seq)
{
	uint64_t end, blocks;
	int r;

	if (!range_end(off, len, &end))
		return -EFBIG;
	if (len == 0)
		return 0;
	r = reserve(c, CHANGE_MAX);
	if (r < 0)
		return r;
	blocks = staged_blocks(c, off, end);
	if (off < c->size)
		carve(c, off, MIN(end, c->size));
	else if (off > c->size)
		put_plain(c, PIECE_HOLE, c->size, off, seq);
	put_plain(c, kind, off, end, seq);
	c->blocks += staged_blocks(c, off, end) - blocks;
	c->size = MAX(c->size, end);
	changed(c, seq);
	return 0;
}

int
content_new(struct content **ret)
{
	struct content *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return -ENOMEM;
	RB_INIT(&c->all);
	for (size_t i = 0; i < KINDS; i++)
		RB_INIT(&c->of[i]);
	*ret = c;
	return 0;
}

void
content_free(struct content *c)
{
	struct node *n;

	if (c == NULL)
		return;
	while ((n = RB_ROOT(&c->all)) != NULL) {
		RB_REMOVE(pieces, &c->all, n);
		free(n);
	}
	while (c->n_spare > 0)
		free(c->spare[--c->n_spare]);
	free(c);
}

uint64_t
content_size(const struct content *c)
{
	return c->size;
}

int
content_set_base(struct content *c, uint64_t size)
{
	int r;

	assert(c->size == 0);
	if (size > INT64_MAX)
		return -EFBIG;
	if (size == 0)
		return 0;
	r = reserve(c, CHANGE_MAX);
	if (r < 0)
		return r;
	put_plain(c, PIECE_BASE, 0, size, 0);
	c->size = size;
	return 0;
}

int
content_write(struct content *c, uint64_t off, uint64_t len, uint64_t seq)
{
	return replace(c, PIECE_STAGED, off, len, seq);
}

int
content_lose(struct content *c, uint64_t off, uint64_t len, uint64_t seq)
{
	return replace(c, PIECE_LOST, off, len, seq);
}

int
content_punch(struct content *c, uint64_t off, uint64_t len, uint64_t seq)
{
	if (off >= c->size)
		return 0;
	return replace(c, PIECE_HOLE, off, MIN(len, c->size - off), seq);
}

int
content_truncate(struct content *c, uint64_t size, uint64_t seq)
{
	uint64_t old = c->size, blocks;
	int r;

	if (size > INT64_MAX)
		return -EFBIG;
	if (size == c->size)
		return 0;
	r = reserve(c, 1);
	if (r < 0)
		return r;
	if (size < old) {
		blocks = staged_blocks(c, size, old);
		carve(c, size, old);
		c->blocks += staged_blocks(c, size, old) - blocks;
	} else {
		put_plain(c, PIECE_HOLE, old, size, seq);
	}
	c->size = size;
	changed(c, seq);
	return 0;
}

uint64_t
content_mark(struct content *c)
{
	c->mark = c->changed;
	return c->mark;
}

int
content_try_settle(const struct content *c, const struct piece *p, uint64_t seq,
    struct piece *ret)
{
	struct node *n;
	uint64_t end;

	assert(p->kind == PIECE_CHUNK && p->len > 0);
	assert(p->skip <= p->chunk_size && p->len <= p->chunk_size - p->skip);
	if (!range_end(p->off, p->len, &end) || end > c->size)
		return -ESTALE;
	*ret = *p;
	ret->seq = 0;
	for (n = find(c, p->off); n != NULL && n->p.off < end;
	    n = RB_NEXT(pieces, &c->all, n)) {
		if (n->p.seq > seq || n->p.kind == PIECE_LOST)
			return -ESTALE;
		ret->seq = MAX(ret->seq, n->p.seq);
	}
	if (p->off > 0 || c->changed > seq)
		ret->flags &= ~(unsigned)PIECE_PACKED;
	return 0;
}

int
content_settle(struct content *c, const struct piece *p, uint64_t seq)
{
	uint64_t end = p->off + p->len, blocks;
	struct piece new;
	int r;

	r = content_try_settle(c, p, seq, &new);
	if (r == 0)
		r = reserve(c, CHANGE_MAX);
	if (r < 0)
		return r;
	blocks = staged_blocks(c, p->off, end);
	carve(c, p->off, end);
	put(c, &new);
	c->blocks += staged_blocks(c, p->off, end) - blocks;
	return 0;
}

int
content_at(const struct content *c, uint64_t off, struct piece *ret)
{
	if (off >= c->size)
		return -ENXIO;
	*ret = find(c, off)->p;
	return 0;
}

int
content_next(const struct content *c, uint64_t off, enum piece_kind kind,
    struct piece *ret)
{
	struct node *n = RB_ROOT(&c->of[kind]), *best = NULL;

	while (n != NULL) {
		if (end_of(n) > off) {
			best = n;
			n = RB_LEFT(n, by_kind);
		} else {
			n = RB_RIGHT(n, by_kind);
		}
	}
	if (best == NULL)
		return -ENXIO;
	*ret = best->p;
	return 0;
}

uint64_t
content_staged(const struct content *c)
{
	return c->bytes[PIECE_STAGED];
}

uint64_t
content_room(const struct content *c)
{
	return c->blocks * CONTENT_BLOCK;
}

uint64_t
content_room_for(const struct content *c, uint64_t off, uint64_t len)
{
	uint64_t n;

	if (len == 0)
		return 0;
	n = blocks_of(off, off + len);
	if (c != NULL)
		n -= staged_blocks(c, off, off + len);
	return n * CONTENT_BLOCK;
}

uint64_t
content_lost(const struct content *c)
{
	return c->bytes[PIECE_LOST];
}

uint64_t
content_chunked(const struct content *c)
{
	return c->bytes[PIECE_CHUNK];
}

size_t
content_pieces(const struct content *c)
{
	return c->count;
}
