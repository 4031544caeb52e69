/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_COPY_PRIV_H
#define MAINT_COPY_PRIV_H

#include <pthread.h>

#include "maint/copy.h"
#include "maint/each.h"
#include "repo/edit.h"

struct tree_snap;

/* Shared by the files that copy. */
struct copier {
	const struct copy_opts *o;	/* borrowed */
	struct known *known;		/* borrowed, unless own */
	bool own;
	uint64_t era;		/* of known, when the target was listed */
	bool touches;		/* the target tells of each chunk whether it is
				 * there */
	bool listed;		/* its chunks are known */
	bool made;		/* the group is in the target */
	bool learnt;		/* those of the group's last snapshot are */
	atomic_bool no_server;	/* the server copies none */
	unsigned jobs;

	pthread_mutex_t lock;	/* guards *res and calls of event */
	struct copy_result *res;	/* borrowed */
};

void copier_event(struct copier *c, enum copy_event e, const char *path,
    const char *text);

/* One snapshot, as it was read from the source and found good. */
struct copy_snap {
	struct copier *c;		/* borrowed */
	const struct tree_snap *s;	/* borrowed: of the source */
	bool read_all;		/* the server copies none of this one */
	struct buf *manifest;		/* owned */
	struct manifest *m;		/* owned */
	struct snapshot_file *files;	/* owned, and their data */
	size_t n_files;
	struct each_file *indices;	/* owned, and their index */
	size_t n_indices;
};

/** copy_load(x): fills it, but for c and s.  0; -ENOENT, -EBADMSG, -EBADE with
 * a message; the store's error. */
int copy_load(struct copy_snap *x);
void copy_unload(struct copy_snap *x);

/** copy_chunk(arg, e): each_run's function; arg is the struct copy_snap. */
int copy_chunk(void *arg, const struct each_chunk *e);

/** copy_snap(c, s): 0; 1 if the target has it; -ESTALE if the source has not
 * any more; -errno. */
int copy_snap(struct copier *c, const struct tree_snap *s);

#endif
