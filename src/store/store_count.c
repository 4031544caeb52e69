/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/filters.h"

#include <errno.h>
#include <stdlib.h>

#include "base/buf.h"
#include "store/store.h"

/*
 * Counters are atomic; a reader may see one call in requests and not yet in
 * bytes.
 */
struct store_count {
	struct store s;
	struct store_counts c;
};

static void
add(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static uint64_t
load(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void
count(struct store_count *c, enum store_verb v, int r)
{
	add(&c->c.requests[v], 1);
	if (r < 0)
		add(&c->c.failed[v], 1);
}

static int
count_get(struct store *s, const char *key, const struct store_get *how,
    struct buf **ret, struct store_object *ret_obj)
{
	struct store_count *c = (struct store_count *)s;
	int r = store_get(s->below, key, how, ret, ret_obj);

	/* Asked for what is at hand, and nothing was: nobody was bothered. */
	if (r == -EAGAIN && (how->flags & STORE_LOCAL))
		return r;
	count(c, STORE_GET, r);
	if (r == 0)
		add(&c->c.bytes_read, (*ret)->len);
	return r;
}

static int
count_put(struct store *s, const char *key, const void *p, size_t len,
    const struct store_put *how, struct store_object *ret_obj)
{
	struct store_count *c = (struct store_count *)s;
	int r = store_put(s->below, key, p, len, how, ret_obj);

	count(c, STORE_PUT, r);
	if (r == 0)
		add(&c->c.bytes_written, len);
	return r;
}

static int
count_stat(struct store *s, const char *key, deadline_t deadline,
    struct store_object *ret)
{
	int r = store_stat(s->below, key, deadline, ret);

	count((struct store_count *)s, STORE_STAT, r);
	return r;
}

struct list_arg {
	store_list_fn *fn;
	void *arg;
	bool ended; /* by the caller: no failure of the store */
};

static int
list_one(void *arg, const char *key, const struct store_object *o)
{
	struct list_arg *l = arg;
	int r = l->fn(l->arg, key, o);

	l->ended = r != 0;
	return r;
}

static int
count_list(struct store *s, const char *prefix, const char *start_after,
    store_list_fn *fn, void *arg)
{
	struct list_arg l = {fn, arg, false};
	int r = store_list(s->below, prefix, start_after, list_one, &l);

	count((struct store_count *)s, STORE_LIST, l.ended ? 0 : r);
	return r;
}

static int
count_del(struct store *s, const char *const *keys, size_t n,
    store_delete_fn *fn, void *arg, deadline_t deadline)
{
	int r = store_delete(s->below, keys, n, fn, arg, deadline);

	count((struct store_count *)s, STORE_DELETE, r);
	return r;
}

static int
count_copy(
    struct store *s, const char *from, const char *to, deadline_t deadline)
{
	int r = store_copy(s->below, from, to, deadline);

	count((struct store_count *)s, STORE_COPY, r);
	return r;
}

static int
count_copy_from(struct store *s, struct store *source, const char *key,
    deadline_t deadline)
{
	int r = store_copy_from(s->below, source, key, deadline);

	if (r != -EOPNOTSUPP)
		count((struct store_count *)s, STORE_COPY, r);
	return r;
}

static int
count_touch(struct store *s, const char *key)
{
	int r = store_touch(s->below, key);

	if (r != -EOPNOTSUPP)
		count((struct store_count *)s, STORE_TOUCH, r);
	return r;
}

static int
count_sync(struct store *s)
{
	int r = store_sync(s->below);

	count((struct store_count *)s, STORE_SYNC, r);
	return r;
}

static void
count_counts(struct store *s, struct store_counts *ret)
{
	const struct store_count *c = (const struct store_count *)s;

	for (int v = 0; v < STORE_VERBS; v++) {
		ret->requests[v] = load(&c->c.requests[v]);
		ret->failed[v] = load(&c->c.failed[v]);
	}
	ret->bytes_read = load(&c->c.bytes_read);
	ret->bytes_written = load(&c->c.bytes_written);
}

static void
count_free(struct store *s)
{
	free(s);
}

int
store_count_new(struct store *below, struct store **ret)
{
	static const struct store_ops ops = {
	    .get = count_get,
	    .put = count_put,
	    .stat = count_stat,
	    .list = count_list,
	    .del = count_del,
	    .copy = count_copy,
	    .copy_from = count_copy_from,
	    .touch = count_touch,
	    .sync = count_sync,
	    .counts = count_counts,
	    .free = count_free,
	};
	struct store_count *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return -ENOMEM;
	c->s.ops = &ops;
	c->s.below = below;
	c->s.name = "count";
	*ret = &c->s;
	return 0;
}
