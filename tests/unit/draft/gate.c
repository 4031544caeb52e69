/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../pbs/fixture.h"
#include "base/buf.h"
#include "base/lock.h"
#include "base/str.h"
#include "store/backends.h"

#include "../cm.h"

struct door {
	struct store s;
	struct gate *gate;	/* borrowed */
};

static struct gate *
of(struct store *s)
{
	return ((struct door *)s)->gate;
}

/* Whether this call is to fail: -errno before it, or *ret_lost after it. */
static int
pass(struct gate *g, bool *ret_lost)
{
	LOCK(&g->lock);

	*ret_lost = false;
	g->calls++;
	if (g->fail_at == 0 || g->calls < g->fail_at)
		return 0;
	if (g->mode == GATE_DEAD)
		return -EIO;
	if (g->calls > g->fail_at)
		return 0;
	*ret_lost = g->mode == GATE_LOST;
	return *ret_lost ? 0 : -EIO;
}

static int
end(int r, bool lost)
{
	return lost && r >= 0 ? -EIO : r;
}

static bool
is_chunk(const char *key)
{
	return str_starts(key, ".chunks/");
}

static int
door_get(struct store *s, const char *key, const struct store_get *how,
    struct buf **ret, struct store_object *ret_obj)
{
	struct gate *g = of(s);
	bool lost;
	int r;

	if ((how->flags & STORE_LOCAL) != 0)
		return store_get(g->store, key, how, ret, ret_obj);
	r = pass(g, &lost);
	if (r == 0 && !lost)
		r = store_get(g->store, key, how, ret, ret_obj);
	if (r == 0 && is_chunk(key)) {
		LOCK(&g->lock);
		g->chunk_gets++;
	}
	return end(r, lost);
}

static int
door_put(struct store *s, const char *key, const void *p, size_t len,
    const struct store_put *how, struct store_object *ret_obj)
{
	struct gate *g = of(s);
	bool lost;
	int r;

	if (is_chunk(key)) {
		LOCK(&g->lock);
		g->waiting++;
		while (g->block_puts)
			pthread_cond_wait(&g->change, &g->lock);
		g->waiting--;
	}
	r = pass(g, &lost);
	if (r == 0)
		r = store_put(g->store, key, p, len, how, ret_obj);
	if (r >= 0) {
		LOCK(&g->lock);
		if (is_chunk(key)) {
			g->chunk_puts++;
			g->chunk_bytes += len;
		} else {
			g->other_puts++;
		}
	}
	return end(r, lost);
}

static int
door_stat(struct store *s, const char *key, deadline_t deadline,
    struct store_object *ret)
{
	bool lost;
	int r = pass(of(s), &lost);

	return end(r < 0 ? r : store_stat(of(s)->store, key, deadline, ret),
	    lost);
}

static int
door_list(struct store *s, const char *prefix, const char *start_after,
    store_list_fn *fn, void *arg)
{
	bool lost;
	int r = pass(of(s), &lost);

	if (r == 0 && !lost)
		r = store_list(of(s)->store, prefix, start_after, fn, arg);
	return end(r, lost);
}

static int
door_del(struct store *s, const char *const *keys, size_t n,
    store_delete_fn *fn, void *arg, deadline_t deadline)
{
	bool lost;
	int r = pass(of(s), &lost);

	return end(r < 0 ? r : store_delete(of(s)->store, keys, n, fn, arg,
	    deadline), lost);
}

static int
door_copy(struct store *s, const char *from, const char *to,
    deadline_t deadline)
{
	return store_copy(of(s)->store, from, to, deadline);
}

static int
door_touch(struct store *s, const char *key)
{
	struct gate *g = of(s);
	bool lost;
	int r;

	r = pass(g, &lost);
	if (r == 0)
		r = store_touch(g->store, key);
	LOCK(&g->lock);
	g->touches++;
	return end(r, lost);
}

static int
door_sync(struct store *s)
{
	bool lost;
	int r = pass(of(s), &lost);

	return end(r < 0 ? r : store_sync(of(s)->store), lost);
}

static void
door_free(struct store *s)
{
	free(s);
}

static const struct store_ops door_ops = {
	.get = door_get,
	.put = door_put,
	.stat = door_stat,
	.list = door_list,
	.del = door_del,
	.copy = door_copy,
	.touch = door_touch,
	.sync = door_sync,
	.free = door_free,
};

struct gate *
gate_new(const char *dir)
{
	struct gate *g = calloc(1, sizeof(*g));

	assert_non_null(g);
	pthread_mutex_init(&g->lock, NULL);
	assert_int_equal(cond_init(&g->change), 0);
	assert_int_equal(dir != NULL ? store_dir_new(dir, &g->store) :
	    store_mem_new(&g->store), 0);
	return g;
}

void
gate_free(struct gate *g)
{
	store_free(g->store);
	pthread_cond_destroy(&g->change);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

struct store *
gate_door(struct gate *g)
{
	struct door *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	d->s.ops = &door_ops;
	d->s.name = "gate";
	d->gate = g;
	return &d->s;
}

void
gate_fill(struct gate *g, const struct fixture *f, const char *top)
{
	const struct store_put how = {0};
	const char *path, *rest;
	struct buf *b;
	char key[4096];
	size_t i = 0;

	while ((path = fixture_next(f, &i, "")) != NULL) {
		if (!str_starts(path, top))
			continue;
		rest = path + strlen(top);
		if (is_chunk(rest) || str_starts(rest, ".cnt/"))
			snprintf(key, sizeof(key), "%s", rest);
		else if (rest[0] != '.')
			snprintf(key, sizeof(key), ".cnt/%s", rest);
		else
			continue;
		b = fixture_file(f, path);
		assert_int_equal(store_put(g->store, key, b->data, b->len,
		    &how, NULL), 0);
	}
}

void
gate_reset(struct gate *g)
{
	LOCK(&g->lock);
	g->calls = g->fail_at = 0;
	g->chunk_puts = g->chunk_bytes = g->other_puts = 0;
	g->chunk_gets = g->touches = 0;
}

void
gate_block(struct gate *g, bool on)
{
	LOCK(&g->lock);
	g->block_puts = on;
	pthread_cond_broadcast(&g->change);
}
