/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "draft/draft.h"
#include "repo/edit.h"
#include "repo/tree.h"
#include "vfs/current.h"
#include "vfs/node.h"
#include "vfs/vfs_priv.h"

/*
 * Changes of the hierarchy.  All of them ask the store.
 */

/* The path of the namespace of that name in an "ns" directory. */
static int
ns_path(const struct node *dir, const char *name, struct str *out)
{
	/* Who changes it says what else is wrong with it. */
	if (strchr(name, '/') != NULL)
		return -EINVAL;
	if (dir->ns->path[0] != '\0')
		str_addf(out, "%s/", dir->ns->path);
	str_add(out, name);
	return str_error(out);
}

static int
make_ns(struct vfs *v, const struct node *dir, const char *name)
{
	_cleanup_(str_fini) struct str path = {0};
	int r;

	r = ns_path(dir, name, &path);
	return r < 0 ? r : repo_create_ns(v->repo, str_get(&path));
}

/* The group of that name in a directory of a type. */
static int
group_name(const struct node *dir, const char *name, struct group_name *ret)
{
	size_t ns = strlen(dir->ns->path), id = strlen(name);

	if (ns >= sizeof(ret->ns) || id >= sizeof(ret->id))
		return -ENAMETOOLONG;
	memcpy(ret->ns, dir->ns->path, ns + 1);
	memcpy(ret->id, name, id + 1);
	return backup_type_parse(dir->name, strlen(dir->name), &ret->type);
}

static int
make_group(struct vfs *v, const struct node *dir, const char *name)
{
	struct group_name g;
	int r;

	r = group_name(dir, name, &g);
	return r < 0 ? r : repo_create_group(v->repo, &g, v->owner);
}

static int
not_a_time(const struct node *group, const char *name)
{
	_cleanup_(str_fini) struct str s = {0};

	str_escape(&s, name, strlen(name));
	log_limited(LOG_LVL_ERR, "%s/%s: cannot publish as %s: not a time\n"
	    "hint: as 2026-01-31T12:00:00Z, in UTC",
	    backup_type_name(group->group->type), group->group->id,
	    str_get(&s));
	return -EINVAL;
}

static int
publish(struct vfs *v, const struct node *group, const char *name)
{
	struct current c;
	int64_t time;
	int r;

	r = clock_parse_utc(name, &time);
	if (r == 0)
		r = current_of(v, group, &c);
	return r < 0 ? r : draft_publish(c.draft, time);
}

int
edit_mkdir(struct vfs *v, const struct place *p, const char *name,
    unsigned flags)
{
	const struct node *n = p->node;
	int64_t time;
	int r;

	if (p->pos != 0 || (n->kind != NODE_NS_DIR && n->kind != NODE_TYPE &&
	    n->kind != NODE_GROUP))
		return edit_refused(p);
	if (n->kind == NODE_GROUP && clock_parse_utc(name, &time) < 0)
		return not_a_time(n, name);
	if ((flags & VFS_NOWAIT) != 0)
		return -EAGAIN;
	if (n->kind == NODE_NS_DIR)
		r = make_ns(v, n, name);
	else if (n->kind == NODE_TYPE)
		r = make_group(v, n, name);
	else
		r = publish(v, n, name);
	return r == 0 ? vfs_show(v, false) : r;
}

static int
remove_ns(struct vfs *v, const struct node *dir, const char *name)
{
	_cleanup_(str_fini) struct str path = {0};
	int r;

	r = ns_path(dir, name, &path);
	return r < 0 ? r : repo_remove_ns(v->repo, str_get(&path));
}

static int
remove_group(struct vfs *v, const struct node *group)
{
	struct group_name g;
	int r;

	/* Also those that are not shown. */
	if (group->group->n_snaps > 0)
		return -ENOTEMPTY;
	r = current_group(group, &g);
	if (r == 0)
		r = drafts_remove(v->drafts, &g);
	return r < 0 ? r : repo_remove_group(v->repo, &g);
}

static int
remove_snap(struct vfs *v, const struct node *snap)
{
	struct group_name g;
	int r;

	if (snap->snap->protected)
		return -EPERM;
	r = current_group(snap, &g);
	return r < 0 ? r : drafts_forget(v->drafts, &g, snap->snap->time);
}

int
edit_rmdir(struct vfs *v, const struct place *p, const char *name,
    unsigned flags)
{
	const struct node *n = p->pos == 0 ? node_child(p->node, name) : NULL;
	bool latest = false;
	int r;

	if (p->pos != 0 || node_snap(p->node) != NULL)
		return -EROFS;
	if (n == NULL || !node_is_shown(n))
		return -ENOENT;
	if (!node_is_dir(n))
		return -ENOTDIR;
	if (n->kind != NODE_NS && n->kind != NODE_GROUP &&
	    n->kind != NODE_SNAP)
		return -EPERM;
	if ((flags & VFS_NOWAIT) != 0)
		return -EAGAIN;
	if (n->kind == NODE_NS) {
		r = remove_ns(v, p->node, name);
	} else if (n->kind == NODE_GROUP) {
		r = remove_group(v, n);
	} else {
		latest = n->snap == tree_latest(n->parent->group);
		r = remove_snap(v, n);
	}
	return r == 0 ? vfs_show(v, latest) : r;
}

static int
set_protected(struct vfs *v, const struct node *n, const char *value,
    size_t len, int how)
{
	struct group_name g;
	bool on = false;
	int r;

	/* It always is there. */
	if (how == XATTR_CREATE)
		return -EEXIST;
	if (value != NULL) {
		if (len != 1 || (*value != '0' && *value != '1'))
			return -EINVAL;
		on = *value == '1';
	}
	if (on == n->snap->protected)
		return 0;
	r = current_group(n, &g);
	return r < 0 ? r : repo_protect(v->repo, &g, n->snap->time, on);
}

static int
set_notes(struct vfs *v, const struct node *n, const char *value, size_t len,
    int how)
{
	_cleanup_free_ char *text = NULL;
	struct group_name g;
	struct buf *old;
	int r;

	if (value == NULL || how != 0) {
		r = vfs_xattr_get(v, n->ino, "user.pbs3fs.notes", 0, &old);
		if (r < 0 && r != -ENODATA)
			return r;
		if (r == 0)
			buf_unref(old);
		if (r == 0 && how == XATTR_CREATE)
			return -EEXIST;
		if (r < 0 && how != XATTR_CREATE)
			return r;
	}
	if (value != NULL && memchr(value, '\0', len) != NULL)
		return -EINVAL;
	text = value != NULL ? strndup(value, len) : strdup("");
	if (text == NULL)
		return -ENOMEM;
	r = current_group(n, &g);
	return r < 0 ? r : repo_set_snap_notes(v->repo, &g, n->snap->time,
	    text);
}

int
edit_xattr(struct vfs *v, const struct place *p, const char *name,
    const void *value, size_t len, int how, unsigned flags)
{
	const struct node *n = p->node;
	int r;

	if (p->pos != 0 || n->kind != NODE_SNAP || !n->snap->finished ||
	    (!streq(name, "user.pbs3fs.protected") &&
		!streq(name, "user.pbs3fs.notes")))
		return edit_refused(p);
	if ((flags & VFS_NOWAIT) != 0)
		return -EAGAIN;
	if (streq(name, "user.pbs3fs.protected"))
		r = set_protected(v, n, value, len, how);
	else
		r = set_notes(v, n, value, len, how);
	return r == 0 ? vfs_show(v, false) : r;
}
