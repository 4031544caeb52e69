/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/num.h"
#include "pbs/blob.h"
#include "pbs/index_format.h"

struct index_writer {
	enum index_kind kind;
	uint64_t chunk_size;	/* fixed only */
	uint64_t size;		/* fixed only: what the chunks must add up to */
	uint64_t end;		/* of the last chunk added */
	uint8_t *table;		/* owned */
	size_t len, room;	/* bytes of the table */
};

static size_t
entry_len(enum index_kind kind)
{
	return kind == INDEX_FIXED ? INDEX_FIXED_ENTRY : INDEX_DYNAMIC_ENTRY;
}

static size_t
entries_max(enum index_kind kind)
{
	return (INDEX_FILE_MAX - INDEX_HEADER_LEN) / entry_len(kind);
}

uint64_t
index_size_max(enum index_kind kind, uint64_t chunk_size)
{
	uint64_t size;

	if (__builtin_mul_overflow((uint64_t)entries_max(kind), chunk_size,
	        &size))
		return INT64_MAX;
	return MIN(size, (uint64_t)INT64_MAX);
}

static int
writer_new(enum index_kind kind, struct index_writer **ret)
{
	struct index_writer *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	w->kind = kind;
	*ret = w;
	return 0;
}

int
index_writer_fixed(uint64_t size, uint64_t chunk_size,
    struct index_writer **ret)
{
	int r;

	if (size == 0 || size > INT64_MAX || chunk_size == 0 ||
	    (chunk_size & (chunk_size - 1)) != 0 ||
	    chunk_size > CHUNK_CONTENT_MAX)
		return -EINVAL;
	if (size > index_size_max(INDEX_FIXED, chunk_size))
		return -EFBIG;
	r = writer_new(INDEX_FIXED, ret);
	if (r < 0)
		return r;
	(*ret)->size = size;
	(*ret)->chunk_size = chunk_size;
	return 0;
}

int
index_writer_dynamic(struct index_writer **ret)
{
	return writer_new(INDEX_DYNAMIC, ret);
}

void
index_writer_free(struct index_writer *w)
{
	if (w == NULL)
		return;
	free(w->table);
	free(w);
}

static int
make_room(struct index_writer *w, size_t n)
{
	size_t room;
	uint8_t *p;

	if (w->room - w->len >= n)
		return 0;
	if (__builtin_mul_overflow(MAX(w->room, (size_t)2048), (size_t)2,
	        &room))
		return -ENOMEM;
	p = realloc(w->table, room);
	if (p == NULL)
		return -ENOMEM;
	w->table = p;
	w->room = room;
	return 0;
}

int
index_writer_add(struct index_writer *w, uint64_t size,
    const struct digest *digest)
{
	uint64_t end;
	int r;

	if (size == 0 || size > CHUNK_CONTENT_MAX ||
	    __builtin_add_overflow(w->end, size, &end) || end > INT64_MAX)
		return -EINVAL;
	/* Only the last chunk of an image may be short. */
	if (w->kind == INDEX_FIXED && (w->end >= w->size ||
	        size != MIN(w->chunk_size, w->size - w->end)))
		return -EINVAL;
	if (w->len / entry_len(w->kind) >= entries_max(w->kind))
		return -EFBIG;
	r = make_room(w, INDEX_DYNAMIC_ENTRY);
	if (r < 0)
		return r;
	if (w->kind == INDEX_DYNAMIC) {
		put_le64(w->table + w->len, end);
		w->len += sizeof(uint64_t);
	}
	memcpy(w->table + w->len, digest->b, DIGEST_LEN);
	w->len += DIGEST_LEN;
	w->end = end;
	return 0;
}

int
index_writer_finish(struct index_writer *w, const uint8_t uuid[16],
    int64_t ctime, struct buf **ret)
{
	struct digest csum;
	struct buf *b;
	size_t len;

	if (w->len == 0 || (w->kind == INDEX_FIXED && w->end != w->size))
		return -EINVAL;
	if (__builtin_add_overflow(w->len, (size_t)INDEX_HEADER_LEN, &len))
		return -ENOMEM;
	b = buf_new(len);
	if (b == NULL)
		return -ENOMEM;
	csum = digest_of(w->table, w->len);
	memset(b->data, 0, INDEX_HEADER_LEN);
	memcpy(b->data, w->kind == INDEX_FIXED ? index_magic_fixed :
	    index_magic_dynamic, INDEX_MAGIC_LEN);
	memcpy(b->data + INDEX_OFF_UUID, uuid, INDEX_UUID_LEN);
	put_le64(b->data + INDEX_OFF_CTIME, (uint64_t)ctime);
	memcpy(b->data + INDEX_OFF_CSUM, csum.b, DIGEST_LEN);
	if (w->kind == INDEX_FIXED) {
		put_le64(b->data + INDEX_OFF_SIZE, w->size);
		put_le64(b->data + INDEX_OFF_CHUNK_SIZE, w->chunk_size);
	}
	memcpy(b->data + INDEX_HEADER_LEN, w->table, w->len);
	*ret = b;
	return 0;
}
