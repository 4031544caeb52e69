/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/str.h"
#include "repo/repo.h"
#include "repo/tree.h"
#include "vfs/node.h"
#include "vfs/vfs_priv.h"

/*
 * What differs between two hierarchies.  Both have their children sorted, so
 * directories are compared like merging lists.
 */
static void
tell_entry(struct vfs *v, const struct node *parent, const char *name)
{
	if (v->listener.entry != NULL)
		v->listener.entry(v->listener.arg,
		    vfs_number(v, parent->ino), name);
}

static void
tell_inode(struct vfs *v, const struct node *n)
{
	if (v->listener.inode != NULL)
		v->listener.inode(v->listener.arg, vfs_number(v, n->ino));
}

static bool
content_differs(const struct node *a, const struct node *b)
{
	const struct tree_snap *x, *y;

	switch (a->kind) {
	case NODE_FILE:
	case NODE_OWNER:
	case NODE_NOTES:
		return !node_same_file(a, b);
	case NODE_LATEST:
		x = tree_latest(a->group);
		y = tree_latest(b->group);
		return x == NULL || y == NULL || x->time != y->time;
	case NODE_SNAP:
		return a->snap->protected != b->snap->protected ||
		    a->snap->finished != b->snap->finished;
	default:
		return false;
	}
}

/* Whether names of the directory differ; tells each of them. */
static bool
diff_names(struct vfs *v, const struct node *a, const struct node *b)
{
	uint32_t i = 0, j = 0;
	bool differ = false;
	int r;

	while (i < a->n_children || j < b->n_children) {
		if (i == a->n_children)
			r = 1;
		else if (j == b->n_children)
			r = -1;
		else
			r = strcmp(a->children[i].name, b->children[j].name);
		if (r == 0) {
			const struct node *x = &a->children[i++];
			const struct node *y = &b->children[j++];

			/* Another type, or an archive with other numbers
			 * below it: the old one must be looked up anew. */
			if (x->kind == y->kind && (x->kind != NODE_FILE ||
			    node_same_file(x, y)))
				continue;
			tell_entry(v, b, y->name);
			continue;
		}
		differ = true;
		tell_entry(v, b, r < 0 ? a->children[i++].name :
		    b->children[j++].name);
	}
	return differ;
}

static void
diff(struct vfs *v, struct nodes *old, struct nodes *now)
{
	struct node *b;
	const struct node *a;

	/* Numbers are kept over a refresh, so the same number is the same
	 * path. */
	for (b = now->root; b != NULL; b = node_next(b)) {
		a = nodes_find(old, b->ino);
		if (a == NULL || a->kind != b->kind)
			continue;
		if (diff_names(v, a, b) || a->mtime != b->mtime ||
		    content_differs(a, b))
			tell_inode(v, b);
	}
}

static int
refresh(struct vfs *v, struct repo_changes *ret)
{
	struct nodes *old, *now;
	struct tree *tree;
	int r;

	r = repo_refresh(v->repo, ret);
	if (r < 0)
		return r;
	old = vfs_nodes(v);
	tree = repo_tree(v->repo);
	r = nodes_build(tree, v->opts.all, old, &now);
	tree_unref(tree);
	if (r < 0) {
		nodes_unref(old);
		return r;
	}
	{
		LOCK(&v->lock);
		nodes_unref(v->nodes);
		v->nodes = nodes_ref(now);
	}
	diff(v, old, now);
	nodes_unref(now);
	nodes_unref(old);
	return 0;
}

int
vfs_refresh(struct vfs *v)
{
	struct repo_changes c = {0};
	int r;

	LOCK(&v->refresh);
	r = refresh(v, &c);
	LOCK(&v->lock);
	v->refreshes.last_error = r;
	if (r < 0) {
		v->refreshes.failed++;
		return r;
	}
	v->refreshes.done++;
	v->refreshes.snaps_added = c.snaps_added;
	v->refreshes.snaps_removed = c.snaps_removed;
	v->refreshes.changed = c.changed;
	return 0;
}

void
vfs_refreshes(struct vfs *v, struct vfs_refreshes *ret)
{
	LOCK(&v->lock);
	*ret = v->refreshes;
}
