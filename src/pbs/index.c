/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/index.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/num.h"
#include "pbs/blob.h"
#include "pbs/index_format.h"

struct index {
	unsigned refs;		/* atomic */
	enum index_kind kind;
	struct buf *file;	/* shared; the table stays where it is */
	const uint8_t *table;	/* borrowed from file */
	size_t count;
	uint64_t size;
	struct digest csum;	/* computed */
	uint64_t chunk_size;	/* 0 if dynamic */
	unsigned chunk_shift;
};

static uint64_t
entry_end(const struct index *x, size_t i)
{
	return get_le64(x->table + i * INDEX_DYNAMIC_ENTRY);
}

static const char *
check_fixed(struct index *x)
{
	const uint8_t *h = x->file->data;
	uint64_t count, table;

	x->size = get_le64(h + INDEX_OFF_SIZE);
	x->chunk_size = get_le64(h + INDEX_OFF_CHUNK_SIZE);
	if (x->chunk_size == 0 || (x->chunk_size & (x->chunk_size - 1)) != 0)
		return "chunk size is not a power of two";
	if (x->size > INT64_MAX)
		return "size is too large";
	if (MIN(x->size, x->chunk_size) > CHUNK_CONTENT_MAX)
		return "chunks are too large";
	x->chunk_shift = (unsigned)__builtin_ctzll(x->chunk_size);
	count = (x->size >> x->chunk_shift) +
	    ((x->size & (x->chunk_size - 1)) != 0);
	if (count == 0)
		return "no entries";
	if (__builtin_mul_overflow(count, (uint64_t)INDEX_FIXED_ENTRY,
	        &table) || table != x->file->len - INDEX_HEADER_LEN)
		return "length of the file does not fit its header";
	x->count = count;
	return NULL;
}

static const char *
check_dynamic(struct index *x)
{
	size_t table = x->file->len - INDEX_HEADER_LEN;
	uint64_t start = 0, end;

	if (table % INDEX_DYNAMIC_ENTRY != 0)
		return "length of the file is not that of whole entries";
	x->count = table / INDEX_DYNAMIC_ENTRY;
	if (x->count == 0)
		return "no entries";
	for (size_t i = 0; i < x->count; i++) {
		end = entry_end(x, i);
		if (end <= start)
			return "ends of chunks do not increase";
		if (end - start > CHUNK_CONTENT_MAX)
			return "a chunk is too large";
		start = end;
	}
	if (start > INT64_MAX)
		return "size is too large";
	x->size = start;
	return NULL;
}

static const char *
check(struct index *x)
{
	const struct buf *b = x->file;
	const char *why;

	if (b->len < INDEX_HEADER_LEN)
		return "shorter than its header";
	x->table = b->data + INDEX_HEADER_LEN;
	if (memcmp(b->data, index_magic_fixed, INDEX_MAGIC_LEN) == 0) {
		x->kind = INDEX_FIXED;
		why = check_fixed(x);
	} else if (memcmp(b->data, index_magic_dynamic, INDEX_MAGIC_LEN) == 0) {
		x->kind = INDEX_DYNAMIC;
		why = check_dynamic(x);
	} else {
		why = "not an index";
	}
	if (why != NULL)
		return why;
	x->csum = digest_of(x->table, b->len - INDEX_HEADER_LEN);
	return NULL;
}

int
index_open(struct buf *b, struct index **ret, const char **ret_why)
{
	struct index *x;

	x = calloc(1, sizeof(*x));
	if (x == NULL) {
		*ret_why = "out of memory";
		return -ENOMEM;
	}
	x->refs = 1;
	x->file = buf_ref(b);
	*ret_why = check(x);
	if (*ret_why != NULL) {
		index_unref(x);
		return -EBADMSG;
	}
	*ret = x;
	return 0;
}

struct index *
index_ref(struct index *x)
{
	__atomic_add_fetch(&x->refs, 1, __ATOMIC_RELAXED);
	return x;
}

void
index_unref(struct index *x)
{
	if (x == NULL || __atomic_sub_fetch(&x->refs, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	buf_unref(x->file);
	free(x);
}

enum index_kind
index_kind(const struct index *x)
{
	return x->kind;
}

uint64_t
index_size(const struct index *x)
{
	return x->size;
}

size_t
index_count(const struct index *x)
{
	return x->count;
}

bool
index_is_intact(const struct index *x)
{
	return memcmp(x->csum.b, x->file->data + INDEX_OFF_CSUM,
	    DIGEST_LEN) == 0;
}

struct digest
index_csum(const struct index *x)
{
	return x->csum;
}

int64_t
index_ctime(const struct index *x)
{
	return (int64_t)get_le64(x->file->data + INDEX_OFF_CTIME);
}

const uint8_t *
index_uuid(const struct index *x)
{
	return x->file->data + INDEX_OFF_UUID;
}

uint64_t
index_chunk_size(const struct index *x)
{
	return x->chunk_size;
}

struct index_chunk
index_chunk(const struct index *x, size_t i)
{
	struct index_chunk c;
	const uint8_t *digest;

	assert(i < x->count);
	if (x->kind == INDEX_FIXED) {
		digest = x->table + i * INDEX_FIXED_ENTRY;
		c.start = (uint64_t)i << x->chunk_shift;
		c.end = MIN(x->size - c.start, x->chunk_size) + c.start;
	} else {
		digest = x->table + i * INDEX_DYNAMIC_ENTRY + sizeof(uint64_t);
		c.start = i == 0 ? 0 : entry_end(x, i - 1);
		c.end = entry_end(x, i);
	}
	memcpy(c.digest.b, digest, DIGEST_LEN);
	return c;
}

size_t
index_find(const struct index *x, uint64_t off)
{
	size_t lo = 0, hi = x->count - 1, mid;

	assert(off < x->size);
	if (x->kind == INDEX_FIXED)
		return off >> x->chunk_shift;
	/* The answer is in [lo, hi]. */
	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (off < entry_end(x, mid))
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}
