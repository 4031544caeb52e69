/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_CHUNK_KEYS_H
#define DRAFT_CHUNK_KEYS_H

#include <stdbool.h>
#include <stdint.h>

struct digest;
struct enc_key;
struct keyring;

/*
 * Under which keys the chunks are that open snapshots refer to, as numbers, so
 * that a piece stays small: 0 is a chunk that is not encrypted.  A chunk may be
 * under a key that is not at hand: it is what an earlier mount has uploaded.
 * Numbers are given while journals are read, before others know of it; it is
 * immutable then.
 */
struct chunk_keys;

#define CHUNK_KEYS_PLAIN 0u
/* Journals that tell of more are damaged. */
#define CHUNK_KEYS_MAX 4096

/** chunk_keys_new(ring, ours, ret): both are borrowed and may be NULL; ours is
 * what new chunks are encrypted with. */
int chunk_keys_new(const struct keyring *ring, const struct enc_key *ours,
    struct chunk_keys **ret);
void chunk_keys_free(struct chunk_keys *k);

/** chunk_keys_ours(k): of new chunks. */
uint32_t chunk_keys_ours(const struct chunk_keys *k);
/** chunk_keys_add(k, fingerprint, ret): 0, -ENOMEM, -EBADMSG for too many. */
int chunk_keys_add(struct chunk_keys *k, const struct digest *fingerprint,
    uint32_t *ret);
/** chunk_keys_any(k): whether any was given. */
bool chunk_keys_any(const struct chunk_keys *k);
/** chunk_keys_fingerprint(k, n): borrowed; n is not CHUNK_KEYS_PLAIN. */
const struct digest *chunk_keys_fingerprint(const struct chunk_keys *k,
    uint32_t n);
/** chunk_keys_get(k, n, ret): *ret is NULL for CHUNK_KEYS_PLAIN.  0, or -ENOKEY
 * if the key is not at hand. */
int chunk_keys_get(const struct chunk_keys *k, uint32_t n,
    const struct enc_key **ret);

#endif
