/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_AGENT_H
#define MAINT_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/digest.h"
#include "repo/edit.h"

struct claim;
struct drafts;
struct guard;
struct known;
struct repo;

/*
 * Who changes a datastore on behalf of a command: this process, if it could
 * claim the store, or the daemon on this host that has it mounted for writing,
 * which then does what it is asked, so that its view of the store stays true.
 * One implementation of every change: what the daemon runs is the local agent.
 * Functions return what the change does (repo/edit.h), and -ECONNRESET with a
 * message when the daemon has gone.  One thread at a time for a remote one.
 */
struct agent;

enum verify_verdict { VERIFY_OK, VERIFY_FAILED };

struct agent_ops {
	int (*forget)(struct agent *a, const struct group_name *g,
	    int64_t time);
	/** All of its snapshots, then its owner and notes; -EPERM if one is
	 * protected, -EBUSY if one cannot go: then the others are gone, and the
	 * group stays. */
	int (*forget_group)(struct agent *a, const struct group_name *g);
	/** An empty one; its marker goes. */
	int (*remove_ns)(struct agent *a, const char *path);
	int (*protect)(struct agent *a, const struct group_name *g,
	    int64_t time, bool on);
	/** Of a snapshot; time 0: of the group.  "" removes them. */
	int (*notes)(struct agent *a, const struct group_name *g,
	    int64_t time, const char *text);
	/** In the manifest, as Proxmox Backup writes it. */
	int (*record_verify)(struct agent *a, const struct group_name *g,
	    int64_t time, enum verify_verdict v, const char *upid);
	/** These are damaged or gone: they are known no more. */
	int (*doubt)(struct agent *a, const struct digest *d, size_t n);
	/* Garbage collection: as in repo/guard.h.  gc_begin also keeps a
	 * backup server beside a directory from writing and from collecting
	 * (-EBUSY while one does). */
	int (*gc_begin)(struct agent *a);
	int (*gc_condemn)(struct agent *a, const struct digest *d, size_t n,
	    bool *spared);
	int (*gc_settle)(struct agent *a, bool answered);
	void (*gc_end)(struct agent *a);
	void (*free)(struct agent *a);
};

/* Embedded first in every implementation. */
struct agent {
	const struct agent_ops *ops;
	bool remote;		/* a daemon does it */
	/* Where the open snapshots of the store are, for draft_scan; owned;
	 * NULL: nowhere. */
	char *state, *identity;
};

struct agent_local {
	struct repo *repo;	/* all borrowed */
	struct guard *guard;	/* NULL: no collection: -EOPNOTSUPP */
	struct claim *claim;	/* NULL in tests */
	struct known *known;	/* NULL: nothing is known here */
	struct drafts *drafts;	/* NULL: none are open in this process */
	const char *state, *identity;	/* of drafts_opts; or NULL */
	/* Told after each change of the repository's tree; or NULL. */
	void (*changed)(void *arg);
	void *arg;
};
int agent_local_new(const struct agent_local *o, struct agent **ret);
void agent_free(struct agent *a);	/* NULL is allowed */

#endif
