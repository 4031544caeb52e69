/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_DIGEST_MERGE_H
#define MAINT_DIGEST_MERGE_H

#include <stddef.h>

#include "crypt/digest.h"

/* Sorted lists of digests, read as one without repetitions. */
struct digest_list {
	/** next(l, ret, n): some more, ascending, valid until the next call or
	 * the end of l; 1: no more; -errno. */
	int (*next)(struct digest_list *l, const struct digest **ret,
	    size_t *n);
};

struct merge_head {
	const struct digest *p, *end;
	struct digest_list *list;	/* borrowed */
};

struct digest_merge {
	struct merge_head *heap;	/* owned; the least first */
	size_t n;
};

/** digest_merge_init(m, lists, n): the lists are borrowed. */
int digest_merge_init(struct digest_merge *m, struct digest_list *const *lists,
    size_t n);
void digest_merge_fini(struct digest_merge *m);	/* zero is allowed */
/** digest_merge_next(m, ret): ascending, each once; 1 at the end; -errno. */
int digest_merge_next(struct digest_merge *m, struct digest *ret);

/* A piece of memory, told in one go. */
struct digest_piece {
	struct digest_list l;	/* first */
	const struct digest *v;	/* borrowed, sorted */
	size_t n;
};
void digest_piece_init(struct digest_piece *p, const struct digest *v,
    size_t n);

#endif
