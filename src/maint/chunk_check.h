/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_CHUNK_CHECK_H
#define MAINT_CHUNK_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/digest.h"

struct enc_key;

/* What a chunk has to be, by the index and the manifest that refer to it. */
struct chunk_want {
	struct digest digest;
	uint32_t size;			/* of its content */
	bool encrypted;			/* its archive is */
	const struct enc_key *key;	/* of that; NULL: not at hand */
};

/**
 * chunk_check(w, p, len, ret_why):
 * The bytes as stored.  0: they are the chunk; 1: it is encrypted, and as far
 * as can be told without its key, by CRC and length, they are; -EBADMSG with
 * a static text: they are not; -ENOMEM.
 */
int chunk_check(const struct chunk_want *w, const void *p, size_t len,
    const char **ret_why);

#endif
