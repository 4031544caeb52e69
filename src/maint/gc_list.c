/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/gc_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "maint/marks.h"
#include "pbs/names.h"
#include "store/store.h"

#define CONTENT ".cnt/"
/* A listing that never ends must not fill the memory. */
#define INDICES_MAX ((size_t)1 << 24)
#define MD5_HEX 32

const char *
gc_shown(const struct gc_index *i)
{
	return !i->outside && str_starts(i->key, CONTENT) ?
	    i->key + strlen(CONTENT) : i->key;
}

/* An etag that is made of the content alone, in the form of S3. */
static bool
is_of_content(const char *etag)
{
	return strlen(etag) == MD5_HEX &&
	    strspn(etag, "0123456789abcdef") == MD5_HEX;
}

/* Copies of an index need be read once. */
static void
set_source(struct gc_index *i)
{
	struct str s = {0};

	str_addf(&s, "%s%c%llu%c%s", i->etag, '\n',
	    (unsigned long long)i->size, '\n',
	    is_of_content(i->etag) ? "" : i->key);
	i->lasts = i->etag[0] != '\0' && str_error(&s) == 0;
	i->source = digest_of(str_get(&s), s.len);
	str_fini(&s);
}

int
gc_add_index(struct gc *g, const char *key, const char *etag, uint64_t size,
    bool outside)
{
	size_t len = strlen(key) + 1, etag_len = strlen(etag) + 1;
	struct gc_index *i;

	if (g->n == INDICES_MAX) {
		log_err("there are more than %zu indices\n"
		    "hint: no datastore is that large; check the store",
		    INDICES_MAX);
		return -EOVERFLOW;
	}
	if (g->n == g->room) {
		size_t room = MAX(2 * g->room, (size_t)256);
		struct gc_index **v;

		v = reallocarray(g->v, room, sizeof(struct gc_index *));
		if (v == NULL)
			return -ENOMEM;
		g->v = v;
		g->room = room;
	}
	i = calloc(1, sizeof(*i) + len + etag_len);
	if (i == NULL)
		return -ENOMEM;
	memcpy(i->key, key, len);
	memcpy(i->key + len, etag, etag_len);
	i->etag = i->key + len;
	i->size = size;
	i->outside = outside;
	set_source(i);
	g->v[g->n++] = i;
	return 0;
}

static bool
is_of_scheme(const char *key)
{
	struct key_parts k;

	key_parse(key, &k);
	return k.kind == KEY_FILE;
}

static int
on_object(void *arg, const char *key, const struct store_object *o)
{
	struct gc *g = arg;
	int r = gc_stopped(g);

	if (r < 0 || (!str_ends(key, ".fidx") && !str_ends(key, ".didx")))
		return r;
	if (!is_of_scheme(key))
		gc_event(g, GC_STRAY_INDEX, key, "outside of the scheme of "
		    "groups and snapshots");
	return gc_add_index(g, key, o->etag, o->size, false);
}

static int
source_cmp(const void *a, const void *b)
{
	const struct gc_index *x = *(struct gc_index *const *)a;
	const struct gc_index *y = *(struct gc_index *const *)b;
	int cmp = memcmp(&x->source, &y->source, MARKS_SOURCE_LEN);

	/* Those that are the same stay in the order of their keys. */
	return cmp != 0 ? cmp : strcmp(x->key, y->key);
}

static int
find_same(struct gc *g)
{
	_cleanup_free_ struct gc_index **v = NULL;
	struct gc_index *first = NULL;

	if (g->n == 0)
		return 0;
	v = calloc(g->n, sizeof(struct gc_index *));
	if (v == NULL)
		return -ENOMEM;
	memcpy(v, g->v, g->n * sizeof(struct gc_index *));
	qsort(v, g->n, sizeof(struct gc_index *), source_cmp);
	for (size_t i = 0; i < g->n; i++) {
		if (first != NULL && v[i]->lasts && first->lasts &&
		    memcmp(&first->source, &v[i]->source,
			MARKS_SOURCE_LEN) == 0)
			v[i]->same = first;
		else
			first = v[i];
	}
	return 0;
}

int
gc_list(struct gc *g)
{
	int r = store_list(g->store, CONTENT, NULL, on_object, g);

	if (r == 0 && g->base != NULL)
		r = gc_dir_list(g);
	return r == 0 ? find_same(g) : r;
}
