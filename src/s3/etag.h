/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef S3_ETAG_H
#define S3_ETAG_H

#include <stddef.h>

/** etag_set(out, size, text): without the quotes that it has in a header or a
 * document; "" if it does not fit. */
void etag_set(char *out, size_t size, const char *text);

#endif
