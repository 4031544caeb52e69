/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/buf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { BUF_INLINE, BUF_MAPPED };

/* Where the bytes of an inline buffer begin: a cache line of their own. */
#define BUF_HEAD 64
_Static_assert(sizeof(struct buf) <= BUF_HEAD, "struct buf outgrew its head");

struct buf *
buf_new(size_t len)
{
	struct buf *b;
	size_t size;

	if (__builtin_add_overflow(len, (size_t)BUF_HEAD, &size))
		return NULL;
	b = malloc(size);
	if (b == NULL)
		return NULL;
	b->data = (uint8_t *)b + BUF_HEAD;
	b->len = len;
	b->refs = 1;
	b->kind = BUF_INLINE;
	b->size = len;
	return b;
}

struct buf *
buf_copy(const void *p, size_t len)
{
	struct buf *b = buf_new(len);

	if (b != NULL && len > 0)
		memcpy(b->data, p, len);
	return b;
}

int
buf_map(int fd, size_t len, struct buf **ret)
{
	struct buf *b = buf_new(0);
	void *p;

	if (b == NULL)
		return -ENOMEM;
	if (len > 0) {	/* an empty mapping is refused by the kernel */
		p = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
		if (p == MAP_FAILED) {
			int r = -errno;

			free(b);
			return r;
		}
		b->data = p;
		b->kind = BUF_MAPPED;
	}
	b->len = len;
	b->size = len;
	*ret = b;
	return 0;
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
	if (b->kind == BUF_MAPPED)
		munmap(b->data, b->size);
	free(b);
}

void
buf_unrefp(struct buf **b)
{
	buf_unref(*b);
}
