/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/num.h"
#include "crypt/digest.h"
#include "pbs/blob.h"
#include "pbs/enc_key.h"

#define MAX_CONTENT (1u << 20)

/* Behind a CRC the decoder would hardly ever be reached. */
static struct buf *
with_crc(const uint8_t *p, size_t len)
{
	struct buf *b, *plain;
	size_t head = BLOB_HEADER_PLAIN;
	enum blob_kind kind;

	b = buf_copy(p, len);
	if (b == NULL || blob_kind(p, len, &kind) < 0)
		return b;
	if (blob_is_encrypted(kind))
		head = BLOB_HEADER_ENC;
	if (blob_encode(p + head, len - head, false, &plain) < 0)
		return b;
	memcpy(b->data + 8, plain->data + 8, 4);
	buf_unref(plain);
	return b;
}

/* The same for what is plain; and nobody makes a tag by chance. */
static bool
with_key(const struct buf *b, int plain)
{
	static const uint8_t raw[ENC_KEY_LEN] = {1};
	static struct enc_key *k;
	struct buf *content;
	int r;

	if (k == NULL && enc_key_new(raw, &k) < 0)
		return true;
	r = blob_decode_with(b->data, b->len, MAX_CONTENT, k, &content);
	if (r == 0)
		buf_unref(content);
	return r == (plain == -ENOKEY ? -EBADMSG : plain);
}

static void
decode(const struct buf *b)
{
	struct buf *content, *chunk, *again, *back;
	struct digest d;
	int r;

	r = blob_decode(b->data, b->len, MAX_CONTENT, &content);
	FUZZ_CHECK(r == 0 || r == -EBADMSG || r == -ENOKEY);
	FUZZ_CHECK((r == -EBADMSG) || blob_check(b->data, b->len) == 0);
	FUZZ_CHECK(with_key(b, r));
	if (r != 0)
		return;
	FUZZ_CHECK(content->len <= MAX_CONTENT);
	d = digest_of(content->data, content->len);
	FUZZ_CHECK(chunk_decode(b->data, b->len, &d, content->len,
	    &chunk) == 0);
	FUZZ_CHECK(chunk->len == content->len);
	buf_unref(chunk);
	FUZZ_CHECK(chunk_decode(b->data, b->len, &d, content->len + 1,
	    &chunk) == -EBADMSG);
	FUZZ_CHECK(blob_encode(content->data, content->len, true, &again) == 0);
	FUZZ_CHECK(blob_decode(again->data, again->len, content->len,
	    &back) == 0);
	FUZZ_CHECK(back->len == content->len &&
	    memcmp(back->data, content->data, back->len) == 0);
	buf_unref(back);
	buf_unref(again);
	buf_unref(content);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	struct buf *b;

	b = buf_copy(p, len);
	if (b != NULL)
		decode(b);
	buf_unref(b);
	b = with_crc(p, len);
	if (b != NULL)
		decode(b);
	buf_unref(b);
	return 0;
}
