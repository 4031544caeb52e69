/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_CHUNK_ENTRY_H
#define REPO_CHUNK_ENTRY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "repo/chunk_map.h"

struct buf;
struct chunk_pool;

/*
 * What is known of a chunk.  From the first request until the store has
 * answered it is a flight: it waits for a thread, a thread works on it, or it
 * waits for room, without which it does not go to the network.  Whoever asks
 * meanwhile joins.  Then it is kept as ready, as failed, or not at all.
 */
enum chunk_state {
	CHUNK_WAIT_ROOM,
	CHUNK_QUEUED,
	CHUNK_RUNNING,
	CHUNK_READY,
	CHUNK_FAILED,
};

struct chunk_entry {
	struct chunk_node node;		/* first */
	enum chunk_state state;
	bool prefetch;			/* nobody has asked for it yet */
	bool fresh;			/* flight: pass the caches by */
	bool has_room;			/* flight: its bytes are set aside */
	struct chunk_pool *pool;	/* QUEUED: where */
	deadline_t deadline;		/* flight: of the last who asked */
	/* Of the room queue, a pool's queue, or what the memory keeps. */
	TAILQ_ENTRY(chunk_entry) link;
	TAILQ_ENTRY(chunk_entry) flight;	/* flight: of all of them */
	struct chunk_request *first;	/* flight: who waits, oldest first */
	struct chunk_request **last;
	struct buf *b;			/* READY: owned */
	int err;			/* FAILED */
	deadline_t until;		/* FAILED: forget it then */
};
TAILQ_HEAD(chunk_entries, chunk_entry);

/* Of a chunk in memory beside its bytes, so that tiny ones count too. */
#define CHUNK_OVERHEAD 256

static inline uint64_t
chunk_cost(const struct chunk_id *id)
{
	return (uint64_t)id->size + CHUNK_OVERHEAD;
}

#endif
