/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_STREAM_WRITER_H
#define REPO_STREAM_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/digest.h"

struct buf;
struct enc_key;
struct uploads;

/*
 * A stream on its way into the store: cut into chunks, which are uploaded side
 * by side, and an index of them.  Chunks that are in the store already can be
 * put in whole.  Format document sections 3 and 4.  One thread at a time; an
 * error sticks, that of an upload is seen by a later call.
 */
struct stream_writer;

enum stream_kind {
	STREAM_FIXED,		/* 4 MiB; size is given at the start */
	STREAM_DYNAMIC,		/* by buzhash, 4 MiB on average */
	STREAM_CATALOG,		/* by buzhash, 512 KiB on average */
};

#define STREAM_FIXED_CHUNK ((uint64_t)4 << 20)

/** stream_writer_new(u, kind, size, key, ret): u is borrowed, and key (NULL:
 * plain); size is that of a fixed one. */
int stream_writer_new(struct uploads *u, enum stream_kind kind, uint64_t size,
    const struct enc_key *key, struct stream_writer **ret);
/** stream_writer_free(w): waits for its uploads that are under way. */
void stream_writer_free(struct stream_writer *w);

int stream_write(struct stream_writer *w, const void *p, size_t len);
/** stream_write_zeros(w, len): as stream_write, without the bytes: whole
 * chunks of zeros of a fixed stream are hashed and packed once. */
int stream_write_zeros(struct stream_writer *w, uint64_t len);
/** stream_cut(w): end the chunk that is being filled, if it has begun; not of
 * a fixed one (-EINVAL). */
int stream_cut(struct stream_writer *w);
/** stream_inject(w, digest, size): a whole chunk that is in the store.
 * Only at the start of a chunk (-EINVAL); in a fixed stream only of the size
 * that a chunk has there.  It is touched; if it is gone: -ENOENT, which does
 * not stick, and nothing was done. */
int stream_inject(struct stream_writer *w, const struct digest *digest,
    uint64_t size);
/** stream_offset(w): bytes so far.  stream_fill(w): those of the chunk that is
 * being filled; 0 at a boundary. */
uint64_t stream_offset(const struct stream_writer *w);
uint64_t stream_fill(const struct stream_writer *w);

struct stream_result {
	struct buf *index;	/* owned: the bytes of the file */
	uint64_t size;		/* of the stream */
	struct digest csum;	/* of the table: what a manifest says */
	uint64_t chunks;
	uint64_t injected;	/* of them */
	uint64_t new_chunks, new_bytes;	/* sent: plain bytes */
	uint64_t stored_bytes;	/* sent: encoded */
};

/** stream_finish(w, ctime, ret): waits for all uploads.  -EINVAL for a stream
 * without a byte, which no index can hold. */
int stream_finish(struct stream_writer *w, int64_t ctime,
    struct stream_result *ret);
void stream_result_fini(struct stream_result *r);

#endif
