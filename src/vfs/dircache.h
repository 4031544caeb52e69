/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VFS_DIRCACHE_H
#define VFS_DIRCACHE_H

#include <stddef.h>
#include <stdint.h>

struct archive;
struct pxar_dir;

/*
 * Directory tables of archives, least recently used go first.  One that is
 * larger than the bound goes when nobody has held it for a moment: not at once,
 * or looking up in a huge directory would read its table for every name.
 */
struct dircache;

#define DIRCACHE_BYTES ((size_t)32 << 20)
#define DIRCACHE_LINGER_MS 5000

int dircache_new(size_t bytes, unsigned linger_ms, struct dircache **ret);
void dircache_free(struct dircache *c);
/** dircache_get(c, a, pos, flags, ret): the table of the directory at pos;
 * give it back with dircache_put. */
int dircache_get(struct dircache *c, struct archive *a, uint64_t pos,
    unsigned flags, struct pxar_dir **ret);
/** dircache_put(c, d): d is of dircache_get, or NULL. */
void dircache_put(struct dircache *c, struct pxar_dir *d);
/** dircache_memory(c): bytes of all tables in it. */
size_t dircache_memory(struct dircache *c);

#endif
