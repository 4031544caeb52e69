/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mkpxar.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "pbs/pxar.h"
#include "pbs/pxar_format.h"
#include "pbs/siphash.h"

static void *
more(void *p, size_t n, size_t size)
{
	p = reallocarray(p, n, size);
	if (p == NULL)
		abort();
	return p;
}

void
mk_put(struct mk_bytes *b, const void *p, size_t len)
{
	if (b->len + len > b->size) {
		b->size = 2 * (b->len + len);
		b->p = more(b->p, b->size, 1);
	}
	if (len > 0)
		memcpy(b->p + b->len, p, len);
	b->len += len;
}

void
mk_put64(struct mk_bytes *b, uint64_t v)
{
	uint8_t le[8];

	put_le64(le, v);
	mk_put(b, le, sizeof(le));
}

void
mk_head(struct mk_bytes *b, uint64_t type, uint64_t content)
{
	mk_put64(b, type);
	mk_put64(b, PXAR_HEADER_SIZE + content);
}

void
mk_record(struct mk_bytes *b, uint64_t type, const void *p, size_t len)
{
	mk_head(b, type, len);
	mk_put(b, p, len);
}

void
mk_init(struct mk *m, int version)
{
	memset(m, 0, sizeof(*m));
	m->version = version;
	if (version == 2) {
		mk_head(&m->main, PXAR_FORMAT_VERSION, 8);
		mk_put64(&m->main, 2);
		mk_head(&m->payload, PXAR_PAYLOAD_START, 0);
	}
}

void
mk_fini(struct mk *m)
{
	while (m->depth > 0)
		free(m->level[--m->depth].items);
	free(m->main.p);
	free(m->payload.p);
	free(m->pending.p);
	memset(m, 0, sizeof(*m));
}

void
mk_entry(struct mk *m, const struct mk_attr *a)
{
	uint8_t ids[8];

	mk_head(&m->main, a->old ? PXAR_ENTRY_V1 : PXAR_ENTRY,
	    a->old ? PXAR_ENTRY_V1_SIZE : PXAR_ENTRY_SIZE);
	mk_put64(&m->main, a->mode);
	mk_put64(&m->main, a->flags);
	put_le32(ids, a->uid);
	put_le32(ids + 4, a->gid);
	mk_put(&m->main, ids, sizeof(ids));
	if (a->old) {
		mk_put64(&m->main, (uint64_t)a->sec * 1000000000 + a->nsec);
	} else {
		mk_put64(&m->main, (uint64_t)a->sec);
		mk_put64(&m->main, a->nsec);
	}
	mk_put(&m->main, m->pending.p, m->pending.len);
	m->pending.len = 0;
}

uint64_t
mk_name(struct mk *m, const char *name, size_t len)
{
	uint64_t begin = m->main.len;

	mk_head(&m->main, PXAR_FILENAME, len + 1);
	mk_put(&m->main, name, len);
	mk_put(&m->main, "", 1);
	return begin;
}

static uint64_t
hash(const char *name, size_t len)
{
	return siphash_24(PXAR_HASH_K0, PXAR_HASH_K1, name, len);
}

static void
add_item(struct mk_level *l, uint64_t h, uint64_t begin, uint64_t size)
{
	if (l->n == l->size) {
		l->size = l->size == 0 ? 16 : 2 * l->size;
		l->items = more(l->items, l->size, sizeof(*l->items));
	}
	l->items[l->n++] = (struct mk_item){h, begin, size};
}

void
mk_add(struct mk *m, const char *name, size_t len, uint64_t begin,
    uint64_t extra)
{
	add_item(&m->level[m->depth - 1], hash(name, len), begin,
	    m->main.len - begin + extra);
}

void
mk_xattr(struct mk *m, const char *name, const void *value, size_t len)
{
	size_t n = strlen(name) + 1;

	mk_head(&m->pending, PXAR_XATTR, n + len);
	mk_put(&m->pending, name, n);
	mk_put(&m->pending, value, len);
}

void
mk_numbers(struct mk *m, uint64_t type, const uint64_t *v, size_t n)
{
	size_t i;

	mk_head(&m->pending, type, 8 * n);
	for (i = 0; i < n; i++)
		mk_put64(&m->pending, v[i]);
}

void
mk_prelude(struct mk *m, const char *text)
{
	mk_record(&m->main, PXAR_PRELUDE, text, strlen(text));
}

static void
push(struct mk *m, uint64_t begin, uint64_t entry, uint64_t h)
{
	if (m->depth == MK_DEPTH)
		abort();
	m->level[m->depth++] = (struct mk_level){
	    .begin = begin,
	    .entry = entry,
	    .hash = h,
	};
}

void
mk_root(struct mk *m, const struct mk_attr *a)
{
	mk_entry(m, a);
	push(m, 0, 0, 0);
}

uint64_t
mk_file(struct mk *m, const char *name, const struct mk_attr *a,
    const void *data, size_t len)
{
	uint64_t begin = mk_name(m, name, strlen(name));

	mk_entry(m, a);
	if (m->version == 1) {
		mk_record(&m->main, PXAR_PAYLOAD, data, len);
		mk_add(m, name, strlen(name), begin, 0);
	} else {
		mk_head(&m->main, PXAR_PAYLOAD_REF, 16);
		mk_put64(&m->main, m->payload.len);
		mk_put64(&m->main, len);
		mk_record(&m->payload, PXAR_PAYLOAD, data, len);
		/* As the client does, though the content is elsewhere. */
		mk_add(m, name, strlen(name), begin, len);
	}
	return begin;
}

uint64_t
mk_symlink(struct mk *m, const char *name, const struct mk_attr *a,
    const char *target)
{
	uint64_t begin = mk_name(m, name, strlen(name));

	mk_entry(m, a);
	mk_record(&m->main, PXAR_SYMLINK, target, strlen(target) + 1);
	mk_add(m, name, strlen(name), begin, 0);
	return begin;
}

uint64_t
mk_device(struct mk *m, const char *name, const struct mk_attr *a,
    uint64_t major, uint64_t minor)
{
	uint64_t begin = mk_name(m, name, strlen(name));

	mk_entry(m, a);
	mk_head(&m->main, PXAR_DEVICE, 16);
	mk_put64(&m->main, major);
	mk_put64(&m->main, minor);
	mk_add(m, name, strlen(name), begin, 0);
	return begin;
}

uint64_t
mk_special(struct mk *m, const char *name, const struct mk_attr *a)
{
	uint64_t begin = mk_name(m, name, strlen(name));

	mk_entry(m, a);
	mk_add(m, name, strlen(name), begin, 0);
	return begin;
}

uint64_t
mk_link(struct mk *m, const char *name, uint64_t target, const char *path)
{
	uint64_t begin = mk_name(m, name, strlen(name));

	mk_head(&m->main, PXAR_HARDLINK, 8 + strlen(path) + 1);
	mk_put64(&m->main, begin - target);
	mk_put(&m->main, path, strlen(path) + 1);
	mk_add(m, name, strlen(name), begin, 0);
	return begin;
}

uint64_t
mk_dir(struct mk *m, const char *name, const struct mk_attr *a)
{
	uint64_t begin = mk_name(m, name, strlen(name));
	uint64_t entry = m->main.len;

	mk_entry(m, a);
	push(m, begin, entry, hash(name, strlen(name)));
	return begin;
}

static int
by_hash(const void *a, const void *b)
{
	const struct mk_item *x = a, *y = b;

	return (x->hash > y->hash) - (x->hash < y->hash);
}

/* The n sorted items at in as a binary search tree: its root to out[i], with
 * e the exponent of the greatest power of two that is not above n. */
static void
make_tree(const struct mk_item *in, size_t n, unsigned e, struct mk_item *out,
    size_t i)
{
	size_t p = (size_t)1 << e, t = p + p / 2 - 1;
	size_t m = n > t ? p - 1 : p - 1 - (t - n);

	out[i] = in[m];
	if (m > 0)
		make_tree(in, m, e - 1, out, 2 * i + 1);
	if (n - m - 1 > 0)
		make_tree(in + m + 1, n - m - 1, e - 1, out, 2 * i + 2);
}

uint64_t
mk_up(struct mk *m)
{
	struct mk_level *l = &m->level[--m->depth];
	uint64_t pos = m->main.len, content = (l->n + 1) * PXAR_ITEM_SIZE;
	struct mk_item *tree = NULL;
	size_t i;

	mk_head(&m->main, PXAR_GOODBYE, content);
	if (l->n > 0) {
		qsort(l->items, l->n, sizeof(*l->items), by_hash);
		tree = more(NULL, l->n, sizeof(*tree));
		make_tree(l->items, l->n,
		    63 - (unsigned)__builtin_clzll(l->n), tree, 0);
	}
	for (i = 0; i < l->n; i++) {
		mk_put64(&m->main, tree[i].hash);
		mk_put64(&m->main, pos - tree[i].offset);
		mk_put64(&m->main, tree[i].size);
	}
	free(tree);
	mk_put64(&m->main, PXAR_TAIL_HASH);
	mk_put64(&m->main, pos - l->entry);
	mk_put64(&m->main, PXAR_HEADER_SIZE + content);
	if (m->depth > 0)
		add_item(&m->level[m->depth - 1], l->hash, l->begin,
		    m->main.len - l->begin);
	free(l->items);
	l->items = NULL;
	m->last_goodbye = pos;
	return pos;
}

void
mk_finish(struct mk *m)
{
	while (m->depth > 0)
		mk_up(m);
	if (m->version == 2)
		mk_head(&m->payload, PXAR_PAYLOAD_TAIL, 0);
}

static int
read_bytes(struct mk *m, const struct mk_bytes *b, void *p, size_t len,
    uint64_t off)
{
	m->reads++;
	m->bytes += len;
	if (m->reads == m->fail_at)
		return -EIO;
	if (off > b->len || len > b->len - off) {
		fprintf(stderr, "read outside of the stream\n");
		abort();
	}
	memcpy(p, b->p + off, len);
	return 0;
}

static int
read_main(void *arg, void *p, size_t len, uint64_t off)
{
	struct mk *m = arg;

	return read_bytes(m, &m->main, p, len, off);
}

static int
read_payload(void *arg, void *p, size_t len, uint64_t off)
{
	struct mk *m = arg;

	return read_bytes(m, &m->payload, p, len, off);
}

struct pxar_source
mk_source(struct mk *m)
{
	return (struct pxar_source){read_main, m, m->main.len};
}

struct pxar_source
mk_payload_source(struct mk *m)
{
	return (struct pxar_source){read_payload, m, m->payload.len};
}
