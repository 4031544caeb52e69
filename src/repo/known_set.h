/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_KNOWN_SET_H
#define REPO_KNOWN_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/digest.h"

/*
 * A set of digests in the order in which they came: an array of them, and a
 * hash table of places in it.  32 bytes for a digest, and 8 to 16 for finding
 * it.  The caller locks.
 */
struct known_set {
	struct digest *v;	/* owned; removed ones are all zero */
	size_t n, room;
	size_t removed;		/* of n */
	uint32_t *slots;	/* owned; 0: free, else the place plus one */
	size_t n_slots;		/* a power of two */
	size_t max;
	uint64_t seed;	/* an index may hold any digest that it likes */
};

/** known_set_init(s, max): beyond max the oldest half is forgotten. */
int known_set_init(struct known_set *s, size_t max);
void known_set_fini(struct known_set *s);
/** known_set_clear(s): cannot fail; gives its memory back. */
void known_set_clear(struct known_set *s);

bool known_set_has(const struct known_set *s, const struct digest *d);
/** known_set_add(s, d): 0; 1 if it is there already; -ENOMEM. */
int known_set_add(struct known_set *s, const struct digest *d);
void known_set_remove(struct known_set *s, const struct digest *d);
size_t known_set_count(const struct known_set *s);
/** known_set_each(s, i, ret): the next one at place *i or after it, oldest
 * first; *i goes past it.  0, or 1 at the end. */
int known_set_each(const struct known_set *s, size_t *i, struct digest *ret);

#endif
