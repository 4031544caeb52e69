/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_CHUNKS_H
#define REPO_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "crypt/digest.h"

struct buf;
struct damage;
struct enc_key;
struct store;

/*
 * Chunks by digest, decoded and checked.  A bounded number of bytes of them
 * stays in memory, least recently used go first.  However many ask for a
 * chunk, it is fetched and decoded once (single flight).  What the store can
 * answer without a network runs on threads of its own, so that an outage never
 * delays it.  A chunk that fails its check is fetched once more past all
 * caches before it is called damaged.  That a chunk is damaged or missing is
 * remembered for some seconds, so that who tries again and again costs nothing;
 * that the store failed is not.  The chunk of 4 MiB of zeros is never
 * fetched.
 *
 * Lock order: chunks' mutex is the only one held, never across I/O or
 * callbacks.
 */
struct chunks;

struct chunks_opts {
	uint64_t memory;	/* bytes of decoded chunks that are kept plus
				 * those being fetched; one fetch always goes;
				 * what is at hand is decoded beside that, one
				 * chunk a decoder; 0: 256 MiB */
	unsigned fetchers;	/* 0: 16 */
	unsigned decoders;	/* 0: one a processor */
	unsigned timeout_ms;	/* of a request, waiting included; 0: 60 s */
};

/** chunks_new(s, damage, o, ret): both are borrowed; o may be NULL. */
int chunks_new(struct store *s, struct damage *damage,
    const struct chunks_opts *o, struct chunks **ret);
/** chunks_shutdown(c): who waits is told -ESHUTDOWN now, as is everybody who
 * asks later for what is not in memory. */
void chunks_shutdown(struct chunks *c);
/** chunks_free(c): waits for calls into the store that are under way; shut the
 * store down before.  Nobody waits or asks any more. */
void chunks_free(struct chunks *c);

/* What is asked for: the length is known from the index.  An index that lies
 * about it asks for something else, and gets -EBADMSG for itself alone. */
struct chunk_id {
	struct digest digest;
	uint32_t size;
	/* Of an encrypted archive: what is good with one key is nothing with
	 * another.  Borrowed, and there for as long as the chunks; NULL: not
	 * encrypted, or no key. */
	const struct enc_key *key;
};

/** chunk_is_zero(id): the well-known chunk of 4 MiB of zeros. */
bool chunk_is_zero(const struct chunk_id *id);

/**
 * chunks_try(c, id, ret): from memory, now.  0, -EAGAIN, or what is known to
 * be wrong with it.
 * chunks_get(c, id, ret): waits.  0; -ENOENT the store has none; -EBADMSG
 * damaged; -ENOKEY encrypted; -EIO, -ETIMEDOUT, -EHOSTDOWN...
 * The caller owns the reference in *ret.
 */
int chunks_try(struct chunks *c, const struct chunk_id *id, struct buf **ret);
int chunks_get(struct chunks *c, const struct chunk_id *id, struct buf **ret);

/** chunks_back(c, id): it has been put into the store: that it was missing or
 * damaged is forgotten. */
void chunks_back(struct chunks *c, const struct chunk_id *id);

/**
 * chunks_request(c, id, req):
 * As chunks_get, but req->done is called when it is there, on any thread,
 * possibly before this returns.  b is borrowed; take a reference to keep it.
 * req must stay valid until then.
 */
struct chunk_request {
	void (*done)(struct chunk_request *req, int err, struct buf *b);
	/* Private: */
	struct chunk_request *next;
	deadline_t deadline;
	int err;
	struct buf *b;
};
void chunks_request(struct chunks *c, const struct chunk_id *id,
    struct chunk_request *req);

/** chunks_prefetch(c, id): fetch it if there is room and nothing better to
 * do; false if it was not accepted. */
bool chunks_prefetch(struct chunks *c, const struct chunk_id *id);

struct chunks_stats {
	uint64_t memory, memory_limit;
	uint64_t hits;		/* from memory */
	uint64_t waits;		/* joined a flight of somebody else */
	uint64_t fetched;	/* objects that the store gave */
	uint64_t decoded;	/* of them, good */
	uint64_t damaged;
	unsigned in_flight;
};
void chunks_stats(struct chunks *c, struct chunks_stats *ret);

#endif
