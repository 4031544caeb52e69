/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_REPAIR_PRIV_H
#define MAINT_REPAIR_PRIV_H

#include <pthread.h>

#include "maint/each.h"
#include "maint/repair.h"
#include "repo/chunk_map.h"

struct tree_snap;

/* A chunk that was not good when it was looked at. */
struct trouble {
	struct chunk_node node;		/* first */
	enum repair_event outcome;
	char text[80];
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
};

/* One snapshot whose chunks are looked at. */
struct repair_snap {
	struct repairer *r;		/* borrowed */
	const struct tree_snap *s;	/* borrowed */
	bool all;			/* each is read, whatever a listing says */
};

/** repair_chunk(arg, e): each_run's function; arg is the struct repair_snap. */
int repair_chunk(void *arg, const struct each_chunk *e);

/** repair_event(r, e, what, path, text): tells; with the lock. */
void repair_event(struct repairer *r, enum repair_event e, const char *what,
    const char *path, const char *text);

#endif
