/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/vfs_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "draft/draft.h"
#include "repo/edit.h"
#include "repo/repo.h"
#include "repo/tree.h"

/* Open snapshots that have changes and no group. */
struct orphans {
	const struct tree *tree;
	struct group_name *v;	/* owned */
	size_t n;
	int err;
};

static void
add_orphan(void *arg, const struct draft_state *s)
{
	struct orphans *o = arg;
	struct group_name *v;

	if (!s->changed || edit_find_group(o->tree, &s->group) != NULL)
		return;
	v = reallocarray(o->v, o->n + 1, sizeof(*v));
	if (v == NULL) {
		o->err = -ENOMEM;
		return;
	}
	o->v = v;
	o->v[o->n++] = s->group;
}

/* Nobody could reach what is in it any more, nor publish it. */
static void
keep(struct vfs *v, const struct group_name *g)
{
	const char *type = backup_type_name(g->type);
	int r = 0;

	if (g->ns[0] != '\0')
		r = repo_create_ns(v->repo, g->ns);
	if (r == 0 || r == -EEXIST)
		r = repo_create_group(v->repo, g, v->owner);
	if (r == 0)
		log_warn("%s%s%s/%s: the group was removed from the store, but "
		    "not all that was changed in its current is in a snapshot: "
		    "it is made again", g->ns, g->ns[0] != '\0' ? ": " : "",
		    type, g->id);
	else
		log_err("%s%s%s/%s: the group was removed from the store and "
			"cannot be made again\nhint: what was changed in it is "
			"kept until there is such a group", g->ns,
		    g->ns[0] != '\0' ? ": " : "", type, g->id);
}

void
vfs_keep_groups(struct vfs *v)
{
	struct orphans o = {0};
	struct tree *t;

	if (v->drafts == NULL || v->owner == NULL || repo_is_offline(v->repo))
		return;
	o.tree = t = repo_tree(v->repo);
	drafts_each(v->drafts, add_orphan, &o);
	tree_unref(t);
	if (o.err < 0)
		log_warn("not all groups that have unsent changes were looked "
		    "at: out of memory");
	for (size_t i = 0; i < o.n; i++)
		keep(v, &o.v[i]);
	free(o.v);
}
