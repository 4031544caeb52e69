/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef STORE_CACHE_H
#define STORE_CACHE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "store/cache_index.h"
#include "store/store.h"

struct buf;
struct cache_log;

/*
 * Shared by the files of the cache.  One thread of its own looks after what
 * nobody should wait for: writing down recency, rewriting the log, looking
 * around after a crash, making the cache smaller.
 *
 * The mutex is never held across I/O.  A file that is being written or
 * unlinked keeps its entry in the index, in a state of its own, so that what
 * is on disk is never more than ix.used and nobody else touches it.
 */
struct cache {
	struct store s;
	char *dir;		/* owned; for messages */
	int fd;			/* owned; -1: there is no directory */
	uint64_t limit, floor;
	struct cache_log *log;	/* owned; set before manager is, then stays */
	int lock_fd;		/* owned; -1: not ours */
	pthread_t thread;
	bool has_thread;

	pthread_mutex_t lock;	/* guards all below */
	pthread_cond_t cond;	/* for the thread */
	struct cache_index ix;	/* until manager: of who takes over, no lock */
	bool manager;		/* the directory is ours to change */
	bool inserting;		/* what is on disk is known and in the limit */
	bool stop;
	bool scan;		/* the thread has to look around */
	bool touched;		/* recency has changed since it was written */
	bool rewrite;		/* the log is long */
	uint64_t saved_clock;	/* ix.clock when it was written */
	deadline_t save_at;
	deadline_t retry_at;	/* nothing is written before; 0: all is well */
	bool warned;
	unsigned temp_n;
	uint64_t writing;	/* bytes of files under way */
	uint64_t hits, misses, evictions, rejected;
};

/* The directory, the log, a few blocks of them being rewritten. */
#define CACHE_BASE_COST (96 << 10)
#define CACHE_RETRY_MS 60000
#define CACHE_SAVE_MS 60000
#define CACHE_TMP "tmp"

/* cache_files.c: one file at a time.  Errors are not logged here. */

/** cache_file_read(c, id, expect, how, ret, ret_obj): a hit is 0; 1 if it is
 * not there, or another version; -EBADMSG if what is there is no use.  expect:
 * size of the file, 0 if not known. */
int cache_file_read(struct cache *c, const struct cache_id *id,
    uint64_t expect, const struct store_get *how, struct buf **ret,
    struct store_object *ret_obj);
/** cache_file_size(id, len): on disk, of an object of len bytes. */
uint64_t cache_file_size(const struct cache_id *id, uint64_t len);
/** cache_file_write(c, temp, id, p, len, o): o only for metadata.  1 if its
 * name cannot be one here. */
int cache_file_write(struct cache *c, unsigned temp, const struct cache_id *id,
    const void *p, size_t len, const struct store_object *o);
/** cache_file_unlink(c, id): gone before is as good. */
int cache_file_unlink(struct cache *c, const struct cache_id *id);

/* cache_room.c: what is kept. */

/** cache_room_insert(c, id, p, len, o): keep it if there can be room. */
void cache_room_insert(struct cache *c, const struct cache_id *id,
    const void *p, size_t len, const struct store_object *o);
/** cache_room_drop(c, id, bad): it is of no use any more, or was never. */
void cache_room_drop(struct cache *c, const struct cache_id *id, bool bad);
/** cache_room_forget(c, id): it is gone from the store; whether it was here. */
bool cache_room_forget(struct cache *c, const struct cache_id *id);
/** cache_room_used(c, id): it was read. */
void cache_room_used(struct cache *c, const struct cache_id *id);
/** cache_room_fits(c): whether the limit holds.  With the lock. */
bool cache_room_fits(const struct cache *c);
/** cache_room_trim(c): evict until the limit holds; -errno if it cannot. */
int cache_room_trim(struct cache *c);
/** cache_room_failed(c, what, err): one warning, and no writing for a while. */
void cache_room_failed(struct cache *c, const char *what, int err);

/* cache_manage.c: taking over a directory, and the thread. */

/** cache_manage_start(c): 0, or the error of a directory that cannot be one. */
int cache_manage_start(struct cache *c);
void cache_manage_stop(struct cache *c);

/* cache_save.c: what the next process has to know. */

/** cache_save_recency(c): the order of use, as far as it is new. */
void cache_save_recency(struct cache *c);
/** cache_save_all(c): a new log that has only what is live. */
void cache_save_all(struct cache *c);

/* cache_scan.c */

/** cache_scan(c): make the index agree with the disk. */
int cache_scan(struct cache *c);
/** cache_scan_ends(c): only the most and the least recently used, among which
 * is what a killed process was about to write or had just evicted. */
void cache_scan_ends(struct cache *c);

#endif
