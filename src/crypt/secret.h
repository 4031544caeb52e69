/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CRYPT_SECRET_H
#define CRYPT_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Keys and passphrases live in pages of their own: locked, so that they never
 * reach the swap; left out of core dumps; overwritten before they go.  They are
 * never logged.  One owner; whoever only reads needs no lock.
 */
struct secret {
	uint8_t *p;	/* zeros at first; a NUL follows the len bytes */
	size_t len;	/* may be lowered */
	size_t size;	/* private: bytes mapped */
};

/** secret_new(len, ret): 0, -ENOMEM, -EOVERFLOW.  Memory that the system does
 * not let us lock is a warning, once. */
int secret_new(size_t len, struct secret **ret);
/** secret_copy(p, len, ret): with that content. */
int secret_copy(const void *p, size_t len, struct secret **ret);
/** secret_free(s): NULL is allowed. */
void secret_free(struct secret *s);
/* For _cleanup_(secret_freep). */
void secret_freep(struct secret **s);

/** secret_wipe(p, len): zeros, whatever the optimizer thinks of it. */
void secret_wipe(void *p, size_t len);
/** secret_equal(a, b, len): in a time that depends on len alone. */
bool secret_equal(const void *a, const void *b, size_t len);

#endif
