/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VFS_DIRCACHE_H
#define VFS_DIRCACHE_H

#include <stddef.h>
#include <stdint.h>

struct archive;
struct pxar_dir;

/*
 * Directory tables of archives, least recently used go first.  The newest one
 * stays however large it is, or looking up in a huge directory would read its
 * table for every name.
 */
struct dircache;

#define DIRCACHE_BYTES ((size_t)32 << 20)

int dircache_new(size_t bytes, struct dircache **ret);
void dircache_free(struct dircache *c);
/** dircache_get(c, a, pos, flags, ret): the table of the directory at pos; a
 * reference for the caller. */
int dircache_get(struct dircache *c, struct archive *a, uint64_t pos,
    unsigned flags, struct pxar_dir **ret);

#endif
