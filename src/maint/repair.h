/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_REPAIR_H
#define MAINT_REPAIR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/digest.h"

struct guard;
struct known;
struct pick;
struct repo;
struct store;

/*
 * Refills what is damaged or missing in a datastore with good copies from
 * elsewhere.
 *
 * Looked at are, unless something was named: chunks that an index refers to
 * and that a listing does not have; all of snapshots whose last verification
 * failed; and indices that do not agree with their manifest.  If snapshots or
 * chunks were named: those, each read.
 *
 * A chunk that is there is read anew, past all caches, and twice before it is
 * called damaged; a good one is never replaced, nor is one of which nobody
 * can tell.  Chunks of zeros are made.  What a source offers is checked in
 * full: CRC, length and digest; of an encrypted one whose key is not at hand
 * only the first two, which is told (unproven).  Nothing is deleted.
 */
enum repair_event {
	REPAIR_HEALED,		/* dry run: would be */
	REPAIR_UNPROVEN,	/* healed, but only CRC and length are known to
				 * be right */
	REPAIR_LOST,		/* no source has it */
	REPAIR_UNKNOWN,		/* text: why nobody can tell */
	REPAIR_NOT_USED,	/* named, but no index refers to it */
	REPAIR_OBJECT_HEALED,	/* key of an index */
	REPAIR_OBJECT_LOST,	/* path of an index, blob or manifest */
};

struct repair_source {
	const char *name;	/* for messages */
	struct store *store;	/* borrowed; any that answers to the keys of
				 * chunks: a datastore, a cache */
};

struct repair_opts {
	struct repo *repo;	/* borrowed; just listed */
	const struct repair_source *sources;	/* in the order of preference */
	size_t n_sources;
	const struct pick *picks;	/* snapshots that were named */
	size_t n_picks;
	const struct digest *chunks;	/* that were named: ascending */
	size_t n_chunks;
	struct guard *guard;	/* NULL: it is in another process */
	struct known *known;	/* likewise */
	bool dry_run;
	unsigned jobs;		/* chunks under way at once; 0: 8 */
	unsigned timeout_ms;	/* of a read; 0: 60 s */
	const atomic_bool *stop;	/* set: -ECANCELED soon; or NULL */
	/* One at a time, on any thread.  what: a digest or a key; path: the
	 * snapshot and file that need it, for each one (once at least);
	 * text: which source healed it, or why not. */
	void (*event)(void *arg, enum repair_event e, const char *what,
	    const char *path, const char *text);
	void (*progress)(void *arg, uint64_t bytes);	/* that more are done */
	void *arg;
};

struct repair_result {
	uint64_t snapshots;	/* looked at */
	uint64_t listed;	/* chunks that the store has */
	uint64_t read;		/* chunks that were looked at one by one */
	uint64_t good;		/* of them */
	uint64_t missing, damaged;	/* of them */
	uint64_t healed, healed_bytes;	/* stored bytes; dry run: would be */
	uint64_t made;		/* of zeros, of them */
	uint64_t unproven;	/* of them */
	uint64_t lost;		/* still missing or damaged */
	uint64_t unknown;	/* the store did not tell */
	uint64_t objects_healed, objects_lost;
};

/** repair_run(o, ret): 0: all is well now; 1: not all; -ECANCELED; -errno with
 * a message.  The result is filled in any case. */
int repair_run(const struct repair_opts *o, struct repair_result *ret);

#endif
