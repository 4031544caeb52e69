/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/buf.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/block.h"

/* Where the bytes begin: a cache line of their own. */
#define BUF_HEAD 64
_Static_assert(sizeof(struct buf) <= BUF_HEAD, "struct buf outgrew its head");

struct buf *
buf_new(size_t len)
{
	struct buf *b;
	size_t size;

	if (__builtin_add_overflow(len, (size_t)BUF_HEAD, &size))
		return NULL;
	if (size >= BLOCK_MIN) {
		size = block_room(size);
		b = block_new(size);
	} else {
		b = malloc(size);
	}
	if (b == NULL)
		return NULL;
	b->data = (uint8_t *)b + BUF_HEAD;
	b->len = len;
	b->refs = 1;
	b->size = size;
	return b;
}

static bool
is_block(const struct buf *b)
{
	return b->size >= BLOCK_MIN;
}

size_t
buf_room(const struct buf *b)
{
	return b->size - BUF_HEAD;
}

size_t
buf_room_for(size_t len)
{
	size_t size;

	if (__builtin_add_overflow(len, (size_t)BUF_HEAD, &size))
		return len;
	return size < BLOCK_MIN ? len : block_room(size) - BUF_HEAD;
}

struct buf *
buf_copy(const void *p, size_t len)
{
	struct buf *b = buf_new(len);

	if (b != NULL && len > 0)
		memcpy(b->data, p, len);
	return b;
}

struct buf *
buf_trim(struct buf *b)
{
	struct buf *small;

	if (is_block(b)) {
		block_trim(b, b->size, BUF_HEAD + b->len);
		return b;
	}
	small = realloc(b, BUF_HEAD + b->len);
	if (small == NULL)
		return b;
	small->data = (uint8_t *)small + BUF_HEAD;
	small->size = BUF_HEAD + small->len;
	return small;
}

struct buf *
buf_ref(struct buf *b)
{
	__atomic_add_fetch(&b->refs, 1, __ATOMIC_RELAXED);
	return b;
}

void
buf_unref(struct buf *b)
{
	/* Release what this thread did, acquire what the others did, so that
	 * the last one frees bytes that nobody uses any more. */
	if (b == NULL || __atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	if (is_block(b))
		block_free(b, b->size);
	else
		free(b);
}

void
buf_unrefp(struct buf **b)
{
	buf_unref(*b);
}
