/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/pxar.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/num.h"
#include "pbs/pxar_priv.h"
#include "pbs/siphash.h"

/* As it stands in the stream; pxar_dir_open turns the offset backwards from
 * the table into begin and the size into end.  An item that lies outside of
 * the directory gets UINT64_MAX, and so sorts behind all others. */
struct item {
	uint64_t hash;
	uint64_t begin;
	uint64_t end;		/* a bound; exact for directories */
};
_Static_assert(sizeof(struct item) == PXAR_ITEM_SIZE, "read in place");

struct pxar_dir {
	atomic_uint refs;
	size_t count;
	uint64_t first;		/* no entry starts before */
	uint64_t pos;		/* of the table; no entry ends behind */
	struct item *items;	/* owned; by begin */
	uint32_t *by_hash;	/* owned; numbers of items, by hash */
};

/* An honest table has equal hashes as good as never. */
#define SAME_HASH_MAX 64

static int
compare_begin(const void *pa, const void *pb)
{
	const struct item *a = pa, *b = pb;

	return (a->begin > b->begin) - (a->begin < b->begin);
}

static int
compare_hash(const void *pa, const void *pb, void *items)
{
	const struct item *all = items;
	uint32_t a = *(const uint32_t *)pa, b = *(const uint32_t *)pb;

	if (all[a].hash != all[b].hash)
		return all[a].hash > all[b].hash ? 1 : -1;
	return (a > b) - (a < b);
}

static void
decode_item(const struct pxar_dir *d, struct item *it)
{
	uint64_t offset = le64toh(it->begin), size = le64toh(it->end);

	it->hash = le64toh(it->hash);
	if (offset > d->pos - d->first) {
		it->begin = it->end = UINT64_MAX;
		return;
	}
	it->begin = d->pos - offset;
	if (__builtin_add_overflow(it->begin, size, &it->end))
		it->end = UINT64_MAX;
}

static int
read_table(struct pxar_dir *d, struct pxar_win *w)
{
	size_t i;
	int r;

	if (d->count == 0)
		return 0;
	d->items = calloc(d->count, sizeof(*d->items));
	d->by_hash = calloc(d->count, sizeof(*d->by_hash));
	if (d->items == NULL || d->by_hash == NULL)
		return -ENOMEM;
	pxar_win_move(w, d->pos + PXAR_HEADER_SIZE, UINT64_MAX);
	r = pxar_win_read(w, d->items, d->count * sizeof(*d->items));
	if (r < 0)
		return r;
	for (i = 0; i < d->count; i++) {
		decode_item(d, &d->items[i]);
		d->by_hash[i] = (uint32_t)i;
	}
	qsort(d->items, d->count, sizeof(*d->items), compare_begin);
	qsort_r(d->by_hash, d->count, sizeof(*d->by_hash), compare_hash,
	    d->items);
	return 0;
}

int
pxar_dir_open(struct pxar *a, uint64_t pos, struct pxar_dir **ret)
{
	struct pxar_goodbye g;
	struct pxar_win w;
	struct pxar_dir *d;
	int r;

	pxar_win_init(&w, &a->src, pos, UINT64_MAX);
	r = pxar_goodbye_at(a, &w, &g);
	if (r < 0)
		return r;
	/* Memory is bounded by what the archive has room for, not by what the
	 * table claims. */
	if (g.pos - g.entry < PXAR_HEADER_SIZE + PXAR_ENTRY_V1_SIZE ||
	    g.count > (g.pos - g.entry) / PXAR_CHILD_MIN)
		return -EBADMSG;
	if (g.count > PXAR_DIR_MAX)
		return -EOVERFLOW;
	d = calloc(1, sizeof(*d));
	if (d == NULL)
		return -ENOMEM;
	atomic_init(&d->refs, 1);
	d->count = g.count;
	d->first = g.entry + PXAR_HEADER_SIZE + PXAR_ENTRY_V1_SIZE;
	d->pos = g.pos;
	r = read_table(d, &w);
	if (r < 0) {
		pxar_dir_unref(d);
		return r;
	}
	*ret = d;
	return 0;
}

struct pxar_dir *
pxar_dir_ref(struct pxar_dir *d)
{
	atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
	return d;
}

void
pxar_dir_unref(struct pxar_dir *d)
{
	if (d == NULL ||
	    atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) != 1)
		return;
	free(d->items);
	free(d->by_hash);
	free(d);
}

size_t
pxar_dir_count(const struct pxar_dir *d)
{
	return d->count;
}

size_t
pxar_dir_memory(const struct pxar_dir *d)
{
	return sizeof(*d) +
	    d->count * (sizeof(*d->items) + sizeof(*d->by_hash));
}

void
pxar_dir_range(const struct pxar_dir *d, size_t i, uint64_t *ret_begin,
    uint64_t *ret_end)
{
	uint64_t end = MIN(d->items[i].end, d->pos);

	if (i + 1 < d->count)
		end = MIN(end, d->items[i + 1].begin);
	*ret_begin = MIN(d->items[i].begin, d->pos);
	*ret_end = MAX(end, *ret_begin);
}

uint64_t
pxar_dir_hash(const struct pxar_dir *d, size_t i)
{
	return d->items[i].hash;
}

uint64_t
pxar_name_hash(const char *name, size_t len)
{
	return siphash_24(PXAR_HASH_K0, PXAR_HASH_K1, name, len);
}

bool
pxar_dir_at(const struct pxar_dir *d, uint64_t pos, size_t *ret)
{
	size_t low = 0, high = d->count, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (d->items[mid].begin <= pos)
			low = mid + 1;
		else
			high = mid;
	}
	*ret = low - 1;
	return low > 0;
}

void
pxar_dir_window(const struct pxar *a, const struct pxar_dir *d,
    struct pxar_win *w)
{
	pxar_win_init(w, &a->src, d->pos, d->pos);
}

/* The name of item i; the window then stands behind it. */
static int
read_name(const struct pxar_dir *d, size_t i, struct pxar_win *w, char *name,
    size_t *ret_len)
{
	const struct item *it = &d->items[i];
	int r;

	/* An item outside of the directory is refused by the window.  The size
	 * of a file in a split archive counts bytes that are not in this
	 * stream, so it may well reach over the directory's end. */
	pxar_win_move(w, it->begin, it->end);
	r = pxar_entry_name(w, name, ret_len);
	if (r < 0)
		return r;
	if (siphash_24(PXAR_HASH_K0, PXAR_HASH_K1, name, *ret_len) != it->hash)
		return -EBADMSG;
	return 0;
}

/* The first of by_hash that is not below hash. */
static size_t
lower_bound(const struct pxar_dir *d, uint64_t hash)
{
	size_t low = 0, high = d->count, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (d->items[d->by_hash[mid]].hash < hash)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/*
 * Of two entries of one name only the first is one, here as in pxar_dir_find:
 * who unpacks a symlink and then a directory of the same name would write
 * wherever the symlink leads.  The window stays where it is.
 */
static int
check_first(const struct pxar_dir *d, size_t i, struct pxar_win *w,
    const char *name, size_t len)
{
	uint64_t hash = d->items[i].hash, pos = w->pos, limit = w->limit;
	size_t first = lower_bound(d, hash), other_len, n;
	size_t far = first + SAME_HASH_MAX;
	char other[PXAR_NAME_MAX + 1];
	int r = 0;

	/* Those of one hash are in the order of their numbers. */
	if (far < d->count && d->items[d->by_hash[far]].hash == hash &&
	    d->by_hash[far] <= i)
		return -EBADMSG;
	for (n = 0; r == 0 && d->by_hash[first + n] != i; n++) {
		r = read_name(d, d->by_hash[first + n], w, other, &other_len);
		if (r == 0 && other_len == len && memcmp(other, name, len) == 0)
			return -EBADMSG;
		/* What has no name cannot have this one. */
		r = r == -EBADMSG ? 0 : r;
	}
	pxar_win_move(w, pos, limit);
	return r;
}

/*
 * A directory is entered only if its range ends where its table ends, overlaps
 * no other entry, and is what the table says of itself: so there is one way to
 * every directory.
 */
static int
finish_dir(const struct pxar_dir *d, size_t i, uint64_t entry,
    struct pxar_win *w, struct pxar_entry *e)
{
	const struct item *it = &d->items[i];
	struct pxar_goodbye g;
	uint64_t bound = d->pos;
	int r;

	if (i + 1 < d->count && d->items[i + 1].begin < bound)
		bound = d->items[i + 1].begin;
	if (it->end > bound)
		return -EBADMSG;
	r = pxar_goodbye_before(w, e->end, it->end, &g);
	if (r < 0)
		return r;
	if (g.entry != entry)
		return -EBADMSG;
	e->pos = g.pos;
	e->end = g.end;
	return 0;
}

/* What follows the name of item i. */
static int
read_body(const struct pxar *a, const struct pxar_dir *d, size_t i,
    unsigned flags, struct pxar_win *w, struct pxar_entry *e,
    uint64_t *ret_link)
{
	uint64_t begin = d->items[i].begin, entry = w->pos;
	const uint8_t *b;
	int r;

	*ret_link = 0;
	r = pxar_win_peek(w, 8, &b);
	if (r < 0)
		return r;
	if (get_le64(b) == PXAR_HARDLINK) {
		*ret_link = begin;
		return pxar_entry_link(a, w, begin, flags, e);
	}
	r = pxar_entry_body(a, w, flags, e);
	if (r < 0)
		return r;
	e->pos = begin;
	e->begin = begin;
	return S_ISDIR(e->mode) ? finish_dir(d, i, entry, w, e) : 0;
}

int
pxar_dir_read(const struct pxar *a, const struct pxar_dir *d, size_t i,
    unsigned flags, struct pxar_win *w, char *name, struct pxar_entry *ret,
    uint64_t *ret_link)
{
	size_t len;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (i >= d->count)
		return -ENOENT;
	r = read_name(d, i, w, name, &len);
	if (r == 0)
		r = check_first(d, i, w, name, len);
	if (r == 0)
		r = read_body(a, d, i, flags, w, ret, ret_link);
	if (r < 0)
		pxar_entry_fini(ret);
	return r;
}

int
pxar_dir_entry(struct pxar *a, const struct pxar_dir *d, size_t i,
    unsigned flags, char *name, struct pxar_entry *ret, uint64_t *ret_link)
{
	struct pxar_win w;

	pxar_dir_window(a, d, &w);
	return pxar_dir_read(a, d, i, flags, &w, name, ret, ret_link);
}

int
pxar_dir_find(struct pxar *a, const struct pxar_dir *d, const char *name,
    size_t len, unsigned flags, struct pxar_entry *ret)
{
	uint64_t hash = siphash_24(PXAR_HASH_K0, PXAR_HASH_K1, name, len);
	size_t first = lower_bound(d, hash), found_len, i, n;
	char found[PXAR_NAME_MAX + 1];
	int r, result = -ENOENT;
	struct pxar_win w;
	uint64_t link;

	memset(ret, 0, sizeof(*ret));
	pxar_dir_window(a, d, &w);
	for (n = 0; first + n < d->count; n++) {
		i = d->by_hash[first + n];
		if (d->items[i].hash != hash)
			break;
		if (n == SAME_HASH_MAX)
			return -EBADMSG;
		r = read_name(d, i, &w, found, &found_len);
		if (r == -EBADMSG) {
			/* It may have been the one. */
			result = r;
			continue;
		}
		if (r < 0)
			return r;
		if (found_len != len || memcmp(found, name, len) != 0)
			continue;
		r = read_body(a, d, i, flags, &w, ret, &link);
		if (r < 0)
			pxar_entry_fini(ret);
		return r;
	}
	return result;
}
