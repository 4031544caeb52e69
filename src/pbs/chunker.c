/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/chunker.h"

#include <assert.h>
#include <string.h>

#include "base/num.h"
#include "pbs/buzhash_table.h"

#define WINDOW 64

/*
 * The hash of a position depends on the 64 bytes before it alone, and as 64 is
 * a multiple of the hash's 32 bits a byte leaves the window without a rotation.
 * So the bytes of a chunk that come too early for a cut need not be hashed: the
 * window fills with those just before the first position that may be one.
 */
static uint64_t
first_hashed(const struct chunker *c)
{
	return c->min > WINDOW ? c->min - WINDOW - 1 : 0;
}

void
chunker_init(struct chunker *c, size_t avg)
{
	assert(avg >= 256 && (avg & (avg - 1)) == 0 && avg <= 1u << 30);
	memset(c, 0, sizeof(*c));
	c->min = avg / 4;
	c->max = (uint64_t)avg * 4;
	c->mask = (uint32_t)(2 * avg - 1);
	c->limit = c->mask - 2;
}

static void
restart(struct chunker *c)
{
	c->hash = 0;
	c->fill = 0;
	c->n = 0;
}

static uint32_t
rotl(uint32_t v)
{
	return v << 1 | v >> 31;
}

/* Byte number n of the chunk has its place in the window at n % WINDOW. */
static uint8_t *
slot(struct chunker *c, uint64_t n)
{
	return &c->window[n % WINDOW];
}

/*
 * Hash from p[i] to p[end - 1], all of them places for a cut; the byte that
 * leaves comes from the window as long as it was in an earlier call, then from
 * p itself.
 */
static size_t
hash_until_cut(struct chunker *c, const uint8_t *p, size_t i, size_t end)
{
	uint32_t h = c->hash, mask = c->mask, limit = c->limit;
	size_t near = MIN(end, (size_t)WINDOW);

	for (; i < near; i++) {
		uint8_t *w = slot(c, c->n++);

		h = rotl(h) ^ buzhash_table[*w] ^ buzhash_table[p[i]];
		*w = p[i];
		if ((h & mask) >= limit)
			return i + 1;
	}
	c->n += end - i;
	for (; i < end; i++) {
		h = rotl(h) ^ buzhash_table[p[i - WINDOW]] ^
		    buzhash_table[p[i]];
		if ((h & mask) >= limit)
			return i + 1;
	}
	c->hash = h;
	return 0;
}

size_t
chunker_scan(struct chunker *c, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t i = 0, end, cut;
	uint64_t skip;

	if (c->n < first_hashed(c)) {
		skip = MIN(first_hashed(c) - c->n, (uint64_t)len);
		c->n += skip;
		i = skip;
	}
	for (; i < len && c->fill < WINDOW; i++) {
		c->hash = rotl(c->hash) ^ buzhash_table[p[i]];
		*slot(c, c->n++) = p[i];
		c->fill++;
	}
	if (i == len)
		return 0;
	end = i + MIN(c->max - c->n, (uint64_t)(len - i));
	cut = hash_until_cut(c, p, i, end);
	if (cut == 0 && c->n == c->max)
		cut = end;
	if (cut != 0) {
		restart(c);
		return cut;
	}
	/* The last bytes are the next call's window. */
	for (i = end - MIN(end, (size_t)WINDOW); i < end; i++)
		*slot(c, c->n - (end - i)) = p[i];
	return 0;
}
