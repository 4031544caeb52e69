/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_LINKMAP_H
#define CMD_LINKMAP_H

#include <stddef.h>
#include <stdint.h>

/*
 * The name under which each inode came first.  One thread.
 */
struct linkmap {
	struct linkmap_slot {
		uint64_t ino;
		char *path;	/* owned; NULL: the slot is free */
	} *slots;		/* owned */
	size_t n, size;		/* size is a power of two */
};

/** linkmap_put(m, ino, path, ret_first): 0 if it is the first, 1 and its
 * earlier path if not, -ENOMEM. */
int linkmap_put(struct linkmap *m, uint64_t ino, const char *path,
    const char **ret_first);
void linkmap_fini(struct linkmap *m);

#endif
