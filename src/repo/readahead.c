/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/reader_impl.h"

#include <string.h>

#include "base/num.h"

#define WINDOW_MAX 16		/* chunks */
#define STREAK_MIN 2		/* reads in a row before anything is fetched */
#define STREAK_SURE 4
#define NEAR_SURE (256 * KIB)

void
readahead_init(struct readahead *ra, uint64_t begin, uint64_t end)
{
	memset(ra, 0, sizeof(*ra));
	ra->begin = begin;
	ra->end = end;
	ra->next = begin;
}

/* The kernel sends the parts of one sequential read side by side, so they come
 * out of order by a few of their lengths, and a tool may leave small gaps.
 * Random reads of 4 KiB are as good as never that close to each other. */
static bool
follows(const struct readahead *ra, uint64_t off, size_t len)
{
	uint64_t near = (uint64_t)len * 4;
	uint64_t dist = off > ra->next ? off - ra->next : ra->next - off;

	if (ra->streak >= STREAK_SURE)
		near = MAX(near, NEAR_SURE);
	return dist <= near;
}

static void
fetch_ahead(struct readahead *ra, struct reader *r)
{
	struct index_chunk x;
	struct chunk_id id;
	uint64_t from = MAX(ra->next, ra->ahead);
	size_t i, cur, count = index_count(r->index);

	if (from >= ra->end || from >= r->size)
		return;
	/* What holds the last byte read is asked for by the read itself. */
	cur = index_find(r->index, ra->next - 1);
	for (i = MAX(cur + 1, index_find(r->index, from));
	    i < count && i - cur <= ra->window; i++) {
		x = index_chunk(r->index, i);
		if (x.start >= ra->end ||
		    (i > cur + 1 && x.end - ra->next > r->ahead_max))
			return;
		id = reader_chunk_id(r, &x);
		if (!chunks_prefetch(r->chunks, &id))
			return;
		ra->ahead = x.end;
	}
}

void
readahead_update(struct readahead *ra, struct reader *r, uint64_t off,
    size_t len)
{
	uint64_t end;
	size_t before, after;

	if (len == 0 || off >= r->size || ra->next > r->size)
		return;
	end = len > r->size - off ? r->size : off + len;
	if (!follows(ra, off, len)) {
		ra->streak = 0;
		ra->window = 0;
		ra->ahead = 0;
		ra->next = end;
		return;
	}
	before = ra->next > 0 ? index_find(r->index, ra->next - 1) : 0;
	ra->next = MAX(ra->next, end);
	after = index_find(r->index, ra->next - 1);
	if (ra->streak < STREAK_SURE)
		ra->streak++;
	if (ra->streak < STREAK_MIN)
		return;
	if (ra->window == 0)
		ra->window = 1;
	else if (after != before)
		ra->window = MIN(ra->window * 2, (unsigned)WINDOW_MAX);
	fetch_ahead(ra, r);
}
