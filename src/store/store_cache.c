/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/filters.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/lock.h"
#include "store/cache.h"

static void
count_miss(struct cache *c)
{
	LOCK(&c->lock);

	c->misses++;
}

/* The size that the file of id has, 0 if that is not known. */
static uint64_t
known_size(struct cache *c, const struct cache_id *id)
{
	LOCK(&c->lock);
	const struct cache_entry *e;

	if (!c->manager)
		return 0;
	e = cache_index_find(&c->ix, id);
	return e != NULL && e->state == CACHE_READY ? e->size : 0;
}

/* 0 and others as get; 1 if the store below has to be asked. */
static int
look_up(struct cache *c, const struct cache_id *id, const struct store_get *how,
    struct buf **ret, struct store_object *ret_obj)
{
	int r;

	/* What changes may be told by its version alone, unless the choice is
	 * between an old answer and none. */
	if (c->fd < 0 || (how->flags & STORE_FRESH) ||
	    (id->kind == CACHE_META && how->etag == NULL &&
		!(how->flags & STORE_LOCAL)))
		return 1;
	r = cache_file_read(c, id, known_size(c, id), how, ret, ret_obj);
	if (r == 0 || r == -EFBIG || r == -ERANGE) {
		cache_room_used(c, id);
		return r;
	}
	if (r == -EBADMSG)
		cache_room_drop(c, id, true);
	else if (r == 1 && id->kind == CACHE_CHUNK)
		cache_room_drop(c, id, false);
	return 1;
}

static void
keep_meta(struct cache *c, const struct cache_id *id, const void *p, size_t len,
    const struct store_object *o)
{
	cache_room_drop(c, id, false);
	if (o->etag[0] != '\0')
		cache_room_insert(c, id, p, len, o);
}

static int
cache_get(struct store *s, const char *key, const struct store_get *how,
    struct buf **ret, struct store_object *ret_obj)
{
	struct cache *c = (struct cache *)s;
	struct store_object o = {0};
	struct cache_id id;
	int r;

	if (cache_id_of_key(key, &id) != 0)
		return store_get(s->below, key, how, ret, ret_obj);
	r = look_up(c, &id, how, ret, ret_obj);
	if (r <= 0)
		return r;
	r = store_get(s->below, key, how, ret, &o);
	if (r == -EAGAIN && (how->flags & STORE_LOCAL))
		return r;
	count_miss(c);
	if (r == 0 && id.kind == CACHE_META && how->len == 0)
		keep_meta(c, &id, (*ret)->data, (*ret)->len, &o);
	/* It is gone from the store: no answer any more. */
	if (r == 1 && id.kind == CACHE_META)
		cache_room_drop(c, &id, false);
	if (r == 0 && ret_obj != NULL)
		*ret_obj = o;
	return r;
}

static int
cache_put(struct store *s, const char *key, const void *p, size_t len,
    const struct store_put *how, struct store_object *ret_obj)
{
	struct cache *c = (struct cache *)s;
	struct store_object o = {0};
	struct cache_id id;
	int r;

	r = store_put(s->below, key, p, len, how, &o);
	if (r > 0 || cache_id_of_key(key, &id) != 0 || id.kind != CACHE_META)
		goto out;
	if (r == 0)
		keep_meta(c, &id, p, len, &o);
	else
		cache_room_drop(c, &id, false);
out:
	if (r == 0 && ret_obj != NULL)
		*ret_obj = o;
	return r;
}

static int
cache_del(struct store *s, const char *const *keys, size_t n,
    store_delete_fn *fn, void *arg, deadline_t deadline)
{
	struct cache_id id;
	int r;

	r = store_delete(s->below, keys, n, fn, arg, deadline);
	/* Also those that could not be deleted: no harm, and rare. */
	for (size_t i = 0; i < n; i++)
		if (cache_id_of_key(keys[i], &id) == 0)
			cache_room_drop((struct cache *)s, &id, false);
	return r;
}

static int
cache_copy(
    struct store *s, const char *from, const char *to, deadline_t deadline)
{
	struct cache_id id;
	int r;

	r = store_copy(s->below, from, to, deadline);
	if (r <= 0 && cache_id_of_key(to, &id) == 0)
		cache_room_drop((struct cache *)s, &id, false);
	return r;
}

static void
cache_verdict(struct store *s, const char *key, struct buf *b, bool good)
{
	struct cache *c = (struct cache *)s;
	struct cache_id id;

	if (cache_id_of_key(key, &id) == 0) {
		if (!good)
			cache_room_drop(c, &id, true);
		else if (id.kind == CACHE_CHUNK && b->len > 0)
			cache_room_insert(c, &id, b->data, b->len, NULL);
	}
	store_verdict(s->below, key, b, good);
}

static void
cache_free(struct store *s)
{
	struct cache *c = (struct cache *)s;

	cache_manage_stop(c);
	cache_index_fini(&c->ix);
	pthread_cond_destroy(&c->cond);
	pthread_mutex_destroy(&c->lock);
	free(c->dir);
	free(c);
}

static const struct store_ops cache_ops = {
    .get = cache_get,
    .put = cache_put,
    .del = cache_del,
    .copy = cache_copy,
    .verdict = cache_verdict,
    .free = cache_free,
};

int
store_cache_new(
    struct store *below, const struct store_cache_opts *o, struct store **ret)
{
	struct cache *c = calloc(1, sizeof(*c));
	int r;

	if (c == NULL)
		return -ENOMEM;
	r = cond_init(&c->cond);
	if (r < 0) {
		free(c);
		return r;
	}
	c->s.ops = &cache_ops;
	c->s.below = below;
	c->s.name = "cache";
	c->fd = c->lock_fd = -1;
	c->limit = o->limit;
	c->floor = o->floor;
	pthread_mutex_init(&c->lock, NULL);
	c->dir = strdup(o->dir);
	r = cache_index_init(&c->ix);
	if (r == 0 && c->dir == NULL)
		r = -ENOMEM;
	if (r == 0)
		r = cache_manage_start(c);
	if (r < 0) {
		cache_free(&c->s);
		return r;
	}
	*ret = &c->s;
	return 0;
}

size_t
store_cache_forget(struct store *s, const char *const *keys, size_t n)
{
	struct cache_id id;
	size_t found = 0;

	while (s != NULL && s->ops != &cache_ops)
		s = s->below;
	for (size_t i = 0; s != NULL && i < n; i++)
		if (cache_id_of_key(keys[i], &id) == 0)
			found += cache_room_forget((struct cache *)s, &id);
	return found;
}

int
store_cache_stats(struct store *s, struct store_cache_stats *ret)
{
	struct cache *c;

	memset(ret, 0, sizeof(*ret));
	while (s != NULL && s->ops != &cache_ops)
		s = s->below;
	if (s == NULL)
		return 1;
	c = (struct cache *)s;
	LOCK(&c->lock);
	ret->limit = c->limit;
	ret->chunks = c->manager ? c->ix.count[CACHE_CHUNK] : 0;
	ret->objects = c->manager ? c->ix.count[CACHE_META] : 0;
	if (c->manager)
		ret->used = c->ix.used + CACHE_BASE_COST;
	ret->hits = c->hits;
	ret->misses = c->misses;
	ret->evictions = c->evictions;
	ret->rejected = c->rejected;
	ret->degraded = c->limit > CACHE_BASE_COST &&
			(!c->manager || (c->retry_at != 0 &&
					    deadline_left(c->retry_at) > 0));
	return 0;
}
