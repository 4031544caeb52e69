/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CRYPT_KDF_H
#define CRYPT_KDF_H

#include <stddef.h>
#include <stdint.h>

/*
 * A key from a passphrase.  The parameters come from files that anybody may
 * have written: -ERANGE for those that would take a machine's memory or half a
 * day.  Any thread.
 */
#define KDF_SCRYPT_MEMORY_MAX ((uint64_t)1 << 30)
#define KDF_SCRYPT_P_MAX 16
#define KDF_SCRYPT_R 8			/* the one that is supported */
#define KDF_PBKDF2_ITER_MAX 10000000

/** kdf_pbkdf2: PBKDF2-HMAC-SHA256.  0, -ERANGE, -ENOMEM. */
int kdf_pbkdf2(const void *pass, size_t passlen, const void *salt,
    size_t saltlen, uint64_t iter, void *out, size_t outlen);

/** kdf_scrypt: RFC 7914.  0; -EINVAL n is no power of two; -ERANGE; -ENOTSUP r
 * is not KDF_SCRYPT_R; -ENOMEM. */
int kdf_scrypt(const void *pass, size_t passlen, const void *salt,
    size_t saltlen, uint64_t n, uint64_t r, uint64_t p, void *out,
    size_t outlen);

#endif
