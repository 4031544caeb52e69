/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/edit_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "repo/repo_priv.h"

/* More than any snapshot has, yet no reason to run out of memory. */
#define LISTED_MAX ((size_t)1 << 20)

static int
failed(struct repo *r, const char *what, const char *key, int err)
{
	/* The others were told of where they came from. */
	if (err == -EROFS)
		log_err("%s: cannot %s %s: the store is read-only", r->name,
		    what, key);
	return err;
}

int
edit_put(struct repo *r, const char *key, const void *p, size_t len,
    bool if_absent, struct store_object *ret)
{
	const struct store_put how = {
	    .if_absent = if_absent,
	    .deadline = deadline_in(EDIT_TIMEOUT_MS),
	};
	struct store_object o = {0};
	int err;

	err = store_put(r->store, key, p, len, &how, &o);
	if (err < 0)
		return failed(r, "write", key, err);
	/* Without an etag nobody could tell this version from the next. */
	if (ret != NULL && len > 0 && o.etag[0] == '\0' &&
	    store_stat(r->store, key, deadline_in(r->timeout_ms), &o) != 0)
		memset(&o, 0, sizeof(o));
	o.size = len;
	if (o.mtime == 0)
		o.mtime = clock_real_s();
	if (ret != NULL)
		*ret = o;
	return err;
}

int
edit_delete(struct repo *r, const char *const *keys, size_t n)
{
	int err;

	if (n == 0)
		return 0;
	err = store_delete(r->store, keys, n, NULL, NULL,
	    deadline_in(EDIT_TIMEOUT_MS));
	return err < 0 ? failed(r, "delete", keys[0], err) : 0;
}

void
edit_show(struct repo *r, const struct repo_edit *e, size_t n)
{
	int err = repo_apply(r, e, n);

	if (err < 0)
		log_warn("%s: %s was changed, but this is not shown: %s\n"
		    "hint: the next refresh shows it", r->name,
		    n > 0 ? e[0].key : "nothing", strerror(-err));
}

static int
collect(void *arg, const char *key, const struct store_object *o)
{
	struct edit_list *l = arg;
	size_t room = l->room != 0 ? 2 * l->room : 16;
	struct edit_listed *v;

	if (l->n == LISTED_MAX)
		return -EOVERFLOW;
	if (l->n == l->room) {
		v = reallocarray(l->v, room, sizeof(*v));
		if (v == NULL)
			return -ENOMEM;
		l->v = v;
		l->room = room;
	}
	l->v[l->n].key = strdup(key);
	if (l->v[l->n].key == NULL)
		return -ENOMEM;
	l->v[l->n++].o = *o;
	return 0;
}

int
edit_list(struct repo *r, const char *prefix, struct edit_list *ret)
{
	int err;

	memset(ret, 0, sizeof(*ret));
	err = store_list(r->store, prefix, NULL, collect, ret);
	if (err < 0)
		edit_list_fini(ret);
	return err;
}

void
edit_list_fini(struct edit_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].key);
	free(l->v);
	memset(l, 0, sizeof(*l));
}

bool
edit_list_find(const struct edit_list *l, const char *prefix,
    const char *file)
{
	for (size_t i = 0; i < l->n; i++)
		if (str_starts(l->v[i].key, prefix) &&
		    streq(l->v[i].key + strlen(prefix), file))
			return true;
	return false;
}

int
edit_list_delete(struct repo *r, const struct edit_list *l)
{
	_cleanup_free_ const char **keys = calloc(l->n + 1, sizeof(*keys));

	if (keys == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < l->n; i++)
		keys[i] = l->v[i].key;
	return edit_delete(r, keys, l->n);
}

/* Room for what the tree has of a snapshot and what the listing has. */
struct shown {
	struct repo_edit *v;	/* owned */
	char *keys;		/* owned: of what is gone, KEY_MAX + 1 each */
	size_t n, n_keys;
};

static void
show_listed(struct shown *s, const struct edit_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct edit_listed *x = &l->v[i];

		s->v[s->n++] = (struct repo_edit){
		    .key = x->key,
		    .size = x->o.size,
		    .mtime = x->o.mtime,
		    .etag = x->o.etag,
		};
	}
}

static int
show_gone(struct shown *s, const struct group_name *g, int64_t time,
    const char *file, const struct edit_list *l)
{
	char *key = s->keys + s->n_keys * (KEY_MAX + 1);
	int r;

	r = key_file(key, g->ns, g->type, g->id, time, file);
	if (r < 0 || edit_list_find(l, key, ""))
		return r;
	s->n_keys++;
	s->v[s->n++] = (struct repo_edit){.key = key, .gone = true};
	return 0;
}

int
edit_show_snap(struct repo *r, const struct group_name *g, int64_t time,
    const struct edit_list *l)
{
	struct tree *t = repo_tree(r);
	const struct tree_snap *snap = edit_find_snap(t, g, time);
	size_t n = snap != NULL ? snap->n_files : 0;
	struct shown s = {
	    .v = calloc(l->n + n + 1, sizeof(*s.v)),
	    .keys = calloc(n + 1, KEY_MAX + 1),
	};
	int err = s.v == NULL || s.keys == NULL ? -ENOMEM : 0;

	if (err == 0) {
		show_listed(&s, l);
		err = show_gone(&s, g, time, ".protected", l);
	}
	for (size_t i = 0; err == 0 && i < n; i++)
		err = show_gone(&s, g, time, snap->files[i].name, l);
	if (err == 0)
		err = repo_apply(r, s.v, s.n);
	free(s.v);
	free(s.keys);
	tree_unref(t);
	return err;
}

static int
by_key(const void *pa, const void *pb)
{
	const struct edit_listed *a = pa, *b = pb;

	return strcmp(a->key, b->key);
}

/* A key of the group that the tree has, as gone unless it is listed. */
static int
show_group_file(struct shown *s, const struct edit_list *l, const char *key)
{
	const struct edit_listed want = {
	    .key = s->keys + s->n_keys * (KEY_MAX + 1)};

	memcpy(want.key, key, strlen(key) + 1);
	if (l->n > 0 && bsearch(&want, l->v, l->n, sizeof(want), by_key) !=
	    NULL)
		return 0;
	s->n_keys++;
	s->v[s->n++] = (struct repo_edit){.key = want.key, .gone = true};
	return 0;
}

static int
show_group(struct shown *s, const struct tree_group *g,
    const struct edit_list *l)
{
	const struct tree_file *texts[] = {g->owner, g->notes};
	char key[KEY_MAX + 1];
	int r = 0;

	for (size_t i = 0; r == 0 && i < 2; i++) {
		if (texts[i] == NULL)
			continue;
		r = tree_file_key(texts[i], key);
		if (r == 0)
			r = show_group_file(s, l, key);
	}
	for (size_t i = 0; r == 0 && i < g->n_snaps; i++) {
		const struct tree_snap *snap = &g->snaps[i];

		if (snap->protected) {
			r = key_file(key, g->ns->path, g->type, g->id,
			    snap->time, ".protected");
			if (r == 0)
				r = show_group_file(s, l, key);
		}
		for (size_t k = 0; r == 0 && k < snap->n_files; k++) {
			r = tree_file_key(&snap->files[k], key);
			if (r == 0)
				r = show_group_file(s, l, key);
		}
	}
	return r;
}

int
edit_show_group(struct repo *r, const struct group_name *g,
    const struct edit_list *l)
{
	struct tree *t = repo_tree(r);
	const struct tree_group *tg = edit_find_group(t, g);
	struct shown s = {0};
	size_t n = 2;
	int err = 0;

	for (size_t i = 0; tg != NULL && i < tg->n_snaps; i++)
		n += tg->snaps[i].n_files + 1;
	s.v = calloc(l->n + n, sizeof(*s.v));
	s.keys = calloc(n, KEY_MAX + 1);
	if (s.v == NULL || s.keys == NULL)
		err = -ENOMEM;
	if (err == 0) {
		show_listed(&s, l);
		if (tg != NULL)
			err = show_group(&s, tg, l);
	}
	if (err == 0)
		err = repo_apply(r, s.v, s.n);
	free(s.v);
	free(s.keys);
	tree_unref(t);
	return err;
}
