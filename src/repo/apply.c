/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/edit.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "repo/listing.h"
#include "repo/repo_priv.h"
#include "store/store.h"

/* Where the objects of the new tree go. */
struct applier {
	struct tree_builder *builder;
	struct listing *kept;		/* or NULL */
	const struct repo_edit **edits;	/* sorted by key */
	size_t n;
};

static int
by_key(const void *pa, const void *pb)
{
	const struct repo_edit *const *a = pa, *const *b = pb;

	return strcmp((*a)->key, (*b)->key);
}

static int
add(struct applier *a, const char *key, uint64_t size, int64_t mtime,
    const char *etag)
{
	struct store_object o = {.size = size, .mtime = mtime};
	int r;

	r = tree_builder_add(a->builder, key, size, mtime, etag);
	if (r < 0 || a->kept == NULL)
		return r;
	if (etag != NULL && strlen(etag) < sizeof(o.etag))
		memcpy(o.etag, etag, strlen(etag) + 1);
	return listing_add(a->kept, key, &o);
}

/* An object of the old tree, unless something became of it. */
static int
add_old(struct applier *a, const char *key, uint64_t size, int64_t mtime,
    const char *etag)
{
	const struct repo_edit e = {.key = key}, *p = &e;

	if (bsearch(&p, a->edits, a->n, sizeof(p), by_key) != NULL)
		return 0;
	return add(a, key, size, mtime, etag);
}

static int
add_file(struct applier *a, const struct tree_file *f)
{
	char key[KEY_MAX + 1];
	int r;

	if (f == NULL)
		return 0;
	r = tree_file_key(f, key);
	return r < 0 ? r : add_old(a, key, f->size, f->mtime, f->etag);
}

static int
add_snap(struct applier *a, const struct tree_snap *s)
{
	const struct tree_group *g = s->group;
	char key[KEY_MAX + 1];
	int r = 0;

	if (s->protected) {
		r = key_file(key, g->ns->path, g->type, g->id, s->time,
		    ".protected");
		if (r == 0)
			r = add_old(a, key, 0, 0, NULL);
	}
	for (size_t i = 0; r == 0 && i < s->n_files; i++)
		r = add_file(a, &s->files[i]);
	return r;
}

static int
add_group(struct applier *a, const struct tree_group *g)
{
	int r;

	r = add_file(a, g->owner);
	if (r == 0)
		r = add_file(a, g->notes);
	for (size_t i = 0; r == 0 && i < g->n_snaps; i++)
		r = add_snap(a, &g->snaps[i]);
	return r;
}

static int
add_ns(struct applier *a, const struct tree_ns *ns)
{
	char key[KEY_MAX + 1];
	int r = 0;

	if (ns->marked) {
		r = key_ns(key, ns->path, KEY_NS_MARKER);
		if (r == 0)
			r = add_old(a, key, 0, 0, NULL);
	}
	for (size_t i = 0; r == 0 && i < ns->n_groups; i++)
		r = add_group(a, &ns->groups[i]);
	return r;
}

/* Notes alone become those of a group when that gets an owner; the kept listing
 * has no place for names that are no keys. */
static int
add_ignored(struct applier *a, const struct tree *t)
{
	int r;

	r = tree_builder_ignore(a->builder, NULL,
	    t->n_ignored - t->n_ignored_keys);
	for (size_t i = 0; r == 0 && i < t->n_ignored_keys; i++)
		r = store_key_is_valid(t->ignored[i]) ?
		    add_old(a, t->ignored[i], 0, 0, NULL) :
		    tree_builder_ignore(a->builder, t->ignored[i], 1);
	return r;
}

static int
add_all(struct applier *a, const struct tree *t)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < t->n_ns; i++)
		r = add_ns(a, &t->all_ns[i]);
	if (r == 0)
		r = add_ignored(a, t);
	for (size_t i = 0; r == 0 && i < a->n; i++) {
		const struct repo_edit *e = a->edits[i];

		if (!e->gone)
			r = add(a, e->key, e->size, e->mtime, e->etag);
	}
	return r;
}

/* The tree as it will be; nobody else replaces it meanwhile. */
static int
rebuild(struct repo *r, struct applier *a, const struct tree *old,
    struct tree **ret)
{
	int err;

	err = tree_builder_new(&a->builder);
	if (err == 0 && r->listing != NULL)
		err = listing_new(&a->kept);
	if (err == 0)
		err = add_all(a, old);
	if (err < 0)
		return err;
	err = tree_builder_finish(steal(&a->builder), ret);
	if (err < 0)
		return err;
	/* Nothing was listed: what is old in it is as old as before. */
	(*ret)->listed_at = old->listed_at;
	return 0;
}

int
repo_apply(struct repo *r, const struct repo_edit *e, size_t n)
{
	struct tree *old = NULL, *new = NULL;
	struct applier a = {.n = n};
	int err;

	if (n == 0)
		return 0;
	a.edits = calloc(n, sizeof(*a.edits));
	if (a.edits == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		a.edits[i] = &e[i];
	qsort(a.edits, n, sizeof(*a.edits), by_key);

	repo_begin_tree(r);
	/* It stays while we are at it. */
	err = rebuild(r, &a, r->tree, &new);
	if (err == 0) {
		if (a.kept != NULL)
			repo_keep_listing(r, a.kept, new->listed_at);
		old = repo_swap_tree(r, new, false);
	}
	repo_end_tree(r);
	tree_unref(old);
	tree_builder_free(a.builder);
	listing_free(a.kept);
	free(a.edits);
	return err;
}
