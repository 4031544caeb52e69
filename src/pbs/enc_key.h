/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_ENC_KEY_H
#define PBS_ENC_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/digest.h"

/*
 * The key of encrypted and signed snapshots, and what is derived from it:
 * format document section 8.3.  Immutable; any thread.  References may be
 * taken and dropped from any thread.
 */
#define ENC_KEY_LEN 32
struct enc_key;

/** enc_key_new(raw, ret): the caller wipes raw.  0, -ENOMEM. */
int enc_key_new(const uint8_t raw[ENC_KEY_LEN], struct enc_key **ret);
struct enc_key *enc_key_ref(struct enc_key *k);
void enc_key_unref(struct enc_key *k);
void enc_key_unrefp(struct enc_key **k);

/** enc_key_set_created(k, text): when its file says that it was made, for
 * copies of it; before anybody else sees the key.  0, -ENOMEM.
 * enc_key_created(k): borrowed; NULL: not known. */
int enc_key_set_created(struct enc_key *k, const char *text);
const char *enc_key_created(const struct enc_key *k);

/** enc_key_raw(k): the AES key itself; borrowed. */
const uint8_t *enc_key_raw(const struct enc_key *k);
const struct digest *enc_key_fingerprint(const struct enc_key *k);

/** enc_key_digest(k, p, len, ret): the name of a chunk with that content.  0,
 * -ENOMEM. */
int enc_key_digest(const struct enc_key *k, const void *p, size_t len,
    struct digest *ret);
/**
 * enc_key_learn_zeros(k): what its chunk of 4 MiB of zeros is called; takes
 * some milliseconds, and comes before anybody else sees the key.  0, -ENOMEM.
 * enc_key_is_zeros(k, digest): false for any other, and if it was not learnt.
 */
int enc_key_learn_zeros(struct enc_key *k);
bool enc_key_is_zeros(const struct enc_key *k, const struct digest *digest);
/** enc_key_sign(k, p, len): the HMAC of a manifest. */
struct digest enc_key_sign(const struct enc_key *k, const void *p, size_t len);

/*
 * "fe:ba:6c:...": all of it is what files hold, the first eight bytes are what
 * people compare.
 */
#define FINGERPRINT_LEN (3 * DIGEST_LEN - 1)
#define FINGERPRINT_SHORT_LEN (3 * 8 - 1)
void fingerprint_format(const struct digest *d, char out[FINGERPRINT_LEN + 1]);
void fingerprint_short(const struct digest *d,
    char out[FINGERPRINT_SHORT_LEN + 1]);
/** fingerprint_parse(text, ret): the long form in lower case; 0, -EINVAL. */
int fingerprint_parse(const char *text, struct digest *ret);

#endif
