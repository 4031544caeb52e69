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
#define STATE_DIR_GUARD "deleting"	/* chunks that are being deleted */
#define STATE_DIR_WORK "work"		/* of upkeep, for its next run */
#define STATE_DIR_GC "gc.json"		/* the last scheduled collection */
#define STATE_DIR_ENDING "ending.json"	/* how far the end of a mount is */

/** state_dir_prepare(s, ret): makes it; the path is malloc'ed.  0 or -errno,
 * with a message. */
int state_dir_prepare(const struct stack *s, char **ret);
/** state_dir_look(s, ret): the same, but nothing is made or said: -ENOENT. */
int state_dir_look(const struct stack *s, char **ret);
/** state_dir_drafts(s, ret): where open snapshots of the store are or would be,
 * whether or not there is such a directory; NULL: there is no place. */
int state_dir_drafts(const struct stack *s, char **ret);
/** state_dir_has_open(state, identity): for claim_opts. */
int state_dir_has_open(const char *state, const char *identity);
/** state_dir_path(dir, name, ret): of what is in it: malloc'ed. */
int state_dir_path(const char *dir, const char *name, char **ret);

#endif
