/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_KEYRING_H
#define PBS_KEYRING_H

#include <stddef.h>

#include "pbs/manifest.h"

struct enc_key;

/*
 * The keys that are at hand, by fingerprint.  Filled by one thread, then
 * immutable.
 */
struct keyring;

int keyring_new(struct keyring **ret);
struct keyring *keyring_ref(struct keyring *r);
void keyring_unref(struct keyring *r);

/** keyring_add(r, k): takes a reference; one that is in it already is fine.
 * Nobody else uses k yet. */
int keyring_add(struct keyring *r, struct enc_key *k);
/** keyring_count(r): r may be NULL, which is an empty one. */
size_t keyring_count(const struct keyring *r);
/** keyring_at(r, i): in the order in which they were added; i is below the
 * count.  Borrowed. */
const struct enc_key *keyring_at(const struct keyring *r, size_t i);
/** keyring_find(r, fingerprint): borrowed, or NULL. */
const struct enc_key *keyring_find(const struct keyring *r,
    const char *fingerprint);

/**
 * keyring_check(r, m, ret):
 * Which key the snapshot of m was made with: by the fingerprint; where the
 * manifest has none, by the signature; where it has neither, the only one
 * there is.  *ret is borrowed from r, NULL if it is not there or none was
 * used.  0, also for a manifest that is not signed; -EBADMSG if it is
 * signed by another than its own key; -ENOMEM.
 */
int keyring_check(const struct keyring *r, const struct manifest *m,
    const struct enc_key **ret);

#endif
