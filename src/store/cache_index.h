/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef STORE_CACHE_INDEX_H
#define STORE_CACHE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "pbs/names.h"

/*
 * What a cache holds, in memory: entries by name, their order of use, and what
 * they take on disk together with the directories they need.  No I/O, no lock:
 * the cache serialises.
 */
enum cache_kind { CACHE_CHUNK, CACHE_META, CACHE_KINDS };

/* A cacheable key: a digest as 32 bytes, or the key of a metadata object. */
struct cache_id {
	uint8_t kind;
	uint16_t len;
	uint8_t b[KEY_MAX];
};
/** cache_id_of_key(key, ret): 0, or 1 if such objects are not cached. */
int cache_id_of_key(const char *key, struct cache_id *ret);
/** cache_id_path(id, out): relative to the cache's directory. */
#define CACHE_PATH_MAX (KEY_MAX + 1)
void cache_id_path(const struct cache_id *id, char out[CACHE_PATH_MAX + 1]);

enum cache_state {
	CACHE_WRITING,	/* not there yet, space is taken */
	CACHE_READY,	/* may be read and evicted */
	CACHE_LEAVING,	/* being unlinked, space is still taken */
};

/* A directory below .chunks or .cnt, as long as something in it is counted. */
struct cache_dir {
	struct cache_dir *chain;
	struct cache_dir *up;	/* NULL: .chunks or .cnt */
	unsigned refs;		/* entries and directories in it */
	unsigned gen;		/* changes when refs grows */
	bool leaving;		/* somebody is removing it */
	char path[];
};

struct cache_entry {
	struct cache_entry *chain;
	TAILQ_ENTRY(cache_entry) lru;	/* while READY */
	struct cache_dir *dir;
	uint64_t used_at;	/* of cache_index.clock */
	uint64_t size;		/* of the file */
	uint8_t state, kind;
	bool seen;		/* by a scan of the disk */
	uint16_t len;
	uint8_t b[];
};
TAILQ_HEAD(cache_lru, cache_entry);

struct cache_index {
	struct cache_entry **entries;	/* owned hash table */
	struct cache_dir **dirs;	/* owned hash table */
	size_t n_slots, n_dir_slots;	/* powers of two */
	size_t n, n_dirs;
	size_t count[CACHE_KINDS];
	struct cache_lru lru[CACHE_KINDS];	/* most recently used first */
	uint64_t used;		/* bytes on disk, of all entries and dirs */
	uint64_t used_meta;	/* of them: metadata objects */
	uint64_t log_live;	/* bytes of log that describe all this */
	uint64_t clock;
};

int cache_index_init(struct cache_index *x);
void cache_index_fini(struct cache_index *x);

struct cache_entry *cache_index_find(const struct cache_index *x,
    const struct cache_id *id);
/** cache_index_cost(x, id, size): what adding it would add to used. */
uint64_t cache_index_cost(const struct cache_index *x,
    const struct cache_id *id, uint64_t size);
/** cache_index_add(x, id, size, ret): state WRITING.  -ENOMEM. */
int cache_index_add(struct cache_index *x, const struct cache_id *id,
    uint64_t size, struct cache_entry **ret);
/** cache_index_ready(x, e, oldest): may be used from now on, as the most or
 * least recently used. */
void cache_index_ready(struct cache_index *x, struct cache_entry *e,
    bool oldest);
void cache_index_touch(struct cache_index *x, struct cache_entry *e);
/** cache_index_leave(x, e): READY no more. */
void cache_index_leave(struct cache_index *x, struct cache_entry *e);
void cache_index_resize(struct cache_index *x, struct cache_entry *e,
    uint64_t size);
/** cache_index_remove(x, e): frees e; returns its directory, which stays
 * counted even if nothing is in it any more. */
struct cache_dir *cache_index_remove(struct cache_index *x,
    struct cache_entry *e);
/** cache_index_remove_dir(x, d): d is empty; returns the one above. */
struct cache_dir *cache_index_remove_dir(struct cache_index *x,
    struct cache_dir *d);
/** cache_index_forget(x, e): frees e and the directories it leaves empty. */
void cache_index_forget(struct cache_index *x, struct cache_entry *e);
struct cache_entry *cache_index_oldest(const struct cache_index *x,
    enum cache_kind kind);
void cache_entry_id(const struct cache_entry *e, struct cache_id *ret);

#endif
