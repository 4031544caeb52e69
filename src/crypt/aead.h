/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CRYPT_AEAD_H
#define CRYPT_AEAD_H

#include <stddef.h>
#include <stdint.h>

/*
 * AES-256-GCM with an IV of 16 bytes and no additional data: format document
 * section 2.2.  (GnuTLS takes such an IV and uses 12 bytes of it.)  Any thread.
 */
#define AEAD_KEY_LEN 32
#define AEAD_IV_LEN 16
#define AEAD_TAG_LEN 16

/**
 * aead_decrypt(key, iv, tag, in, len, out):
 * out has len bytes and may be in.  0; -EBADMSG if the tag is wrong, and then
 * out is wiped; -ENOMEM; -ENOSYS.
 */
int aead_decrypt(const uint8_t key[AEAD_KEY_LEN],
    const uint8_t iv[AEAD_IV_LEN], const uint8_t tag[AEAD_TAG_LEN],
    const void *in, size_t len, void *out);

/** aead_encrypt(key, iv, in, len, out, tag): out has len bytes and may be in;
 * the caller never uses an iv twice with one key.  0, -ENOMEM, -ENOSYS. */
int aead_encrypt(const uint8_t key[AEAD_KEY_LEN],
    const uint8_t iv[AEAD_IV_LEN], const void *in, size_t len, void *out,
    uint8_t tag[AEAD_TAG_LEN]);

#endif
