/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_GC_HELPER_H
#define CMD_GC_HELPER_H

#include <sys/types.h>

struct stack;
struct str;

/*
 * The process that collects garbage for a mount.  It is told of the store by
 * a file without a name, as a configuration file: no option is an argument
 * that others could see.
 */
struct gc_helper {
	pid_t pid;
	int out, err;		/* owned: what it prints */
};

/** gc_helper_config(s, out): that file. */
int gc_helper_config(const struct stack *s, struct str *out);
int gc_helper_start(const struct stack *s, struct gc_helper *ret);
/** gc_helper_read(fd, out): what was printed, at most 1 MiB of it. */
int gc_helper_read(int fd, struct str *out);
void gc_helper_fini(struct gc_helper *h);

#endif
