/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/pxar_writer_priv.h"

#include <stdlib.h>

#include "pbs/pxar_format.h"

/* By hash; entries whose hashes are equal in the order of the archive, so that
 * one tree always makes the same bytes. */
static int
compare(const void *pa, const void *pb)
{
	const struct pxar_item *a = pa, *b = pb;

	if (a->hash != b->hash)
		return a->hash < b->hash ? -1 : 1;
	return (a->begin > b->begin) - (a->begin < b->begin);
}

/*
 * The table is a binary search tree in an array, the children of i at 2i + 1
 * and 2i + 2, with all levels full but the last, which is filled from the left.
 * Which of n sorted items stands at place i: were the last level full as well,
 * it would have all the even ranks, and place k of a level that is "above"
 * levels higher the rank (2k + 1) * 2^above - 1; take off those of the last
 * level that come before it and are not there.
 */
static size_t
rank_at(size_t i, size_t n)
{
	unsigned depth = 63 - (unsigned)__builtin_clzll(i + 1);
	unsigned last = 63 - (unsigned)__builtin_clzll(n);
	size_t k = i + 1 - ((size_t)1 << depth);
	size_t rank = ((2 * k + 1) << (last - depth)) - 1;
	size_t there = n + 1 - ((size_t)1 << last);
	size_t before = (rank + 1) / 2;

	return before > there ? rank - (before - there) : rank;
}

void
pxar_writer_goodbye(struct pxar_out *o, struct pxar_item *items, size_t n,
    uint64_t entry)
{
	uint64_t pos = o->pos, len = (n + 1) * PXAR_ITEM_SIZE;
	size_t i;

	if (n > 1)
		qsort(items, n, sizeof(*items), compare);
	pxar_out_head(o, PXAR_GOODBYE, len);
	for (i = 0; i < n; i++) {
		const struct pxar_item *it = &items[rank_at(i, n)];

		pxar_out_put64(o, it->hash);
		pxar_out_put64(o, pos - it->begin);
		pxar_out_put64(o, it->size);
	}
	pxar_out_put64(o, PXAR_TAIL_HASH);
	pxar_out_put64(o, pos - entry);
	pxar_out_put64(o, PXAR_HEADER_SIZE + len);
}
