/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/filters.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "store/fault_script.h"
#include "store/store.h"

#define SCRIPT_MAX MIB
/* "The store's own" deadline. */
#define HANG_MS 30000

/* Tells one version of the script from the next. */
struct version {
	bool exists;
	ino_t ino;
	off_t size;
	struct timespec mtime;
};

struct store_fault {
	struct store s;
	char *path;           /* owned */
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t cond;
	struct fault_script *script; /* owned */
	struct version version;
	bool down;
};

static void
version_of(const char *path, struct version *ret)
{
	struct stat st;

	memset(ret, 0, sizeof(*ret));
	if (stat(path, &st) < 0)
		return;
	ret->exists = true;
	ret->ino = st.st_ino;
	ret->size = st.st_size;
	ret->mtime = st.st_mtim;
}

static bool
version_eq(const struct version *a, const struct version *b)
{
	return a->exists == b->exists && a->ino == b->ino &&
	       a->size == b->size && a->mtime.tv_sec == b->mtime.tv_sec &&
	       a->mtime.tv_nsec == b->mtime.tv_nsec;
}

static int
load(const char *path, struct fault_script **ret)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	_cleanup_free_ char *text = NULL;
	int r;

	r = io_read_file(AT_FDCWD, path, SCRIPT_MAX, &b);
	if (r < 0) {
		log_err("%s: cannot read it: %s", path, strerror(-r));
		return r;
	}
	text = strndup((const char *)b->data, b->len);
	if (text == NULL)
		return -ENOMEM;
	return fault_script_parse(text, path, ret);
}

/* Take over a script that has changed; one that is wrong changes nothing. */
static void
refresh(struct store_fault *f)
{
	struct fault_script *script = NULL, *old = NULL;
	struct version v;

	version_of(f->path, &v);
	{
		LOCK(&f->lock);
		if (version_eq(&v, &f->version))
			return;
		f->version = v;
	}
	/* Removing the script ends the trouble. */
	if (v.exists ? load(f->path, &script) < 0
		     : fault_script_parse("", f->path, &script) < 0)
		return;
	{
		LOCK(&f->lock);
		old = f->script;
		f->script = script;
	}
	fault_script_free(old);
}

/* Wait, unless it is shut down or the deadline comes first. */
static int
wait_until(struct store_fault *f, deadline_t until, deadline_t deadline)
{
	deadline_t end = until;
	LOCK(&f->lock);

	if (deadline != 0 && (end == 0 || deadline < end))
		end = deadline;
	while (!f->down && deadline_left(end) > 0)
		(void)cond_wait_until(&f->cond, &f->lock, end);
	if (f->down)
		return -ESHUTDOWN;
	return end == until ? 0 : -ETIMEDOUT;
}

static int
hang(struct store_fault *f, deadline_t deadline)
{
	int r =
	    wait_until(f, 0, deadline != 0 ? deadline : deadline_in(HANG_MS));

	return r < 0 ? r : -ETIMEDOUT;
}

/* What happens before the call.  0: it is made, and *o may change its outcome;
 * otherwise its answer. */
static int
before(struct store_fault *f, const struct fault_order *o, deadline_t deadline)
{
	switch (o->action) {
	case FAULT_ERROR:
		return o->error;
	case FAULT_DELAY:
		return wait_until(f, deadline_in(o->arg), deadline);
	case FAULT_HANG:
		return hang(f, deadline);
	case FAULT_ABSENT:
		return 1;
	case FAULT_KILL:
		raise(SIGKILL);
		return -EIO;
	case FAULT_TRUNCATE:
	case FAULT_FLIP:
	case FAULT_LOST:
	case FAULT_KILL_AFTER:
		break;
	}
	return 0;
}

static int
after(const struct fault_order *o, int r)
{
	if (o->action == FAULT_KILL_AFTER)
		raise(SIGKILL);
	return o->action == FAULT_LOST ? -EIO : r;
}

/* The order for a call on one of n keys; 1 if there is none. */
static int
next_order(struct store_fault *f, enum store_verb verb, const char *const *keys,
    size_t n, struct fault_order *ret)
{
	refresh(f);
	LOCK(&f->lock);
	for (size_t i = 0; i < n; i++)
		if (fault_script_next(f->script, verb, keys[i], ret) == 0)
			return 0;
	return 1;
}

static bool
is_disturbed(struct store_fault *f, const char *key)
{
	refresh(f);
	LOCK(&f->lock);
	return fault_script_has(f->script, STORE_GET, key);
}

/* A damaged copy of the bytes. */
static int
damage(const struct fault_order *o, const void *p, size_t len, struct buf **ret)
{
	struct buf *b = buf_copy(p, len);

	if (b == NULL)
		return -ENOMEM;
	if (o->action == FAULT_TRUNCATE && o->arg < b->len)
		b->len = (size_t)o->arg;
	if (o->action == FAULT_FLIP && o->arg < b->len)
		b->data[o->arg] ^= 0xff;
	*ret = b;
	return 0;
}

static bool
damages(const struct fault_order *o)
{
	return o->action == FAULT_TRUNCATE || o->action == FAULT_FLIP;
}

static int
fault_get(struct store *s, const char *key, const struct store_get *how,
    struct buf **ret, struct store_object *ret_obj)
{
	struct store_fault *f = (struct store_fault *)s;
	struct fault_order o;
	struct buf *bad;
	int r;

	if (how->flags & STORE_LOCAL)
		return is_disturbed(f, key)
			   ? -EAGAIN
			   : store_get(s->below, key, how, ret, ret_obj);
	if (next_order(f, STORE_GET, &key, 1, &o) != 0)
		return store_get(s->below, key, how, ret, ret_obj);
	r = before(f, &o, how->deadline);
	if (r != 0)
		return r;
	r = store_get(s->below, key, how, ret, ret_obj);
	if (r == 0 && damages(&o)) {
		r = damage(&o, (*ret)->data, (*ret)->len, &bad);
		buf_unref(*ret);
		*ret = r == 0 ? bad : NULL;
	}
	return after(&o, r);
}

static int
fault_put(struct store *s, const char *key, const void *p, size_t len,
    const struct store_put *how, struct store_object *ret_obj)
{
	struct store_fault *f = (struct store_fault *)s;
	_cleanup_(buf_unrefp) struct buf *bad = NULL;
	struct fault_order o;
	int r;

	if (next_order(f, STORE_PUT, &key, 1, &o) != 0)
		return store_put(s->below, key, p, len, how, ret_obj);
	r = before(f, &o, how->deadline);
	if (r == 0 && damages(&o))
		r = damage(&o, p, len, &bad);
	if (r != 0)
		return r;
	r = store_put(s->below, key, bad != NULL ? bad->data : p,
	    bad != NULL ? bad->len : len, how, ret_obj);
	return after(&o, r);
}

static int
fault_stat(struct store *s, const char *key, deadline_t deadline,
    struct store_object *ret)
{
	struct store_fault *f = (struct store_fault *)s;
	struct fault_order o;
	int r;

	if (next_order(f, STORE_STAT, &key, 1, &o) != 0)
		return store_stat(s->below, key, deadline, ret);
	r = before(f, &o, deadline);
	return r != 0 ? r : after(&o, store_stat(s->below, key, deadline, ret));
}

static int
fault_list(struct store *s, const char *prefix, const char *start_after,
    store_list_fn *fn, void *arg)
{
	struct store_fault *f = (struct store_fault *)s;
	struct fault_order o;
	int r;

	if (next_order(f, STORE_LIST, &prefix, 1, &o) != 0)
		return store_list(s->below, prefix, start_after, fn, arg);
	if (o.action == FAULT_ABSENT)
		return 0;
	r = before(f, &o, 0);
	if (r != 0)
		return r;
	return after(&o, store_list(s->below, prefix, start_after, fn, arg));
}

static int
fault_del(struct store *s, const char *const *keys, size_t n,
    store_delete_fn *fn, void *arg, deadline_t deadline)
{
	struct store_fault *f = (struct store_fault *)s;
	struct fault_order o;
	int r;

	if (next_order(f, STORE_DELETE, keys, n, &o) != 0)
		return store_delete(s->below, keys, n, fn, arg, deadline);
	r = before(f, &o, deadline);
	if (r == 0)
		r = after(
		    &o, store_delete(s->below, keys, n, NULL, NULL, deadline));
	for (size_t i = 0; r < 0 && fn != NULL && i < n; i++)
		fn(arg, keys[i], strerror(-r));
	return r;
}

static int
fault_copy(
    struct store *s, const char *from, const char *to, deadline_t deadline)
{
	struct store_fault *f = (struct store_fault *)s;
	struct fault_order o;
	int r;

	if (next_order(f, STORE_COPY, &from, 1, &o) != 0)
		return store_copy(s->below, from, to, deadline);
	r = before(f, &o, deadline);
	return r != 0 ? r : after(&o, store_copy(s->below, from, to, deadline));
}

static int
fault_copy_from(struct store *s, struct store *source, const char *key,
    deadline_t deadline)
{
	struct store_fault *f = (struct store_fault *)s;
	struct fault_order o;
	int r;

	if (next_order(f, STORE_COPY, &key, 1, &o) != 0)
		return store_copy_from(s->below, source, key, deadline);
	r = before(f, &o, deadline);
	return r != 0 ? r : after(&o,
	    store_copy_from(s->below, source, key, deadline));
}

static int
fault_touch(struct store *s, const char *key)
{
	struct store_fault *f = (struct store_fault *)s;
	struct fault_order o;
	int r;

	if (next_order(f, STORE_TOUCH, &key, 1, &o) != 0)
		return store_touch(s->below, key);
	r = before(f, &o, 0);
	return r != 0 ? r : after(&o, store_touch(s->below, key));
}

static int
fault_sync(struct store *s)
{
	struct store_fault *f = (struct store_fault *)s;
	const char *none = "";
	struct fault_order o;
	int r;

	if (next_order(f, STORE_SYNC, &none, 1, &o) != 0)
		return store_sync(s->below);
	r = before(f, &o, 0);
	return r != 0 ? r : after(&o, store_sync(s->below));
}

static void
fault_shutdown(struct store *s)
{
	struct store_fault *f = (struct store_fault *)s;
	LOCK(&f->lock);

	f->down = true;
	pthread_cond_broadcast(&f->cond);
}

static void
fault_free(struct store *s)
{
	struct store_fault *f = (struct store_fault *)s;

	fault_script_free(f->script);
	pthread_cond_destroy(&f->cond);
	pthread_mutex_destroy(&f->lock);
	free(f->path);
	free(f);
}

int
store_fault_new(struct store *below, const char *script, struct store **ret)
{
	static const struct store_ops ops = {
	    .get = fault_get,
	    .put = fault_put,
	    .stat = fault_stat,
	    .list = fault_list,
	    .del = fault_del,
	    .copy = fault_copy,
	    .copy_from = fault_copy_from,
	    .touch = fault_touch,
	    .sync = fault_sync,
	    .shutdown = fault_shutdown,
	    .free = fault_free,
	};
	struct store_fault *f = calloc(1, sizeof(*f));
	int r;

	if (f == NULL)
		return -ENOMEM;
	r = cond_init(&f->cond);
	if (r < 0) {
		free(f);
		return r;
	}
	f->s.ops = &ops;
	f->s.below = below;
	f->s.name = "fault";
	pthread_mutex_init(&f->lock, NULL);
	f->path = strdup(script);
	r = f->path != NULL ? 0 : -ENOMEM;
	if (r == 0) {
		version_of(f->path, &f->version);
		r = load(f->path, &f->script);
	}
	if (r < 0) {
		fault_free(&f->s);
		return r;
	}
	*ret = &f->s;
	return 0;
}
