/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "draft/record.h"

static void
check_name(const struct record *r)
{
	FUZZ_CHECK(r->name[r->name_len] == '\0');
	FUZZ_CHECK(strlen(r->name) == r->name_len);
	if (r->kind == REC_HEAD || r->kind == REC_INODE)
		return;
	FUZZ_CHECK(r->name_len > 0 && r->name_len <= RECORD_NAME_MAX);
	FUZZ_CHECK(strchr(r->name, '/') == NULL);
	FUZZ_CHECK(!streq(r->name, ".") && !streq(r->name, ".."));
}

/* A transaction: what is understood encodes to the same bytes. */
int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	while (len > 0) {
		struct str again = {0};
		struct record r;
		int n = record_next(p, len, &r);

		FUZZ_CHECK(n == -EBADMSG || (n > 0 && (size_t)n <= len));
		if (n < 0)
			return 0;
		if (r.name != NULL)
			check_name(&r);
		if (r.kind == REC_CHUNK)
			FUZZ_CHECK(r.chunk.kind == PIECE_CHUNK &&
			    (uint64_t)r.chunk.skip + r.chunk.len <=
				r.chunk.chunk_size);
		FUZZ_CHECK(record_add(&again, &r) == 0);
		FUZZ_CHECK(again.len == (size_t)n &&
		    memcmp(again.s, p, again.len) == 0);
		str_fini(&again);
		p += n;
		len -= (size_t)n;
	}
	return 0;
}
