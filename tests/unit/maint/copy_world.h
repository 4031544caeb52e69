/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_MAINT_COPY_WORLD_H
#define UNIT_MAINT_COPY_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "crypt/digest.h"
#include "repo/edit.h"

struct enc_key;
struct keyring;
struct repo;
struct store;

/*
 * Snapshots of small chunks, and what must be true of a store that has some.
 * Chunk i of a snapshot is the text of a number, or zeros.
 */
#define CW_TIME 1704067200	/* 2024-01-01T00:00:00Z */
#define CW_CHUNK 4096
#define CW_ZERO UINT32_MAX

struct cw_snap {
	struct group_name group;
	int64_t time;
	uint32_t first, n;	/* chunks of these numbers, and one of zeros,
				 * which comes twice */
	const struct enc_key *key;
	bool protect;
	const char *verify;	/* state of the last verification, or NULL */
};

/** cw_put(s, x): into a store, and its group's owner. */
void cw_put(struct store *s, const struct cw_snap *x);
/** cw_digest(number, key): the name of a chunk. */
struct digest cw_digest(uint32_t number, const struct enc_key *key);
/** cw_chunk(s, number, key): puts it alone. */
void cw_chunk(struct store *s, uint32_t number, const struct enc_key *key);
/** cw_delete(s, number, key); cw_flip(s, number, key, off): damages it;
 * cw_is_good(s, number, key): whether it is there and sound. */
void cw_delete(struct store *s, uint32_t number, const struct enc_key *key);
void cw_flip(struct store *s, uint32_t number, const struct enc_key *key,
    size_t off);
bool cw_is_good(struct store *s, uint32_t number, const struct enc_key *key);

/** cw_count(s, prefix): objects. */
unsigned cw_count(struct store *s, const char *prefix);
/** cw_has(s, key). */
bool cw_has(struct store *s, const char *key);
/** cw_same(a, b, prefix): asserts that both have the same below it. */
void cw_same(struct store *a, struct store *b, const char *prefix);
/** cw_check(s): asserts that each snapshot with a manifest has all that it
 * names, and that its group has an owner. */
void cw_check(struct store *s);

/** cw_repo(s, keys): of a store that stays the caller's; keys or NULL. */
struct repo *cw_repo(struct store *s, struct keyring *keys);
/** cw_keep(s): a filter that lets its store live on when it is freed. */
struct store *cw_keep(struct store *s);

#endif
