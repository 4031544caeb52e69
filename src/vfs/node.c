/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/node.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "repo/edit.h"
#include "repo/tree.h"

#define DEPTH_MAX (2 * NS_DEPTH_MAX + 8)

struct nodes *
nodes_ref(struct nodes *t)
{
	__atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
	return t;
}

/* Children before their parent, without recursion. */
static void
free_below(struct node *top)
{
	struct node *n = top, *done;

	while (n != NULL) {
		if (n->n_children > 0) {
			n = &n->children[n->n_children - 1];
			continue;
		}
		free(n->children);
		n->children = NULL;
		if (n->own_name)
			free((void *)(uintptr_t)n->name);
		done = n;
		n = done == top ? NULL : done->parent;
		if (n != NULL)
			n->n_children--;
	}
}

void
nodes_unref(struct nodes *t)
{
	size_t i;

	if (t == NULL || __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	if (t->root != NULL) {
		free_below(t->root);
		free(t->root);
	}
	for (i = 0; i < t->n_archives; i++)
		free(atomic_load(&t->archives[i].root));
	free(t->archives);
	free(t->by_ino);
	tree_unref(t->tree);
	free(t);
}

struct node *
node_next(struct node *n)
{
	if (n->n_children > 0)
		return &n->children[0];
	while (n->parent != NULL) {
		struct node *p = n->parent;

		if (n + 1 < p->children + p->n_children)
			return n + 1;
		n = p;
	}
	return NULL;
}

struct node *
node_child(const struct node *n, const char *name)
{
	size_t lo = 0, hi = n->n_children, mid;
	int r;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		r = strcmp(name, n->children[mid].name);
		if (r == 0)
			return &n->children[mid];
		if (r < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

struct node *
nodes_find(const struct nodes *t, uint64_t ino)
{
	size_t lo = 0, hi = t->n_nodes, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (t->by_ino[mid]->ino == ino)
			return t->by_ino[mid];
		if (ino < t->by_ino[mid]->ino)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

struct node *
nodes_group(const struct nodes *t, const struct group_name *g)
{
	char ns[NS_LEN_MAX + 1], *name, *save = NULL;
	struct node *n = t->root;

	memcpy(ns, g->ns, sizeof(ns));
	for (name = strtok_r(ns, "/", &save); name != NULL && n != NULL;
	    name = strtok_r(NULL, "/", &save)) {
		n = node_child(n, "ns");
		if (n != NULL)
			n = node_child(n, name);
	}
	if (n != NULL)
		n = node_child(n, backup_type_name(g->type));
	return n != NULL ? node_child(n, g->id) : NULL;
}

struct node_archive *
nodes_archive(const struct nodes *t, uint64_t ino)
{
	size_t lo = 0, hi = t->n_archives, mid;
	struct node_archive *a;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		a = &t->archives[mid];
		if (ino < a->base)
			hi = mid;
		else if (ino - a->base >= a->span)
			lo = mid + 1;
		else
			return a;
	}
	return NULL;
}

void
node_path(const struct node *n, struct str *out)
{
	const struct node *up[DEPTH_MAX];
	size_t d = 0;

	for (; n->parent != NULL && d < DEPTH_MAX; n = n->parent)
		up[d++] = n;
	while (d-- > 0) {
		str_add(out, up[d]->name);
		if (d > 0)
			str_addc(out, '/');
	}
}

const struct tree_snap *
node_snap(const struct node *n)
{
	if (n->kind == NODE_SNAP)
		return n->snap;
	return n->kind == NODE_FILE ? n->file->snap : NULL;
}

bool
node_is_archive(const struct node *n)
{
	return n->archive != NULL;
}

bool
node_is_shown(const struct node *n)
{
	return n->kind != NODE_NOTES || n->file != NULL;
}

bool
node_is_dir(const struct node *n)
{
	switch (n->kind) {
	case NODE_NS:
	case NODE_NS_DIR:
	case NODE_TYPE:
	case NODE_GROUP:
	case NODE_CURRENT:
	case NODE_SNAP:
	case NODE_CTL:
		return true;
	case NODE_FILE:
		return node_is_archive(n) && !atomic_load(&n->secret);
	default:
		return false;
	}
}

bool
node_same_file(const struct node *a, const struct node *b)
{
	return a->kind == b->kind && a->file->size == b->file->size &&
	    a->file->mtime == b->file->mtime &&
	    streq(a->file->name, b->file->name) &&
	    streq(a->file->etag, b->file->etag);
}
