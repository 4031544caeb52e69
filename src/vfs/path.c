/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "draft/draft.h"
#include "pbs/pxar.h"
#include "repo/tree.h"
#include "vfs/archive.h"
#include "vfs/current.h"
#include "vfs/dircache.h"
#include "vfs/node.h"
#include "vfs/vfs_priv.h"

/*
 * Paths from numbers and numbers from paths.
 */

/* Below the mounted directory: subdir is taken off. */
static char *
below_root(const struct vfs *v, char *path)
{
	size_t n = strlen(v->root_path);

	if (n == 0 || strncmp(path, v->root_path, n) != 0 ||
	    (path[n] != '/' && path[n] != '\0'))
		return path;
	if (path[n] == '/')
		n++;
	memmove(path, path + n, strlen(path + n) + 1);
	return path;
}

static int
entry_path(struct vfs *v, const struct place *p, char **ret)
{
	struct archive *a;
	int r;

	r = archive_get(v, p->node, 0, &a);
	if (r < 0)
		return r;
	r = pxar_path(archive_pxar(a, 0), p->pos, ret);
	archive_unref(a);
	return r;
}

int
vfs_path(struct vfs *v, uint64_t ino, char **ret)
{
	_cleanup_free_ char *below = NULL;
	struct str path = {0};
	struct place p;
	int r;

	r = place_find(v, ino, &p);
	if (r < 0)
		return r;
	node_path(p.node, &path);
	if (p.pos != 0) {
		r = entry_path(v, &p, &below);
		if (r == 0 && below[0] != '\0') {
			str_addc(&path, '/');
			str_add(&path, below);
		}
	}
	place_fini(&p);
	if (r == 0)
		r = str_error(&path);
	if (r < 0) {
		str_fini(&path);
		return r;
	}
	if (path.len == 0)
		*ret = strdup("");
	else
		*ret = below_root(v, str_take(&path));
	str_fini(&path);
	return *ret != NULL ? 0 : -ENOMEM;
}

/* The directory above a directory of an archive: its path says where. */
static int
entry_parent(struct vfs *v, const struct place *p, unsigned flags,
    uint64_t *ret)
{
	_cleanup_free_ char *path = NULL;
	struct pxar_dir *dir;
	struct pxar_entry e;
	struct archive *a;
	char *name, *next, *last;
	uint64_t pos;
	struct pxar *px;
	int r;

	r = archive_get(v, p->node, flags, &a);
	if (r < 0)
		return r;
	px = archive_pxar(a, flags);
	pos = pxar_root(px);
	r = pxar_path(px, p->pos, &path);
	if (r < 0)
		goto out;
	last = strrchr(path, '/');
	if (last == NULL) {
		*ret = p->node->ino;
		goto out;
	}
	*last = '\0';
	for (name = path; name != NULL; name = next) {
		next = strchr(name, '/');
		if (next != NULL)
			*next++ = '\0';
		r = dircache_get(v->dirs, a, pos, flags, &dir);
		if (r < 0)
			goto out;
		r = pxar_dir_find(px, dir, name, strlen(name), 0, &e);
		dircache_put(v->dirs, dir);
		if (r < 0)
			goto out;
		pos = e.pos;
		pxar_entry_fini(&e);
	}
	*ret = archive_base(a) + pos;
out:
	archive_unref(a);
	return r == -EBADMSG || r == -ENOENT ? -ESTALE : r;
}

static int
parent_of(struct vfs *v, uint64_t ino, unsigned flags, uint64_t *ret)
{
	struct place p;
	int r;

	r = place_find(v, ino, &p);
	if (r < 0)
		return r;
	if (p.pos != 0)
		r = entry_parent(v, &p, flags, ret);
	else
		*ret = p.node->parent != NULL ? p.node->parent->ino :
		    p.node->ino;
	place_fini(&p);
	return r;
}

int
vfs_parent(struct vfs *v, uint64_t ino, unsigned flags, uint64_t *ret)
{
	struct current c;
	int r;

	if (ino == VFS_ROOT || ino == v->root) {
		*ret = VFS_ROOT;
		return 0;
	}
	r = current_find(v, ino, &c);
	if (r == 1)
		r = current_parent(v, &c, flags, ret);
	else if (r == 0)
		r = parent_of(v, ino, flags, ret);
	if (r == 0)
		*ret = vfs_number(v, *ret);
	return r;
}

static int
node_link(const struct node *n, struct buf **ret)
{
	const struct tree_snap *s = tree_latest(n->group);

	if (s == NULL)
		return -ENOENT;
	*ret = buf_copy(s->name, strlen(s->name));
	return *ret != NULL ? 0 : -ENOMEM;
}

static int
entry_link(struct vfs *v, const struct place *p, unsigned flags,
    struct buf **ret)
{
	struct pxar_entry e;
	struct archive *a;
	int r;

	r = archive_get(v, p->node, flags, &a);
	if (r < 0)
		return r;
	r = pxar_stat(archive_pxar(a, flags), p->pos, 0, &e);
	archive_unref(a);
	if (r < 0)
		return r == -EBADMSG || r == -ENOENT ? -ESTALE : r;
	if (S_ISLNK(e.mode) && e.target != NULL) {
		*ret = buf_copy(e.target, strlen(e.target));
		r = *ret != NULL ? 0 : -ENOMEM;
	} else {
		r = -EINVAL;
	}
	pxar_entry_fini(&e);
	return r;
}

int
vfs_readlink(struct vfs *v, uint64_t ino, unsigned flags, struct buf **ret)
{
	struct current c;
	struct place p;
	int r;

	r = current_find(v, ino, &c);
	if (r != 0)
		return r < 0 ? r : draft_readlink(c.draft, c.ino,
		    flags & VFS_NOWAIT, ret);
	r = place_find(v, ino, &p);
	if (r < 0)
		return r;
	if (p.pos != 0)
		r = entry_link(v, &p, flags, ret);
	else
		r = p.node->kind == NODE_LATEST ? node_link(p.node, ret) :
		    -EINVAL;
	place_fini(&p);
	return r;
}

/* "latest" is the one symlink that leads to where its directory is. */
static int
follow_latest(struct vfs *v, uint64_t dir, uint64_t ino, unsigned flags,
    struct vfs_attr *attr)
{
	_cleanup_(buf_unrefp) struct buf *target = NULL;
	char name[CLOCK_UTC_LEN + 1];
	struct place p;
	bool latest;
	int r;

	if (vfs_is_current(v, ino))
		return 0;
	r = place_find(v, ino, &p);
	if (r < 0)
		return r;
	latest = p.pos == 0 && p.node->kind == NODE_LATEST;
	if (latest)
		r = node_link(p.node, &target);
	place_fini(&p);
	if (r < 0 || !latest)
		return r;
	if (target->len >= sizeof(name))
		return -EINVAL;
	memcpy(name, target->data, target->len);
	name[target->len] = '\0';
	return vfs_lookup(v, dir, name, flags, attr);
}

int
vfs_resolve(struct vfs *v, const char *path, unsigned flags,
    struct vfs_attr *ret)
{
	_cleanup_free_ char *copy = strdup(path);
	uint64_t dir = VFS_ROOT;
	char *name, *save = NULL;
	int r;

	if (copy == NULL)
		return -ENOMEM;
	r = vfs_getattr(v, dir, flags, ret);
	for (name = strtok_r(copy, "/", &save); r == 0 && name != NULL;
	    name = strtok_r(NULL, "/", &save)) {
		r = S_ISDIR(ret->st.st_mode) ?
		    vfs_lookup(v, dir, name, flags, ret) : -ENOTDIR;
		vfs_forget(v, dir, 1);
		if (r == 0 && S_ISLNK(ret->st.st_mode))
			r = follow_latest(v, dir, ret->st.st_ino, flags, ret);
		dir = ret->st.st_ino;
	}
	return r;
}
