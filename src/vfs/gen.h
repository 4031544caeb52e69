/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VFS_GEN_H
#define VFS_GEN_H

struct buf;
struct node;
struct vfs;

/* The files of .pbs3fs, sorted. */
#define GEN_NAMES 3
extern const char *const gen_names[GEN_NAMES];

/** gen_make(v, n, ret): the content of a NODE_CTL_FILE as of now. */
int gen_make(struct vfs *v, const struct node *n, struct buf **ret);

#endif
