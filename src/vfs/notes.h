/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VFS_NOTES_H
#define VFS_NOTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct node;
struct vfs;

/*
 * A group's notes while they are open for writing: all who have them open see
 * the same text, which is stored when one of them closes it.
 */
struct notes;

#define NOTES_LEN_MAX ((size_t)1 << 20)

/** notes_open(v, n, truncate, flags, ret): n is a NODE_NOTES, whether the group
 * has some or not. */
int notes_open(struct vfs *v, const struct node *n, bool truncate,
    unsigned flags, struct notes **ret);
void notes_close(struct notes *t);

/** notes_read(t, off, len, ret): what is there, perhaps nothing. */
int notes_read(struct notes *t, uint64_t off, size_t len, struct buf **ret);
/** notes_write, notes_truncate: -EFBIG beyond NOTES_LEN_MAX. */
int notes_write(struct notes *t, const void *p, size_t len, uint64_t off);
int notes_truncate(struct notes *t, uint64_t size);
/** notes_flush(t, flags): stores what was changed. */
int notes_flush(struct notes *t, unsigned flags);

/** notes_size(v, ino, ret): 1 if they are open, and their length; else 0. */
int notes_size(struct vfs *v, uint64_t ino, uint64_t *ret);
/** notes_store(v, n, text, len): instead of those there are. */
int notes_store(struct vfs *v, const struct node *n, const char *text,
    size_t len);

#endif
