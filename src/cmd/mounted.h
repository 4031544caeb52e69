/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_MOUNTED_H
#define CMD_MOUNTED_H

#include <stdint.h>

#include "cmd/stack.h"
#include "cmd/writing.h"

struct fuse_mount;
struct str;

/*
 * A mount that is being served, and what it tells about itself in .pbs3fs/.
 */
struct mounted {
	struct stack s;
	struct writing w;	/* w.s is NULL if it is read-only */
	char *where;		/* owned; the absolute mount point */
	int64_t since;		/* epoch seconds */
	struct fuse_mount *fuse;
};

/** mounted_generate(m): registers the files with the vfs. */
int mounted_generate(struct mounted *m);

/** mounted_metrics(arg, out): the content of metrics; arg is the struct
 * mounted.  Any thread. */
void mounted_metrics(void *arg, struct str *out);

#endif
