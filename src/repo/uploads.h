/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_UPLOADS_H
#define REPO_UPLOADS_H

#include <stdbool.h>
#include <stdint.h>

#include "crypt/digest.h"

struct buf;
struct chunks;
struct enc_key;
struct guard;
struct known;
struct store;

/*
 * The way of a chunk into the store: name it, see whether it is known, encode
 * it, put it if it is absent.  Hashing and packing run on one pool, puts on
 * another; memory is bounded, and who adds a chunk waits for room.
 *
 * Of one digest at most one upload is under way; who brings the same chunk
 * meanwhile joins it.  If it fails all of them are told so, and the next who
 * brings the chunk tries anew.  A body stays until its upload is over, so that
 * it can be sent again.  "Already there" is success; where a put stays in
 * conflict, the last try puts unconditionally.  The zero chunk is uploaded
 * like any other.  What was put goes into the cache, if there is one.
 *
 * With a guard each digest is marked before it is asked whether the chunk is
 * known; who adds or touches one holds (repo/guard.h) until what refers to it
 * is durable.  An upload may then wait for a delete.
 *
 * On stores where an access time keeps a chunk from garbage collection, a
 * known chunk is touched instead of uploaded, and uploaded if it is gone.
 * Any thread.
 */
struct uploads;

struct uploads_opts {
	uint64_t memory;	/* bytes of chunks under way; 0: 128 MiB; one
				 * always goes */
	unsigned packers;	/* 0: one a processor */
	unsigned putters;	/* 0: 8 */
	unsigned timeout_ms;	/* of one put with all its retries; 0: 10 min */
	bool no_compress;
	struct chunks *chunks;	/* borrowed: told of what was put; or NULL */
	struct guard *guard;	/* borrowed; NULL: nobody collects garbage */
};

/** uploads_new(s, known, o, ret): both are borrowed; o may be NULL. */
int uploads_new(struct store *s, struct known *known,
    const struct uploads_opts *o, struct uploads **ret);
/** uploads_shutdown(u): who waits is told -ESHUTDOWN.  Shut the store and the
 * guard down first. */
void uploads_shutdown(struct uploads *u);
void uploads_free(struct uploads *u);	/* nothing is under way any more */
struct known *uploads_known(struct uploads *u);	/* borrowed */
struct guard *uploads_guard(struct uploads *u);	/* borrowed, or NULL */

/* The caller's; valid until done was called, which may free it. */
struct upload {
	/* err 0: the chunk is in the store under digest.  On any thread, and
	 * perhaps before uploads_add returns. */
	void (*done)(struct upload *up, int err);
	struct digest digest;	/* set when done is called with 0 */
	bool duplicate;		/* nothing was sent */
	uint32_t stored;	/* bytes that were sent */
	/* Private: */
	struct buf *plain;
	const struct enc_key *key;
	uint64_t room;
	struct upload *next;
};

/**
 * uploads_add(u, plain, key, up):
 * Takes a reference of plain, the content of a chunk (1 byte to
 * CHUNK_CONTENT_MAX; else -EINVAL).  key, or NULL, is borrowed until done.
 * Waits for room; without waiting with uploads_try: -EAGAIN.  On error done is
 * not called.  Who tries again and again within 100 ms has every second turn,
 * however many wait.
 */
int uploads_add(struct uploads *u, struct buf *plain,
    const struct enc_key *key, struct upload *up);
int uploads_try(struct uploads *u, struct buf *plain,
    const struct enc_key *key, struct upload *up);
/** uploads_touch(u, digest): a chunk that is to be referred to, and that is
 * believed to be there: 0; 1 if it is not; -errno.  Where nothing can be
 * touched: 0 if it is known, else 1.  May wait for a disk, and for a delete.
 * uploads_renew(u, digest): the same of one that something durable refers to
 * already: it is not marked. */
int uploads_touch(struct uploads *u, const struct digest *digest);
int uploads_renew(struct uploads *u, const struct digest *digest);

struct uploads_stats {
	uint64_t chunks, bytes;		/* asked for, plain */
	uint64_t puts, put_bytes;	/* sent and confirmed, encoded */
	uint64_t duplicates;		/* known, joined, or already there */
	uint64_t failed;
	uint64_t memory, memory_limit;	/* now */
	unsigned in_flight;
};
void uploads_stats(struct uploads *u, struct uploads_stats *ret);

#endif
