/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_BLOCK_H
#define BASE_BLOCK_H

#include <stddef.h>

/*
 * Memory for what is as large as chunks are.  To take that from the system and
 * give it back each time costs as much as copying it a few times: the kernel
 * hands it out page by page, and clears each.  So some of it is kept for the
 * next who asks.  There are few sizes, a power of two and a little each, so
 * that the next finds one; what is never touched of it costs nothing.
 * Any thread.
 */

/* What is smaller is none of this. */
#define BLOCK_MIN ((size_t)256 * 1024)
/* Kept for the next, altogether. */
#define BLOCK_KEPT_MAX ((size_t)64 * 1024 * 1024)

/** block_room(size): what a block for that many bytes, BLOCK_MIN at least, has
 * room for. */
size_t block_room(size_t size);
/** block_new(room): that many bytes, as block_room says; not initialised.
 * NULL: no memory. */
void *block_new(size_t room);
void block_free(void *p, size_t room);
/** block_trim(p, room, used): what is behind takes no memory until it is
 * written to. */
void block_trim(void *p, size_t room, size_t used);

#endif
