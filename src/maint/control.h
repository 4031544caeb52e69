/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_CONTROL_H
#define MAINT_CONTROL_H

#include <stdbool.h>

struct agent;

/*
 * The daemon's side of agents in other processes: a socket beside the lock of
 * the store on this host (repo/claim.h), mode 0600, peers of the same user or
 * root.  Frames of bounded size; what comes in is checked like all input.  One
 * thread serves; each peer's collection ends when the peer goes.
 */
struct control;

/** control_new(path, local, ret): local is borrowed, and what is done with it
 * is done on the control's threads.  A socket that nobody listens at any more
 * is replaced. */
int control_new(const char *path, struct agent *local, struct control **ret);
/** control_free(c): ends a collection that is under way. */
void control_free(struct control *c);

/** control_connect(path, ret): -ENOENT, -ECONNREFUSED if nobody listens. */
int control_connect(const char *path, struct agent **ret);

#endif
