/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_SOURCE_H
#define DRAFT_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/digest.h"
#include "draft/base.h"
#include "draft/content.h"
#include "repo/reader.h"

struct draft;
struct inode;
struct walk_entry;

/*
 * The bytes of one file of a frozen draft, and the chunks in the store that
 * hold some of them and may be used again as they are.
 */
struct source {
	struct draft *d;
	struct inode *inode;	/* borrowed; it has a content of its own; or
				 * NULL: all of it is the base's */
	struct base_content base;	/* if has_base */
	bool has_base;
	bool shares;		/* chunks of the base can be in a new index */
	bool is_stream;		/* in the base it is a stream by itself */
	uint64_t size;
	struct readahead ahead;
};

/** source_open(d, e, ret): of a regular file; e is used during the call. */
int source_open(struct draft *d, const struct walk_entry *e,
    struct source *ret);
void source_close(struct source *s);

/** source_read(s, p, len, off): all of it, within the size; errors are those
 * of io_read. */
int source_read(struct source *s, void *p, size_t len, uint64_t off);
/** source_piece(s, off, ret): off is below the size. */
void source_piece(const struct source *s, uint64_t off, struct piece *ret);
/** source_lost(s): bytes. */
uint64_t source_lost(const struct source *s);

struct source_chunk {
	uint64_t off;		/* in the file: all of it lies in the file */
	uint64_t size;
	struct digest digest;
	/* The chunker, begun at the start of the file, cuts here. */
	bool natural;
};
/** source_chunk(s, off, end, natural, ret): the first whole chunk, or the
 * first natural one, that begins at off or after, and before end; 0, or -ENXIO
 * if there is none. */
int source_chunk(const struct source *s, uint64_t off, uint64_t end,
    bool natural, struct source_chunk *ret);

/** source_header(s, ret): whether a PAYLOAD header for the file as it is lies
 * before its content, in a chunk that may be used again, and where: the offset
 * of the header.  The whole file then follows it, chunk by chunk.  Either in
 * *ret_stream (borrowed), or, if that is NULL, in the chunk of the file's first
 * piece. */
bool source_header(const struct source *s, const struct reader **ret_stream,
    uint64_t *ret_off);

#endif
