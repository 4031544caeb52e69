/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_REPO_PRIV_H
#define REPO_REPO_PRIV_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "repo/repo.h"
#include "repo/tree.h"

struct chunks;
struct damage;
struct edit_lock;
struct keyring;
struct listing;
struct objects;
struct store;

/* Shared by the files of the repository. */
struct repo {
	struct store *store;		/* owned */
	struct damage *damage;		/* owned */
	struct chunks *chunks;		/* owned */
	struct objects *objects;	/* owned */
	char *name;			/* owned */
	struct keyring *keys;		/* shared: one reference, or NULL */
	char *listing;			/* owned; NULL: not kept */
	char *lock_dir;			/* owned; NULL: no server here */
	unsigned timeout_ms;

	pthread_mutex_t lock;		/* guards the rest */
	pthread_cond_t changed;		/* refreshing or edits */
	bool refreshing;		/* somebody makes another tree */
	LIST_HEAD(, edit_lock) edits;	/* what is being changed: borrowed */
	bool offline;
	struct tree *tree;		/* shared: one reference */
	char *strange[TREE_IGNORED_MAX];	/* owned: names that the
					 * listing under way leaves out */
	size_t n_strange;
};

/*
 * Between these two nobody else replaces the tree: an older listing must not
 * undo a newer one, nor a change that was made while it was on its way.  Waits
 * for a listing that is under way.
 */
void repo_begin_tree(struct repo *r);
void repo_end_tree(struct repo *r);
/** repo_swap_tree(r, new, listed): takes new over; the old one is the
 * caller's. */
struct tree *repo_swap_tree(struct repo *r, struct tree *new, bool listed);

/** repo_keep_listing(r, l, listed_at): as the kept listing; a failure is a
 * warning. */
void repo_keep_listing(struct repo *r, struct listing *l, int64_t listed_at);

#endif
