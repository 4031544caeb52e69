/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

/*
 * A shared, reference-counted block of bytes.  Contents may be changed only
 * while there is one reference; after that it is read-only for everybody, so
 * no lock is needed to read it.  References may be taken and dropped from any
 * thread.
 */
struct buf {
	uint8_t *data;	/* owned; valid until the last reference goes */
	size_t len;	/* bytes in use; may be lowered before sharing */
	unsigned refs;	/* private: atomic */
	size_t size;	/* private: of the memory, with this in it */
};

/** buf_new(len): bytes are not initialised.  NULL if out of memory. */
struct buf *buf_new(size_t len);

/** buf_copy(p, len): a buffer with a copy of the bytes, or NULL. */
struct buf *buf_copy(const void *p, size_t len);

/** buf_trim(b): gives back the memory beyond len: for who keeps it.  b is the
 * only reference, and what comes back takes its place.  Cannot fail. */
struct buf *buf_trim(struct buf *b);

/** buf_room(b): bytes of memory that it may take, unless it was trimmed: large
 * ones are blocks that others have used (base/block.h).  buf_room_for(len):
 * that of a new one. */
size_t buf_room(const struct buf *b);
size_t buf_room_for(size_t len);

struct buf *buf_ref(struct buf *b);

/** buf_unref(b): drops one reference; NULL is allowed. */
void buf_unref(struct buf *b);

/* For _cleanup_(buf_unrefp). */
void buf_unrefp(struct buf **b);

#endif
