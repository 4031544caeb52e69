/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_GC_H
#define MAINT_GC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "crypt/digest.h"

struct agent;
struct repo;
struct store;

/*
 * Garbage collection: doc/GC.md.  Marks what every index refers to and what
 * open snapshots need, then compares that with the sorted listing of .chunks/
 * and deletes what nothing refers to and what is older than the cutoff.
 *
 * Nothing is deleted unless all that could refer to a chunk has been read.
 * Nothing that is no chunk is touched.  An uncertain answer deletes nothing
 * more and calls nothing missing.  Memory does not depend on the number of
 * chunks: the marks' (maint/marks.h), indices that are read, 64 MiB or a single
 * one, and some 300 bytes for each index.  All functions are called on the
 * caller's thread.
 *
 * In a directory the age of a chunk is the time of last access, and chunks that
 * something refers to are touched, as Proxmox Backup does, so that both may
 * collect in turn.
 */

#define GC_CUTOFF_DEFAULT (24 * 3600 + 5 * 60)	/* seconds */

enum gc_event {
	GC_MISSING,	/* referred to, and not in the store */
	GC_STRANGE,	/* an object that is no chunk; left alone */
	GC_UNDELETED,	/* the store refused to delete it: why */
	GC_STRAY_INDEX,	/* an index outside the scheme; marked all the same */
	GC_WOULD,	/* dry run: would be deleted */
};

struct gc_opts {
	struct repo *repo;	/* its tree is not used: what there is, is
				 * listed anew */
	struct agent *agent;	/* NULL: only for a dry run */
	/* Where open snapshots are, for draft_scan; NULL: where agent says. */
	const char *state, *identity;
	const char *work;	/* directory for marks; NULL: memory */
	int64_t cutoff;		/* seconds; -1: the default; 0: no age, nor
				 * any clock, keeps what nothing refers to */
	bool dry_run;
	bool single_deletes;	/* the store sends one request for each object:
				 * fewer at a time */
	const atomic_bool *stop;	/* set: -ECANCELED soon; or NULL */
	/* key: of the object or "" ; text: path of a snapshot, or why. */
	void (*event)(void *arg, enum gc_event e, const char *key,
	    const char *text);
	/* phase 1: indices; 2: chunks listed; total 0: not known */
	void (*progress)(void *arg, int phase, uint64_t done, uint64_t total);
	void *arg;
};

struct gc_result {
	uint64_t indices, indices_reused;
	uint64_t index_data_bytes;	/* what all indices stand for */
	uint64_t references;		/* of indices that were read */
	uint64_t referenced;		/* distinct digests */
	uint64_t chunks, bytes;		/* listed, good names */
	uint64_t removed, removed_bytes;	/* dry run: would be */
	uint64_t pending, pending_bytes;	/* younger than the cutoff */
	uint64_t spared;		/* a writer is about to refer to it */
	uint64_t missing;
	uint64_t bad, removed_bad, removed_bad_bytes;
	uint64_t strange, undeleted;
	uint64_t cache_removed;		/* local copies of what is gone */
	int64_t started, finished;	/* epoch seconds */
};

/** gc_run(o, ret): 0; 1 if objects remain that were to be deleted; -ECANCELED;
 * -errno with a message: then nothing was deleted in phase 1, and what the
 * result says in phase 2.  The result is filled in any case. */
int gc_run(const struct gc_opts *o, struct gc_result *ret);

#endif
