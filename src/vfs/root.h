/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VFS_ROOT_H
#define VFS_ROOT_H

struct node;
struct nodes;
struct roots;
struct vfs;

/*
 * The attributes of an archive's root are in the archive.  Who asks for them
 * waits a moment for it to be opened; a store that is away must not hold up
 * stat(2) for longer.
 */
struct roots;

int roots_new(struct vfs *v, struct roots **ret);
/** roots_free(q): waits for those under way. */
void roots_free(struct roots *q);
/** root_learn(q, t, n): on return the root's attributes are known, or made-up
 * ones have to do for now.  n is a node of t. */
void root_learn(struct roots *q, struct nodes *t, struct node *n);

#endif
