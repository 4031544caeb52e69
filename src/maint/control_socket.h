/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_CONTROL_SOCKET_H
#define MAINT_CONTROL_SOCKET_H

/*
 * The socket that commands find a mount by.  Its path may be longer than what
 * an address holds.
 */

/** control_socket_listen(path, ret): mode 0600; what is there is replaced: who
 * calls has the lock that the path belongs to. */
int control_socket_listen(const char *path, int *ret);
/** control_socket_connect(path, ret): -ENOENT, -ECONNREFUSED if nobody
 * listens; -EPERM if somebody else does. */
int control_socket_connect(const char *path, int *ret);
/** control_socket_check_peer(fd): 0 if the other end is root's or ours;
 * -EPERM. */
int control_socket_check_peer(int fd);
void control_socket_remove(const char *path);

#endif
