/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_CHUNK_FETCH_H
#define REPO_CHUNK_FETCH_H

#include "repo/chunks.h"

struct damage;
struct store;

/*
 * One fetch of one chunk from the store: asked for, checked and decoded.  No
 * state, no lock.
 */
struct chunk_fetch {
	struct store *store;		/* borrowed */
	struct damage *damage;		/* borrowed */
	struct chunk_id id;
	unsigned flags;			/* STORE_LOCAL, STORE_FRESH or 0 */
	deadline_t deadline;
	struct buf *raw;		/* owned: what the store gave, or NULL */
};

/**
 * chunk_fetch(f, ret):
 * 0; -EAGAIN with STORE_LOCAL; -EBADMSG; -ENOENT; -ENOKEY; or what the store
 * says.  Damage is told to the store, so that a cache forgets it.
 */
int chunk_fetch(struct chunk_fetch *f, struct buf **ret);

/** chunk_fetch_report(f, err): puts the outcome of the last attempt into the
 * damage list, if it is damage. */
void chunk_fetch_report(const struct chunk_fetch *f, int err);

/** chunk_fetch_end(f, good): tells the store of a good chunk, which a cache
 * may take its time to write; lets go of raw. */
void chunk_fetch_end(struct chunk_fetch *f, bool good);

#endif
