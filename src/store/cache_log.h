/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef STORE_CACHE_LOG_H
#define STORE_CACHE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cache_id;

/*
 * The file that tells a later process what is in the cache, so that it need
 * not look.  Records are appended, each with a checksum; what is not a record
 * is skipped.  Nothing is synced: a record is safe once written, unless the
 * operating system itself goes down, and that shows in the boot id.
 *
 * Any thread may append.  The log's mutex guards its size and the switch to a
 * new file; it is never held across I/O.
 *
 * A record, little endian:
 *      0  magic u32
 *      4  operation u8, kind u8, length of the name u16
 *      8  size of the cached file u64
 *     16  XXH3-64 of all other bytes u64
 *     24  name: a digest, a key, or the boot id
 */
#define CACHE_LOG_NAME "cache-log"
#define CACHE_LOG_HEADER 24
/* Below this length it is not worth rewriting. */
#define CACHE_LOG_MIN (48 << 10)

enum cache_log_op {
	CACHE_LOG_OPEN = 1,	/* a process took over; boot id */
	CACHE_LOG_CLOSE,	/* and has left in good order */
	CACHE_LOG_ADD,		/* is about to be there; most recently used */
	CACHE_LOG_DELETE,	/* is there no longer */
	CACHE_LOG_USE,		/* most recently used */
};

/** cache_log_len(id): bytes of a record about it. */
size_t cache_log_len(const struct cache_id *id);
/** cache_log_encode(out, op, id, size): out has that many bytes. */
size_t cache_log_encode(uint8_t *out, enum cache_log_op op,
    const struct cache_id *id, uint64_t size);

typedef int cache_log_fn(void *arg, enum cache_log_op op,
    const struct cache_id *id, uint64_t size);

/* How far a log can be believed. */
enum cache_log_trust {
	CACHE_LOG_CLEAN,	/* complete */
	CACHE_LOG_KILLED,	/* but for what was under way when it ended */
	CACHE_LOG_LOST,		/* not, and it stays so until it is replaced:
				 * the disk has to be looked at */
};

struct cache_log;
/**
 * cache_log_open(dirfd, fn, arg, ret_trust, ret):
 * Tells fn of the records, oldest first, then goes on appending.  A log that
 * does not exist is made.
 */
int cache_log_open(int dirfd, cache_log_fn *fn, void *arg,
    enum cache_log_trust *ret_trust, struct cache_log **ret);
/** cache_log_close(l, clean): NULL is allowed. */
void cache_log_close(struct cache_log *l, bool clean);

int cache_log_append(struct cache_log *l, enum cache_log_op op,
    const struct cache_id *id, uint64_t size);
/** cache_log_write(l, p, len): records made with cache_log_encode. */
int cache_log_write(struct cache_log *l, const void *p, size_t len);

/** cache_log_is_long(l, live): whether most of it is history. */
bool cache_log_is_long(struct cache_log *l, uint64_t live);
/**
 * cache_log_hold(l): waits until nobody appends, and keeps others waiting
 * until cache_log_replace.
 * cache_log_replace(l, p, len): a new file with these records instead; on
 * error the old one stays.  p NULL: give up.
 */
void cache_log_hold(struct cache_log *l);
int cache_log_replace(struct cache_log *l, const void *p, size_t len);

#endif
