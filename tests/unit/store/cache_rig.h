/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_STORE_CACHE_RIG_H
#define UNIT_STORE_CACHE_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/filters.h"

struct buf;

#define CHUNK (100 * KIB)

/* A cache over a counted store in memory. */
struct rig {
	char dir[256];
	struct store *mem, *count, *s;
};

struct rig rig_open(const char *scratch, uint64_t limit, uint64_t floor);
/* Requests that reached the store below. */
uint64_t rig_gets(const struct rig *g);
struct store_cache_stats rig_stats(const struct rig *g);

const char *rig_key(unsigned n, char out[80]);
struct buf *rig_content(unsigned n, size_t len);
/* As a reader does: chunk n is fetched, found good, and said to be so. */
void rig_keep(const struct rig *g, unsigned n, size_t len);
/* Whether chunk n is in the cache; that counts as a use.  Its content is
 * checked. */
bool rig_has(const struct rig *g, unsigned n, size_t len);
/* Fails the test if more is used than allowed, or than the cache knows. */
void rig_in_limit(const struct rig *g);
/* Until the thread has settled. */
void rig_settle(const struct rig *g);
/* Where chunk n is. */
const char *rig_file(const char *dir, unsigned n);
uint64_t rig_count_chunks(const char *dir);

#endif
