/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_STATE_DIR_H
#define CMD_STATE_DIR_H

struct stack;

/*
 * Where what is being written is kept: one directory for each store, below
 * the option state or its default.  In it are these:
 */
#define STATE_DIR_DRAFTS "drafts"	/* what the open snapshots manage */
#define STATE_DIR_KNOWN "known"		/* chunks that the store has */
#define STATE_DIR_ENDING "ending.json"	/* how far the end of a mount is */

/** state_dir_prepare(s, ret): makes it; the path is malloc'ed.  0 or -errno,
 * with a message. */
int state_dir_prepare(const struct stack *s, char **ret);

#endif
