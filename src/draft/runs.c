/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/runs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"

struct run {
	uint64_t first, n;	/* files */
	uint64_t useful;	/* bytes of theirs */
	uint64_t bytes;		/* of the chunks to put in */
};

/* A chunk that is in a stream again comes soon, behind what was new. */
#define RECENT 16

struct runs {
	uint8_t *keeps;		/* owned: a bit for each file */
	size_t room;		/* bytes */
	uint64_t n;		/* files so far */

	/* Of one stream, in order, perhaps with others in between. */
	struct run *stretch;	/* owned */
	size_t n_runs, runs_room;
	uint64_t useful, bytes;	/* each chunk counted once */
	bool has_last;
	struct run_item last;
	uint64_t last_n;	/* the number of that file */
	struct digest recent[RECENT];	/* chunks that were counted */
	size_t n_recent;	/* ever; the last RECENT of them are there */
};

int
runs_new(struct runs **ret)
{
	*ret = calloc(1, sizeof(**ret));
	return *ret != NULL ? 0 : -ENOMEM;
}

void
runs_free(struct runs *r)
{
	if (r == NULL)
		return;
	free(r->keeps);
	free(r->stretch);
	free(r);
}

static void
keep(struct runs *r, uint64_t first, uint64_t n)
{
	for (uint64_t i = first; i < first + n; i++)
		r->keeps[i / 8] |= (uint8_t)(1u << (i % 8));
}

static bool
is_part(uint64_t useful, uint64_t bytes, unsigned part)
{
	return useful >= bytes / part;
}

/* The stretch has ended: what of it is worth it? */
static void
decide(struct runs *r)
{
	bool dense = is_part(r->useful, r->bytes, RUNS_STORE_PART);

	for (size_t i = 0; i < r->n_runs; i++) {
		const struct run *u = &r->stretch[i];

		if (is_part(u->useful, u->bytes,
		        dense ? RUNS_STREAM_PART : RUNS_STORE_PART))
			keep(r, u->first, u->n);
	}
	r->n_runs = 0;
	r->useful = r->bytes = 0;
	r->n_recent = 0;
	r->has_last = false;
}

static int
grow_bits(struct runs *r)
{
	size_t room = MAX(r->room * 2, (size_t)64);
	uint8_t *p;

	if (r->n / 8 < r->room)
		return 0;
	p = realloc(r->keeps, room);
	if (p == NULL)
		return -ENOMEM;
	memset(p + r->room, 0, room - r->room);
	r->keeps = p;
	r->room = room;
	return 0;
}

static int
new_run(struct runs *r)
{
	size_t room = MAX(r->runs_room * 2, (size_t)64);
	struct run *p;

	if (r->n_runs == r->runs_room) {
		p = reallocarray(r->stretch, room, sizeof(*p));
		if (p == NULL)
			return -ENOMEM;
		r->stretch = p;
		r->runs_room = room;
	}
	r->stretch[r->n_runs++] = (struct run){.first = r->n};
	return 0;
}

/* Bytes of the chunks of it that come after those of the last file. */
static uint64_t
bytes_behind(const struct runs *r, const struct run_item *it)
{
	uint64_t from = MAX(it->chunks_begin, r->last.chunks_end);

	return it->chunks_end > from ? it->chunks_end - from : 0;
}

static bool
was_counted(const struct runs *r, const struct digest *d)
{
	for (size_t i = 0; i < MIN(r->n_recent, (size_t)RECENT); i++)
		if (digest_eq(&r->recent[i], d))
			return true;
	return false;
}

static void
remember(struct runs *r, const struct digest *d)
{
	if (!was_counted(r, d))
		r->recent[r->n_recent++ % RECENT] = *d;
}

/* What the stretch gains in bytes of the store. */
static uint64_t
count(struct runs *r, const struct run_item *it)
{
	uint64_t from = it->chunks_begin;

	if (r->has_last)
		from = MAX(from, r->last.chunks_end);
	if (from == it->chunks_begin && was_counted(r, &it->first))
		from = it->first_end;
	remember(r, &it->first);
	remember(r, &it->last);
	return it->chunks_end > from ? it->chunks_end - from : 0;
}

static int
put(struct runs *r, const struct run_item *it)
{
	uint64_t size = it->end - it->begin;
	uint64_t all = it->chunks_end - it->chunks_begin;
	struct run *u;
	int e;

	if (r->has_last && (!digest_eq(&it->stream, &r->last.stream) ||
	    it->begin < r->last.end))
		decide(r);
	if (!r->has_last || r->last_n + 1 != r->n) {
		e = new_run(r);
		if (e < 0)
			return e;
		r->stretch[r->n_runs - 1].bytes = all;
	} else {
		r->stretch[r->n_runs - 1].bytes += bytes_behind(r, it);
	}
	u = &r->stretch[r->n_runs - 1];
	u->n++;
	u->useful += size;
	r->useful += size;
	r->bytes += count(r, it);
	/* A large file stands for itself, whatever its neighbours are like. */
	if (is_part(size, all, RUNS_STORE_PART))
		keep(r, r->n, 1);
	r->last = *it;
	r->last_n = r->n;
	r->has_last = true;
	return 0;
}

int
runs_add(struct runs *r, const struct run_item *it)
{
	int e = grow_bits(r);

	if (e == 0 && it != NULL)
		e = put(r, it);
	if (e == 0)
		r->n++;
	return e;
}

void
runs_finish(struct runs *r)
{
	decide(r);
}

bool
runs_keeps(const struct runs *r, uint64_t n)
{
	return n < r->n && (r->keeps[n / 8] >> (n % 8) & 1) != 0;
}
