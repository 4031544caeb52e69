/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_CHUNK_MEMORY_H
#define REPO_CHUNK_MEMORY_H

#include "repo/chunk_entry.h"

/*
 * What is known of chunks, within a bound: those in memory, those found bad a
 * short while ago, and room set aside for flights.  The caller locks.
 */
struct chunk_memory {
	struct chunk_map map;		/* all entries, flights too */
	struct chunk_entries lru;	/* READY; least recently used first */
	struct chunk_entries failed;	/* FAILED; the oldest first */
	unsigned n_failed;
	unsigned n_flights;		/* that have room */
	uint64_t limit;			/* of the next two together */
	uint64_t cached;		/* bytes of READY */
	uint64_t inflight;		/* bytes set aside */
	uint64_t unused;		/* of cached: prefetched, never asked for */
	struct buf *zeros;		/* owned; NULL until it is needed */
};

int chunk_memory_init(struct chunk_memory *m, uint64_t limit);
/** chunk_memory_fini(m): there are no flights any more. */
void chunk_memory_fini(struct chunk_memory *m);

/** chunk_memory_add(m, id): a new entry, WAIT_ROOM, without room; or NULL. */
struct chunk_entry *chunk_memory_add(struct chunk_memory *m,
    const struct chunk_id *id);
/** chunk_memory_forget(m, e): e is in no queue, nobody waits for it. */
void chunk_memory_forget(struct chunk_memory *m, struct chunk_entry *e);
/** chunk_memory_pardon(m, id): forgets that it has failed. */
void chunk_memory_pardon(struct chunk_memory *m, const struct chunk_id *id);

/**
 * chunk_memory_look(m, id, ret_e, ret):
 * 0 and the content, borrowed; -EAGAIN and the flight, or NULL if there is
 * none; or what is known to be wrong with the chunk.
 */
int chunk_memory_look(struct chunk_memory *m, const struct chunk_id *id,
    struct chunk_entry **ret_e, struct buf **ret);
/** chunk_memory_has(m, id): or is about to know it. */
bool chunk_memory_has(const struct chunk_memory *m, const struct chunk_id *id);

/** chunk_memory_reserve(m, bytes): room for a flight; drops what has not been
 * used for longest.  Flights together have half of the memory; one is always
 * allowed, or a chunk larger than that could never be read. */
bool chunk_memory_reserve(struct chunk_memory *m, uint64_t bytes);
/** chunk_memory_reserve_ahead(m, bytes): for a prefetch: half of the memory is
 * for what somebody waits for or has read. */
bool chunk_memory_reserve_ahead(struct chunk_memory *m, uint64_t bytes);
/** chunk_memory_release(m, bytes): the flight is over. */
void chunk_memory_release(struct chunk_memory *m, uint64_t bytes);

/** chunk_memory_keep(m, e, b): the flight brought b, which is taken over.  e
 * may be gone afterwards. */
void chunk_memory_keep(struct chunk_memory *m, struct chunk_entry *e,
    struct buf *b);
/** chunk_memory_fail(m, e, err): the flight found the chunk bad. */
void chunk_memory_fail(struct chunk_memory *m, struct chunk_entry *e, int err);

#endif
