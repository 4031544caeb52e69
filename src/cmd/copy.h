/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_COPY_H
#define CMD_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress;
struct vfs_file;

/*
 * Reading a file from its begin to its end.  Damaged parts are reported with
 * their byte range and come as zeros, so that all the others keep their place.
 */
struct copy {
	struct vfs_file *f;	/* borrowed */
	const char *path;	/* for messages */
	bool stop_at_damage;
	struct progress *progress;	/* or NULL */
	/* Takes the bytes; p NULL: len zeros.  0 or -errno. */
	int (*write)(void *arg, const void *p, size_t len);
	void *arg;
	bool damaged;		/* told: there was something */
};

/** copy_file(c): 0, or -errno with a message.  Damage is no error unless
 * stop_at_damage. */
int copy_file(struct copy *c);

#endif
