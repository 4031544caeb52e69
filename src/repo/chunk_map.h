/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_CHUNK_MAP_H
#define REPO_CHUNK_MAP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "repo/chunks.h"

/*
 * A hash table by digest, size and key.  The caller locks.  Node is embedded in what
 * the caller keeps.
 */
struct chunk_node {
	struct chunk_id id;	/* set before it is added */
	LIST_ENTRY(chunk_node) link;
};
LIST_HEAD(chunk_bucket, chunk_node);

struct chunk_map {
	struct chunk_bucket *buckets;	/* owned */
	size_t n_buckets;		/* power of two */
	size_t n;
	uint64_t seed;	/* an index may hold any digest that it likes */
};

int chunk_map_init(struct chunk_map *m);
/** chunk_map_fini(m): nodes are the caller's. */
void chunk_map_fini(struct chunk_map *m);
struct chunk_node *chunk_map_find(const struct chunk_map *m,
    const struct chunk_id *id);
void chunk_map_add(struct chunk_map *m, struct chunk_node *n);
void chunk_map_remove(struct chunk_map *m, struct chunk_node *n);

#endif
