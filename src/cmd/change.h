/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_CHANGE_H
#define CMD_CHANGE_H

#include <stdint.h>

struct agent;
struct group_name;
struct options;

/*
 * A command that changes what paths name: snapshots, and with --recursive
 * groups and namespaces.
 */
struct change {
	int (*snap)(struct agent *a, const struct group_name *g, int64_t time);
	/* NULL: all snapshots of a group, all groups of a namespace. */
	int (*group)(struct agent *a, const struct group_name *g);
	int (*ns)(struct agent *a, const char *path);
	const char *done;	/* "forgotten" */
};

/** change_run(o, c, store, paths, n): the exit status. */
int change_run(struct options *o, const struct change *c, const char *store,
    char **paths, int n);

#endif
