/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_TAR_H
#define CMD_TAR_H

#include <stdint.h>
#include <sys/types.h>

#include "cmd/linkmap.h"

struct archive;
struct progress;
struct vfs;

/*
 * A tree as a tar stream in pax format: numeric owners, times in nanoseconds,
 * extended attributes, ACLs, capabilities, hard links, devices.
 */
struct tar {
	struct vfs *vfs;		/* borrowed */
	struct progress *progress;	/* borrowed */
	struct archive *a;		/* owned */
	struct linkmap links;
	int status;			/* exit status so far */
	unsigned left_out;		/* sockets */
};

/** tar_begin(t, fd): 0 or -errno. */
int tar_begin(struct tar *t, int fd);
/** tar_tree(t, ino): a directory and all below it.  What is damaged is told,
 * and in t->status; only what makes the stream useless is an error. */
int tar_tree(struct tar *t, uint64_t ino);
/** tar_end(t): writes the end of the stream; 0 or -errno. */
int tar_end(struct tar *t);

#endif
