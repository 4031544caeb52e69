/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/catalog.h"

#include <errno.h>

#include "base/num.h"
#include "pbs/catalog_format.h"

/* Bytes that are still to be read. */
struct cursor {
	const uint8_t *p, *end;
};

static int
get_varint(struct cursor *c, uint64_t *ret)
{
	uint64_t v = 0;
	unsigned shift;
	uint8_t b;

	for (shift = 0; shift < 64; shift += 7) {
		if (c->p == c->end)
			return -EBADMSG;
		b = *c->p++;
		if (shift == 63 && (b & 0x7f) > 1)
			return -EBADMSG;
		v |= (uint64_t)(b & 0x7f) << shift;
		if ((b & 0x80) == 0) {
			*ret = v;
			return 0;
		}
	}
	return -EBADMSG;
}

/* A magnitude; if negative, all of its bytes say "more" and a 0 ends it. */
static int
get_signed(struct cursor *c, int64_t *ret)
{
	const uint64_t least = (uint64_t)1 << 63;
	uint64_t v = 0;
	unsigned shift;
	uint8_t b;

	for (shift = 0; shift <= 70; shift += 7) {
		if (c->p == c->end)
			return -EBADMSG;
		b = *c->p++;
		if (b == 0) {
			if (v > least)
				return -EBADMSG;
			*ret = (int64_t)(0 - v);
			return 0;
		}
		if (shift > 63 || (shift == 63 && (b & 0x7f) > 1))
			return -EBADMSG;
		v |= (uint64_t)(b & 0x7f) << shift;
		if ((b & 0x80) == 0) {
			if (v >= least)
				return -EBADMSG;
			*ret = (int64_t)v;
			return 0;
		}
	}
	return -EBADMSG;
}

static int
get_entry(struct cursor *c, uint64_t pos, struct catalog_entry *e)
{
	uint64_t n;
	int r;

	memset(e, 0, sizeof(*e));
	if (c->p == c->end)
		return -EBADMSG;
	e->type = (enum catalog_type)*c->p++;
	r = get_varint(c, &n);
	if (r < 0)
		return r;
	if (n > (size_t)(c->end - c->p))
		return -EBADMSG;
	e->name = (const char *)c->p;
	e->name_len = n;
	c->p += n;
	if (!catalog_name_is_valid(e->name, e->name_len))
		return -EBADMSG;
	switch (e->type) {
	case CATALOG_DIR:
		r = get_varint(c, &n);
		if (r < 0)
			return r;
		if (n == 0 || n > pos - CATALOG_MAGIC_LEN)
			return -EBADMSG;
		e->dir = pos - n;
		return 0;
	case CATALOG_FILE:
		r = get_varint(c, &e->size);
		return r < 0 ? r : get_signed(c, &e->mtime);
	case CATALOG_SYMLINK:
	case CATALOG_HARDLINK:
	case CATALOG_BLOCK:
	case CATALOG_CHAR:
	case CATALOG_FIFO:
	case CATALOG_SOCKET:
		return 0;
	}
	return -EBADMSG;
}

int
catalog_root(const void *p, size_t len, uint64_t *ret)
{
	const uint8_t *b = p;
	uint64_t pos;

	if (len < CATALOG_MAGIC_LEN + CATALOG_TAIL_LEN ||
	    memcmp(b, catalog_magic, CATALOG_MAGIC_LEN) != 0)
		return -EBADMSG;
	pos = get_le64(b + len - CATALOG_TAIL_LEN);
	if (pos < CATALOG_MAGIC_LEN || pos >= len - CATALOG_TAIL_LEN)
		return -EBADMSG;
	*ret = pos;
	return 0;
}

int
catalog_table(const void *p, size_t len, uint64_t pos, catalog_fn *fn,
    void *arg)
{
	struct catalog_entry e;
	struct cursor c;
	uint64_t n;
	int r;

	if (len < CATALOG_MAGIC_LEN + CATALOG_TAIL_LEN ||
	    pos < CATALOG_MAGIC_LEN || pos >= len - CATALOG_TAIL_LEN)
		return -EBADMSG;
	c.p = (const uint8_t *)p + pos;
	c.end = (const uint8_t *)p + len - CATALOG_TAIL_LEN;
	r = get_varint(&c, &n);
	if (r < 0)
		return r;
	if (n == 0 || n > (size_t)(c.end - c.p))
		return -EBADMSG;
	c.end = c.p + n;
	r = get_varint(&c, &n);
	if (r < 0)
		return r;
	for (; n > 0; n--) {
		r = get_entry(&c, pos, &e);
		if (r < 0)
			return r;
		r = fn(arg, &e);
		if (r != 0)
			return r;
	}
	return c.p == c.end ? 0 : -EBADMSG;
}
