/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_DIRS_H
#define DRAFT_DIRS_H

#include "draft/draft_priv.h"

/* An open directory. */
struct draft_dir {
	struct draft *d;		/* borrowed */
	LIST_ENTRY(draft_dir) link;	/* guarded by the draft's lock */
	struct inode *inode;		/* reference */
	/* The base as it was when it was opened, by which cookies count. */
	struct base *base;		/* reference; NULL: has none */
	struct base_archive *archive;	/* NULL at the top */
	uint64_t pos;
	struct pxar_dir *table;		/* shared */
	/* Reference: holds the names that the inode had besides that base, once
	 * it has another one; or NULL.  Guarded by the draft's lock. */
	struct inode *before;
};

/** dirs_reset(d, i): lock held: before i loses its names to a new base: who has
 * it open goes on with them. */
void dirs_reset(struct draft *d, struct inode *i);

#endif
