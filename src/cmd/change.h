/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_CHANGE_H
#define CMD_CHANGE_H

#include <stdint.h>

struct group_name;
struct options;
struct repo;

/*
 * A command that changes snapshots without a mount: claims the store, does it
 * to each path, reports.
 */
struct change {
	int (*fn)(struct repo *r, const struct group_name *g, int64_t time);
	const char *done;	/* "forgotten" */
	const char *in_mount;	/* how a mount does it: "rmdir" */
};

/** change_run(o, c, store, paths, n): the exit status. */
int change_run(struct options *o, const struct change *c, const char *store,
    char **paths, int n);

#endif
