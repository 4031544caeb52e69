/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CRYPT_RSA_H
#define CRYPT_RSA_H

#include <stddef.h>

struct buf;
struct secret;

/**
 * rsa_decrypt(pem, pem_len, pass, p, len, ret):
 * PKCS#1 v1.5 with a private key in PEM; pass may be NULL.  0; -ENOKEY the PEM
 * is encrypted and the passphrase missing or wrong; -EINVAL it is no RSA
 * private key; -EBADMSG p was not encrypted for this key; -ENOMEM.
 */
int rsa_decrypt(const void *pem, size_t pem_len, const char *pass,
    const void *p, size_t len, struct secret **ret);

/**
 * rsa_encrypt(pem, pem_len, p, len, ret):
 * PKCS#1 v1.5 with a public key in PEM; *ret is as long as its modulus.  0;
 * -EINVAL it is no RSA public key; -EFBIG the modulus is too short for so many
 * bytes; -EIO there is no randomness; -ENOMEM.
 */
int rsa_encrypt(const void *pem, size_t pem_len, const void *p, size_t len,
    struct buf **ret);

/**
 * rsa_generate(bits, pass, ret_private, ret_public):
 * A new key, both parts in PEM: the private one as PKCS#8, encrypted with pass
 * (AES-256) unless that is NULL.  Takes seconds.  0, -EIO, -ENOMEM.
 */
int rsa_generate(unsigned bits, const char *pass, struct secret **ret_private,
    struct buf **ret_public);

#endif
