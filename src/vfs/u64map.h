/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VFS_U64MAP_H
#define VFS_U64MAP_H

#include <stddef.h>
#include <stdint.h>

/* Numbers by number; key 0 is not allowed.  Zero-initialised is empty. */
struct u64map {
	struct u64pair *slots;
	size_t n, size;		/* size is 0 or a power of two */
};

struct u64pair {
	uint64_t key, value;
};

void u64map_fini(struct u64map *m);
/** u64map_at(m, key): its value, made 0 if there was none; valid until the
 * next u64map_at.  NULL if out of memory. */
uint64_t *u64map_at(struct u64map *m, uint64_t key);
/** u64map_memory(m): bytes it holds; it is at most half full. */
size_t u64map_memory(const struct u64map *m);
/** u64map_get(m, key): its value, 0 if there is none. */
uint64_t u64map_get(const struct u64map *m, uint64_t key);

#endif
