/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/blob.h"

#include <errno.h>
#include <libdeflate.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/num.h"
#include "crypt/aead.h"
#include "crypt/digest.h"
#include "pbs/enc_key.h"
#include "pbs/zst.h"

#define MAGIC_LEN 8
#define CRC_OFF 8
#define IV_OFF 12
#define TAG_OFF 28

/* Format document section 2.1. */
static const uint8_t magics[][MAGIC_LEN] = {
    [BLOB_PLAIN] = {0x42, 0xab, 0x38, 0x07, 0xbe, 0x83, 0x70, 0xa1},
    [BLOB_ZSTD] = {0x31, 0xb9, 0x58, 0x42, 0x6f, 0xb6, 0xa3, 0x7f},
    [BLOB_ENC] = {0x7b, 0x67, 0x85, 0xbe, 0x22, 0x2d, 0x4c, 0xf0},
    [BLOB_ENC_ZSTD] = {0xe6, 0x59, 0x1b, 0xbf, 0x0b, 0xbf, 0xd8, 0x0b},
};

bool
blob_is_encrypted(enum blob_kind kind)
{
	return kind == BLOB_ENC || kind == BLOB_ENC_ZSTD;
}

static bool
is_packed(enum blob_kind kind)
{
	return kind == BLOB_ZSTD || kind == BLOB_ENC_ZSTD;
}

static size_t
header_len(enum blob_kind kind)
{
	return blob_is_encrypted(kind) ? BLOB_HEADER_ENC : BLOB_HEADER_PLAIN;
}

int
blob_kind(const void *p, size_t len, enum blob_kind *ret)
{
	size_t i;

	if (len < BLOB_HEADER_PLAIN)
		return -EBADMSG;
	for (i = 0; i < ARRAY_SIZE(magics); i++)
		if (memcmp(p, magics[i], MAGIC_LEN) == 0)
			break;
	if (i == ARRAY_SIZE(magics) || len < header_len((enum blob_kind)i))
		return -EBADMSG;
	*ret = (enum blob_kind)i;
	return 0;
}

/* The CRC covers what follows the header; IV and tag are not covered. */
static int
open_blob(const uint8_t *p, size_t len, enum blob_kind *ret_kind,
    const uint8_t **ret_payload, size_t *ret_len)
{
	size_t head;
	int r;

	r = blob_kind(p, len, ret_kind);
	if (r < 0)
		return r;
	head = header_len(*ret_kind);
	if (libdeflate_crc32(0, p + head, len - head) != get_le32(p + CRC_OFF))
		return -EBADMSG;
	*ret_payload = p + head;
	*ret_len = len - head;
	return 0;
}

int
blob_check(const void *p, size_t len)
{
	const uint8_t *payload;
	enum blob_kind kind;
	size_t n;

	return open_blob(p, len, &kind, &payload, &n);
}

/* What was encrypted, still packed if it was. */
static int
decrypt(const struct enc_key *key, const uint8_t *p, const uint8_t *payload,
    size_t n, struct buf **ret)
{
	_cleanup_(buf_unrefp) struct buf *b = buf_new(n);
	int r;

	if (b == NULL)
		return -ENOMEM;
	r = aead_decrypt(enc_key_raw(key), p + IV_OFF, p + TAG_OFF, payload, n,
	    b->data);
	if (r == 0)
		*ret = steal(&b);
	return r;
}

int
blob_decode_with(const void *p, size_t len, size_t max,
    const struct enc_key *key, struct buf **ret)
{
	_cleanup_(buf_unrefp) struct buf *packed = NULL;
	const uint8_t *payload;
	enum blob_kind kind;
	size_t n;
	int r;

	r = open_blob(p, len, &kind, &payload, &n);
	if (r < 0)
		return r;
	if (blob_is_encrypted(kind) && key == NULL)
		return -ENOKEY;
	if (!is_packed(kind) && n > max)
		return -EBADMSG;
	if (blob_is_encrypted(kind)) {
		r = decrypt(key, p, payload, n, &packed);
		if (r < 0)
			return r;
		payload = packed->data;
	}
	if (is_packed(kind))
		return zst_unpack(payload, n, max, ret);
	*ret = packed != NULL ? steal(&packed) : buf_copy(payload, n);
	return *ret == NULL ? -ENOMEM : 0;
}

int
blob_decode(const void *p, size_t len, size_t max, struct buf **ret)
{
	return blob_decode_with(p, len, max, NULL, ret);
}

int
chunk_decode_with(const void *p, size_t len, const struct digest *digest,
    size_t size, const struct enc_key *key, struct buf **ret)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL, *packed = NULL;
	const uint8_t *payload;
	enum blob_kind kind;
	struct digest d;
	size_t n;
	int r;

	r = open_blob(p, len, &kind, &payload, &n);
	if (r < 0)
		return r;
	if (blob_is_encrypted(kind) && key == NULL)
		return -ENOKEY;
	if (size > CHUNK_CONTENT_MAX || (!is_packed(kind) && n != size) ||
	    blob_is_encrypted(kind) != (key != NULL))
		return -EBADMSG;
	if (key != NULL) {
		r = decrypt(key, p, payload, n, &packed);
		if (r < 0)
			return r;
		payload = packed->data;
	}
	if (is_packed(kind)) {
		r = zst_unpack_exact(payload, n, size, &b);
		if (r < 0)
			return r;
	} else {
		b = packed != NULL ? steal(&packed) : buf_copy(payload, n);
		if (b == NULL)
			return -ENOMEM;
	}
	if (key != NULL) {
		r = enc_key_digest(key, b->data, b->len, &d);
		if (r < 0)
			return r;
	} else {
		d = digest_of(b->data, b->len);
	}
	if (!digest_eq(&d, digest))
		return -EBADMSG;
	/* It will be kept. */
	*ret = buf_trim(steal(&b));
	return 0;
}

int
chunk_decode(const void *p, size_t len, const struct digest *digest,
    size_t size, struct buf **ret)
{
	return chunk_decode_with(p, len, digest, size, NULL, ret);
}

/* In place; the IV goes where it is looked for. */
static int
encrypt(const struct enc_key *key, struct buf *b)
{
	uint8_t *payload = b->data + BLOB_HEADER_ENC;
	int r;

	r = crypt_random(b->data + IV_OFF, AEAD_IV_LEN);
	if (r < 0)
		return r;
	return aead_encrypt(enc_key_raw(key), b->data + IV_OFF, payload,
	    b->len - BLOB_HEADER_ENC, payload, b->data + TAG_OFF);
}

int
blob_encode_with(const void *p, size_t len, bool compress,
    const struct enc_key *key, struct buf **ret)
{
	size_t n = len, head = key != NULL ? BLOB_HEADER_ENC :
	    BLOB_HEADER_PLAIN;
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	bool packed = false;
	uint8_t *payload;
	int r;

	if (len > BLOB_CONTENT_MAX)
		return -EFBIG;
	b = buf_new(head + len);
	if (b == NULL)
		return -ENOMEM;
	payload = b->data + head;
	if (compress && len > 0) {
		r = zst_pack(p, len, payload, len, &n);
		if (r < 0)
			return r;
		packed = r == 0;
	}
	if (!packed) {
		n = len;
		if (len > 0)
			memcpy(payload, p, len);
	}
	b->len = head + n;
	if (key != NULL) {
		r = encrypt(key, b);
		if (r < 0)
			return r;
		memcpy(b->data, magics[packed ? BLOB_ENC_ZSTD : BLOB_ENC],
		    MAGIC_LEN);
	} else {
		memcpy(b->data, magics[packed ? BLOB_ZSTD : BLOB_PLAIN],
		    MAGIC_LEN);
	}
	put_le32(b->data + CRC_OFF, libdeflate_crc32(0, payload, n));
	*ret = steal(&b);
	return 0;
}

int
blob_encode(const void *p, size_t len, bool compress, struct buf **ret)
{
	return blob_encode_with(p, len, compress, NULL, ret);
}

int
chunk_encode(const void *p, size_t len, const struct enc_key *key,
    bool compress, struct buf **ret)
{
	if (len == 0)
		return -EINVAL;
	if (len > CHUNK_CONTENT_MAX)
		return -EFBIG;
	return blob_encode_with(p, len, compress, key, ret);
}
