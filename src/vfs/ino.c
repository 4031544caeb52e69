/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/ino.h"

#include <errno.h>
#include <stdlib.h>

#include <xxhash.h>

#include "base/cleanup.h"
#include "pbs/blob.h"
#include "pbs/index.h"

/* Far more than chance needs; it ends hostile listings. */
#define ROUNDS_MAX 100

uint64_t
ino_hash_hier(const char *path, size_t len, uint32_t salt)
{
	return INO_HIER | (XXH3_64bits_withSeed(path, len, salt) &
	    INO_HIER_MASK);
}

uint64_t
ino_hash_archive(const char *path, size_t len, uint32_t salt, uint64_t span)
{
	uint64_t h = XXH3_64bits_withSeed(path, len, salt);
	uint64_t room = INO_ARCHIVE_END - INO_ARCHIVE_MIN - span;

	return INO_ARCHIVE_MIN + h % room / INO_ARCHIVE_ALIGN *
	    INO_ARCHIVE_ALIGN;
}

uint64_t
ino_span(uint64_t index_size)
{
	uint64_t n = 1, span;

	/* One that cannot be read has no entries to number. */
	if (index_size > INDEX_FILE_MAX)
		index_size = 0;
	if (index_size > INDEX_HEADER_LEN)
		n += (index_size - INDEX_HEADER_LEN) / 40;
	if (__builtin_mul_overflow(n, (uint64_t)CHUNK_CONTENT_MAX, &span) ||
	    span > INO_SPAN_MAX)
		return INO_SPAN_MAX;
	return span;
}

/* The order of the sweep: by first number, then who has precedence. */
static int
claim_cmp(const void *pa, const void *pb)
{
	const struct ino_claim *a = *(const struct ino_claim *const *)pa;
	const struct ino_claim *b = *(const struct ino_claim *const *)pb;

	if (a->first != b->first)
		return a->first < b->first ? -1 : 1;
	if (a->fixed != b->fixed)
		return a->fixed ? -1 : 1;
	return a < b ? -1 : a > b;
}

static bool
claim_yields(const struct ino_claim *a, const struct ino_claim *b)
{
	if (a->fixed != b->fixed)
		return b->fixed;
	return a > b;
}

int
ino_assign(struct ino_claim *c, size_t n, ino_hash_fn *fn, void *arg)
{
	_cleanup_free_ struct ino_claim **order = NULL;
	struct ino_claim *keeper, *loser;
	size_t i, moved;
	unsigned round;

	if (n == 0)
		return 0;
	order = calloc(n, sizeof(*order));
	if (order == NULL)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		order[i] = &c[i];
		if (!c[i].fixed)
			c[i].first = fn(arg, i, c[i].salt);
	}
	for (round = 0; round < ROUNDS_MAX; round++) {
		qsort(order, n, sizeof(*order), claim_cmp);
		moved = 0;
		keeper = order[0];
		for (i = 1; i < n; i++) {
			loser = order[i];
			if (loser->first - keeper->first >= keeper->span) {
				keeper = loser;
				continue;
			}
			if (claim_yields(keeper, loser)) {
				loser = keeper;
				keeper = order[i];
			}
			if (loser->fixed)
				return -EINVAL;
			loser->salt++;
			loser->first = fn(arg, (size_t)(loser - c),
			    loser->salt);
			moved++;
		}
		if (moved == 0)
			return 0;
	}
	return -EOVERFLOW;
}
