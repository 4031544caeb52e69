/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/backends.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "pbs/names.h"
#include "s3/s3.h"
#include "store/store.h"

/* Datastore names have at most 32 characters; a deeper prefix is fine too. */
#define PREFIX_MAX 255
#define FULL_MAX (PREFIX_MAX + 1 + KEY_MAX)

#define HTTP_RANGE_NOT_SATISFIABLE 416

struct store_s3 {
	struct store s;
	struct s3 *c; /* owned */
	char *prefix; /* owned; "" or ends in '/' */
	size_t prefix_len;
};

/* The bucket's key.  It fits: both lengths are bounded. */
static const char *
full(const struct store_s3 *m, const char *key, char out[FULL_MAX + 1])
{
	snprintf(out, FULL_MAX + 1, "%s%s", m->prefix, key);
	return out;
}

static void
object_from_s3(struct store_object *out, const struct s3_object *o)
{
	if (out == NULL)
		return;
	_Static_assert(sizeof(out->etag) == sizeof(o->etag), "same room");
	out->size = o->size;
	out->mtime = o->mtime;
	out->atime = 0;
	memcpy(out->etag, o->etag, sizeof(out->etag));
}

static int
s3_store_get(struct store *s, const char *key, const struct store_get *how,
    struct buf **ret, struct store_object *ret_obj)
{
	struct store_s3 *m = (struct store_s3 *)s;
	struct s3_range range = {how->off, how->len};
	struct s3_object o = {0};
	char name[FULL_MAX + 1];
	int r;

	if (how->flags & STORE_LOCAL)
		return -EAGAIN;
	r = s3_get(m->c, full(m, key, name), how->len != 0 ? &range : NULL,
	    how->max, how->deadline, ret, &o);
	if (r == 0)
		object_from_s3(ret_obj, &o);
	if (r < 0 && how->len != 0) {
		struct s3_error e;

		s3_last_error(m->c, &e);
		if (e.status == HTTP_RANGE_NOT_SATISFIABLE)
			return -ERANGE;
	}
	return r;
}

static int
s3_store_put(struct store *s, const char *key, const void *p, size_t len,
    const struct store_put *how, struct store_object *ret_obj)
{
	struct store_s3 *m = (struct store_s3 *)s;
	struct s3_object o = {0};
	char name[FULL_MAX + 1];
	int r;

	r = s3_put(m->c, full(m, key, name), p, len, how->if_absent,
	    how->deadline, &o);
	if (r == 0)
		object_from_s3(ret_obj, &o);
	return r;
}

static int
s3_store_stat(struct store *s, const char *key, deadline_t deadline,
    struct store_object *ret)
{
	struct store_s3 *m = (struct store_s3 *)s;
	struct s3_object o = {0};
	char name[FULL_MAX + 1];
	int r;

	r = s3_head(m->c, full(m, key, name), deadline, &o);
	if (r == 0)
		object_from_s3(ret, &o);
	return r;
}

struct list_arg {
	const struct store_s3 *m;
	store_list_fn *fn;
	void *arg;
	char last[KEY_MAX + 1];
};

static int
list_one(void *arg, const char *name, const struct s3_object *so)
{
	struct list_arg *l = arg;
	const char *key = name + l->m->prefix_len;
	struct store_object o;
	int cmp;

	/* Folder markers of other programs, names with "//" and the like. */
	if (!str_starts(name, l->m->prefix) || !store_key_is_valid(key)) {
		_cleanup_(str_fini) struct str t = {0};

		str_escape(&t, name, strlen(name));
		log_debug("s3 object %s: not a name of this format, left alone",
		    str_get(&t));
		if (l->m->s.strange != NULL && str_starts(name, l->m->prefix))
			l->m->s.strange(l->m->s.strange_arg, key);
		return 0;
	}
	/*
	 * Callers merge listings, so order is part of the contract.  A page
	 * boundary may repeat a key when objects change meanwhile.
	 */
	cmp = strcmp(key, l->last);
	if (cmp == 0)
		return 0;
	if (cmp < 0) {
		log_err("list of %s: the server lists %s after %s\n"
			"hint: a bucket type that lists in no order cannot "
			"hold a datastore",
		    l->m->prefix, key, l->last);
		return -EPROTO;
	}
	memcpy(l->last, key, strlen(key) + 1);
	object_from_s3(&o, so);
	return l->fn(l->arg, key, &o);
}

static int
s3_store_list(struct store *s, const char *prefix, const char *start_after,
    store_list_fn *fn, void *arg)
{
	struct store_s3 *m = (struct store_s3 *)s;
	struct list_arg l = {.m = m, .fn = fn, .arg = arg};
	char name[FULL_MAX + 1], after[FULL_MAX + 1];

	if (start_after != NULL && strlen(start_after) > KEY_MAX)
		return -EINVAL;
	full(m, prefix, name);
	if (start_after != NULL) {
		full(m, start_after, after);
		/* Not all servers take a start before the prefix. */
		if (strcmp(after, name) < 0)
			start_after = NULL;
	}
	return s3_list(
	    m->c, name, start_after != NULL ? after : NULL, list_one, &l, 0);
}

struct del_arg {
	const struct store_s3 *m;
	store_delete_fn *fn;
	void *arg;
};

static void
del_one(void *arg, const char *name, const char *code, const char *message)
{
	const struct del_arg *d = arg;
	const char *why =
	    message != NULL && message[0] != '\0' ? message : code;

	if (d->fn != NULL && str_starts(name, d->m->prefix))
		d->fn(d->arg, name + d->m->prefix_len, why);
}

static int
s3_store_del(struct store *s, const char *const *keys, size_t n,
    store_delete_fn *fn, void *arg, deadline_t deadline)
{
	struct store_s3 *m = (struct store_s3 *)s;
	struct del_arg d = {m, fn, arg};
	char name[FULL_MAX + 1];
	char **names;
	int r = -ENOMEM;

	names = calloc(n, sizeof(*names));
	if (names == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		names[i] = strdup(full(m, keys[i], name));
		if (names[i] == NULL)
			goto out;
	}
	r = s3_delete_many(
	    m->c, (const char *const *)names, n, del_one, &d, deadline);
out:
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
	return r;
}

static int
s3_store_copy(
    struct store *s, const char *from, const char *to, deadline_t deadline)
{
	struct store_s3 *m = (struct store_s3 *)s;
	char a[FULL_MAX + 1], b[FULL_MAX + 1];

	return s3_copy(m->c, full(m, from, a), full(m, to, b), deadline);
}

static int
s3_store_copy_from(struct store *s, struct store *source, const char *key,
    deadline_t deadline)
{
	struct store_s3 *m = (struct store_s3 *)s;
	struct store_s3 *from = (struct store_s3 *)source;
	char a[FULL_MAX + 1], b[FULL_MAX + 1];

	if (source->ops != s->ops)
		return -EOPNOTSUPP;
	return s3_copy_from(
	    m->c, from->c, full(from, key, a), full(m, key, b), deadline);
}

static void
s3_store_counts(struct store *s, struct store_counts *ret)
{
	static const enum store_verb map[S3_VERBS] = {
	    [S3_VERB_GET] = STORE_GET,
	    [S3_VERB_HEAD] = STORE_STAT,
	    [S3_VERB_PUT] = STORE_PUT,
	    [S3_VERB_POST] = STORE_DELETE,
	    [S3_VERB_DELETE] = STORE_DELETE,
	    [S3_VERB_LIST] = STORE_LIST,
	    [S3_VERB_COPY] = STORE_COPY,
	};
	struct store_s3 *m = (struct store_s3 *)s;
	struct s3_counts c;

	s3_counts(m->c, &c);
	for (int v = 0; v < S3_VERBS; v++) {
		for (int o = 0; o < S3_OUTCOMES; o++)
			ret->requests[map[v]] += c.requests[v][o];
		ret->failed[map[v]] += c.requests[v][S3_REFUSED];
		ret->failed[map[v]] += c.requests[v][S3_FAILED];
	}
	ret->retries = c.retries;
	ret->bytes_read = c.bytes_received;
	ret->bytes_written = c.bytes_sent;
}

static int
s3_store_skew(struct store *s, int64_t *ret)
{
	return s3_clock_skew(((struct store_s3 *)s)->c, ret);
}

static void
s3_store_shutdown(struct store *s)
{
	s3_shutdown(((struct store_s3 *)s)->c);
}

static void
s3_store_free(struct store *s)
{
	struct store_s3 *m = (struct store_s3 *)s;

	s3_free(m->c);
	free(m->prefix);
	free(m);
}

int
store_s3_new(struct s3 *c, const char *prefix, struct store **ret)
{
	static const struct store_ops ops = {
	    .get = s3_store_get,
	    .put = s3_store_put,
	    .stat = s3_store_stat,
	    .list = s3_store_list,
	    .del = s3_store_del,
	    .copy = s3_store_copy,
	    .copy_from = s3_store_copy_from,
	    .counts = s3_store_counts,
	    .skew = s3_store_skew,
	    .shutdown = s3_store_shutdown,
	    .free = s3_store_free,
	};
	_cleanup_(str_fini) struct str t = {0};
	size_t len = strlen(prefix);
	struct store_s3 *m;

	while (len > 0 && prefix[len - 1] == '/')
		len--;
	if (len >= PREFIX_MAX)
		return -ENAMETOOLONG;
	str_addn(&t, prefix, len);
	if (len > 0 && !store_key_is_valid(str_get(&t)))
		return -EINVAL;
	if (len > 0)
		str_addc(&t, '/');
	else
		str_add(&t, "");
	m = calloc(1, sizeof(*m));
	if (m == NULL || str_error(&t) < 0) {
		free(m);
		return -ENOMEM;
	}
	m->prefix_len = t.len;
	m->prefix = strdup(str_get(&t));
	if (m->prefix == NULL) {
		free(m);
		return -ENOMEM;
	}
	m->s.ops = &ops;
	m->s.name = "s3";
	m->c = c;
	*ret = &m->s;
	return 0;
}
