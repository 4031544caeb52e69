/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "base/lock.h"
#include "draft/draft.h"
#include "repo/change_list.h"
#include "repo/repo.h"
#include "repo/tree.h"
#include "vfs/node.h"
#include "vfs/vfs_priv.h"

static struct vfs_listener
begin_telling(struct vfs *v)
{
	LOCK(&v->lock);

	v->telling++;
	return v->listener;
}

static void
end_telling(struct vfs *v)
{
	LOCK(&v->lock);

	if (--v->telling == 0)
		pthread_cond_broadcast(&v->told);
}

/* Of a name, of an inode, or of both. */
static void
tell(struct vfs *v, uint64_t dir, const char *name, uint64_t ino)
{
	const struct vfs_listener l = begin_telling(v);

	if (name != NULL && l.entry != NULL)
		l.entry(l.arg, vfs_number(v, dir), name);
	if (ino != 0 && l.inode != NULL)
		l.inode(l.arg, vfs_number(v, ino));
	end_telling(v);
}

/*
 * What differs between two hierarchies.  Both have their children sorted, so
 * directories are compared like merging lists.
 */
static void
tell_entry(struct vfs *v, const struct node *parent, const char *name)
{
	tell(v, parent->ino, name, 0);
}

static void
tell_inode(struct vfs *v, const struct node *n)
{
	tell(v, 0, NULL, n->ino);
}

/* Whether names of the directory differ, or what they name; tells each. */
static bool
diff_names(struct vfs *v, const struct node *a, const struct node *b)
{
	uint32_t i = 0, j = 0;
	bool differ = false;
	int r;

	while (i < a->n_children || j < b->n_children) {
		if (i < a->n_children && !node_is_shown(&a->children[i])) {
			i++;
			continue;
		}
		if (j < b->n_children && !node_is_shown(&b->children[j])) {
			j++;
			continue;
		}
		if (i == a->n_children)
			r = 1;
		else if (j == b->n_children)
			r = -1;
		else
			r = strcmp(a->children[i].name, b->children[j].name);
		if (r == 0 && a->children[i].ino == b->children[j].ino) {
			i++;
			j++;
			continue;
		}
		differ = true;
		tell_entry(v, b, r <= 0 ? a->children[i].name :
		    b->children[j].name);
		i += r <= 0;
		j += r >= 0;
	}
	return differ;
}

static void
diff(struct vfs *v, struct nodes *old, struct nodes *now)
{
	struct node *b;
	const struct node *a;

	/* What is still the same kept its number over the refresh. */
	for (b = now->root; b != NULL; b = node_next(b)) {
		a = nodes_find(old, b->ino);
		if (a == NULL || a->kind != b->kind)
			continue;
		if (diff_names(v, a, b) || a->mtime != b->mtime)
			tell_inode(v, b);
	}
}

/* What an unchanged open snapshot shows is another one now: the kernel drops
 * all names below with its own. */
static void
tell_replaced(void *arg, const struct group_name *g)
{
	struct vfs *v = arg;
	struct nodes *t = vfs_nodes(v);
	struct node *n;

	atomic_store(&v->replaced, true);
	n = nodes_group(t, g);
	if (n != NULL)
		tell_entry(v, n, "current");
	nodes_unref(t);
}

int
vfs_show(struct vfs *v, bool replaced)
{
	struct nodes *old, *now;
	struct tree *tree;
	int r = 0;

	{
		LOCK(&v->renew);
		tree = repo_tree(v->repo);
		old = vfs_nodes(v);
		now = NULL;
		if (tree != old->tree)
			r = nodes_build(tree, (v->opts.all ? NODES_ALL : 0) |
			    (v->drafts != NULL ? NODES_WRITABLE : 0), old,
			    &now);
		tree_unref(tree);
		if (now != NULL) {
			LOCK(&v->lock);
			nodes_unref(v->nodes);
			v->nodes = nodes_ref(now);
		}
	}
	/* No lock is held: telling waits for who waits for an answer. */
	if (now != NULL)
		diff(v, old, now);
	if (replaced && v->drafts != NULL)
		drafts_refreshed(v->drafts, tell_replaced, v);
	nodes_unref(now);
	nodes_unref(old);
	return r;
}

int
vfs_renew(struct vfs *v)
{
	return vfs_show(v, false);
}

int
vfs_changed(struct vfs *v)
{
	return vfs_show(v, true);
}

void
vfs_parted(struct vfs *v, uint64_t dir, const char *name, uint64_t ino)
{
	tell(v, dir, name, ino);
}

static void
count_failed(struct vfs *v)
{
	LOCK(&v->lock);

	v->refreshes.failed++;
}

/* Takes list over. */
static void
count_done(struct vfs *v, const struct repo_changes *c,
    struct change_list *list)
{
	struct change_list old;

	{
		LOCK(&v->lock);
		old = v->changes;
		v->changes = *list;
		v->refreshes.done++;
		v->refreshes.snaps_added = c->snaps_added;
		v->refreshes.snaps_removed = c->snaps_removed;
		v->refreshes.changed = c->changed;
	}
	change_list_fini(&old);
}

int
vfs_refresh(struct vfs *v)
{
	struct change_list list = {0};
	struct repo_changes c = {0};
	int r;

	LOCK(&v->refresh);
	r = repo_refresh_tell(v->repo, &c, change_list_add, &list);
	if (r == 0) {
		vfs_keep_groups(v);
		r = vfs_show(v, true);
	}
	if (r < 0) {
		change_list_fini(&list);
		count_failed(v);
		return r;
	}
	change_list_warn(&list, "refresh");
	count_done(v, &c, &list);
	return 0;
}

int
vfs_last_changes(struct vfs *v, struct change_list *ret)
{
	LOCK(&v->lock);

	return change_list_copy(&v->changes, ret);
}

void
vfs_refreshes(struct vfs *v, struct vfs_refreshes *ret)
{
	LOCK(&v->lock);
	*ret = v->refreshes;
}
