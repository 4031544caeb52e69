/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_DAEMON_H
#define CMD_DAEMON_H

/*
 * Going into the background without losing the outcome: the parent waits
 * until the child says that it is ready, or has ended, and takes over its exit
 * status.  Until then the child keeps the terminal, so its messages are seen
 * and an interrupt reaches both.  To be called while there is one thread.
 */
struct daemon {
	int fd;		/* in the child, until it is ready; else -1 */
};

/** daemon_fork(d, ret_status): 1 in the parent, with the exit status; 0 in
 * the child; -errno. */
int daemon_fork(struct daemon *d, int *ret_status);

/** daemon_ready(d): lets the parent go and leaves the terminal; messages go to
 * the system's log from now on.  Without daemon_fork nothing happens. */
void daemon_ready(struct daemon *d);

#endif
