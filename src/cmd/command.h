/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_COMMAND_H
#define CMD_COMMAND_H

#include <stdbool.h>

struct options;

/*
 * One command.  run gets its parsed options and positional arguments, whose
 * number was checked, and returns an exit status.
 */
struct command {
	const char *name;
	unsigned bit;		/* CMD_LS, ...: which options it has */
	int min_args, max_args;
	const char *args;
	const char *summary;	/* one line */
	int (*run)(struct options *o, char **args, int n);
};

int cmd_mount(struct options *o, char **args, int n);
int cmd_umount(struct options *o, char **args, int n);
int cmd_ls(struct options *o, char **args, int n);
int cmd_cat(struct options *o, char **args, int n);
int cmd_export(struct options *o, char **args, int n);
int cmd_check(struct options *o, char **args, int n);
int cmd_refresh(struct options *o, char **args, int n);
int cmd_create(struct options *o, char **args, int n);
int cmd_snapshot(struct options *o, char **args, int n);
int cmd_forget(struct options *o, char **args, int n);
int cmd_prune(struct options *o, char **args, int n);
int cmd_protect(struct options *o, char **args, int n);
int cmd_verify(struct options *o, char **args, int n);
int cmd_key(struct options *o, char **args, int n);
int cmd_gc(struct options *o, char **args, int n);
int cmd_copy(struct options *o, char **args, int n);
int cmd_repair(struct options *o, char **args, int n);
int cmd_status(struct options *o, char **args, int n);

/** mount_helper(argc, argv): mount.pbs3fs as mount(8) calls it. */
int mount_helper(int argc, char **argv);

/** command_run(argc, argv): "pbs3fs ..."; the exit status. */
int command_run(int argc, char **argv);

#endif
