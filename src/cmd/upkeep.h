/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_UPKEEP_H
#define CMD_UPKEEP_H

#include <stdbool.h>

#include "cmd/stack.h"

struct agent;
struct guard;
struct known;
struct options;

/*
 * What a command of upkeep (gc, prune, forget, protect, verify, repair) works
 * with: the store's stack, and who changes it for us: this process if it can
 * claim the store, or the daemon that has it mounted for writing.
 */
struct upkeep {
	bool keys;		/* for the caller to set, who begins with zeroes:
				 * contents are read */
	bool kept;		/* likewise: a listing that was kept will do;
				 * whether there was one is seen from what was
				 * asked of the store */
	struct stack s;
	struct known *known;	/* owned; NULL: the daemon has it */
	struct guard *guard;	/* likewise */
	struct agent *agent;	/* owned; NULL: nothing is to be changed */
	char *work;		/* owned: directory for what a next run of the
				 * command can use, below the state directory;
				 * made if missing; NULL: there is no place */
	/* Where open snapshots are, for draft_scan; owned; NULL: nowhere. */
	char *drafts, *identity;
};

/** upkeep_open(u, o, store, change): an exit status; messages are logged.  With
 * change the agent is there.  The tree is listed anew, after the agent was
 * found.  What the agent changes for a daemon is not seen in the tree: after it
 * was asked for something remote, repo_refresh. */
int upkeep_open(struct upkeep *u, struct options *o, const char *store,
    bool change);
/** upkeep_close(u): may be called at any stage, and twice. */
void upkeep_close(struct upkeep *u);

#endif
