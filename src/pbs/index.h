/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_INDEX_H
#define PBS_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/digest.h"

struct buf;

/*
 * Fixed (.fidx) and dynamic (.didx) index: which chunk holds which range of a
 * stream.  Format document section 3.  An index is immutable; any thread may
 * use it.
 */
struct index;

enum index_kind { INDEX_FIXED, INDEX_DYNAMIC };

#define INDEX_HEADER_LEN 4096
/* Of a file; larger ones are not read.  16 million chunks: 64 TiB. */
#define INDEX_FILE_MAX (((size_t)512 << 20) + INDEX_HEADER_LEN)

struct index_chunk {
	uint64_t start;		/* offset in the stream */
	uint64_t end;		/* exclusive; 0 < end - start <= CHUNK_CONTENT_MAX */
	struct digest digest;
};

/**
 * index_open(b, ret, ret_why):
 * Parse and check a whole index file; takes a reference of b.  -EBADMSG with
 * *ret_why (a static text) for: unknown magic, wrong length, no entries, ends
 * that do not increase, a chunk over CHUNK_CONTENT_MAX, chunk size 0 or not a
 * power of two, size over INT64_MAX.
 */
int index_open(struct buf *b, struct index **ret, const char **ret_why);
/** index_is_intact(x): the header's checksum is that of the table.  If not,
 * some entry is wrong; each chunk still proves itself by its digest. */
bool index_is_intact(const struct index *x);
struct index *index_ref(struct index *x);
void index_unref(struct index *x);

enum index_kind index_kind(const struct index *x);
uint64_t index_size(const struct index *x);		/* bytes of the stream */
size_t index_count(const struct index *x);		/* chunks, at least 1 */
struct digest index_csum(const struct index *x);	/* of the table */
int64_t index_ctime(const struct index *x);		/* epoch seconds */
const uint8_t *index_uuid(const struct index *x);	/* 16 bytes */
/** index_chunk_size(x): of a fixed index; 0 for a dynamic one. */
uint64_t index_chunk_size(const struct index *x);

/** index_chunk(x, i): i < index_count(x). */
struct index_chunk index_chunk(const struct index *x, size_t i);

/** index_find(x, off): the chunk that holds byte off < index_size(x). */
size_t index_find(const struct index *x, uint64_t off);

/** index_size_max(kind, chunk_size): the longest stream that fits into
 * INDEX_FILE_MAX with no chunk larger than that. */
uint64_t index_size_max(enum index_kind kind, uint64_t chunk_size);

/*
 * Building one: digests in order, then the file's bytes.  -EFBIG instead of an
 * index over INDEX_FILE_MAX.
 */
struct index_writer;
int index_writer_fixed(uint64_t size, uint64_t chunk_size,
    struct index_writer **ret);
int index_writer_dynamic(struct index_writer **ret);
/** index_writer_add(w, size, digest): the next chunk, of size bytes. */
int index_writer_add(struct index_writer *w, uint64_t size,
    const struct digest *digest);
/**
 * index_writer_finish(w, uuid, ctime, ret):
 * The complete file.  -EINVAL if no chunk was added or the sizes do not add up
 * to the fixed size.
 */
int index_writer_finish(struct index_writer *w, const uint8_t uuid[16],
    int64_t ctime, struct buf **ret);
void index_writer_free(struct index_writer *w);

#endif
