/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/draft_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/num.h"

static int
cmp_name(const struct dentry *a, const struct dentry *b)
{
	int c = memcmp(a->name, b->name, MIN(a->len, b->len));

	return c != 0 ? c : (a->len > b->len) - (a->len < b->len);
}

static int
cmp_id(const struct dentry *a, const struct dentry *b)
{
	return (a->id > b->id) - (a->id < b->id);
}

RB_GENERATE(dentries, dentry, by_name, cmp_name)
RB_GENERATE(dentries_by_id, dentry, by_id, cmp_id)

struct dentry *
dentry_find(const struct inode *dir, const char *name, size_t len)
{
	struct dentry *e = RB_ROOT(&dir->names);
	int c;

	while (e != NULL) {
		c = memcmp(name, e->name, MIN(len, e->len));
		if (c == 0)
			c = (len > e->len) - (len < e->len);
		if (c == 0)
			return e;
		e = c < 0 ? RB_LEFT(e, by_name) : RB_RIGHT(e, by_name);
	}
	return NULL;
}

struct dentry *
dentry_next_id(const struct inode *dir, uint64_t id)
{
	struct dentry *e = RB_ROOT(&dir->ids), *best = NULL;

	while (e != NULL) {
		if (e->id > id) {
			best = e;
			e = RB_LEFT(e, by_id);
		} else {
			e = RB_RIGHT(e, by_id);
		}
	}
	return best;
}

struct dentry *
dentry_new(const char *name, size_t len)
{
	struct dentry *e = calloc(1, sizeof(*e) + len + 1);

	if (e == NULL)
		return NULL;
	e->len = (uint16_t)len;
	memcpy(e->name, name, len);
	return e;
}

static void
take_out(struct draft *d, struct inode *dir, struct dentry *e)
{
	struct inode *child = e->child;

	RB_REMOVE(dentries, &dir->names, e);
	RB_REMOVE(dentries_by_id, &dir->ids, e);
	dir->n_children -= child != NULL;
	dir->n_hidden -= e->hides;
	free(e);
	if (child != NULL)
		inode_unref(d, child);
}

void
dentry_set(struct draft *d, struct inode *dir, struct dentry **fresh,
    struct inode *child, bool hides)
{
	struct dentry *new = *fresh, *e;
	struct inode *before;

	*fresh = NULL;
	e = dentry_find(dir, new->name, new->len);
	if (e == NULL && (child != NULL || hides)) {
		new->id = ++d->next_dentry;
		RB_INSERT(dentries, &dir->names, new);
		RB_INSERT(dentries_by_id, &dir->ids, new);
		e = new;
	} else {
		free(new);
	}
	if (e == NULL)
		return;
	hides = hides || e->hides;
	if (child == NULL && !hides) {
		take_out(d, dir, e);
		return;
	}
	before = e->child;
	dir->n_children += (size_t)(child != NULL) - (before != NULL);
	dir->n_hidden += (size_t)hides - e->hides;
	e->hides = hides;
	e->child = child != NULL ? inode_ref(child) : NULL;
	if (before != NULL)
		inode_unref(d, before);
}

void
dentry_clear(struct draft *d, struct inode *dir)
{
	struct dentry *e;

	while ((e = RB_ROOT(&dir->names)) != NULL)
		take_out(d, dir, e);
}

void
dentry_forget(struct inode *dir)
{
	struct dentry *e, *next;

	for (e = RB_MIN(dentries, &dir->names); e != NULL; e = next) {
		next = RB_NEXT(dentries, &dir->names, e);
		RB_REMOVE(dentries, &dir->names, e);
		free(e);
	}
	RB_INIT(&dir->ids);
	dir->n_children = dir->n_hidden = 0;
}
