/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_SCAN_H
#define DRAFT_SCAN_H

#include <stdbool.h>
#include <stdint.h>

struct digest;
struct group_name;

/*
 * What the open snapshots below a state directory refer to, read from their
 * journals without changing anything, also while another process has them
 * open: a record that is being written is not there yet, and what it refers to
 * is marked by who writes it (repo/guard.h).  A journal that cannot be read to
 * its last complete record is an error: what it refers to is not known.
 */
struct draft_scan {
	/* Chunks that are in the store and perhaps in no index; the same one
	 * any number of times, and some that were overwritten since. */
	int (*chunk)(void *arg, const struct group_name *g,
	    const struct digest *d);
	/* The snapshot that the open one is a view of, 0: of none; changed: it
	 * is not just that.  After its chunks. */
	int (*base)(void *arg, const struct group_name *g, int64_t time,
	    bool changed);
	void *arg;
};

/** draft_scan(state, identity, fns): those of drafts_opts; what is not there
 * has nothing.  A non-zero return of a function ends it and is returned.
 * -EBADMSG: a journal is damaged; -EPROTONOSUPPORT: one of a later version;
 * -EEXIST: the directory is another store's; each with a message. */
int draft_scan(const char *state, const char *identity,
    const struct draft_scan *fns);

#endif
