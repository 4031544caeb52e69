/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_CACHE_DIR_H
#define CMD_CACHE_DIR_H

#include <stdint.h>

struct options;
struct target;

/** cache_dir_default(o, t, ret): malloc'ed, a place of its own for each store;
 * 1 if there is none (no home). */
int cache_dir_default(const struct options *o, const struct target *t,
    char **ret);

/* In it are these, beside a note to which store it belongs: */
#define CACHE_DIR_DATA "data"		/* what the cache filter manages */
#define CACHE_DIR_LISTING "listing"	/* what the repository keeps */

/**
 * cache_dir_prepare(dir, o, t, ret_limit):
 * Create it, refuse one that belongs to another store (-EEXIST), find out how
 * large the data may become: cache-size if it was given, else the default, but
 * no more than half of what was free when the cache was made, and less what
 * the listing needs.  0 or -errno, with a message.
 */
int cache_dir_prepare(const char *dir, const struct options *o,
    const struct target *t, uint64_t *ret_limit);

#endif
