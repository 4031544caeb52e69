/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/chunk_fetch.h"

#include <errno.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "pbs/blob.h"
#include "pbs/names.h"
#include "repo/damage.h"
#include "store/store.h"

int
chunk_fetch(struct chunk_fetch *f, struct buf **ret)
{
	const struct store_get how = {
	    .max = CHUNK_STORED_MAX,
	    .flags = f->flags,
	    .deadline = f->deadline,
	};
	char key[KEY_CHUNK_LEN + 1];
	int r;

	buf_unref(steal(&f->raw));
	key_chunk(&f->id.digest, key);
	r = store_get(f->store, key, &how, &f->raw, NULL);
	if (r == 1)
		return -ENOENT;
	if (r == -EFBIG)
		return -EBADMSG;
	/* Throttled, and not "ask again without STORE_LOCAL". */
	if (r == -EAGAIN && !(f->flags & STORE_LOCAL))
		return -EIO;
	if (r < 0)
		return r;
	r = chunk_decode_with(f->raw->data, f->raw->len, &f->id.digest,
	    f->id.size, f->id.key, ret);
	if (r == -EBADMSG)
		store_verdict(f->store, key, f->raw, false);
	return r;
}

static const char *
what_is_wrong(const struct buf *raw, const struct enc_key *key)
{
	enum blob_kind kind;

	if (raw == NULL)
		return "is larger than any chunk";
	if (raw->len == 0)
		return "is empty";
	if (blob_kind(raw->data, raw->len, &kind) < 0)
		return "has no valid header";
	if (blob_check(raw->data, raw->len) < 0)
		return "crc is wrong";
	if (key != NULL && !blob_is_encrypted(kind))
		return "is not encrypted, but its archive is";
	if (key != NULL)
		return "is not authentic, or not what its name or the index "
		    "says";
	return "content is not what its name or the index says";
}

void
chunk_fetch_report(const struct chunk_fetch *f, int err)
{
	if (err == -ENOENT)
		damage_chunk(f->damage, &f->id.digest, "is missing");
	if (err == -EBADMSG)
		damage_chunk(f->damage, &f->id.digest, what_is_wrong(f->raw,
		    f->id.key));
}

void
chunk_fetch_end(struct chunk_fetch *f, bool good)
{
	char key[KEY_CHUNK_LEN + 1];

	if (good) {
		key_chunk(&f->id.digest, key);
		store_verdict(f->store, key, f->raw, true);
	}
	buf_unref(steal(&f->raw));
}
