/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/node.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "base/str.h"
#include "repo/tree.h"
#include "vfs/ino.h"

struct numbering {
	struct nodes *t;
	struct node **order;	/* all nodes in path order */
	struct node_archive *archives;	/* in path order */
};

static uint64_t
hash_hier(void *arg, size_t i, uint32_t salt)
{
	struct numbering *x = arg;
	struct str path = {0};
	uint64_t h;

	node_path(x->order[i], &path);
	h = ino_hash_hier(str_get(&path), path.len, salt);
	str_fini(&path);
	return h;
}

static uint64_t
hash_archive(void *arg, size_t i, uint32_t salt)
{
	struct numbering *x = arg;
	struct str path = {0};
	uint64_t h;

	node_path(x->archives[i].node, &path);
	h = ino_hash_archive(str_get(&path), path.len, salt,
	    x->archives[i].span);
	str_fini(&path);
	return h;
}

/* The node of the same path in the tree before. */
static struct node *
counterpart(struct node *n, struct nodes *old)
{
	struct node *up[64], *o = old->root;
	size_t d = 0;

	for (; n->parent != NULL && d < ARRAY_SIZE(up); n = n->parent)
		up[d++] = n;
	while (d-- > 0 && o != NULL)
		o = node_child(o, up[d]->name);
	return o;
}

static bool
same_content(const struct nodes *t, const struct node *a,
    const struct node *b)
{
	const struct tree_snap *x, *y;

	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case NODE_NOTES:
		return t->writable || node_same_file(a, b);
	case NODE_FILE:
	case NODE_OWNER:
		return node_same_file(a, b);
	case NODE_LATEST:
		x = tree_latest(a->group);
		y = tree_latest(b->group);
		return x != NULL && y != NULL && x->time == y->time;
	default:
		return true;
	}
}

/* What is known of a file does not depend on which listing it is in. */
static void
inherit(struct node *n, struct node *o)
{
	struct node_root_attr *root;

	atomic_store(&n->size, atomic_load(&o->size));
	atomic_store(&n->secret, atomic_load(&o->secret));
	root = o->archive != NULL ? atomic_load(&o->archive->root) : NULL;
	if (root != NULL && n->archive != NULL) {
		struct node_root_attr *copy = malloc(sizeof(*copy));

		if (copy != NULL)
			*copy = *root;
		atomic_store(&n->archive->root, copy);
	}
}

static int
number_nodes(struct numbering *x, struct nodes *old)
{
	_cleanup_free_ struct ino_claim *c = NULL;
	struct node *o;
	size_t i;
	int r;

	c = calloc(x->t->n_nodes, sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	for (i = 0; i < x->t->n_nodes; i++) {
		c[i].span = 1;
		o = old != NULL ? counterpart(x->order[i], old) : NULL;
		if (o == NULL)
			continue;
		c[i].salt = o->salt;
		if (!same_content(x->t, x->order[i], o)) {
			/* Who has the old one open goes on filling the
			 * kernel's pages of its number. */
			c[i].salt++;
			continue;
		}
		c[i].first = o->ino;
		c[i].fixed = true;
	}
	r = ino_assign(c, x->t->n_nodes, hash_hier, x);
	for (i = 0; r == 0 && i < x->t->n_nodes; i++) {
		x->order[i]->ino = c[i].first;
		x->order[i]->salt = c[i].salt;
	}
	return r;
}

static int
number_archives(struct numbering *x, struct nodes *old)
{
	_cleanup_free_ struct ino_claim *c = NULL;
	struct node *o;
	size_t i, n = x->t->n_archives;
	int r;

	if (n == 0)
		return 0;
	c = calloc(n, sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		c[i].span = x->archives[i].span;
		o = old != NULL ? counterpart(x->archives[i].node, old) : NULL;
		if (o == NULL || o->archive == NULL)
			continue;
		c[i].salt = o->archive->salt;
		if (!node_same_file(o, x->archives[i].node)) {
			c[i].salt++;
			continue;
		}
		c[i].first = o->archive->base;
		c[i].fixed = true;
	}
	r = ino_assign(c, n, hash_archive, x);
	for (i = 0; r == 0 && i < n; i++) {
		x->archives[i].base = c[i].first;
		x->archives[i].salt = c[i].salt;
	}
	return r;
}

static int
by_ino(const void *a, const void *b)
{
	uint64_t x = (*(struct node *const *)a)->ino;
	uint64_t y = (*(struct node *const *)b)->ino;

	return x < y ? -1 : x > y;
}

static int
by_base(const void *a, const void *b)
{
	uint64_t x = ((const struct node_archive *)a)->base;
	uint64_t y = ((const struct node_archive *)b)->base;

	return x < y ? -1 : x > y;
}

int
nodes_number(struct nodes *t, struct nodes *old)
{
	struct numbering x = {.t = t};
	struct node *n, *o;
	size_t i = 0;
	int r;

	t->by_ino = calloc(t->n_nodes, sizeof(*t->by_ino));
	if (t->by_ino == NULL)
		return -ENOMEM;
	for (n = t->root; n != NULL; n = node_next(n))
		t->by_ino[i++] = n;
	x.order = t->by_ino;
	x.archives = t->archives;
	r = number_nodes(&x, old);
	if (r == 0)
		r = number_archives(&x, old);
	if (r < 0)
		return r;
	qsort(t->by_ino, t->n_nodes, sizeof(*t->by_ino), by_ino);
	if (t->n_archives > 0)
		qsort(t->archives, t->n_archives, sizeof(*t->archives),
		    by_base);
	for (i = 0; i < t->n_archives; i++)
		t->archives[i].node->archive = &t->archives[i];
	for (n = t->root; old != NULL && n != NULL; n = node_next(n)) {
		if (n->kind != NODE_FILE)
			continue;
		o = counterpart(n, old);
		if (o != NULL && o->kind == NODE_FILE && node_same_file(n, o))
			inherit(n, o);
	}
	return 0;
}
