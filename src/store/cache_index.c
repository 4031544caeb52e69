/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/cache_index.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/num.h"
#include "base/str.h"
#include "crypt/digest.h"
#include "store/cache_log.h"

#define BLOCK 4096
/*
 * A name takes room in its directory, and the log may be some times as long as
 * what is live in it; both are charged to the entry, so that the sum holds for
 * the whole directory.
 */
#define NAME_COST 256
#define LOG_COPIES 6
#define FIRST_SLOTS 256

#define CHUNK_KEY_LEN (sizeof(".chunks/abcd/") - 1 + DIGEST_HEX_LEN)

int
cache_id_of_key(const char *key, struct cache_id *ret)
{
	size_t len = strlen(key);

	if (str_starts(key, ".cnt/") && len <= KEY_MAX) {
		ret->kind = CACHE_META;
		ret->len = (uint16_t)len;
		memcpy(ret->b, key, len);
		return 0;
	}
	if (len != CHUNK_KEY_LEN || !str_starts(key, ".chunks/") ||
	    key[12] != '/' || memcmp(key + 8, key + 13, 4) != 0 ||
	    hex_decode(ret->b, DIGEST_LEN, key + 13) < 0)
		return 1;
	ret->kind = CACHE_CHUNK;
	ret->len = DIGEST_LEN;
	return 0;
}

void
cache_id_path(const struct cache_id *id, char out[CACHE_PATH_MAX + 1])
{
	char hex[DIGEST_HEX_LEN + 1];

	if (id->kind == CACHE_META) {
		memcpy(out, id->b, id->len);
		out[id->len] = '\0';
		return;
	}
	hex_encode(hex, id->b, DIGEST_LEN);
	snprintf(out, CACHE_PATH_MAX + 1, ".chunks/%.4s/%s", hex, hex);
}

void
cache_entry_id(const struct cache_entry *e, struct cache_id *ret)
{
	ret->kind = e->kind;
	ret->len = e->len;
	memcpy(ret->b, e->b, e->len);
}

static size_t
slot_of(size_t n_slots, const void *p, size_t len)
{
	return (size_t)XXH3_64bits(p, len) & (n_slots - 1);
}

int
cache_index_init(struct cache_index *x)
{
	memset(x, 0, sizeof(*x));
	x->n_slots = x->n_dir_slots = FIRST_SLOTS;
	x->entries = calloc(x->n_slots, sizeof(struct cache_entry *));
	x->dirs = calloc(x->n_dir_slots, sizeof(struct cache_dir *));
	for (int k = 0; k < CACHE_KINDS; k++)
		TAILQ_INIT(&x->lru[k]);
	if (x->entries != NULL && x->dirs != NULL)
		return 0;
	cache_index_fini(x);
	return -ENOMEM;
}

void
cache_index_fini(struct cache_index *x)
{
	for (size_t i = 0; x->entries != NULL && i < x->n_slots; i++)
		for (struct cache_entry *e = x->entries[i], *next; e != NULL;
		     e = next) {
			next = e->chain;
			free(e);
		}
	for (size_t i = 0; x->dirs != NULL && i < x->n_dir_slots; i++)
		for (struct cache_dir *d = x->dirs[i], *next; d != NULL;
		     d = next) {
			next = d->chain;
			free(d);
		}
	free(x->entries);
	free(x->dirs);
	memset(x, 0, sizeof(*x));
}

/* A table that cannot grow is slower, but works. */
static void
grow_entries(struct cache_index *x)
{
	size_t n = 2 * x->n_slots;
	struct cache_entry **t;

	if (x->n < x->n_slots)
		return;
	t = calloc(n, sizeof(struct cache_entry *));
	if (t == NULL)
		return;
	for (size_t i = 0; i < x->n_slots; i++)
		for (struct cache_entry *e = x->entries[i], *next; e != NULL;
		     e = next) {
			size_t s = slot_of(n, e->b, e->len);

			next = e->chain;
			e->chain = t[s];
			t[s] = e;
		}
	free(x->entries);
	x->entries = t;
	x->n_slots = n;
}

static void
grow_dirs(struct cache_index *x)
{
	size_t n = 2 * x->n_dir_slots;
	struct cache_dir **t;

	if (x->n_dirs < x->n_dir_slots)
		return;
	t = calloc(n, sizeof(struct cache_dir *));
	if (t == NULL)
		return;
	for (size_t i = 0; i < x->n_dir_slots; i++)
		for (struct cache_dir *d = x->dirs[i], *next; d != NULL;
		     d = next) {
			size_t s = slot_of(n, d->path, strlen(d->path));

			next = d->chain;
			d->chain = t[s];
			t[s] = d;
		}
	free(x->dirs);
	x->dirs = t;
	x->n_dir_slots = n;
}

static bool
is_entry(const struct cache_entry *e, const struct cache_id *id)
{
	return e->kind == id->kind && e->len == id->len &&
	       memcmp(e->b, id->b, id->len) == 0;
}

struct cache_entry *
cache_index_find(const struct cache_index *x, const struct cache_id *id)
{
	struct cache_entry *e = x->entries[slot_of(x->n_slots, id->b, id->len)];

	while (e != NULL && !is_entry(e, id))
		e = e->chain;
	return e;
}

static struct cache_dir *
find_dir(const struct cache_index *x, const char *path, size_t len)
{
	struct cache_dir *d = x->dirs[slot_of(x->n_dir_slots, path, len)];

	while (d != NULL &&
	       (strncmp(d->path, path, len) != 0 || d->path[len] != '\0'))
		d = d->chain;
	return d;
}

/* The part of path up to the n-th '/' after the first, or 0: there is none. */
static size_t
next_dir(const char *path, size_t from)
{
	const char *slash = strchr(path + from, '/');

	return slash != NULL ? (size_t)(slash - path) : 0;
}

/* Directories below the first one, which is .chunks or .cnt itself. */
#define FOR_EACH_DIR(path, len)                                                \
	for (size_t len = next_dir((path), strcspn((path), "/") + 1);          \
	     len != 0; len = next_dir((path), len + 1))

static uint64_t
file_cost(const struct cache_id *id, uint64_t size)
{
	return (size + BLOCK - 1) / BLOCK * BLOCK + NAME_COST +
	       LOG_COPIES * cache_log_len(id);
}

uint64_t
cache_index_cost(
    const struct cache_index *x, const struct cache_id *id, uint64_t size)
{
	uint64_t cost = file_cost(id, size);
	char path[CACHE_PATH_MAX + 1];

	cache_id_path(id, path);
	FOR_EACH_DIR(path, len)
	if (find_dir(x, path, len) == NULL)
		cost += BLOCK + NAME_COST;
	return cost;
}

struct cache_dir *
cache_index_remove_dir(struct cache_index *x, struct cache_dir *d)
{
	struct cache_dir **at, *up = d->up;

	at = &x->dirs[slot_of(x->n_dir_slots, d->path, strlen(d->path))];
	while (*at != d)
		at = &(*at)->chain;
	*at = d->chain;
	x->n_dirs--;
	x->used -= BLOCK + NAME_COST;
	if (up != NULL)
		up->refs--;
	free(d);
	return up;
}

/* The directory of path with one reference more, made if need be. */
static int
hold_dir(struct cache_index *x, const char *path, struct cache_dir **ret)
{
	struct cache_dir *up = NULL;

	FOR_EACH_DIR(path, len)
	{
		struct cache_dir *d = find_dir(x, path, len), **at;

		if (d == NULL) {
			d = calloc(1, sizeof(*d) + len + 1);
			if (d == NULL)
				goto fail;
			memcpy(d->path, path, len);
			d->up = up;
			grow_dirs(x);
			at = &x->dirs[slot_of(x->n_dir_slots, path, len)];
			d->chain = *at;
			*at = d;
			x->n_dirs++;
			x->used += BLOCK + NAME_COST;
			if (up != NULL) {
				up->refs++;
				up->gen++;
			}
		}
		up = d;
	}
	if (up != NULL) {
		up->refs++;
		up->gen++;
	}
	*ret = up;
	return 0;
fail:
	while (up != NULL && up->refs == 0 && !up->leaving)
		up = cache_index_remove_dir(x, up);
	return -ENOMEM;
}

int
cache_index_add(struct cache_index *x, const struct cache_id *id, uint64_t size,
    struct cache_entry **ret)
{
	char path[CACHE_PATH_MAX + 1];
	struct cache_entry *e, **at;
	int r;

	e = calloc(1, sizeof(*e) + id->len);
	if (e == NULL)
		return -ENOMEM;
	cache_id_path(id, path);
	r = hold_dir(x, path, &e->dir);
	if (r < 0) {
		free(e);
		return r;
	}
	e->size = size;
	e->state = CACHE_WRITING;
	e->kind = id->kind;
	e->len = id->len;
	memcpy(e->b, id->b, id->len);
	grow_entries(x);
	at = &x->entries[slot_of(x->n_slots, e->b, e->len)];
	e->chain = *at;
	*at = e;
	x->n++;
	x->count[e->kind]++;
	x->used += file_cost(id, size);
	if (e->kind == CACHE_META)
		x->used_meta += file_cost(id, size);
	x->log_live += cache_log_len(id);
	*ret = e;
	return 0;
}

void
cache_index_ready(struct cache_index *x, struct cache_entry *e, bool oldest)
{
	e->state = CACHE_READY;
	if (oldest) {
		TAILQ_INSERT_TAIL(&x->lru[e->kind], e, lru);
	} else {
		e->used_at = ++x->clock;
		TAILQ_INSERT_HEAD(&x->lru[e->kind], e, lru);
	}
}

void
cache_index_touch(struct cache_index *x, struct cache_entry *e)
{
	TAILQ_REMOVE(&x->lru[e->kind], e, lru);
	cache_index_ready(x, e, false);
}

void
cache_index_leave(struct cache_index *x, struct cache_entry *e)
{
	TAILQ_REMOVE(&x->lru[e->kind], e, lru);
	e->state = CACHE_LEAVING;
}

void
cache_index_resize(struct cache_index *x, struct cache_entry *e, uint64_t size)
{
	struct cache_id id;
	uint64_t before, after;

	cache_entry_id(e, &id);
	before = file_cost(&id, e->size);
	after = file_cost(&id, size);
	x->used += after - before;
	if (e->kind == CACHE_META)
		x->used_meta += after - before;
	e->size = size;
}

struct cache_dir *
cache_index_remove(struct cache_index *x, struct cache_entry *e)
{
	struct cache_entry **at;
	struct cache_dir *d = e->dir;
	struct cache_id id;
	uint64_t cost;

	at = &x->entries[slot_of(x->n_slots, e->b, e->len)];
	while (*at != e)
		at = &(*at)->chain;
	*at = e->chain;
	if (e->state == CACHE_READY)
		TAILQ_REMOVE(&x->lru[e->kind], e, lru);
	cache_entry_id(e, &id);
	cost = file_cost(&id, e->size);
	x->n--;
	x->count[e->kind]--;
	x->used -= cost;
	if (e->kind == CACHE_META)
		x->used_meta -= cost;
	x->log_live -= cache_log_len(&id);
	if (d != NULL)
		d->refs--;
	free(e);
	return d;
}

void
cache_index_forget(struct cache_index *x, struct cache_entry *e)
{
	struct cache_dir *d = cache_index_remove(x, e);

	while (d != NULL && d->refs == 0 && !d->leaving)
		d = cache_index_remove_dir(x, d);
}

struct cache_entry *
cache_index_oldest(const struct cache_index *x, enum cache_kind kind)
{
	return TAILQ_LAST(&x->lru[kind], cache_lru);
}
