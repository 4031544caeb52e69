/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_WALK_H
#define CMD_WALK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct vfs;
struct vfs_attr;

/*
 * Going through directories, depth first: what is no directory comes sorted by
 * name, then each directory and all that is in it, so that who unpacks them in
 * this order is done with a directory when the next one comes.  Depth costs no
 * recursion.  A directory with very many entries comes in several sorted parts,
 * so memory is bounded.
 */
struct walk {
	struct vfs *vfs;	/* borrowed */
	bool want_attr;
	bool recursive;
	/* An entry; attr is NULL unless wanted.  0, or -errno to end. */
	int (*entry)(void *arg, const char *path, uint64_t ino, mode_t type,
	    const struct vfs_attr *attr);
	/* Something cannot be read and is left out.  0, or -errno to end. */
	int (*failed)(void *arg, const char *path, int err);
	void *arg;
};

/** walk_dir(w, ino): paths begin below that directory. */
int walk_dir(const struct walk *w, uint64_t ino);

#endif
