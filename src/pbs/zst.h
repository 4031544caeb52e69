/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_ZST_H
#define PBS_ZST_H

#include <stddef.h>

struct buf;

/*
 * zstd with the bounds that hostile input needs.  Contexts are kept per
 * thread.  Only blob.c has business here.
 */

/**
 * zst_unpack(p, len, max, ret):
 * Unpack a sequence of frames of at most max bytes together.  Allocates no
 * more than max, and no window: frames are unpacked in one go.  -EBADMSG for
 * damage and for more than max; -ENOMEM.
 */
int zst_unpack(const void *p, size_t len, size_t max, struct buf **ret);

/** zst_unpack_exact(p, len, size, ret): the same where anything but size
 * bytes is damage. */
int zst_unpack_exact(const void *p, size_t len, size_t size, struct buf **ret);

/**
 * zst_pack(p, len, out, room, ret_len):
 * One frame of level 1 with content size.  1 if it does not fit; -ENOMEM.
 */
int zst_pack(const void *p, size_t len, void *out, size_t room,
    size_t *ret_len);

#endif
