/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/num.h"
#include "pbs/blob.h"
#include "pbs/index.h"

#define CSUM_OFF 32

/* The same index, built anew: the bytes that mean something are equal. */
static void
rebuild(const struct index *x, const struct buf *b)
{
	struct index_writer *w;
	struct index_chunk c;
	struct buf *again;
	int r;

	if (index_kind(x) == INDEX_DYNAMIC)
		r = index_writer_dynamic(&w);
	else
		r = index_writer_fixed(index_size(x), index_chunk_size(x), &w);
	if (r == -EINVAL) {
		/* An image smaller than a chunk that is too large. */
		FUZZ_CHECK(index_chunk_size(x) > CHUNK_CONTENT_MAX);
		return;
	}
	FUZZ_CHECK(r == 0);
	for (size_t i = 0; i < index_count(x); i++) {
		c = index_chunk(x, i);
		FUZZ_CHECK(index_writer_add(w, c.end - c.start, &c.digest) ==
		    0);
	}
	FUZZ_CHECK(index_writer_finish(w, index_uuid(x), index_ctime(x),
	    &again) == 0);
	FUZZ_CHECK(again->len == b->len && memcmp(again->data, b->data,
	    index_kind(x) == INDEX_DYNAMIC ? 64 : 80) == 0);
	FUZZ_CHECK(memcmp(again->data + INDEX_HEADER_LEN,
	    b->data + INDEX_HEADER_LEN, b->len - INDEX_HEADER_LEN) == 0);
	buf_unref(again);
	index_writer_free(w);
}

static void
parse(struct buf *b)
{
	struct index *x;
	struct index_chunk c;
	const char *why = NULL;
	uint64_t pos = 0;
	int r;

	r = index_open(b, &x, &why);
	FUZZ_CHECK(r == 0 || (r == -EBADMSG && why != NULL));
	if (r != 0)
		return;
	FUZZ_CHECK(index_count(x) > 0);
	for (size_t i = 0; i < index_count(x); i++) {
		c = index_chunk(x, i);
		FUZZ_CHECK(c.start == pos && c.end > c.start);
		FUZZ_CHECK(c.end - c.start <= CHUNK_CONTENT_MAX);
		FUZZ_CHECK(index_find(x, c.start) == i);
		FUZZ_CHECK(index_find(x, c.end - 1) == i);
		pos = c.end;
	}
	FUZZ_CHECK(pos == index_size(x) && pos <= INT64_MAX);
	if (index_is_intact(x))
		rebuild(x, b);
	index_unref(x);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	struct digest csum;
	struct buf *b;

	b = buf_copy(p, len);
	if (b == NULL)
		return 0;
	parse(b);
	buf_unref(b);
	if (len < INDEX_HEADER_LEN)
		return 0;
	/* Again with the right checksum, which chance does not find. */
	b = buf_copy(p, len);
	if (b == NULL)
		return 0;
	csum = digest_of(p + INDEX_HEADER_LEN, len - INDEX_HEADER_LEN);
	memcpy(b->data + CSUM_OFF, csum.b, DIGEST_LEN);
	parse(b);
	buf_unref(b);
	return 0;
}
