/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_LISTING_H
#define REPO_LISTING_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

/*
 * The last listing of .cnt/, kept in a local file so that a mount works while
 * the store is away.
 */
struct listing;

int listing_new(struct listing **ret);
void listing_free(struct listing *l);
int listing_add(struct listing *l, const char *key,
    const struct store_object *o);
/** listing_save(l, path, listed_at): replaces the file, durably. */
int listing_save(struct listing *l, const char *path, int64_t listed_at);

/**
 * listing_parse(p, len, fn, arg, ret_listed_at):
 * The bytes of such a file.  Calls fn for every object, only after all of them
 * were found sound; a non-zero return of fn ends it and is returned.
 * -EBADMSG if it is damaged.
 */
int listing_parse(const void *p, size_t len, store_list_fn *fn, void *arg,
    int64_t *ret_listed_at);

/**
 * listing_load(path, fn, arg, ret_listed_at):
 * The same from the file.  -ENOENT if there is none.
 */
int listing_load(const char *path, store_list_fn *fn, void *arg,
    int64_t *ret_listed_at);

#endif
