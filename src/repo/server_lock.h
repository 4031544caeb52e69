/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_SERVER_LOCK_H
#define REPO_SERVER_LOCK_H

#include <stdint.h>

struct group_name;
struct str;

/*
 * The locks that Proxmox Backup has of groups and snapshots, in files of a
 * directory of the host that it runs on: format document section 1.6.
 */

/** server_lock_group(dir, g, ret_fd), server_lock_snap(dir, g, time, ret_fd):
 * exclusive, until *ret_fd is closed.  -EBUSY if a server has it; all errors
 * with a message. */
int server_lock_group(const char *dir, const struct group_name *g,
    int *ret_fd);
int server_lock_snap(const char *dir, const struct group_name *g,
    int64_t time, int *ret_fd);

/** server_lock_path(ns, path, out): where the lock of "vm/100" in that
 * namespace is, below dir. */
int server_lock_path(const char *ns, const char *path, struct str *out);

#endif
