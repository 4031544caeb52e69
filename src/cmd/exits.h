/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_EXITS_H
#define CMD_EXITS_H

/*
 * Exit statuses of all commands, as pbs3fs(8) lists them.  mount.pbs3fs has
 * those that mount(8) expects.
 */
enum exit_status {
	EXIT_OK = 0,
	EXIT_FAILED = 1,	/* the operation failed */
	EXIT_USAGE = 2,		/* wrong options, arguments, configuration */
	EXIT_DAMAGED = 3,	/* done, but data is damaged or missing */
	EXIT_UNREACHABLE = 4,	/* the store does not answer */
	EXIT_DENIED = 5,	/* keys are wrong or may not, or encrypted */
	EXIT_LIMIT = 6,		/* max-requests, max-download, or a quota */
};

/** exits_of(err): the status for 0 or a negative errno. */
int exits_of(int err);

/** exits_why(err): what it means for a person. */
const char *exits_why(int err);

#endif
