/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <string.h>

#include "repo/known_file.h"
#include "repo/known_set.h"

/* A file of the generation "fuzz": what is a record is one that we write, and
 * the set holds what the last record of each digest says. */
int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	uint8_t header[KNOWN_HEADER_LEN], again[KNOWN_RECORD_LEN];
	uint64_t seed = known_file_header("fuzz", header);
	struct known_set s;
	struct digest d;
	size_t i = 0, n = 0;

	if (len < KNOWN_HEADER_LEN || known_set_init(&s, 8) < 0)
		return 0;
	p += KNOWN_HEADER_LEN;
	len -= KNOWN_HEADER_LEN;
	for (; len >= KNOWN_RECORD_LEN; p += KNOWN_RECORD_LEN,
	    len -= KNOWN_RECORD_LEN) {
		enum known_op op = known_file_decode(p, seed, &d);

		if (op == KNOWN_NOTHING) {
			/* As if its checksum were right, which chance does
			 * not find. */
			op = p[DIGEST_LEN] & 1 ? KNOWN_REMOVE : KNOWN_ADD;
			d.b[0] &= 15;
			memset(d.b + 1, 0, DIGEST_LEN - 1);
		} else {
			known_file_encode(op, &d, seed, again);
			FUZZ_CHECK(memcmp(again, p, sizeof(again)) == 0);
		}
		if (op == KNOWN_REMOVE)
			known_set_remove(&s, &d);
		else if (known_set_add(&s, &d) == 0)
			FUZZ_CHECK(known_set_has(&s, &d));
		FUZZ_CHECK(op == KNOWN_ADD || !known_set_has(&s, &d));
		FUZZ_CHECK(known_set_count(&s) <= 8);
	}
	while (known_set_each(&s, &i, &d) == 0) {
		FUZZ_CHECK(known_set_has(&s, &d));
		n++;
	}
	FUZZ_CHECK(n == known_set_count(&s));
	known_set_fini(&s);
	return 0;
}
