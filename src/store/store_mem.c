/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/backends.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/lock.h"
#include "base/num.h"
#include "base/str.h"
#include "store/store.h"

/*
 * A skip list in key order.  Every fourth node is also in the next level, so
 * 16 levels serve some 10^9 objects.
 */
#define LEVELS 16
#define LIST_BATCH 128

struct node {
	char *key;           /* owned */
	struct buf *content; /* shared, never changed */
	struct store_object o;
	struct node *next[]; /* as many as the node has levels */
};

struct store_mem {
	struct store s;
	pthread_mutex_t lock; /* guards all below */
	struct node *head[LEVELS];
	uint64_t random;
};

static unsigned
random_levels(struct store_mem *m)
{
	unsigned n = 1;

	m->random = m->random * 6364136223846793005ULL + 1442695040888963407ULL;
	for (uint64_t bits = m->random >> 33; n < LEVELS && (bits & 3) == 0;
	     bits >>= 2)
		n++;
	return n;
}

/*
 * The first node whose key is not below key (or, with after, above it), or
 * NULL.  links, if not NULL, gets the pointers that lead there on each level.
 */
static struct node *
find(struct store_mem *m, const char *key, bool after,
    struct node **links[LEVELS])
{
	struct node **row = m->head, *n = NULL;

	for (int l = LEVELS - 1; l >= 0; l--) {
		for (; (n = row[l]) != NULL; row = n->next) {
			int cmp = strcmp(n->key, key);

			if (cmp > 0 || (cmp == 0 && !after))
				break;
		}
		if (links != NULL)
			links[l] = &row[l];
	}
	return n;
}

static struct node *
find_exact(struct store_mem *m, const char *key)
{
	struct node *n = find(m, key, false, NULL);

	return n != NULL && streq(n->key, key) ? n : NULL;
}

static void
describe(struct store_object *o, const void *p, size_t len)
{
	XXH128_hash_t h = XXH3_128bits(p, len);

	memset(o, 0, sizeof(*o));
	o->size = len;
	o->mtime = clock_real_s();
	snprintf(o->etag, sizeof(o->etag), "%016llx%016llx",
	    (unsigned long long)h.high64, (unsigned long long)h.low64);
}

static int
mem_get(struct store *s, const char *key, const struct store_get *how,
    struct buf **ret, struct store_object *ret_obj)
{
	struct store_mem *m = (struct store_mem *)s;
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	struct store_object o;
	uint64_t len;

	{
		LOCK(&m->lock);
		struct node *n = find_exact(m, key);

		if (n == NULL)
			return 1;
		b = buf_ref(n->content);
		o = n->o;
	}
	len = how->len != 0 ? how->len : b->len;
	if (how->len != 0) {
		if (how->off >= b->len)
			return -ERANGE;
		len = MIN(len, b->len - how->off);
	}
	if (len > how->max)
		return -EFBIG;
	if (len == b->len) {
		*ret = steal(&b);
	} else {
		*ret = buf_copy(b->data + how->off, (size_t)len);
		if (*ret == NULL)
			return -ENOMEM;
	}
	if (ret_obj != NULL)
		*ret_obj = o;
	return 0;
}

/* Takes content over, also on error.  1 if there is one and it may not be
 * replaced. */
static int
insert(struct store_mem *m, const char *key, struct buf *content,
    const struct store_object *o, bool if_absent)
{
	_cleanup_(buf_unrefp) struct buf *unused = content;
	_cleanup_free_ char *name = strdup(key);
	struct node **links[LEVELS], *n;
	unsigned levels;

	if (name == NULL)
		return -ENOMEM;
	LOCK(&m->lock);
	n = find(m, key, false, links);
	if (n != NULL && streq(n->key, key)) {
		if (if_absent)
			return 1;
		unused = n->content;
		n->content = content;
		n->o = *o;
		return 0;
	}
	levels = random_levels(m);
	n = malloc(sizeof(*n) + levels * sizeof(n->next[0]));
	if (n == NULL)
		return -ENOMEM;
	n->key = steal(&name);
	n->content = steal(&unused);
	n->o = *o;
	for (unsigned l = 0; l < levels; l++) {
		n->next[l] = *links[l];
		*links[l] = n;
	}
	return 0;
}

static int
mem_put(struct store *s, const char *key, const void *p, size_t len,
    const struct store_put *how, struct store_object *ret_obj)
{
	struct buf *b = buf_copy(p, len);
	struct store_object o;
	int r;

	if (b == NULL)
		return -ENOMEM;
	describe(&o, p, len);
	r = insert((struct store_mem *)s, key, b, &o, how->if_absent);
	if (r == 0 && ret_obj != NULL)
		*ret_obj = o;
	return r;
}

static int
mem_stat(struct store *s, const char *key, deadline_t deadline,
    struct store_object *ret)
{
	struct store_mem *m = (struct store_mem *)s;
	LOCK(&m->lock);
	struct node *n = find_exact(m, key);

	(void)deadline;
	if (n == NULL)
		return 1;
	*ret = n->o;
	return 0;
}

/* What is told in one go, so that fn runs without the lock. */
struct batch {
	struct {
		char *key; /* owned */
		struct store_object o;
	} v[LIST_BATCH];
	size_t n;
};

static int
collect(struct store_mem *m, const char *from, bool after, const char *prefix,
    struct batch *b)
{
	LOCK(&m->lock);
	struct node *n = find(m, from, after, NULL);

	for (b->n = 0; b->n < LIST_BATCH; n = n->next[0]) {
		if (n == NULL || !str_starts(n->key, prefix))
			return 0;
		b->v[b->n].key = strdup(n->key);
		if (b->v[b->n].key == NULL)
			return -ENOMEM;
		b->v[b->n++].o = n->o;
	}
	return 0;
}

static int
mem_list(struct store *s, const char *prefix, const char *start_after,
    store_list_fn *fn, void *arg)
{
	struct store_mem *m = (struct store_mem *)s;
	_cleanup_free_ struct batch *b = calloc(1, sizeof(*b));
	_cleanup_free_ char *last = NULL;
	const char *from = prefix;
	bool after = false;
	int r;

	if (b == NULL)
		return -ENOMEM;
	if (start_after != NULL && strcmp(start_after, prefix) >= 0) {
		from = start_after;
		after = true;
	}
	do {
		r = collect(m, from, after, prefix, b);
		for (size_t i = 0; i < b->n; i++) {
			if (r == 0)
				r = fn(arg, b->v[i].key, &b->v[i].o);
			free(last);
			last = b->v[i].key;
		}
		from = last;
		after = true;
	} while (r == 0 && b->n == LIST_BATCH);
	return r;
}

static int
mem_del(struct store *s, const char *const *keys, size_t count,
    store_delete_fn *fn, void *arg, deadline_t deadline)
{
	struct store_mem *m = (struct store_mem *)s;

	(void)fn;
	(void)arg;
	(void)deadline;
	for (size_t i = 0; i < count; i++) {
		struct node **links[LEVELS], *n;

		LOCK(&m->lock);
		n = find(m, keys[i], false, links);
		if (n == NULL || !streq(n->key, keys[i]))
			continue;
		for (int l = 0; l < LEVELS && *links[l] == n; l++)
			*links[l] = n->next[l];
		buf_unref(n->content);
		free(n->key);
		free(n);
	}
	return 0;
}

static int
mem_copy(struct store *s, const char *from, const char *to, deadline_t deadline)
{
	struct store_mem *m = (struct store_mem *)s;
	struct buf *b;
	struct store_object o;

	(void)deadline;
	{
		LOCK(&m->lock);
		struct node *n = find_exact(m, from);

		if (n == NULL)
			return 1;
		b = buf_ref(n->content);
		o = n->o;
	}
	o.mtime = clock_real_s();
	return insert(m, to, b, &o, false);
}

static int
mem_copy_from(struct store *s, struct store *source, const char *key,
    deadline_t deadline)
{
	static const struct store_get how = {.max = SIZE_MAX};
	struct store_object o;
	struct buf *b;
	int r;

	(void)deadline;
	if (source->ops != s->ops)
		return -EOPNOTSUPP;
	r = mem_get(source, key, &how, &b, &o);
	if (r != 0)
		return r;
	o.mtime = clock_real_s();
	return insert((struct store_mem *)s, key, b, &o, false);
}

static void
mem_free(struct store *s)
{
	struct store_mem *m = (struct store_mem *)s;
	struct node *next;

	for (struct node *n = m->head[0]; n != NULL; n = next) {
		next = n->next[0];
		buf_unref(n->content);
		free(n->key);
		free(n);
	}
	pthread_mutex_destroy(&m->lock);
	free(m);
}

int
store_mem_new(struct store **ret)
{
	static const struct store_ops ops = {
	    .get = mem_get,
	    .put = mem_put,
	    .stat = mem_stat,
	    .list = mem_list,
	    .del = mem_del,
	    .copy = mem_copy,
	    .copy_from = mem_copy_from,
	    .free = mem_free,
	};
	struct store_mem *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return -ENOMEM;
	pthread_mutex_init(&m->lock, NULL);
	m->random = 1;
	m->s.ops = &ops;
	m->s.name = "mem";
	*ret = &m->s;
	return 0;
}
