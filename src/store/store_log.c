/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/filters.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "store/store.h"

static void
say(enum store_verb v, const char *key, int r, uint64_t bytes, uint64_t begin)
{
	_cleanup_(str_fini) struct str t = {0};
	const char *outcome = "ok";

	if (log_get_level() < LOG_LVL_DEBUG)
		return;
	if (r < 0)
		outcome = strerror(-r);
	else if (r > 0)
		outcome = v == STORE_PUT ? "exists" : "absent";
	str_escape(&t, key, strlen(key));
	log_debug("store %s %s: %s, %llu bytes, %llu ms", store_verb_name(v),
	    str_get(&t), outcome, (unsigned long long)bytes,
	    (unsigned long long)(clock_mono_ms() - begin));
}

static int
log_get(struct store *s, const char *key, const struct store_get *how,
    struct buf **ret, struct store_object *ret_obj)
{
	uint64_t begin = clock_mono_ms();
	int r = store_get(s->below, key, how, ret, ret_obj);

	say(STORE_GET, key, r, r == 0 ? (*ret)->len : 0, begin);
	return r;
}

static int
log_put(struct store *s, const char *key, const void *p, size_t len,
    const struct store_put *how, struct store_object *ret_obj)
{
	uint64_t begin = clock_mono_ms();
	int r = store_put(s->below, key, p, len, how, ret_obj);

	say(STORE_PUT, key, r, r == 0 ? len : 0, begin);
	return r;
}

static int
log_stat(struct store *s, const char *key, deadline_t deadline,
    struct store_object *ret)
{
	uint64_t begin = clock_mono_ms();
	int r = store_stat(s->below, key, deadline, ret);

	say(STORE_STAT, key, r, 0, begin);
	return r;
}

struct list_arg {
	store_list_fn *fn;
	void *arg;
	bool ended;
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
log_list(struct store *s, const char *prefix, const char *start_after,
    store_list_fn *fn, void *arg)
{
	uint64_t begin = clock_mono_ms();
	struct list_arg l = {fn, arg, false};
	int r = store_list(s->below, prefix, start_after, list_one, &l);

	say(STORE_LIST, prefix, l.ended ? 0 : r, 0, begin);
	return r;
}

static int
log_del(struct store *s, const char *const *keys, size_t n, store_delete_fn *fn,
    void *arg, deadline_t deadline)
{
	uint64_t begin = clock_mono_ms();
	int r = store_delete(s->below, keys, n, fn, arg, deadline);

	for (size_t i = 0; i < n; i++)
		say(STORE_DELETE, keys[i], r, 0, begin);
	return r;
}

static int
log_copy(struct store *s, const char *from, const char *to, deadline_t deadline)
{
	uint64_t begin = clock_mono_ms();
	int r = store_copy(s->below, from, to, deadline);

	say(STORE_COPY, from, r, 0, begin);
	return r;
}

static int
log_copy_from(struct store *s, struct store *source, const char *key,
    deadline_t deadline)
{
	uint64_t begin = clock_mono_ms();
	int r = store_copy_from(s->below, source, key, deadline);

	say(STORE_COPY, key, r, 0, begin);
	return r;
}

static int
log_touch(struct store *s, const char *key)
{
	uint64_t begin = clock_mono_ms();
	int r = store_touch(s->below, key);

	say(STORE_TOUCH, key, r, 0, begin);
	return r;
}

static int
log_sync(struct store *s)
{
	uint64_t begin = clock_mono_ms();
	int r = store_sync(s->below);

	say(STORE_SYNC, "", r, 0, begin);
	return r;
}

static void
log_free(struct store *s)
{
	free(s);
}

int
store_log_new(struct store *below, struct store **ret)
{
	static const struct store_ops ops = {
	    .get = log_get,
	    .put = log_put,
	    .stat = log_stat,
	    .list = log_list,
	    .del = log_del,
	    .copy = log_copy,
	    .copy_from = log_copy_from,
	    .touch = log_touch,
	    .sync = log_sync,
	    .free = log_free,
	};
	struct store *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	s->ops = &ops;
	s->below = below;
	s->name = "log";
	*ret = s;
	return 0;
}
