/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/chunker.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"

/*
 * Where to cut a payload stream.  A suggested offset is taken if the chunk is
 * then neither too short nor too long, and a cut by hash only if it would not
 * spoil the next suggestion by coming less than a minimal chunk before it.  So
 * files begin a chunk wherever they can, and the cuts within large files still
 * follow their content.
 */
struct payload_chunker {
	struct chunker hash;
	uint64_t start;		/* stream offset of the current chunk */
	uint64_t pos;		/* stream offset of the next byte */
	bool waiting;		/* no cut before the first suggestion */
	uint64_t *offsets;	/* owned; suggestions, in order */
	size_t first, n, room;	/* those ahead are first..n-1 */
};

int
payload_chunker_new(size_t avg, struct payload_chunker **ret)
{
	struct payload_chunker *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return -ENOMEM;
	chunker_init(&c->hash, avg);
	*ret = c;
	return 0;
}

void
payload_chunker_free(struct payload_chunker *c)
{
	if (c == NULL)
		return;
	free(c->offsets);
	free(c);
}

int
payload_chunker_suggest(struct payload_chunker *c, uint64_t off)
{
	uint64_t *p;
	size_t room;

	if (c->n > c->first && off <= c->offsets[c->n - 1])
		return -EINVAL;
	if (off <= c->pos)
		return 0;	/* too late */
	if (c->n == c->room && c->first > c->n / 2) {
		c->n -= c->first;
		memmove(c->offsets, c->offsets + c->first,
		    c->n * sizeof(*c->offsets));
		c->first = 0;
	}
	if (c->n == c->room) {
		room = MAX(c->room * 2, (size_t)64);
		p = reallocarray(c->offsets, room, sizeof(*p));
		if (p == NULL)
			return -ENOMEM;
		c->offsets = p;
		c->room = room;
	}
	c->offsets[c->n++] = off;
	return 0;
}

/* The suggestion that the current chunk may end at, or 0. */
static uint64_t
target(struct payload_chunker *c)
{
	uint64_t off;

	for (; c->first < c->n; c->first++) {
		off = c->offsets[c->first];
		if (off <= c->pos || off - c->start < c->hash.min)
			continue;
		return off - c->start <= c->hash.max ? off : 0;
	}
	return 0;
}

static size_t
cut_after(struct payload_chunker *c, size_t len)
{
	c->pos += len;
	c->start = c->pos;
	c->waiting = false;
	chunker_init(&c->hash, c->hash.min * 4);
	return len;
}

size_t
payload_chunker_scan(struct payload_chunker *c, const void *p, size_t len)
{
	uint64_t off = target(c);
	size_t part = len, cut;

	if (off != 0)
		part = MIN((uint64_t)len, off - c->pos);
	if (!c->waiting) {
		cut = chunker_scan(&c->hash, p, part);
		if (cut != 0 && (off == 0 || off - c->pos - cut == 0 ||
		        off - c->pos - cut >= c->hash.min))
			return cut_after(c, cut);
		c->waiting = cut != 0;
	}
	if (off != 0 && off - c->pos == part)
		return cut_after(c, part);
	c->pos += part;
	return 0;
}
