/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CRYPT_RSA_H
#define CRYPT_RSA_H

#include <stddef.h>

struct secret;

/**
 * rsa_decrypt(pem, pem_len, pass, p, len, ret):
 * PKCS#1 v1.5 with a private key in PEM; pass may be NULL.  0; -ENOKEY the PEM
 * is encrypted and the passphrase missing or wrong; -EINVAL it is no RSA
 * private key; -EBADMSG p was not encrypted for this key; -ENOMEM.
 */
int rsa_decrypt(const void *pem, size_t pem_len, const char *pass,
    const void *p, size_t len, struct secret **ret);

#endif
