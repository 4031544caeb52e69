/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/catalog.h"

#include <errno.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/num.h"
#include "pbs/catalog_format.h"

#define VARINT_MAX 11

/* Growing bytes. */
struct bytes {
	uint8_t *p;	/* owned */
	size_t len, room;
};

/*
 * A directory that is open: its entries as they will be stored, but for the
 * distances to its subdirectories, which depend on where its own table will
 * be; they go in after the bytes up to "at".
 */
struct dir {
	struct dir *parent;	/* NULL: the root table */
	char *name;		/* owned; NULL: the root table */
	size_t name_len;
	struct bytes entries;
	uint64_t count;
	struct dir_ref {
		size_t at;
		uint64_t child;	/* position of its table */
	} *refs;		/* owned */
	size_t n_refs, room_refs;
};

struct catalog_writer {
	struct bytes out;
	struct dir *dir;	/* the innermost one that is open */
};

static int
bytes_add(struct bytes *b, const void *p, size_t len)
{
	size_t need, room;
	uint8_t *q;

	if (__builtin_add_overflow(b->len, len, &need))
		return -ENOMEM;
	if (need > b->room) {
		if (__builtin_add_overflow(need, MAX(need / 2, (size_t)256),
		        &room))
			return -ENOMEM;
		q = realloc(b->p, room);
		if (q == NULL)
			return -ENOMEM;
		b->p = q;
		b->room = room;
	}
	if (len > 0)
		memcpy(b->p + b->len, p, len);
	b->len = need;
	return 0;
}

static size_t
varint(uint8_t out[VARINT_MAX], uint64_t v)
{
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		out[n++] = (uint8_t)(v | 0x80);
	out[n++] = (uint8_t)v;
	return n;
}

static size_t
signed_varint(uint8_t out[VARINT_MAX], int64_t v)
{
	size_t n;

	if (v >= 0)
		return varint(out, (uint64_t)v);
	n = varint(out, 0 - (uint64_t)v);
	out[n - 1] |= 0x80;
	out[n++] = 0;
	return n;
}

static int
add_varint(struct bytes *b, uint64_t v)
{
	uint8_t tmp[VARINT_MAX];

	return bytes_add(b, tmp, varint(tmp, v));
}

static void
dir_free(struct dir *d)
{
	if (d == NULL)
		return;
	free(d->name);
	free(d->entries.p);
	free(d->refs);
	free(d);
}

int
catalog_writer_new(struct catalog_writer **ret)
{
	struct catalog_writer *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	w->dir = calloc(1, sizeof(*w->dir));
	if (w->dir == NULL ||
	    bytes_add(&w->out, catalog_magic, CATALOG_MAGIC_LEN) < 0) {
		catalog_writer_free(w);
		return -ENOMEM;
	}
	*ret = w;
	return 0;
}

void
catalog_writer_free(struct catalog_writer *w)
{
	struct dir *d;

	if (w == NULL)
		return;
	while ((d = w->dir) != NULL) {
		w->dir = d->parent;
		dir_free(d);
	}
	free(w->out.p);
	free(w);
}

int
catalog_writer_open(struct catalog_writer *w, const char *name, size_t len)
{
	struct dir *d;

	if (!catalog_name_is_valid(name, len))
		return -EINVAL;
	d = calloc(1, sizeof(*d));
	if (d == NULL)
		return -ENOMEM;
	d->name = malloc(len);
	if (d->name == NULL) {
		dir_free(d);
		return -ENOMEM;
	}
	memcpy(d->name, name, len);
	d->name_len = len;
	d->parent = w->dir;
	w->dir = d;
	return 0;
}

static int
add_name(struct dir *d, enum catalog_type type, const char *name, size_t len)
{
	uint8_t byte = (uint8_t)type;
	int r;

	r = bytes_add(&d->entries, &byte, 1);
	if (r == 0)
		r = add_varint(&d->entries, len);
	if (r == 0)
		r = bytes_add(&d->entries, name, len);
	return r;
}

/* Length of the table's content once the distances from pos are in it. */
static size_t
content_len(const struct dir *d, uint64_t pos)
{
	uint8_t tmp[VARINT_MAX];
	size_t n;

	n = varint(tmp, d->count) + d->entries.len;
	for (size_t i = 0; i < d->n_refs; i++)
		n += varint(tmp, pos - d->refs[i].child);
	return n;
}

/* Append the table of the innermost directory. */
static int
write_table(struct catalog_writer *w)
{
	const struct dir *d = w->dir;
	uint64_t pos = w->out.len;
	size_t done = 0;
	int r;

	r = add_varint(&w->out, content_len(d, pos));
	if (r == 0)
		r = add_varint(&w->out, d->count);
	for (size_t i = 0; r == 0 && i < d->n_refs; i++) {
		r = bytes_add(&w->out, d->entries.p + done,
		    d->refs[i].at - done);
		done = d->refs[i].at;
		if (r == 0)
			r = add_varint(&w->out, pos - d->refs[i].child);
	}
	if (r == 0 && d->entries.len > done)
		r = bytes_add(&w->out, d->entries.p + done,
		    d->entries.len - done);
	return r;
}

static int
add_ref(struct dir *d, uint64_t child)
{
	struct dir_ref *p;
	size_t room;

	if (d->n_refs == d->room_refs) {
		room = MAX(d->room_refs * 2, (size_t)16);
		p = reallocarray(d->refs, room, sizeof(*p));
		if (p == NULL)
			return -ENOMEM;
		d->refs = p;
		d->room_refs = room;
	}
	d->refs[d->n_refs].at = d->entries.len;
	d->refs[d->n_refs++].child = child;
	return 0;
}

int
catalog_writer_close(struct catalog_writer *w)
{
	struct dir *d = w->dir, *parent = d->parent;
	uint64_t pos = w->out.len;
	int r;

	if (parent == NULL)
		return -EINVAL;
	r = write_table(w);
	if (r == 0)
		r = add_name(parent, CATALOG_DIR, d->name, d->name_len);
	if (r == 0)
		r = add_ref(parent, pos);
	if (r < 0)
		return r;
	parent->count++;
	w->dir = parent;
	dir_free(d);
	return 0;
}

int
catalog_writer_add(struct catalog_writer *w, const struct catalog_entry *e)
{
	struct dir *d = w->dir;
	uint8_t tmp[VARINT_MAX];
	int r;

	/* The root table holds archives, and those are directories. */
	if (d->parent == NULL || e->type == CATALOG_DIR ||
	    !catalog_name_is_valid(e->name, e->name_len))
		return -EINVAL;
	r = add_name(d, e->type, e->name, e->name_len);
	if (r == 0 && e->type == CATALOG_FILE) {
		r = add_varint(&d->entries, e->size);
		if (r == 0)
			r = bytes_add(&d->entries, tmp,
			    signed_varint(tmp, e->mtime));
	}
	if (r == 0)
		d->count++;
	return r;
}

int
catalog_writer_finish(struct catalog_writer *w, struct buf **ret)
{
	uint8_t tail[CATALOG_TAIL_LEN];
	int r;

	if (w->dir->parent != NULL)
		return -EINVAL;
	put_le64(tail, w->out.len);
	r = write_table(w);
	if (r == 0)
		r = bytes_add(&w->out, tail, sizeof(tail));
	if (r < 0)
		return r;
	*ret = buf_copy(w->out.p, w->out.len);
	return *ret == NULL ? -ENOMEM : 0;
}
