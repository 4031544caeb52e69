/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_STRPOOL_H
#define REPO_STRPOOL_H

#include <stddef.h>

/*
 * Many small texts that live and die together.  Not locked: filled by one
 * thread, read by any afterwards.
 */
struct strpool;

int strpool_new(struct strpool **ret);
void strpool_free(struct strpool *p);

/** strpool_add(p, text, len): a terminated copy, or NULL if out of memory. */
const char *strpool_add(struct strpool *p, const char *text, size_t len);

/** strpool_intern(p, text, len): the same, but equal texts give one pointer. */
const char *strpool_intern(struct strpool *p, const char *text, size_t len);

/** strpool_seal(p): no more interning; frees what only that needs. */
void strpool_seal(struct strpool *p);

#endif
