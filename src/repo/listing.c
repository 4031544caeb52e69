/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/listing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/num.h"
#include "pbs/names.h"

/*
 * Numbers are little-endian.  Header: magic[8], listed_at i64, count u64.
 * Then per object: size u64, mtime i64, key length u16, etag length u8, key,
 * etag; at the end XXH3 (64 bits) of all that is before it.
 */
#define MAGIC "p3list\0\1"
#define MAGIC_LEN 8
#define HEADER_LEN (MAGIC_LEN + 8 + 8)
#define ENTRY_LEN (8 + 8 + 2 + 1)
#define SUM_LEN 8
#define FILE_MAX ((size_t)1 << 30)

struct listing {
	uint8_t *p;		/* owned; begins with room for the header */
	size_t len, size;
	uint64_t count;
};

int
listing_new(struct listing **ret)
{
	struct listing *l;

	l = calloc(1, sizeof(*l));
	if (l == NULL)
		return -ENOMEM;
	l->size = 4096;
	l->len = HEADER_LEN;
	l->p = malloc(l->size);
	if (l->p == NULL) {
		free(l);
		return -ENOMEM;
	}
	*ret = l;
	return 0;
}

void
listing_free(struct listing *l)
{
	if (l == NULL)
		return;
	free(l->p);
	free(l);
}

int
listing_add(struct listing *l, const char *key, const struct store_object *o)
{
	size_t key_len = strlen(key), etag_len = strlen(o->etag);
	size_t need = ENTRY_LEN + key_len + etag_len;
	uint8_t *p;

	if (key_len > KEY_MAX || etag_len >= sizeof(o->etag))
		return -EINVAL;
	if (l->size - l->len < need) {
		if (l->size > SIZE_MAX / 2 - need)
			return -ENOMEM;
		p = realloc(l->p, l->size * 2 + need);
		if (p == NULL)
			return -ENOMEM;
		l->p = p;
		l->size = l->size * 2 + need;
	}
	p = l->p + l->len;
	put_le64(p, o->size);
	put_le64(p + 8, (uint64_t)o->mtime);
	p[16] = key_len & 0xff;
	p[17] = (uint8_t)(key_len >> 8);
	p[18] = (uint8_t)etag_len;
	memcpy(p + ENTRY_LEN, key, key_len);
	memcpy(p + ENTRY_LEN + key_len, o->etag, etag_len);
	l->len += need;
	l->count++;
	return 0;
}

int
listing_save(struct listing *l, const char *path, int64_t listed_at)
{
	uint8_t sum[SUM_LEN];
	struct iovec iov[2];

	if (l->len > FILE_MAX - SUM_LEN)
		return -EFBIG;
	memcpy(l->p, MAGIC, MAGIC_LEN);
	put_le64(l->p + MAGIC_LEN, (uint64_t)listed_at);
	put_le64(l->p + MAGIC_LEN + 8, l->count);
	put_le64(sum, XXH3_64bits(l->p, l->len));
	iov[0].iov_base = l->p;
	iov[0].iov_len = l->len;
	iov[1].iov_base = sum;
	iov[1].iov_len = sizeof(sum);
	return io_replace(AT_FDCWD, path, iov, 2, 0600, IO_SYNC | IO_MKDIRS);
}

/* One object at p, of which left bytes remain; its length comes back. */
static int
parse_entry(const uint8_t *p, size_t left, char key[KEY_MAX + 1],
    struct store_object *o, size_t *ret_len)
{
	size_t key_len, etag_len, len;

	if (left < ENTRY_LEN)
		return -EBADMSG;
	key_len = p[16] | (size_t)p[17] << 8;
	etag_len = p[18];
	len = ENTRY_LEN + key_len + etag_len;
	if (key_len > KEY_MAX || etag_len >= sizeof(o->etag) || len > left)
		return -EBADMSG;
	memset(o, 0, sizeof(*o));
	o->size = get_le64(p);
	o->mtime = (int64_t)get_le64(p + 8);
	memcpy(key, p + ENTRY_LEN, key_len);
	key[key_len] = '\0';
	memcpy(o->etag, p + ENTRY_LEN + key_len, etag_len);
	if (strlen(key) != key_len || strlen(o->etag) != etag_len ||
	    !store_key_is_valid(key))
		return -EBADMSG;
	*ret_len = len;
	return 0;
}

/* The objects at p; fn may be NULL: only checks. */
static int
walk(const uint8_t *p, size_t left, uint64_t count, store_list_fn *fn,
    void *arg)
{
	char key[KEY_MAX + 1];
	struct store_object o;
	size_t len;
	uint64_t i;
	int r;

	for (i = 0; i < count; i++) {
		r = parse_entry(p, left, key, &o, &len);
		if (r < 0)
			return r;
		p += len;
		left -= len;
		r = fn == NULL ? 0 : fn(arg, key, &o);
		if (r != 0)
			return r;
	}
	return left == 0 ? 0 : -EBADMSG;
}

int
listing_parse(const void *p, size_t len, store_list_fn *fn, void *arg,
    int64_t *ret_listed_at)
{
	const uint8_t *b = p;
	uint64_t count;
	size_t left;
	int r;

	if (len < HEADER_LEN + SUM_LEN || memcmp(b, MAGIC, MAGIC_LEN) != 0 ||
	    get_le64(b + len - SUM_LEN) != XXH3_64bits(b, len - SUM_LEN))
		return -EBADMSG;
	left = len - HEADER_LEN - SUM_LEN;
	count = get_le64(b + MAGIC_LEN + 8);
	r = walk(b + HEADER_LEN, left, count, NULL, NULL);
	if (r < 0)
		return r;
	*ret_listed_at = (int64_t)get_le64(b + MAGIC_LEN);
	return walk(b + HEADER_LEN, left, count, fn, arg);
}

int
listing_load(const char *path, store_list_fn *fn, void *arg,
    int64_t *ret_listed_at)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	int r;

	r = io_read_file(AT_FDCWD, path, FILE_MAX, &b);
	if (r < 0)
		return r;
	return listing_parse(b->data, b->len, fn, arg, ret_listed_at);
}
