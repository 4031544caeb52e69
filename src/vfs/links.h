/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VFS_LINKS_H
#define VFS_LINKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct archive;
struct node;
struct vfs;

/*
 * Link counts of the regular files of an archive.  The format has hard links
 * only as entries elsewhere that point at a file, so an exact count needs one
 * walk over all of them; where that would cost much, in reading or in memory,
 * links are counted as they are seen.
 */
struct links;

#define LINKS_MEMORY_MAX ((size_t)32 << 20)

int links_new(struct links **ret);
void links_free(struct links *l);

/**
 * links_prepare(v, a, n, flags):
 * Count, if counting is due; n is the archive's node.  -EAGAIN with VFS_NOWAIT
 * while that has not been done.  Failing to count is no error.
 */
int links_prepare(struct vfs *v, struct archive *a, const struct node *n,
    unsigned flags);
/** links_count(l, pos, ret_exact): st_nlink of the file at pos. */
uint32_t links_count(struct links *l, uint64_t pos, bool *ret_exact);
/** links_memory(l): bytes it holds, for who bounds them; LINKS_MEMORY_MAX at
 * most while nobody counts. */
size_t links_memory(struct links *l);
/** links_saw(l, link, pos): there is a hard link at link to the file. */
void links_saw(struct links *l, uint64_t link, uint64_t pos);

#endif
