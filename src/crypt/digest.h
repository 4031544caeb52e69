/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CRYPT_DIGEST_H
#define CRYPT_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_LEN 32
#define DIGEST_HEX_LEN 64

/* SHA-256: the name of a chunk and the checksum of an index. */
struct digest {
	uint8_t b[DIGEST_LEN];
};

/** digest_of(p, len): SHA-256 of the bytes.  Cannot fail. */
struct digest digest_of(const void *p, size_t len);
bool digest_eq(const struct digest *a, const struct digest *b);
/** digest_cmp(a, b): of two struct digest, for qsort and bsearch as well. */
int digest_cmp(const void *a, const void *b);

/** digest_hex(d, buf): buf has DIGEST_HEX_LEN + 1 bytes; returns it. */
const char *digest_hex(const struct digest *d, char buf[DIGEST_HEX_LEN + 1]);
/** digest_parse(text, ret): 64 lower-case hex digits; 0 or -EINVAL. */
int digest_parse(const char *text, struct digest *ret);

/* Incremental SHA-256; digest_end frees.  What is added may have a key in it: of
 * that nothing stays behind, and meanwhile it is in locked memory. */
struct digest_ctx;
int digest_begin(struct digest_ctx **ret);
void digest_add(struct digest_ctx *c, const void *p, size_t len);
struct digest digest_end(struct digest_ctx *c);

/** hmac_sha256(key, keylen, p, len): cannot fail. */
struct digest hmac_sha256(const void *key, size_t keylen, const void *p,
    size_t len);

/** md5_base64(p, len, out): Content-MD5; out has 25 bytes. */
#define MD5_BASE64_LEN 24
void md5_base64(const void *p, size_t len, char out[MD5_BASE64_LEN + 1]);

/** crypt_random(p, len): for uuids, jitter; -EIO if the system has none. */
int crypt_random(void *p, size_t len);

#endif
