/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_LIVE_H
#define CMD_LIVE_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

/*
 * A mount as seen from outside, by its mount point.
 */

/** live_is_mount(path): whether one of ours is mounted right there; never
 * waits for it. */
bool live_is_mount(const char *path);

/** live_find(path, ret): the mount of ours that path, without links and dots,
 * is in; malloc'ed.  -ENOENT if there is none. */
int live_find(const char *path, char **ret);

/** live_status(where, ret): .pbs3fs/status.json; 0, -ETIMEDOUT if the daemon
 * hangs, -errno.  The caller owns a reference, and has no threads. */
int live_status(const char *where, json_t **ret);

/** live_open_daemon(status, ret_pid): a descriptor of the process that serves
 * the mount (pidfd); -ESRCH if it cannot be it. */
int live_open_daemon(const json_t *status, pid_t *ret_pid);

#endif
