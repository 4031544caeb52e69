/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/draft_priv.h"

void
walk_list_fini(struct walk_list *l)
{
	free(l->v);
	free(l->names);
	memset(l, 0, sizeof(*l));
}

static int
grow(void **p, size_t *room, size_t need, size_t size)
{
	size_t n = MAX(*room * 2, need);
	void *q;

	if (need <= *room)
		return 0;
	n = MAX(n, (size_t)16);
	q = reallocarray(*p, n, size);
	if (q == NULL)
		return -ENOMEM;
	*p = q;
	*room = n;
	return 0;
}

static int
add(struct walk_list *l, const char *name, struct inode *child, size_t base)
{
	size_t len = strlen(name) + 1;
	int r;

	r = grow((void **)&l->v, &l->room, l->n + 1, sizeof(*l->v));
	if (r == 0)
		r = grow((void **)&l->names, &l->names_room,
		    l->names_len + len, 1);
	if (r < 0)
		return r;
	memcpy(l->names + l->names_len, name, len);
	l->v[l->n++] = (struct walk_name){
	    .off = l->names_len, .child = child, .base = base};
	l->names_len += len;
	return 0;
}

/* By name; of one name first what was changed, then as in the base. */
static int
compare(const void *pa, const void *pb, void *names)
{
	const struct walk_name *a = pa, *b = pb;
	const char *all = names;
	int c = strcmp(all + a->off, all + b->off);

	return c != 0 ? c : (a->base > b->base) - (a->base < b->base);
}

/* Of each name what counts; a damaged directory may have a name twice. */
static void
finish(struct walk_list *l)
{
	const char *last = NULL, *name;
	size_t i, n = 0;

	if (l->n > 0)
		qsort_r(l->v, l->n, sizeof(*l->v), compare, l->names);
	for (i = 0; i < l->n; i++) {
		name = walk_list_name(l, i);
		if (last != NULL && streq(name, last))
			continue;
		last = name;
		if (l->v[i].child != NULL || l->v[i].base != WALK_CHANGED)
			l->v[n++] = l->v[i];
	}
	l->n = n;
}

/* The draft is frozen: names stay, and with them the inodes they lead to. */
static int
add_changes(struct draft *d, struct inode *i, struct walk_list *l)
{
	struct dentry *e;
	int r = 0;

	LOCK(&d->lock);
	RB_FOREACH(e, dentries, &i->names) {
		r = add(l, e->name, e->child, WALK_CHANGED);
		if (r < 0)
			break;
	}
	return r;
}

int
walk_list_root(struct draft *d, struct walk_list *l)
{
	size_t n = base_count(d->base);
	int r;

	memset(l, 0, sizeof(*l));
	r = add_changes(d, d->root, l);
	for (size_t k = 0; r == 0 && k < n; k++)
		r = add(l, base_archive(d->base, k)->shown, NULL, k + 1);
	if (r < 0)
		walk_list_fini(l);
	else
		finish(l);
	return r;
}

static int
add_base(struct pxar *p, struct pxar_dir *dir, struct walk_list *l)
{
	char name[PXAR_NAME_MAX + 1];
	struct pxar_entry e;
	uint64_t link;
	int r = 0;

	for (size_t k = 0; r == 0 && k < pxar_dir_count(dir); k++) {
		r = pxar_dir_entry(p, dir, k, 0, name, &e, &link);
		if (r == -EBADMSG) {
			l->bad++;
			r = 0;
			continue;
		}
		if (r < 0)
			return r;
		pxar_entry_fini(&e);
		r = add(l, name, NULL, k + 1);
	}
	return r;
}

int
walk_list_dir(struct draft *d, struct inode *i, struct pxar *p,
    struct pxar_dir *dir, struct walk_list *l)
{
	int r = 0;

	memset(l, 0, sizeof(*l));
	if (i != NULL)
		r = add_changes(d, i, l);
	if (r == 0 && dir != NULL)
		r = add_base(p, dir, l);
	if (r < 0)
		walk_list_fini(l);
	else
		finish(l);
	return r;
}
