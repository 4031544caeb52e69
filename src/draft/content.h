/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_CONTENT_H
#define DRAFT_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/digest.h"

/*
 * Where the bytes of a changed file are: pieces that cover [0, size) without
 * gap or overlap.  No I/O, no lock: the caller serialises.
 */
struct content;

enum piece_kind {
	PIECE_HOLE,	/* zeros */
	PIECE_STAGED,	/* in the staging file, at the same offset */
	PIECE_CHUNK,	/* in a chunk that is in the store */
	PIECE_BASE,	/* in the file as the base snapshot has it */
	PIECE_LOST,	/* was written and could not be kept: -EIO */
};

enum piece_flags {
	/* Cut where the chunker cuts the stream from offset 0, so that it may
	 * stand in a new index as it is.  Gone when the piece is cut. */
	PIECE_NATURAL = 1,
	/* The PAYLOAD header for this file as it is lies before its content in
	 * the chunk.  Gone with any change of content or size. */
	PIECE_PACKED = 2,
};

struct piece {
	enum piece_kind kind;
	uint64_t off, len;	/* in the file; len > 0 */
	uint64_t seq;		/* of the last change in it; 0: as it began */
	uint64_t base_off;	/* BASE: offset in the base file */
	struct digest digest;	/* CHUNK */
	uint32_t chunk_size;	/* CHUNK: all of the chunk */
	uint32_t skip;		/* CHUNK: where the piece begins in it */
	unsigned flags;		/* CHUNK: enum piece_flags */
	uint32_t key;		/* CHUNK: under which: see chunk_keys.h */
};

int content_new(struct content **ret);
void content_free(struct content *c);
uint64_t content_size(const struct content *c);
/** content_set_base(c, size): an empty one becomes the base file's bytes. */
int content_set_base(struct content *c, uint64_t size);

/*
 * Each leaves c as it was on -ENOMEM, and on -EFBIG for an end beyond
 * INT64_MAX.  Beyond the end of the file they extend it, with a hole in
 * between.  Neighbours of the same kind that fit are joined, except over a
 * mark.  seq grows from change to change, so that content_settle sees what came
 * after an upload began: a hole punched meanwhile, too.
 */
/** content_reserve(c): memory for the next change, and one of the size after
 * it, which then do not fail for want of it; for who tells a journal first. */
int content_reserve(struct content *c);
int content_write(struct content *c, uint64_t off, uint64_t len, uint64_t seq);
int content_lose(struct content *c, uint64_t off, uint64_t len, uint64_t seq);
/** content_punch(c, off, len, seq): becomes a hole, within the size. */
int content_punch(struct content *c, uint64_t off, uint64_t len, uint64_t seq);
int content_truncate(struct content *c, uint64_t size, uint64_t seq);
/** content_mark(c): the seq to give content_settle for bytes that are read from
 * now on.  Pieces with a higher one stay apart from those that are there, so
 * that an upload of these is not spoilt by writes beside them. */
uint64_t content_mark(struct content *c);
/**
 * content_settle(c, p, seq):
 * [p->off, p->off + p->len) was uploaded as the CHUNK piece p, as it was at
 * seq.  0, or -ESTALE if any of it has changed since, is lost or is beyond the
 * end, and nothing was done.  p->seq is not looked at.  PIECE_PACKED is kept
 * if p begins the file and nothing of the file has changed since, nor its size.
 */
int content_settle(struct content *c, const struct piece *p, uint64_t seq);
/** content_try_settle(c, p, seq, ret): whether it would be settled, and the
 * piece there would be: for who tells a journal first. */
int content_try_settle(const struct content *c, const struct piece *p,
    uint64_t seq, struct piece *ret);

/** content_at(c, off, ret): the piece that holds off; -ENXIO at the end. */
int content_at(const struct content *c, uint64_t off, struct piece *ret);
/** content_next(c, off, kind, ret): the first piece of that kind that ends
 * after off; -ENXIO. */
int content_next(const struct content *c, uint64_t off, enum piece_kind kind,
    struct piece *ret);
/** content_staged(c), content_lost(c), content_chunked(c): bytes; without a
 * search. */
uint64_t content_staged(const struct content *c);
uint64_t content_lost(const struct content *c);
uint64_t content_chunked(const struct content *c);
size_t content_pieces(const struct content *c);
/* What STAGED bytes take of a disk: whole blocks. */
#define CONTENT_BLOCK 4096
/** content_room(c): bytes of blocks with STAGED bytes; without a search. */
uint64_t content_room(const struct content *c);
/** content_room_for(c, off, len): how much more if that range were written; c
 * may be NULL. */
uint64_t content_room_for(const struct content *c, uint64_t off,
    uint64_t len);

#endif
