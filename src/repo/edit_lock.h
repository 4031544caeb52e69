/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_EDIT_LOCK_H
#define REPO_EDIT_LOCK_H

#include <sys/queue.h>

#include "repo/edit.h"

/*
 * What is being changed.  Two changes wait for each other if both are of one
 * group, or if one is of a namespace that the other is in.
 */
struct edit_lock {
	struct group_name group;
	bool is_ns;	/* the namespace itself: only group.ns counts */
	LIST_ENTRY(edit_lock) link;
	int server[2];	/* owned: locks of a server on this host, or -1 */
};

/** edit_lock_group(r, g, l), edit_lock_ns(r, path, l): wait; l is the caller's
 * until edit_unlock.  g and path are valid names. */
void edit_lock_group(struct repo *r, const struct group_name *g,
    struct edit_lock *l);
void edit_lock_ns(struct repo *r, const char *path, struct edit_lock *l);
/** edit_lock_server(r, l), edit_lock_server_snap(r, l, time): also against a
 * server on this host, if there is one: the group, and one of its snapshots.
 * 0, -EBUSY. */
int edit_lock_server(struct repo *r, struct edit_lock *l);
int edit_lock_server_snap(struct repo *r, struct edit_lock *l, int64_t time);
void edit_unlock(struct repo *r, struct edit_lock *l);

#endif
