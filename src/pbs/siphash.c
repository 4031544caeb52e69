/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/siphash.h"

#include "base/num.h"

static uint64_t
rotl(uint64_t v, unsigned n)
{
	return v << n | v >> (64 - n);
}

static void
rounds(uint64_t v[4], int n)
{
	while (n-- > 0) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotl(v[1], 13) ^ v[0];
		v[3] = rotl(v[3], 16) ^ v[2];
		v[0] = rotl(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotl(v[1], 17) ^ v[2];
		v[3] = rotl(v[3], 21) ^ v[0];
		v[2] = rotl(v[2], 32);
	}
}

static void
block(uint64_t v[4], uint64_t m)
{
	v[3] ^= m;
	rounds(v, 2);
	v[0] ^= m;
}

uint64_t
siphash_24(uint64_t k0, uint64_t k1, const void *p, size_t len)
{
	uint64_t v[4] = {
	    k0 ^ 0x736f6d6570736575,
	    k1 ^ 0x646f72616e646f6d,
	    k0 ^ 0x6c7967656e657261,
	    k1 ^ 0x7465646279746573,
	};
	const uint8_t *b = p;
	uint64_t last = (uint64_t)len << 56;
	size_t i;

	for (; len >= 8; len -= 8, b += 8)
		block(v, get_le64(b));
	for (i = 0; i < len; i++)
		last |= (uint64_t)b[i] << 8 * i;
	block(v, last);
	v[2] ^= 0xff;
	rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
