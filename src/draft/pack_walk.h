/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_PACK_WALK_H
#define DRAFT_PACK_WALK_H

#include <stddef.h>
#include <stdint.h>

struct draft;

/*
 * The small files of a draft's new directories that are closed and staged
 * whole, in the order that an archive has them, as far as that can be told
 * without the base: directory by directory, sorted by name.  Takes the draft's
 * lock for moments; what changes meanwhile may be missed.  One thread.
 */
struct pack_walk;

#define PACK_FOUND 64
struct pack_found {
	uint64_t ino, size;
};

int pack_walk_new(struct draft *d, struct pack_walk **ret);
void pack_walk_free(struct pack_walk *w);
struct draft *pack_walk_draft(const struct pack_walk *w);
/** pack_walk_next(w, cold, v, ret_n): some more, perhaps none; cold: not
 * written for so many ms.  -ENOENT: that was all. */
int pack_walk_next(struct pack_walk *w, uint64_t cold,
    struct pack_found v[PACK_FOUND], size_t *ret_n);

#endif
