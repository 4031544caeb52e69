/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/tree.h"

#include <stdlib.h>
#include <string.h>

#include "repo/tree_store.h"

struct tree *
tree_ref(struct tree *t)
{
	__atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
	return t;
}

void
tree_unref(struct tree *t)
{
	struct tree_store *ts;

	if (t == NULL ||
	    __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	ts = (struct tree_store *)t;
	tree_store_free(ts);
}

int
tree_ns_cmp(const char *a, const char *b)
{
	unsigned char x, y;

	/* '/' sorts below everything that a name may hold, so that a parent
	 * is followed by all that is below it. */
	do {
		x = (unsigned char)*a++;
		y = (unsigned char)*b++;
		if (x == '/')
			x = 1;
		if (y == '/')
			y = 1;
	} while (x == y && x != '\0');
	return (x > y) - (x < y);
}

static int
group_key_cmp(enum backup_type a_type, const char *a_id,
    enum backup_type b_type, const char *b_id)
{
	int r;

	if (a_type != b_type)
		return a_type < b_type ? -1 : 1;
	r = group_id_cmp(a_id, b_id);
	/* "7" and "007" are the same number and two groups. */
	return r != 0 ? r : strcmp(a_id, b_id);
}

int
tree_group_cmp(const struct tree_group *a, const struct tree_group *b)
{
	return group_key_cmp(a->type, a->id, b->type, b->id);
}

const struct tree_ns *
tree_find_ns(const struct tree *t, const char *path)
{
	size_t lo = 0, hi = t->n_ns, mid;
	int r;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		r = tree_ns_cmp(path, t->all_ns[mid].path);
		if (r == 0)
			return &t->all_ns[mid];
		if (r < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct tree_group *
tree_find_group(const struct tree_ns *ns, enum backup_type type,
    const char *id)
{
	size_t lo = 0, hi = ns->n_groups, mid;
	int r;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		r = group_key_cmp(type, id, ns->groups[mid].type,
		    ns->groups[mid].id);
		if (r == 0)
			return &ns->groups[mid];
		if (r < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct tree_snap *
tree_find_snap(const struct tree_group *g, int64_t time)
{
	size_t lo = 0, hi = g->n_snaps, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (g->snaps[mid].time == time)
			return &g->snaps[mid];
		if (time < g->snaps[mid].time)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct tree_file *
tree_find_file(const struct tree_snap *s, const char *name)
{
	size_t lo = 0, hi = s->n_files, mid;
	int r;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		r = strcmp(name, s->files[mid].name);
		if (r == 0)
			return &s->files[mid];
		if (r < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct tree_snap *
tree_latest(const struct tree_group *g)
{
	size_t i;

	for (i = g->n_snaps; i-- > 0;)
		if (g->snaps[i].finished)
			return &g->snaps[i];
	return NULL;
}

int
tree_file_key(const struct tree_file *f, char out[KEY_MAX + 1])
{
	const struct tree_group *g = f->group;

	if (f->snap == NULL)
		return key_group(out, g->ns->path, g->type, g->id, f->name);
	return key_file(out, g->ns->path, g->type, g->id, f->snap->time,
	    f->name);
}
