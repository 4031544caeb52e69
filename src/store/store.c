/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/store.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "pbs/names.h"

static bool
part_is_valid(const char *p, size_t len)
{
	if (len == 0 || (len == 1 && p[0] == '.') ||
	    (len == 2 && p[0] == '.' && p[1] == '.'))
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)p[i];

		if (c < 0x20 || c == 0x7f)
			return false;
	}
	return true;
}

/* len bytes of key, which may go on after them. */
static bool
key_is_valid(const char *key, size_t len)
{
	const char *p = key, *end = key + len;

	if (len > KEY_MAX)
		return false;
	for (;;) {
		const char *slash = memchr(p, '/', (size_t)(end - p));

		if (slash == NULL)
			return part_is_valid(p, (size_t)(end - p));
		if (!part_is_valid(p, (size_t)(slash - p)))
			return false;
		p = slash + 1;
	}
}

bool
store_key_is_valid(const char *key)
{
	return key_is_valid(key, strnlen(key, KEY_MAX + 1));
}

static bool
prefix_is_valid(const char *prefix)
{
	size_t len = strnlen(prefix, KEY_MAX + 1);

	return len == 0 ||
	       (prefix[len - 1] == '/' && key_is_valid(prefix, len - 1));
}

const char *
store_verb_name(enum store_verb v)
{
	static const char *const names[STORE_VERBS] = {
	    [STORE_GET] = "get",
	    [STORE_PUT] = "put",
	    [STORE_STAT] = "stat",
	    [STORE_LIST] = "list",
	    [STORE_DELETE] = "delete",
	    [STORE_COPY] = "copy",
	    [STORE_TOUCH] = "touch",
	    [STORE_SYNC] = "sync",
	};

	return (unsigned)v < STORE_VERBS ? names[v] : "?";
}

/* Whether calls to s still have a meaning: 0 or -ESHUTDOWN. */
static int
check_up(struct store *s)
{
	return __atomic_load_n(&s->down, __ATOMIC_ACQUIRE) ? -ESHUTDOWN : 0;
}

/* Step down to the first store that does the operation itself. */
#define FIND(s, op)                                                            \
	do {                                                                   \
		while ((s)->ops->op == NULL)                                   \
			(s) = (s)->below;                                      \
	} while (0)

int
store_get(struct store *s, const char *key, const struct store_get *how,
    struct buf **ret, struct store_object *ret_obj)
{
	uint64_t end;
	int r;

	*ret = NULL;
	if (!store_key_is_valid(key) || (how->len == 0 && how->off != 0) ||
	    __builtin_add_overflow(how->off, how->len, &end))
		return -EINVAL;
	r = check_up(s);
	if (r < 0)
		return r;
	FIND(s, get);
	return s->ops->get(s, key, how, ret, ret_obj);
}

int
store_put(struct store *s, const char *key, const void *p, size_t len,
    const struct store_put *how, struct store_object *ret_obj)
{
	static const struct store_put plain;
	int r;

	if (!store_key_is_valid(key))
		return -EINVAL;
	r = check_up(s);
	if (r < 0)
		return r;
	FIND(s, put);
	return s->ops->put(s, key, p, len, how != NULL ? how : &plain, ret_obj);
}

int
store_stat(struct store *s, const char *key, deadline_t deadline,
    struct store_object *ret)
{
	int r;

	if (!store_key_is_valid(key))
		return -EINVAL;
	r = check_up(s);
	if (r < 0)
		return r;
	FIND(s, stat);
	return s->ops->stat(s, key, deadline, ret);
}

int
store_list(struct store *s, const char *prefix, const char *start_after,
    store_list_fn *fn, void *arg)
{
	int r;

	if (!prefix_is_valid(prefix))
		return -EINVAL;
	if (start_after != NULL && start_after[0] == '\0')
		start_after = NULL;
	r = check_up(s);
	if (r < 0)
		return r;
	FIND(s, list);
	return s->ops->list(s, prefix, start_after, fn, arg);
}

void
store_on_strange(struct store *s, store_strange_fn *fn, void *arg)
{
	for (; s != NULL; s = s->below) {
		s->strange = fn;
		s->strange_arg = arg;
	}
}

int
store_delete(struct store *s, const char *const *keys, size_t n,
    store_delete_fn *fn, void *arg, deadline_t deadline)
{
	int r;

	/* All or none: a bad key is the caller's mistake. */
	for (size_t i = 0; i < n; i++)
		if (!store_key_is_valid(keys[i]))
			return -EINVAL;
	if (n == 0)
		return 0;
	r = check_up(s);
	if (r < 0)
		return r;
	FIND(s, del);
	return s->ops->del(s, keys, n, fn, arg, deadline);
}

int
store_copy(
    struct store *s, const char *from, const char *to, deadline_t deadline)
{
	int r;

	if (!store_key_is_valid(from) || !store_key_is_valid(to))
		return -EINVAL;
	r = check_up(s);
	if (r < 0)
		return r;
	FIND(s, copy);
	return s->ops->copy(s, from, to, deadline);
}

int
store_copy_from(struct store *s, struct store *source, const char *key,
    deadline_t deadline)
{
	int r;

	if (!store_key_is_valid(key))
		return -EINVAL;
	r = check_up(s);
	if (r == 0)
		r = check_up(source);
	if (r < 0)
		return r;
	while (source->below != NULL)
		source = source->below;
	for (; s != NULL; s = s->below)
		if (s->ops->copy_from != NULL)
			return s->ops->copy_from(s, source, key, deadline);
	return -EOPNOTSUPP;
}

int
store_touch(struct store *s, const char *key)
{
	int r;

	if (!store_key_is_valid(key))
		return -EINVAL;
	r = check_up(s);
	if (r < 0)
		return r;
	for (; s != NULL; s = s->below)
		if (s->ops->touch != NULL)
			return s->ops->touch(s, key);
	return -EOPNOTSUPP;
}

int
store_sync(struct store *s)
{
	int r = check_up(s);

	if (r < 0)
		return r;
	for (; s != NULL; s = s->below)
		if (s->ops->sync != NULL)
			return s->ops->sync(s);
	return 0;
}

void
store_verdict(struct store *s, const char *key, struct buf *b, bool good)
{
	if (!store_key_is_valid(key))
		return;
	for (; s != NULL; s = s->below)
		if (s->ops->verdict != NULL) {
			s->ops->verdict(s, key, b, good);
			return;
		}
}

void
store_counts(struct store *s, struct store_counts *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (; s != NULL; s = s->below)
		if (s->ops->counts != NULL) {
			s->ops->counts(s, ret);
			return;
		}
}

int
store_skew(struct store *s, int64_t *ret)
{
	*ret = 0;
	for (; s != NULL; s = s->below)
		if (s->ops->skew != NULL)
			return s->ops->skew(s, ret);
	return 0;
}

void
store_shutdown(struct store *s)
{
	for (; s != NULL; s = s->below) {
		__atomic_store_n(&s->down, 1, __ATOMIC_RELEASE);
		if (s->ops->shutdown != NULL)
			s->ops->shutdown(s);
	}
}

void
store_free(struct store *s)
{
	while (s != NULL) {
		struct store *below = s->below;

		s->ops->free(s);
		s = below;
	}
}
