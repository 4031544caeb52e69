/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_SPOT_H
#define DRAFT_SPOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct draft;
struct inode;

/*
 * A name in a directory and what it is at the moment.  Found without the lock,
 * for that may take the store; under the lock spot_is tells whether it is so
 * still.  The base does not change while somebody is inside.
 */
struct spot {
	struct inode *dir;	/* reference */
	const char *name;	/* borrowed */
	size_t len;
	bool in_base;		/* the base directory has this name */
	struct inode *child;	/* reference, loaded; NULL: no such name */
};

enum spot_want {
	SPOT_NLINK = 1,		/* of the child, exact */
	SPOT_NLINK_IF = 2,	/* the same, if the store lets us know */
};

/** spot_find(d, parent, name, want, flags, ret): lock not held.  -ESTALE,
 * -ENOTDIR, -ENAMETOOLONG, -EINVAL; no such name is no error.  spot_fini, also
 * without the lock. */
int spot_find(struct draft *d, uint64_t parent, const char *name,
    unsigned want, unsigned flags, struct spot *ret);
void spot_fini(struct draft *d, struct spot *s);
/** spot_is(s): lock held: 0; -EAGAIN: find it again; -ENOENT: the directory was
 * removed. */
int spot_is(const struct spot *s);

#endif
