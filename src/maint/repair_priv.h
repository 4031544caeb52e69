/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_REPAIR_PRIV_H
#define MAINT_REPAIR_PRIV_H

#include <pthread.h>

#include "maint/each.h"
#include "maint/repair.h"
#include "repo/chunk_map.h"

struct manifest_file;
struct tree_file;
struct tree_snap;

/* A chunk that was not good when it was looked at. */
struct trouble {
	struct chunk_node node;		/* first */
	enum repair_event outcome;
	char text[80];
	uint64_t file;		/* it was told for that one */
};

/* Shared by the files that repair. */
struct repairer {
	const struct repair_opts *o;	/* borrowed */
	struct known *present;	/* owned: listed; NULL: not looked for */
	struct known *good;	/* owned: read, and found good or made so */
	bool *used;		/* owned: for each chunk that was named */
	unsigned jobs;

	pthread_mutex_t lock;	/* guards all below and calls of event */
	struct chunk_map troubles;
	struct repair_result *res;	/* borrowed */
	uint64_t files;		/* looked at */
};

/* One file whose chunks are looked at. */
struct repair_snap {
	struct repairer *r;		/* borrowed */
	const struct tree_snap *s;	/* borrowed */
	uint64_t file;			/* its number */
	bool all;			/* each is read, whatever a listing says */
};

/** repair_chunk(arg, e): each_run's function; arg is the struct repair_snap. */
int repair_chunk(void *arg, const struct each_chunk *e);

/** repair_index(r, f, mf, ret): of the store, or healed if that is damaged or
 * missing and a source has what the manifest (mf, or NULL) says.  1: it is
 * damaged, and nobody has a better one.  -EBADMSG, -ENOENT: likewise, and it is
 * of no use. */
int repair_index(struct repairer *r, const struct tree_file *f,
    const struct manifest_file *mf, struct index **ret);

/** repair_event(r, e, what, path, text): tells; with the lock. */
void repair_event(struct repairer *r, enum repair_event e, const char *what,
    const char *path, const char *text);

#endif
