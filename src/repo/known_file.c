/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/known_file.h"

#include <string.h>
#include <xxhash.h>

#include "base/num.h"

static const char magic[16] = "pbs3fs known 1\n";

uint64_t
known_file_header(const char *generation, uint8_t out[KNOWN_HEADER_LEN])
{
	struct digest d = digest_of(generation, strlen(generation));

	memset(out, 0, KNOWN_HEADER_LEN);
	memcpy(out, magic, sizeof(magic));
	memcpy(out + sizeof(magic), d.b, DIGEST_LEN);
	return XXH3_64bits(out, KNOWN_HEADER_LEN);
}

static uint64_t
checksum(enum known_op op, const uint8_t *digest, uint64_t seed)
{
	return XXH3_64bits_withSeed(digest, DIGEST_LEN, seed + (uint64_t)op);
}

void
known_file_encode(enum known_op op, const struct digest *d, uint64_t seed,
    uint8_t out[KNOWN_RECORD_LEN])
{
	memcpy(out, d->b, DIGEST_LEN);
	put_le64(out + DIGEST_LEN, checksum(op, d->b, seed));
}

enum known_op
known_file_decode(const uint8_t p[KNOWN_RECORD_LEN], uint64_t seed,
    struct digest *ret)
{
	uint64_t sum = get_le64(p + DIGEST_LEN);

	memcpy(ret->b, p, DIGEST_LEN);
	if (sum == checksum(KNOWN_ADD, p, seed))
		return KNOWN_ADD;
	if (sum == checksum(KNOWN_REMOVE, p, seed))
		return KNOWN_REMOVE;
	return KNOWN_NOTHING;
}
