/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/content.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"

#include "../cm.h"

static struct content *
fresh(uint64_t base)
{
	struct content *c;

	assert_int_equal(content_new(&c), 0);
	assert_int_equal(content_set_base(c, base), 0);
	return c;
}

static struct piece
chunk(uint64_t off, uint64_t len, unsigned flags)
{
	struct piece p = {.kind = PIECE_CHUNK, .off = off, .len = len,
	    .chunk_size = (uint32_t)len + 16, .skip = 16, .flags = flags};

	p.digest.b[0] = (uint8_t)off;
	return p;
}

static void
expect(const struct content *c, uint64_t at, enum piece_kind kind,
    uint64_t off, uint64_t len)
{
	struct piece p;

	assert_int_equal(content_at(c, at, &p), 0);
	assert_int_equal(p.kind, kind);
	assert_int_equal(p.off, off);
	assert_int_equal(p.len, len);
}

static void
empty(void **state)
{
	struct content *c = fresh(0);
	struct piece p;

	(void)state;
	assert_int_equal(content_size(c), 0);
	assert_int_equal(content_pieces(c), 0);
	assert_int_equal(content_at(c, 0, &p), -ENXIO);
	for (enum piece_kind k = PIECE_HOLE; k <= PIECE_LOST; k++)
		assert_int_equal(content_next(c, 0, k, &p), -ENXIO);
	assert_int_equal(content_write(c, 100, 0, 1), 0);
	assert_int_equal(content_punch(c, 0, 100, 2), 0);
	assert_int_equal(content_size(c), 0);
	assert_int_equal(content_room(c), 0);
	content_free(c);
	content_free(NULL);
}

static void
beyond_the_end(void **state)
{
	struct content *c = fresh(10);
	struct piece p;

	(void)state;
	assert_int_equal(content_write(c, 100, 10, 1), 0);
	assert_int_equal(content_size(c), 110);
	expect(c, 0, PIECE_BASE, 0, 10);
	expect(c, 50, PIECE_HOLE, 10, 90);
	expect(c, 109, PIECE_STAGED, 100, 10);
	assert_int_equal(content_at(c, 110, &p), -ENXIO);
	assert_int_equal(content_truncate(c, 200, 2), 0);
	expect(c, 199, PIECE_HOLE, 110, 90);
	assert_int_equal(content_punch(c, 195, UINT64_MAX, 3), 0);
	assert_int_equal(content_size(c), 200);
	/* Joins at both sides. */
	assert_int_equal(content_punch(c, 100, 10, 4), 0);
	expect(c, 100, PIECE_HOLE, 10, 190);
	assert_int_equal(content_pieces(c), 2);
	content_free(c);
}

static void
largest_offsets(void **state)
{
	struct content *c = fresh(0);

	(void)state;
	assert_int_equal(content_write(c, INT64_MAX - 1, 1, 1), 0);
	assert_int_equal(content_size(c), INT64_MAX);
	assert_int_equal(content_write(c, INT64_MAX, 1, 2), -EFBIG);
	assert_int_equal(content_write(c, 2, UINT64_MAX, 2), -EFBIG);
	assert_int_equal(content_lose(c, UINT64_MAX, 1, 2), -EFBIG);
	assert_int_equal(content_truncate(c, UINT64_C(1) << 63, 2), -EFBIG);
	assert_int_equal(content_pieces(c), 2);
	assert_int_equal(content_room(c), CONTENT_BLOCK);
	content_free(c);
	assert_int_equal(content_new(&c), 0);
	assert_int_equal(content_set_base(c, UINT64_MAX), -EFBIG);
	content_free(c);
}

static void
base_is_cut_and_not_joined_wrongly(void **state)
{
	struct content *c = fresh(100);
	struct piece p;

	(void)state;
	assert_int_equal(content_write(c, 40, 20, 1), 0);
	assert_int_equal(content_at(c, 70, &p), 0);
	assert_int_equal(p.base_off, 60);
	assert_int_equal(p.off, 60);
	assert_int_equal(content_truncate(c, 50, 2), 0);
	assert_int_equal(content_truncate(c, 100, 3), 0);
	/* What was cut off does not come back. */
	expect(c, 99, PIECE_HOLE, 50, 50);
	content_free(c);
}

static void
settled(void **state)
{
	struct content *c = fresh(0);
	struct piece p = chunk(0, 100, PIECE_NATURAL | PIECE_PACKED), q;
	uint64_t seq;

	(void)state;
	assert_int_equal(content_write(c, 0, 100, 1), 0);
	seq = content_mark(c);
	assert_int_equal(content_settle(c, &p, seq), 0);
	assert_int_equal(content_at(c, 5, &q), 0);
	assert_int_equal(q.kind, PIECE_CHUNK);
	assert_int_equal(q.flags, PIECE_NATURAL | PIECE_PACKED);
	assert_int_equal(q.seq, 1);
	assert_int_equal(content_chunked(c), 100);
	assert_int_equal(content_staged(c), 0);

	/* Any change takes PACKED away, and a cut NATURAL. */
	assert_int_equal(content_write(c, 100, 1, 2), 0);
	assert_int_equal(content_at(c, 5, &q), 0);
	assert_int_equal(q.flags, PIECE_NATURAL);
	assert_int_equal(content_write(c, 50, 1, 3), 0);
	assert_int_equal(content_at(c, 5, &q), 0);
	assert_int_equal(q.flags, 0);
	assert_int_equal(content_at(c, 60, &q), 0);
	assert_int_equal(q.skip, 16 + 51);
	assert_int_equal(q.off, 51);
	assert_int_equal(q.flags, 0);
	content_free(c);
}

static void
packed_needs_the_size_it_was_made_for(void **state)
{
	struct content *c = fresh(0);
	struct piece p = chunk(0, 100, PIECE_PACKED), q;
	uint64_t seq;

	(void)state;
	assert_int_equal(content_write(c, 0, 100, 1), 0);
	seq = content_mark(c);
	assert_int_equal(content_truncate(c, 200, 2), 0);
	assert_int_equal(content_settle(c, &p, seq), 0);
	assert_int_equal(content_at(c, 0, &q), 0);
	assert_int_equal(q.kind, PIECE_CHUNK);
	assert_int_equal(q.flags, 0);
	/* It can only be before the beginning. */
	p = chunk(100, 100, PIECE_PACKED);
	assert_int_equal(content_settle(c, &p, content_mark(c)), 0);
	assert_int_equal(content_at(c, 100, &q), 0);
	assert_int_equal(q.flags, 0);
	content_free(c);
}

static void
settling_what_has_changed(void **state)
{
	static const enum {
		WRITE, PUNCH, LOSE, SHORTEN, REGROW, SETTLE
	} how[] = {WRITE, PUNCH, LOSE, SHORTEN, REGROW, SETTLE};
	struct piece p = chunk(0, 100, 0), q = chunk(50, 50, 0);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
		struct content *c = fresh(0);
		uint64_t seq, pieces;

		assert_int_equal(content_write(c, 0, 100, 7), 0);
		seq = content_mark(c);
		switch (how[i]) {
		case WRITE:
			content_write(c, 99, 1, 8);
			break;
		case PUNCH:
			content_punch(c, 0, 1, 8);
			break;
		case LOSE:
			content_lose(c, 50, 1, 8);
			break;
		case SHORTEN:
			content_truncate(c, 99, 8);
			break;
		case REGROW:
			content_truncate(c, 50, 8);
			content_truncate(c, 100, 9);
			break;
		case SETTLE:
			content_write(c, 50, 50, 8);
			assert_int_equal(content_settle(c, &q, 8), 0);
			break;
		}
		pieces = content_pieces(c);
		assert_int_equal(content_settle(c, &p, seq), -ESTALE);
		assert_int_equal(content_pieces(c), pieces);
		if (how[i] == LOSE)
			/* However late it is asked. */
			assert_int_equal(content_settle(c, &p, 99), -ESTALE);
		content_free(c);
	}
}

static void
writes_beside_an_upload_do_not_spoil_it(void **state)
{
	struct content *c = fresh(0);
	struct piece p = chunk(0, 100, 0);
	uint64_t seq;

	(void)state;
	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(content_write(c, 10 * i, 10, i + 1), 0);
	assert_int_equal(content_pieces(c), 1);
	seq = content_mark(c);
	for (uint64_t i = 10; i < 100; i++)
		assert_int_equal(content_write(c, 10 * i, 10, i + 1), 0);
	assert_int_equal(content_pieces(c), 2);
	content_mark(c);
	assert_int_equal(content_write(c, 1000, 10, 101), 0);
	assert_int_equal(content_settle(c, &p, seq), 0);
	expect(c, 0, PIECE_CHUNK, 0, 100);
	expect(c, 100, PIECE_STAGED, 100, 900);
	content_free(c);
}

/*
 * The same file byte by byte.
 */
#define MODEL_MAX 256

struct byte {
	enum piece_kind kind;
	uint64_t at;	/* BASE: offset; CHUNK: where in it */
	uint64_t seq;
	uint8_t id;	/* CHUNK */
	bool natural;	/* settled with it */
	uint64_t whole;	/* CHUNK: bytes settled with it */
};

struct model {
	struct byte b[MODEL_MAX];
	uint64_t size, changed;
	bool packed;
};

static void
model_set(struct model *m, uint64_t off, uint64_t len, struct byte b)
{
	struct byte hole = {.kind = PIECE_HOLE, .seq = b.seq};

	for (uint64_t i = m->size; i < off; i++)
		m->b[i] = hole;
	for (uint64_t i = 0; i < len; i++)
		m->b[off + i] = b;
	m->size = MAX(m->size, off + len);
	m->changed = b.seq;
	m->packed = false;
}

static void
check_piece(const struct model *m, const struct piece *p)
{
	const struct byte *b = &m->b[p->off];
	uint64_t seq = 0;

	for (uint64_t i = 0; i < p->len; i++) {
		assert_int_equal(b[i].kind, p->kind);
		seq = MAX(seq, b[i].seq);
		if (p->kind == PIECE_BASE)
			assert_int_equal(b[i].at, p->base_off + i);
		if (p->kind == PIECE_CHUNK) {
			assert_int_equal(b[i].at, p->skip + i);
			assert_int_equal(b[i].id, p->digest.b[0]);
			assert_int_equal(b[i].whole + 16, p->chunk_size);
		}
	}
	/* That of a piece may be of a neighbour that has gone since. */
	assert_true(p->seq >= seq && p->seq <= m->changed);
	if (p->kind != PIECE_CHUNK) {
		assert_int_equal(p->flags, 0);
		return;
	}
	assert_int_equal((p->flags & PIECE_NATURAL) != 0,
	    b->natural && b->whole == p->len);
	assert_int_equal((p->flags & PIECE_PACKED) != 0,
	    m->packed && p->off == 0);
}

static bool
same_kind(const struct piece *a, const struct piece *b)
{
	return a->kind == b->kind && a->kind != PIECE_CHUNK &&
	    (a->kind != PIECE_BASE || a->base_off + a->len == b->base_off);
}

static void
check(const struct content *c, const struct model *m, uint64_t mark)
{
	uint64_t bytes[PIECE_LOST + 1] = {0}, off = 0;
	struct piece p, before = {.kind = PIECE_CHUNK}, q;
	size_t n = 0;

	assert_int_equal(content_size(c), m->size);
	for (; off < m->size; off += p.len, n++) {
		assert_int_equal(content_at(c, off, &p), 0);
		assert_int_equal(p.off, off);
		assert_true(p.len > 0 && p.len <= m->size - off);
		check_piece(m, &p);
		assert_false(same_kind(&before, &p) && (mark == 0 ||
		    (before.seq > mark && p.seq > mark)));
		bytes[p.kind] += p.len;
		before = p;
		assert_int_equal(content_next(c, off + p.len / 2, p.kind, &q),
		    0);
		assert_int_equal(q.off, off);
	}
	assert_int_equal(content_pieces(c), n);
	assert_int_equal(content_staged(c), bytes[PIECE_STAGED]);
	assert_int_equal(content_chunked(c), bytes[PIECE_CHUNK]);
	assert_int_equal(content_lost(c), bytes[PIECE_LOST]);
}

static void
check_queries(const struct content *c, const struct model *m, uint64_t off,
    enum piece_kind kind)
{
	uint64_t i = off;
	struct piece p;

	while (i < m->size && m->b[i].kind != kind)
		i++;
	if (i >= m->size) {
		assert_int_equal(content_next(c, off, kind, &p), -ENXIO);
		return;
	}
	assert_int_equal(content_next(c, off, kind, &p), 0);
	assert_int_equal(p.kind, kind);
	assert_true(p.off <= i && i < p.off + p.len);
}

/* As it must be answered at least: whether a byte has changed since. */
static int
model_settle(struct model *m, const struct piece *p, uint64_t seq)
{
	uint64_t end = p->off + p->len;

	if (end > m->size)
		return -ESTALE;
	for (uint64_t i = p->off; i < end; i++)
		if (m->b[i].seq > seq || m->b[i].kind == PIECE_LOST)
			return -ESTALE;
	if (p->off == 0)
		m->packed = (p->flags & PIECE_PACKED) && m->changed <= seq;
	return 0;
}

static void
model_settled(struct model *m, const struct piece *p)
{
	uint64_t seq = 0;

	for (uint64_t i = p->off; i < p->off + p->len; i++)
		seq = MAX(seq, m->b[i].seq);
	for (uint64_t i = 0; i < p->len; i++)
		m->b[p->off + i] = (struct byte){.kind = PIECE_CHUNK,
		    .at = p->skip + i, .seq = seq, .id = p->digest.b[0],
		    .natural = p->flags & PIECE_NATURAL, .whole = p->len};
}

/* Small numbers more often. */
static uint64_t
some(unsigned *seed, uint64_t max)
{
	uint64_t n = (uint64_t)rand_r(seed) % (max + 1);

	return rand_r(seed) % 2 == 0 ? n : n % 8 % (max + 1);
}

static void
step(struct content *c, struct model *m, unsigned *seed, uint64_t seq,
    uint64_t *mark)
{
	uint64_t off = some(seed, MODEL_MAX - 1);
	uint64_t len = some(seed, MODEL_MAX - off);
	unsigned what = (unsigned)rand_r(seed) % 16;
	struct piece p, would;
	int r, want;

	if (what == 0 && rand_r(seed) % 64 == 0)
		*mark = content_mark(c);
	check_queries(c, m, off, (enum piece_kind)(what % (PIECE_LOST + 1)));
	if (what < 6) {
		assert_int_equal(content_write(c, off, len, seq), 0);
		if (len > 0)
			model_set(m, off, len, (struct byte){
			    .kind = PIECE_STAGED, .seq = seq});
	} else if (what == 6) {
		assert_int_equal(content_lose(c, off, len, seq), 0);
		if (len > 0)
			model_set(m, off, len, (struct byte){
			    .kind = PIECE_LOST, .seq = seq});
	} else if (what < 9) {
		assert_int_equal(content_punch(c, off, len, seq), 0);
		if (off < m->size && len > 0)
			model_set(m, off, MIN(len, m->size - off),
			    (struct byte){.kind = PIECE_HOLE, .seq = seq});
	} else if (what == 9) {
		assert_int_equal(content_truncate(c, off, seq), 0);
		if (off > m->size)
			model_set(m, off, 0, (struct byte){.seq = seq});
		else if (off < m->size) {
			m->size = off;
			m->changed = seq;
			m->packed = false;
		}
	} else if (len > 0) {
		p = chunk(off, len, (unsigned)rand_r(seed) % 4);
		p.digest.b[0] = (uint8_t)rand_r(seed);
		/* Exact at a mark; at other times as if all were new. */
		seq = what < 13 ? *mark : UINT64_MAX;
		want = model_settle(m, &p, seq);
		assert_int_equal(content_try_settle(c, &p, seq, &would), want);
		r = content_settle(c, &p, seq);
		assert_int_equal(r, want);
		if (r < 0)
			return;
		model_settled(m, &p);
		assert_int_equal(content_at(c, off, &p), 0);
		assert_memory_equal(&p, &would, sizeof(p));
	}
}

static void
run_model(unsigned seed, unsigned steps, uint64_t base)
{
	struct content *c = fresh(base);
	struct model m = {.size = base};
	uint64_t mark = 0;

	for (uint64_t i = 0; i < base; i++)
		m.b[i] = (struct byte){.kind = PIECE_BASE, .at = i};
	for (unsigned i = 1; i <= steps; i++) {
		step(c, &m, &seed, i, &mark);
		check(c, &m, mark);
	}
	content_free(c);
}

static void
like_a_model_of_bytes(void **state)
{
	const char *slow = getenv("TEST_SLOWNESS");
	unsigned steps = slow == NULL ? 1000 : 50;

	(void)state;
	for (unsigned seed = 1; seed <= 1000; seed++)
		run_model(seed, steps, seed % 3 == 0 ? 0 : seed % MODEL_MAX);
}

/* Many pieces: what is done to one of them does not look at the others. */
#define ROOM_BLOCKS 24
#define ROOM_BYTES ((uint64_t)ROOM_BLOCKS * CONTENT_BLOCK)

static uint64_t
room_of(const uint8_t *staged, uint64_t size, uint64_t from, uint64_t to)
{
	uint64_t room = 0, k;

	for (; from < to; from = (from / CONTENT_BLOCK + 1) * CONTENT_BLOCK) {
		uint64_t block = from / CONTENT_BLOCK * CONTENT_BLOCK;

		for (k = block; k < MIN(block + CONTENT_BLOCK, size); k++) {
			if (staged[k]) {
				room += CONTENT_BLOCK;
				break;
			}
		}
	}
	return room;
}

static void
change_some(struct content *c, uint8_t *staged, uint64_t *size,
    unsigned *seed, uint64_t seq)
{
	uint64_t off = some(seed, ROOM_BYTES - 1);
	uint64_t len = some(seed, 3) ? some(seed, 3000) :
	    some(seed, ROOM_BYTES);
	struct piece p = {.kind = PIECE_CHUNK, .chunk_size = 1 << 24};
	unsigned what = (unsigned)some(seed, 8);

	len = MIN(len, ROOM_BYTES - off);
	if (what == 0) {
		assert_int_equal(content_truncate(c, off, seq), 0);
		for (uint64_t k = MIN(off, *size); k < MAX(off, *size); k++)
			staged[k] = 0;
		*size = off;
	} else if (what < 6 && len > 0) {
		assert_int_equal(content_room_for(c, off, len),
		    ((off + len + CONTENT_BLOCK - 1) / CONTENT_BLOCK -
		    off / CONTENT_BLOCK) * CONTENT_BLOCK -
		    room_of(staged, *size, off, off + len));
		assert_int_equal(content_write(c, off, len, seq), 0);
		memset(staged + off, 1, len);
		*size = MAX(*size, off + len);
	} else if (off < *size && len > 0) {
		p.off = off;
		p.len = MIN(len, *size - off);
		if (what == 6)
			assert_int_equal(content_punch(c, p.off, p.len, seq),
			    0);
		else
			assert_int_equal(content_settle(c, &p, seq), 0);
		memset(staged + p.off, 0, p.len);
	}
}

/* Room is that of whole blocks, however they came to be needed. */
static void
test_room(void **state)
{
	uint8_t *staged = calloc(1, ROOM_BYTES);
	struct content *c = fresh(0);
	uint64_t size = 0;
	unsigned seed = 11;

	(void)state;
	assert_non_null(staged);
	assert_int_equal(content_room_for(NULL, 4095, 2), 2 * CONTENT_BLOCK);
	assert_int_equal(content_room_for(NULL, 4096, 0), 0);
	for (uint64_t n = 1; n < 6000; n++) {
		change_some(c, staged, &size, &seed, n);
		assert_int_equal(content_size(c), size);
		assert_int_equal(content_room(c),
		    room_of(staged, size, 0, size));
	}
	content_free(c);
	free(staged);
}

static void
many_pieces(void **state)
{
	struct content *c = fresh(0);
	const uint64_t n = 200000;
	struct piece p;

	(void)state;
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(content_write(c, i * 7919 % n * 10, 5, i + 1),
		    0);
	/* Write, hole, write, ... */
	assert_int_equal(content_pieces(c), 2 * n - 1);
	assert_int_equal(content_staged(c), 5 * n);
	assert_int_equal(content_lose(c, 10 * n - 5, 1, n + 1), 0);
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(content_next(c, i, PIECE_LOST, &p), 0);
	assert_int_equal(content_room(c), (10 * n + CONTENT_BLOCK - 1) /
	    CONTENT_BLOCK * CONTENT_BLOCK);
	assert_int_equal(content_punch(c, 0, 10 * n, n + 2), 0);
	assert_int_equal(content_pieces(c), 1);
	content_free(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(empty),
	    cmocka_unit_test(beyond_the_end),
	    cmocka_unit_test(largest_offsets),
	    cmocka_unit_test(base_is_cut_and_not_joined_wrongly),
	    cmocka_unit_test(settled),
	    cmocka_unit_test(packed_needs_the_size_it_was_made_for),
	    cmocka_unit_test(settling_what_has_changed),
	    cmocka_unit_test(writes_beside_an_upload_do_not_spoil_it),
	    cmocka_unit_test(like_a_model_of_bytes),
	    cmocka_unit_test(many_pieces),
	    cmocka_unit_test(test_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
