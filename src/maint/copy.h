/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_COPY_H
#define MAINT_COPY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct claim;
struct guard;
struct known;
struct pick;
struct repo;

/*
 * Snapshots from one datastore into another, under the same names.  What the
 * target has it keeps: a snapshot that is finished there is passed over, a
 * chunk that is there is not sent.  Objects are copied as they are, so that
 * what is encrypted or signed stays so, without a key.
 *
 * Each snapshot arrives whole or not at all: its chunks, then indices, blobs
 * and protection, then its manifest.  Interrupted at any point, the next run
 * goes on with what is missing.  All that passes through here is checked: a
 * chunk by its CRC, by its digest too unless it is encrypted and its key is
 * not at hand; indices and blobs by the manifest.  What is damaged or missing
 * fails its snapshot, and the others go on.
 *
 * Where the server can copy a chunk itself (store_copy_from) it does, and
 * nothing passes through here; not those of a snapshot whose last verification
 * failed.
 *
 * Memory: a chunk and what it decodes to for each of jobs, the indices and
 * blobs of one snapshot, and known.
 */
enum copy_event {
	COPY_DONE,	/* path is in the target now; dry run: would be */
	COPY_THERE,	/* it was already */
	COPY_GONE,	/* it was forgotten in the source meanwhile */
	COPY_FAILED,	/* text: why */
	COPY_CHUNK,	/* path: its digest; text: what is wrong with it */
	COPY_LEFT,	/* path: a file that no manifest knows; left out */
};

struct copy_opts {
	struct repo *from, *to;	/* borrowed; both were just listed */
	const struct pick *picks;	/* which ones; none: all */
	size_t n_picks;
	/* Of the target: */
	struct guard *guard;	/* NULL: nobody collects garbage there */
	struct known *known;	/* NULL: one of our own; nothing was condemned
				 * since the target was listed */
	struct claim *claim;	/* NULL in tests */
	const char *owner;	/* of a group that has none in the source */
	bool dry_run;
	bool read_all;		/* check every chunk: the server copies none */
	unsigned jobs;		/* chunks under way at once; 0: 8 */
	unsigned timeout_ms;	/* of a read; 0: 60 s */
	const atomic_bool *stop;	/* set: -ECANCELED soon; or NULL */
	/* One at a time, on any thread. */
	void (*event)(void *arg, enum copy_event e, const char *path,
	    const char *text);
	void (*progress)(void *arg, uint64_t bytes);	/* that more are done */
	void *arg;
};

struct copy_result {
	uint64_t copied, there, gone, failed;	/* snapshots */
	uint64_t damaged;	/* of those that failed: of the source */
	uint64_t namespaces, groups;	/* made; dry run: would be */
	uint64_t objects;	/* indices, blobs and manifests, likewise */
	uint64_t chunks;	/* asked for, repetitions in one snapshot that
				 * are close to each other left out */
	uint64_t chunks_there;
	uint64_t sent, sent_bytes;	/* as stored; dry run: would be, and
					 * plain bytes */
	uint64_t by_server, by_server_bytes;	/* plain bytes */
	uint64_t unproven;	/* sent: encrypted, so only the CRC was
				 * checked */
	uint64_t listed;	/* chunks, when the target was listed */
};

/** copy_run(o, ret): 0; 1 if a snapshot failed; -ECANCELED; -errno, with a
 * message, if it makes no sense to go on.  The result is filled in any case. */
int copy_run(const struct copy_opts *o, struct copy_result *ret);

#endif
