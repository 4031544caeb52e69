/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_VERIFY_SET_H
#define MAINT_VERIFY_SET_H

#include <stddef.h>
#include <stdint.h>

struct digest;

/*
 * What is known of each digest, in 16 bytes a place: 96 bits of a keyed hash
 * stand for the digest, so that nobody can make two of them meet.  The caller
 * locks.
 */
enum set_state {
	SET_NONE,	/* not there */
	SET_WANTED,	/* referred to; the listing has not shown it */
	SET_LISTED,
	SET_SUSPECT,	/* listed, but of a size that cannot be */
	SET_PENDING,	/* somebody is looking at it */
	SET_GOOD,
	SET_UNREAD,	/* not to be looked at */
	SET_UNKNOWN,
	SET_MISSING,
	SET_DAMAGED,
};

struct set_key {
	uint64_t a;
	uint32_t b;
};

struct set_slot {
	uint64_t a;
	uint32_t b;
	uint32_t info;		/* state << 28 | value */
};

struct verify_set {
	struct set_slot *slots;	/* owned */
	size_t n_slots;		/* a power of two, or 0 */
	size_t n;
	uint64_t seed[4];
};

#define SET_VALUE_MAX 0x0fffffffu

/** verify_set_init(s): empty; -EIO without random bytes. */
int verify_set_init(struct verify_set *s);
void verify_set_fini(struct verify_set *s);
/** verify_set_clear(s): empty, and small. */
void verify_set_clear(struct verify_set *s);
/** verify_set_forget(s): what is good or unread is not in it any more. */
int verify_set_forget(struct verify_set *s);
/** verify_set_memory(s, n): bytes it takes with that many. */
uint64_t verify_set_memory(size_t n);

/** verify_set_key(s, d, more, len): of a digest, and of what else makes a
 * difference (at most 32 bytes). */
struct set_key verify_set_key(const struct verify_set *s,
    const struct digest *d, const void *more, size_t len);
/** verify_set_get(s, k, ret_value): its state. */
enum set_state verify_set_get(const struct verify_set *s,
    const struct set_key *k, uint32_t *ret_value);
/** verify_set_put(s, k, state, value): 0, -ENOMEM only if it is new. */
int verify_set_put(struct verify_set *s, const struct set_key *k,
    enum set_state state, uint32_t value);

#endif
