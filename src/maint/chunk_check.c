/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/chunk_check.h"

#include <errno.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "pbs/blob.h"

static int
bad(const char **ret_why, const char *why)
{
	*ret_why = why;
	return -EBADMSG;
}

/* Whether what is encrypted can be that long. */
static bool
length_fits(enum blob_kind kind, size_t len, uint32_t size)
{
	size_t payload = len - BLOB_HEADER_ENC;

	/* Who compresses what does not get shorter is not wrong. */
	return kind == BLOB_ENC ? payload == size : payload > 0;
}

int
chunk_check(const struct chunk_want *w, const void *p, size_t len,
    const char **ret_why)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	enum blob_kind kind;
	int r;

	if (blob_kind(p, len, &kind) < 0)
		return bad(ret_why, len == 0 ? "is empty" :
		    "has no valid header");
	if (blob_check(p, len) < 0)
		return bad(ret_why, "crc is wrong");
	if (blob_is_encrypted(kind) != w->encrypted)
		return bad(ret_why, w->encrypted ?
		    "is not encrypted, but its archive is" :
		    "is encrypted, but its archive is not");
	if (w->encrypted && w->key == NULL)
		return length_fits(kind, len, w->size) ? 1 :
		    bad(ret_why, "has another length than the index says");
	r = chunk_decode_with(p, len, &w->digest, w->size, w->key, &b);
	if (r == -EBADMSG)
		return bad(ret_why, w->encrypted ?
		    "is not authentic, or not what its name or the index "
		    "says" :
		    "content is not what its name or the index says");
	return r;
}
