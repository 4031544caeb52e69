/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/filters.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/num.h"
#include "store/store.h"

/* A page of a listing, and a multi-delete, has so many entries. */
#define PAGE ((size_t)1000)

struct store_limit {
	struct store s;
	uint64_t max_requests, max_download; /* 0: any */
	uint64_t calls, bytes;               /* atomic */
	bool told;                           /* atomic: the limit was logged */
};

static uint64_t
load(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* What has been spent: as counted here, or below with retries and pages. */
static void
spent(struct store_limit *l, uint64_t *requests, uint64_t *bytes)
{
	struct store_counts c;

	store_counts(l->s.below, &c);
	*requests = 0;
	/* What only directories have is no request. */
	for (int v = 0; v < STORE_VERBS; v++)
		if (v != STORE_TOUCH && v != STORE_SYNC)
			*requests += c.requests[v];
	*requests = MAX(*requests, load(&l->calls));
	*bytes = MAX(c.bytes_read, load(&l->bytes));
}

static bool
is_first(struct store_limit *l)
{
	return !__atomic_exchange_n(&l->told, true, __ATOMIC_RELAXED);
}

/* Whether one request more goes beyond the limits.  0 or -EDQUOT. */
static int
check(struct store_limit *l)
{
	uint64_t requests, bytes;
	char has[NUM_SIZE_MAX], may[NUM_SIZE_MAX];

	spent(l, &requests, &bytes);
	if (l->max_requests != 0 && requests >= l->max_requests) {
		if (is_first(l))
			log_err("max-requests: %" PRIu64 " were made, and "
				"no more than %" PRIu64 " may be: nothing "
				"more is asked of the store\n"
				"hint: raise max-requests, or start again",
			    requests, l->max_requests);
		return -EDQUOT;
	}
	if (l->max_download != 0 && bytes >= l->max_download) {
		if (is_first(l))
			log_err("max-download: %s were received, and no more "
				"than %s may be: nothing more is asked of "
				"the store\n"
				"hint: raise max-download, or start again",
			    num_format_size(has, bytes),
			    num_format_size(may, l->max_download));
		return -EDQUOT;
	}
	return 0;
}

/* Count a call that is about to be made. */
static int
begin(struct store *s)
{
	struct store_limit *l = (struct store_limit *)s;
	int r = check(l);

	if (r < 0)
		return r;
	/* Two at once must not both be the last. */
	if (__atomic_fetch_add(&l->calls, 1, __ATOMIC_RELAXED) >=
		l->max_requests &&
	    l->max_requests != 0) {
		__atomic_fetch_sub(&l->calls, 1, __ATOMIC_RELAXED);
		return -EDQUOT;
	}
	return 0;
}

static int
limit_get(struct store *s, const char *key, const struct store_get *how,
    struct buf **ret, struct store_object *ret_obj)
{
	struct store_limit *l = (struct store_limit *)s;
	int r = begin(s);

	if (r < 0)
		return how->flags & STORE_LOCAL ? -EAGAIN : r;
	r = store_get(s->below, key, how, ret, ret_obj);
	if (r == 0)
		__atomic_fetch_add(&l->bytes, (*ret)->len, __ATOMIC_RELAXED);
	/* No request was made for that. */
	if (r == -EAGAIN && (how->flags & STORE_LOCAL))
		__atomic_fetch_sub(&l->calls, 1, __ATOMIC_RELAXED);
	return r;
}

static int
limit_put(struct store *s, const char *key, const void *p, size_t len,
    const struct store_put *how, struct store_object *ret_obj)
{
	int r = begin(s);

	return r < 0 ? r : store_put(s->below, key, p, len, how, ret_obj);
}

static int
limit_stat(struct store *s, const char *key, deadline_t deadline,
    struct store_object *ret)
{
	int r = begin(s);

	return r < 0 ? r : store_stat(s->below, key, deadline, ret);
}

struct list_arg {
	struct store_limit *l;
	store_list_fn *fn;
	void *arg;
	uint64_t n;
};

static int
list_one(void *arg, const char *key, const struct store_object *o)
{
	struct list_arg *a = arg;

	/* Another page would come: is there a request left for it? */
	if (a->n++ > 0 && a->n % PAGE == 1) {
		int r = check(a->l);

		if (r < 0)
			return r;
	}
	return a->fn(a->arg, key, o);
}

static int
limit_list(struct store *s, const char *prefix, const char *start_after,
    store_list_fn *fn, void *arg)
{
	struct list_arg a = {(struct store_limit *)s, fn, arg, 0};
	int r = begin(s);

	if (r < 0)
		return r;
	return store_list(s->below, prefix, start_after, list_one, &a);
}

static int
limit_del(struct store *s, const char *const *keys, size_t n,
    store_delete_fn *fn, void *arg, deadline_t deadline)
{
	int r = 0, err = 0;

	/* A page is a request, or more where there is no multi-delete. */
	for (size_t done = 0, part; done < n; done += part) {
		part = MIN(n - done, PAGE);
		r = err == -EDQUOT ? err : begin(s);
		for (size_t i = 0; r < 0 && fn != NULL && i < part; i++)
			fn(arg, keys[done + i],
			    "the limit of requests is reached");
		if (r == 0)
			r = store_delete(s->below, keys + done, part, fn, arg,
			    deadline);
		if (r < 0 && err == 0)
			err = r;
	}
	return err;
}

static int
limit_copy(
    struct store *s, const char *from, const char *to, deadline_t deadline)
{
	int r = begin(s);

	return r < 0 ? r : store_copy(s->below, from, to, deadline);
}

static int
limit_copy_from(struct store *s, struct store *source, const char *key,
    deadline_t deadline)
{
	int r = begin(s);

	return r < 0 ? r : store_copy_from(s->below, source, key, deadline);
}

static void
limit_free(struct store *s)
{
	free(s);
}

int
store_limit_new(struct store *below, uint64_t max_requests,
    uint64_t max_download, struct store **ret)
{
	static const struct store_ops ops = {
	    .get = limit_get,
	    .put = limit_put,
	    .stat = limit_stat,
	    .list = limit_list,
	    .del = limit_del,
	    .copy = limit_copy,
	    .copy_from = limit_copy_from,
	    .free = limit_free,
	};
	struct store_limit *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return -ENOMEM;
	l->s.ops = &ops;
	l->s.below = below;
	l->s.name = "limit";
	l->max_requests = max_requests;
	l->max_download = max_download;
	*ret = &l->s;
	return 0;
}
