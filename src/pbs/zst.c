/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/zst.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/buf.h"
#include "base/num.h"

#define ZST_LEVEL 1		/* what Proxmox Backup writes with */
#define ZST_FIRST_GUESS (64 * KIB)
#define ZST_SKIPPABLE_MASK 0xfffffff0u

/* Of one thread; the main thread's lives as long as the process. */
struct zst_ctx {
	ZSTD_DCtx *d;	/* owned, or NULL */
	ZSTD_CCtx *c;	/* owned, or NULL */
};

static pthread_once_t zst_once = PTHREAD_ONCE_INIT;
static pthread_key_t zst_key;
static int zst_key_error;

static void
ctx_free(void *p)
{
	struct zst_ctx *x = p;

	ZSTD_freeDCtx(x->d);
	ZSTD_freeCCtx(x->c);
	free(x);
}

static void
key_new(void)
{
	zst_key_error = pthread_key_create(&zst_key, ctx_free);
}

static struct zst_ctx *
ctx_get(void)
{
	struct zst_ctx *x;

	if (pthread_once(&zst_once, key_new) != 0 || zst_key_error != 0)
		return NULL;
	x = pthread_getspecific(zst_key);
	if (x != NULL)
		return x;
	x = calloc(1, sizeof(*x));
	if (x == NULL)
		return NULL;
	if (pthread_setspecific(zst_key, x) != 0) {
		free(x);
		return NULL;
	}
	return x;
}

/*
 * Add up what the frames say about their content; *ret_known is false if one
 * does not say.  Formats before 0.8 are refused: nothing ever wrote them here,
 * and their decoders are not worth trusting.
 */
static int
frames_scan(const uint8_t *p, size_t len, uint64_t *ret_size, bool *ret_known)
{
	unsigned long long content;
	uint64_t size = 0;
	bool known = true;
	size_t n;

	if (len == 0)
		return -EBADMSG;
	while (len > 0) {
		n = ZSTD_findFrameCompressedSize(p, len);
		if (ZSTD_isError(n) || n < sizeof(uint32_t) || n > len)
			return -EBADMSG;
		if (get_le32(p) == ZSTD_MAGICNUMBER) {
			content = ZSTD_getFrameContentSize(p, len);
			if (content == ZSTD_CONTENTSIZE_ERROR)
				return -EBADMSG;
			if (content == ZSTD_CONTENTSIZE_UNKNOWN)
				known = false;
			else if (__builtin_add_overflow(size, content, &size))
				return -EBADMSG;
		} else if ((get_le32(p) & ZST_SKIPPABLE_MASK) !=
		    ZSTD_MAGIC_SKIPPABLE_START) {
			return -EBADMSG;
		}
		p += n;
		len -= n;
	}
	*ret_size = size;
	*ret_known = known;
	return 0;
}

/* Unpack into room bytes: 0, 1 if they do not suffice, or -errno. */
static int
unpack_into(const void *p, size_t len, size_t room, struct buf **ret)
{
	struct zst_ctx *x = ctx_get();
	struct buf *b;
	size_t n;

	if (x == NULL)
		return -ENOMEM;
	if (x->d == NULL)
		x->d = ZSTD_createDCtx();
	if (x->d == NULL)
		return -ENOMEM;
	b = buf_new(room);
	if (b == NULL)
		return -ENOMEM;
	n = ZSTD_decompressDCtx(x->d, b->data, room, p, len);
	if (ZSTD_isError(n)) {
		buf_unref(b);
		switch (ZSTD_getErrorCode(n)) {
		case ZSTD_error_dstSize_tooSmall:
			return 1;
		case ZSTD_error_memory_allocation:
			return -ENOMEM;
		default:
			return -EBADMSG;
		}
	}
	b->len = n;
	*ret = b;
	return 0;
}

int
zst_unpack(const void *p, size_t len, size_t max, struct buf **ret)
{
	uint64_t size;
	size_t room;
	bool known;
	int r;

	r = frames_scan(p, len, &size, &known);
	if (r < 0)
		return r;
	if (size > max)
		return -EBADMSG;
	if (known) {
		r = unpack_into(p, len, size, ret);
		return r > 0 ? -EBADMSG : r;
	}
	/*
	 * Old versions wrote frames that do not tell.  A few attempts with
	 * more and more room cost little beside a window as large as a
	 * hostile frame may ask a streaming decoder for.
	 */
	room = MIN(max, MAX(ZST_FIRST_GUESS, size));
	for (;;) {
		r = unpack_into(p, len, room, ret);
		if (r <= 0)
			return r;
		if (room == max)
			return -EBADMSG;
		room = room > max / 4 ? max : room * 4;
	}
}

int
zst_unpack_exact(const void *p, size_t len, size_t size, struct buf **ret)
{
	struct buf *b;
	uint64_t total;
	bool known;
	int r;

	r = frames_scan(p, len, &total, &known);
	if (r < 0)
		return r;
	if (total > size || (known && total != size))
		return -EBADMSG;
	r = unpack_into(p, len, size, &b);
	if (r != 0)
		return r > 0 ? -EBADMSG : r;
	if (b->len != size) {
		buf_unref(b);
		return -EBADMSG;
	}
	*ret = b;
	return 0;
}

int
zst_pack(const void *p, size_t len, void *out, size_t room, size_t *ret_len)
{
	struct zst_ctx *x = ctx_get();
	size_t n;

	if (x == NULL)
		return -ENOMEM;
	if (x->c == NULL)
		x->c = ZSTD_createCCtx();
	if (x->c == NULL)
		return -ENOMEM;
	n = ZSTD_compressCCtx(x->c, out, room, p, len, ZST_LEVEL);
	if (ZSTD_isError(n))
		return ZSTD_getErrorCode(n) == ZSTD_error_dstSize_tooSmall ?
		    1 : -ENOMEM;
	*ret_len = n;
	return 0;
}
