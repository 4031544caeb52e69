/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CRYPT_BASE64_H
#define CRYPT_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* RFC 4648 with padding, for keys: nothing of it stays behind elsewhere. */
#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

/** base64_encode(out, p, len): BASE64_LEN(len) characters and a NUL. */
void base64_encode(char *out, const uint8_t *p, size_t len);

/** base64_decode(out, max, text, ret_len): strict: no white space, all of the
 * padding, no bits left over.  0; -EINVAL; -ERANGE more than max bytes. */
int base64_decode(uint8_t *out, size_t max, const char *text, size_t *ret_len);

#endif
