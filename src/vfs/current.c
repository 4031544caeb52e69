/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/current.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "draft/draft.h"
#include "repo/tree.h"
#include "vfs/ino.h"
#include "vfs/node.h"
#include "vfs/vfs_priv.h"

_Static_assert((int)VFS_NOWAIT == (int)DRAFT_NOWAIT, "flags are passed down");

int
current_find(struct vfs *v, uint64_t ino, struct current *ret)
{
	if (ino == VFS_ROOT)
		ino = v->root;
	if (!ino_is_draft(ino))
		return 0;
	ret->ino = ino;
	ret->draft = v->drafts != NULL ? drafts_of(v->drafts, ino) : NULL;
	return ret->draft != NULL ? 1 : -ESTALE;
}

int
current_group(const struct node *n, struct group_name *ret)
{
	const struct tree_group *g;

	while (n->kind != NODE_GROUP)
		n = n->parent;
	g = n->group;
	ret->type = g->type;
	if ((size_t)snprintf(ret->ns, sizeof(ret->ns), "%s", g->ns->path) >=
	    sizeof(ret->ns) ||
	    (size_t)snprintf(ret->id, sizeof(ret->id), "%s", g->id) >=
	    sizeof(ret->id))
		return -ENAMETOOLONG;
	return 0;
}

int
current_of(struct vfs *v, const struct node *n, struct current *ret)
{
	struct group_name g;
	int r;

	if (v->drafts == NULL)
		return -ENOENT;
	r = current_group(n, &g);
	if (r == 0)
		r = drafts_get(v->drafts, &g, &ret->draft);
	if (r == 0)
		ret->ino = draft_root(ret->draft);
	return r;
}

/* Nobody else changes what is in there: the kernel knows of all of it. */
void
current_attr(struct vfs *v, const struct stat *st, struct vfs_attr *ret)
{
	ret->st = *st;
	ret->st.st_ino = vfs_number(v, st->st_ino);
	ret->stable = true;
	ret->lasting = true;
}

int
current_getattr(struct vfs *v, const struct current *c, unsigned flags,
    struct vfs_attr *ret)
{
	struct stat st;
	int r;

	r = draft_getattr(c->draft, c->ino, flags & VFS_NOWAIT, &st);
	if (r == 0)
		current_attr(v, &st, ret);
	return r;
}

int
current_lookup(struct vfs *v, const struct current *c, const char *name,
    unsigned flags, struct vfs_attr *ret)
{
	struct stat st;
	int r;

	r = draft_lookup(c->draft, c->ino, name, flags & VFS_NOWAIT, &st);
	if (r == 0)
		current_attr(v, &st, ret);
	return r;
}

/* Seldom asked: the kernel knows the way up from how it came down. */
static int
group_of(struct vfs *v, const struct draft *d, uint64_t *ret)
{
	struct nodes *t = vfs_nodes(v);
	struct current c;
	struct node *n;
	int r = -ESTALE;

	for (n = t->root; n != NULL && r < 0; n = node_next(n))
		if (n->kind == NODE_CURRENT && current_of(v, n, &c) == 0 &&
		    c.draft == d) {
			*ret = n->parent->ino;
			r = 0;
		}
	nodes_unref(t);
	return r;
}

int
current_parent(struct vfs *v, const struct current *c, unsigned flags,
    uint64_t *ret)
{
	int r;

	if (c->ino == draft_root(c->draft))
		return group_of(v, c->draft, ret);
	r = draft_parent(c->draft, c->ino, flags & VFS_NOWAIT, ret);
	return r == 0 && *ret == 0 ? -ESTALE : r;
}

void
vfs_forget(struct vfs *v, uint64_t ino, uint64_t n)
{
	struct current c;

	/* The roots are there as long as their groups. */
	if (current_find(v, ino, &c) == 1 && ino != VFS_ROOT &&
	    ino != draft_root(c.draft))
		draft_forget(c.draft, c.ino, n);
}

bool
vfs_is_current(struct vfs *v, uint64_t ino)
{
	return ino_is_draft(ino == VFS_ROOT ? v->root : ino);
}
