/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VFS_CURRENT_H
#define VFS_CURRENT_H

#include <stdint.h>
#include <sys/stat.h>

struct draft;
struct group_name;
struct node;
struct vfs;
struct vfs_attr;

/*
 * Where the tree goes over into open snapshots: their numbers, and how what
 * they say looks from outside.
 */
struct current {
	struct draft *draft;	/* borrowed: there as long as the drafts */
	uint64_t ino;
};

/** current_find(v, ino, ret): 1 if it is in an open snapshot, 0 if not, -ESTALE
 * if it was. */
int current_find(struct vfs *v, uint64_t ino, struct current *ret);
/** current_of(v, n, ret): the root of the one in the group that n is in. */
int current_of(struct vfs *v, const struct node *n, struct current *ret);
/** current_group(n, ret): the name of the group that n is or is in. */
int current_group(const struct node *n, struct group_name *ret);

void current_attr(struct vfs *v, const struct stat *st, struct vfs_attr *ret);
int current_getattr(struct vfs *v, const struct current *c, unsigned flags,
    struct vfs_attr *ret);
/** current_lookup: counts a reference. */
int current_lookup(struct vfs *v, const struct current *c, const char *name,
    unsigned flags, struct vfs_attr *ret);
/** current_parent: of the root the group's number. */
int current_parent(struct vfs *v, const struct current *c, unsigned flags,
    uint64_t *ret);

#endif
