/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_MAINT_GC_WORLD_H
#define UNIT_MAINT_GC_WORLD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "maint/gc.h"
#include "store/store.h"

/*
 * A datastore with chunks that have numbers, in memory or in a directory,
 * behind a filter that counts as a bucket does, lets time pass and misbehaves
 * on order.
 */
#define GC_PAGE 1000

struct gc_filter {
	struct store s;
	uint64_t n[STORE_VERBS];	/* requests; LIST by pages */
	uint64_t retries;	/* to be told */
	int64_t age;		/* seconds that all chunks are older */
	int64_t skew;
	const char *refuse;	/* objects whose key ends so are not deleted */
	int fail_delete;	/* the request fails so, after it was done */
	int fail_list;		/* of .chunks/, in the middle */
	uint64_t fail_list_at;
	const char *gone;	/* get says it is absent, though it is not */
	const char *vanish;	/* it goes when it is asked for */
	int fail_get;
	atomic_bool *stop_at_delete;
};

#define EVENTS_MAX 64
struct gc_told {
	enum gc_event e;
	char key[160], text[160];
};

struct gc_world {
	char dir[64];		/* scratch: work/ and, if it is one, store/ */
	char work[80];
	char base[80];
	struct gc_filter *f;	/* borrowed: in repo */
	struct repo *repo;
	struct guard *guard;
	struct agent *agent;
	struct gc_opts o;
	struct gc_result res;
	struct gc_told told[EVENTS_MAX];
	size_t n_told;		/* all of them */
	size_t count[8];	/* by event */
};

void gc_world_open(struct gc_world *w, bool is_dir);
void gc_world_close(struct gc_world *w);
/** gc_world_run(w): what gc_run says; counts and events are of this run. */
int gc_world_run(struct gc_world *w);

struct digest gc_digest(uint64_t n);
const char *gc_key(uint64_t n);
void gc_put(struct gc_world *w, const char *key, const char *content);
void gc_put_chunk(struct gc_world *w, uint64_t n);
bool gc_has(struct gc_world *w, const char *key);
bool gc_has_chunk(struct gc_world *w, uint64_t n);
void gc_remove(struct gc_world *w, const char *key);
/** gc_put_index(w, key, from, to): of the chunks with these numbers. */
void gc_put_index(struct gc_world *w, const char *key, uint64_t from,
    uint64_t to);
/** gc_index_file(from, to, ctime, ret_len): its bytes; malloc'ed. */
void *gc_index_file(uint64_t from, uint64_t to, int64_t ctime,
    size_t *ret_len);
const struct gc_told *gc_told(const struct gc_world *w, enum gc_event e,
    const char *key);

#define GC_INDEX(group, day, name) \
	".cnt/" group "/2024-01-" day "T00:00:00Z/" name

#endif
