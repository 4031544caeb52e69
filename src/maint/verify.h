/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_VERIFY_H
#define MAINT_VERIFY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "crypt/digest.h"

struct agent;
struct repo;
struct tree_snap;

/*
 * Whether what finished snapshots refer to is in the store and is what it is
 * called.  Manifests, indices and blobs of each snapshot, then the chunks: each
 * once in a run, however many snapshots refer to it.
 *
 * Nothing is called damaged unless it was wrong twice, the second time from
 * the store itself, and nothing missing unless the store said so twice: an
 * error or no answer in time is "unknown", and so are answers that contradict
 * each other.  A snapshot that is forgotten meanwhile is left out.  What a
 * snapshot comes to is computed when all that was asked about it has been
 * answered, not before.
 *
 * Memory: 16 bytes for a place in the set of digests, 18 to 37 for a distinct
 * chunk, up to set_memory; indices of at most 64 MiB at once, or a single
 * larger one; chunks under way within memory.  A set that is full forgets
 * what was good, which then may be read again (full, sample), or takes one
 * more listing for each part of the digests that fits (exists, size).
 */

enum verify_level {
	VERIFY_EXISTS,	/* objects are listed; chunks are not read */
	VERIFY_SIZE,	/* their sizes can be those of what they should hold */
	VERIFY_SAMPLE,	/* some chunks are read, all others are not looked at */
	VERIFY_FULL,
};

enum verdict {
	VERDICT_GOOD,
	VERDICT_UNKNOWN,
	VERDICT_MISSING,
	VERDICT_DAMAGED,
};
const char *verdict_name(enum verdict v);

/* Something is wrong with an object of a snapshot, or a chunk of it. */
struct verify_finding {
	enum verdict verdict;	/* never good */
	const char *snap;	/* "ns/a/host/web1/2024-01-01T00:00:00Z" */
	const char *file;	/* server name */
	const char *why;
	const struct digest *chunk;	/* NULL: it is the file itself */
	uint64_t off, len;	/* of the chunk in the archive's stream */
};

enum verify_part {
	VERIFY_CONTENT,		/* of a file; off and len are in it */
	VERIFY_ENTRY,		/* attributes, target of a link */
	VERIFY_LIST,		/* of a directory: entries cannot be found */
};

/* Inside of a tree: what a damaged or missing chunk takes with it.  A file is
 * named by its first name alone, and a name that cannot be read comes as that
 * of the directory it is in. */
struct verify_path {
	const char *snap, *file;
	const char *path;	/* from the archive's root; "" is the root */
	enum verify_part part;
	uint64_t off, len;	/* VERIFY_CONTENT */
};

/* A snapshot is done. */
struct verify_snap {
	const char *snap;
	enum verdict verdict;	/* the worst of what it has */
	bool skipped;		/* verified lately: nothing was looked at */
	bool recorded;		/* in its manifest */
	uint64_t unknown;	/* positions and objects */
	uint64_t more_findings, more_paths;	/* beyond the maxima */
};

#define VERIFY_FINDINGS_MAX 100		/* of one archive */
#define VERIFY_PATHS_MAX 1000		/* likewise */

struct verify_opts {
	struct repo *repo;
	/* Records and quarantines; NULL: neither. */
	struct agent *agent;
	enum verify_level level;
	/* VERIFY_SAMPLE: chunks to read, of 1,000,000.  Which they are depends
	 * on turn: where 1,000,000 / share turns follow each other, each chunk
	 * is read in one of them. */
	uint32_t share;
	uint64_t turn;
	bool cached;		/* a good copy in the cache will do; then
				 * nothing good is recorded */
	bool no_record;
	bool quarantine;	/* of damaged chunks, as Proxmox Backup does */
	int64_t since;		/* leave out what was found good within so many
				 * seconds; 0: nothing */
	const char *upid;	/* verify_upid; NULL: nothing is recorded */
	unsigned threads;	/* 0: 16 */
	uint64_t memory;	/* bytes of chunks under way; 0: 256 MiB */
	uint64_t set_memory;	/* 0: 256 MiB */
	unsigned timeout_ms;	/* of one request; 0: 60 s */
	const atomic_bool *stop;	/* set: -ECANCELED soon; or NULL */

	/* All on the thread of the caller; each may be NULL. */
	bool (*want)(void *arg, const struct tree_snap *s);
	void (*finding)(void *arg, const struct verify_finding *f);
	void (*path)(void *arg, const struct verify_path *p);
	void (*snap)(void *arg, const struct verify_snap *s);
	/* plain bytes of chunks that were looked at */
	void (*progress)(void *arg, uint64_t bytes);
	void *arg;
};

struct verify_result {
	uint64_t snaps, skipped;	/* looked at; verified lately */
	uint64_t unfinished, vanished;	/* left out */
	uint64_t ok, failed, unknown;	/* snapshots */
	uint64_t others;	/* not to be looked at, and need a bad chunk */
	uint64_t objects, bad_objects, unknown_objects;	/* below .cnt/ */
	uint64_t chunks;	/* distinct ones looked at */
	uint64_t bytes;		/* of them, plain, as far as read */
	uint64_t unread;	/* positions outside of the sample */
	uint64_t damaged, missing, unknown_chunks;	/* distinct */
	uint64_t quarantined, recorded, unrecorded;
	int record_error;	/* why, of the last that is unrecorded */
	uint64_t passes;	/* listings of .chunks/ */
};

/**
 * verify_run(o, ret):
 * 0, also if much is wrong: see the result, which is filled in any case, and
 * says then what there was up to there: -ECANCELED; -EHOSTDOWN and friends
 * when the store does not answer any more; -EDQUOT; -ENOMEM.
 */
int verify_run(const struct verify_opts *o, struct verify_result *ret);

/** verify_upid(out, store, start): names a verification begun then as Proxmox
 * Backup names its tasks. */
#define VERIFY_UPID_MAX 512
void verify_upid(char out[VERIFY_UPID_MAX], const char *store, int64_t start);
/** verify_upid_start(upid, ret): when it began: 0, -EINVAL. */
int verify_upid_start(const char *upid, int64_t *ret);

#endif
