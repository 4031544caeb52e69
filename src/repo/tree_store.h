/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_TREE_STORE_H
#define REPO_TREE_STORE_H

#include "repo/tree.h"

struct strpool;

/* What a tree is made of; only the builder and tree_unref know. */
struct tree_store {
	struct tree t;			/* first: a tree is its store */
	struct strpool *pool;		/* owned: all texts */
	struct tree_ns *ns;		/* owned, as are the following */
	struct tree_ns **children;
	struct tree_group *groups;
	struct tree_snap *snaps;
	struct tree_file *files;
	const char **ignored;
};

void tree_store_free(struct tree_store *ts);

#endif
