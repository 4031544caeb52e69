/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef STORE_FILTERS_H
#define STORE_FILTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

/* Each takes below over; on error below is still the caller's. */

/** store_ro_new: put, delete, copy and touch fail with -EROFS and reach
 * nobody. */
int store_ro_new(struct store *below, struct store **ret);

/** store_count_new: counts calls; for backends that do not themselves. */
int store_count_new(struct store *below, struct store **ret);

/** store_limit_new: at most these many requests or downloaded bytes in all
 * (0: any); then -EDQUOT, and a message that names the limit.  Requests are
 * what the stores below count, or else calls.  It is checked before each call
 * and now and then in a listing, so that calls under way may go beyond it by
 * what they have in hand. */
int store_limit_new(struct store *below, uint64_t max_requests,
    uint64_t max_download, struct store **ret);

/** store_log_new: one debug line per call: verb, key, outcome, bytes, ms. */
int store_log_new(struct store *below, struct store **ret);

/**
 * store_fault_new(below, script, ret):
 * Misbehave on order.  script is a file of rules, one a line, first match
 * wins; read again when it changes, and counts begin anew then:
 *     VERB KEY-GLOB ACTION [count=N] [after=N] [rate=P%] [seed=N]
 * VERB: get put stat list delete copy touch sync *.  ACTION: error=ERRNAME,
 * delay=MS, hang (until the deadline), truncate=BYTES (get, put), flip=OFFSET
 * (get, put), absent (get, stat, list, copy, touch), lost (put, delete, copy,
 * touch, sync: done, yet reported as failed), kill (SIGKILL to ourselves,
 * before), kill-after.
 * The key of a listing is its prefix, that of sync ""; one of many to delete that matches is
 * enough.  A rule is passed over in its first calls (after), when it has had
 * its count, and by chance (rate).  '#' begins a comment.  A rule is about a
 * network: where one matches, STORE_LOCAL is answered with -EAGAIN.
 * -EINVAL with a message naming the line.
 */
int store_fault_new(struct store *below, const char *script,
    struct store **ret);

/*
 * The chunk and metadata cache.  Layout of dir:
 *     .chunks/abcd/<hex>   chunks, byte for byte as in the store
 *     .cnt/...             metadata objects, each with a trailer that holds
 *                          its etag and a checksum
 *     cache-log            what is where and how recently used; no scan at start
 *     tmp/                 files being written
 *     lock                 flock: one process manages, others only read
 * limit bounds all of it as blocks on disk, each file and its directory
 * rounded up to 4 KiB; before a file is written room is made for it.  floor is
 * how many bytes of the file system stay free.  Eviction unlinks, so whoever
 * has a file open or mapped keeps it.  Only what store_verdict called good
 * enters as a chunk.  A write that fails (ENOSPC, EROFS, EIO) is one warning
 * and then uncached reading; the cache tries again a minute later.  limit 0
 * (or less than its own overhead, 96 KiB): nothing is written, what was there
 * is removed.  Two processes may share dir.  dir is made if it is missing; one
 * with other files in it is refused with -ENOTEMPTY, one that others can write
 * into or own with -EPERM.
 * Metadata takes half of the limit at most, and chunks are evicted before it.
 * Metadata goes in on get, if an etag is known, and answers gets with the same
 * etag, or with STORE_LOCAL and no etag whatever is there.
 */
struct store_cache_opts {
	const char *dir;
	uint64_t limit;
	uint64_t floor;
};
int store_cache_new(struct store *below, const struct store_cache_opts *o,
    struct store **ret);

/** store_cache_forget(s, keys, n): these objects are to go from the store:
 * their copies go from the cache in this stack, whichever process manages it.
 * How many there were. */
size_t store_cache_forget(struct store *s, const char *const *keys, size_t n);

struct store_cache_stats {
	/* used is what is counted.  For a moment after opening it may be over
	 * limit: what a crash or a higher limit has left is looked at and
	 * evicted in the background.  Nothing is written before; then what is
	 * on disk is never more than used, nor used more than limit. */
	uint64_t limit, used, chunks, objects;
	uint64_t hits, misses, evictions;
	uint64_t rejected;	/* that were damaged, in the cache or below */
	bool degraded;		/* not writing: disk full, read-only, locked */
};
/** store_cache_stats(s, ret): of the cache in this stack; 1 if there is none. */
int store_cache_stats(struct store *s, struct store_cache_stats *ret);

#endif
