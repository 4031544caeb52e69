/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/filters.h"

#include <errno.h>
#include <stdlib.h>

#include "store/store.h"

static int
ro_put(struct store *s, const char *key, const void *p, size_t len,
    const struct store_put *how, struct store_object *ret_obj)
{
	(void)s;
	(void)key;
	(void)p;
	(void)len;
	(void)how;
	(void)ret_obj;
	return -EROFS;
}

static int
ro_del(struct store *s, const char *const *keys, size_t n, store_delete_fn *fn,
    void *arg, deadline_t deadline)
{
	(void)s;
	(void)deadline;
	for (size_t i = 0; fn != NULL && i < n; i++)
		fn(arg, keys[i], "the store is read-only");
	return -EROFS;
}

static int
ro_copy(struct store *s, const char *from, const char *to, deadline_t deadline)
{
	(void)s;
	(void)from;
	(void)to;
	(void)deadline;
	return -EROFS;
}

static int
ro_copy_from(struct store *s, struct store *source, const char *key,
    deadline_t deadline)
{
	(void)s;
	(void)source;
	(void)key;
	(void)deadline;
	return -EROFS;
}

static int
ro_touch(struct store *s, const char *key)
{
	(void)s;
	(void)key;
	return -EROFS;
}

static void
ro_free(struct store *s)
{
	free(s);
}

int
store_ro_new(struct store *below, struct store **ret)
{
	static const struct store_ops ops = {
	    .put = ro_put,
	    .del = ro_del,
	    .copy = ro_copy,
	    .copy_from = ro_copy_from,
	    .touch = ro_touch,
	    .free = ro_free,
	};
	struct store *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	s->ops = &ops;
	s->below = below;
	s->name = "ro";
	*ret = s;
	return 0;
}
