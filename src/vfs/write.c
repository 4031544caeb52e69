/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "draft/draft.h"
#include "vfs/current.h"
#include "vfs/node.h"
#include "vfs/notes.h"
#include "vfs/vfs_priv.h"

/*
 * Changes: in open snapshots they are passed on, in the hierarchy only few
 * things can be made and removed.
 */

_Static_assert((int)VFS_SET_MODE == (int)DRAFT_SET_MODE &&
    (int)VFS_SET_UID == (int)DRAFT_SET_UID &&
    (int)VFS_SET_GID == (int)DRAFT_SET_GID &&
    (int)VFS_SET_SIZE == (int)DRAFT_SET_SIZE &&
    (int)VFS_SET_MTIME == (int)DRAFT_SET_MTIME &&
    (int)VFS_SET_MTIME_NOW == (int)DRAFT_SET_MTIME_NOW, "passed on");

int
edit_refused(const struct place *p)
{
	return node_snap(p->node) != NULL ? -EROFS : -EPERM;
}

/* Where a change is to be made: 1 in an open snapshot, 0 elsewhere; then p is
 * to be given back. */
static int
find(struct vfs *v, uint64_t ino, struct current *c, struct place *p)
{
	int r;

	if (v->drafts == NULL)
		return -EROFS;
	r = current_find(v, ino, c);
	return r != 0 ? r : place_find(v, ino, p);
}

static int
done(struct vfs *v, int r, const struct stat *st, struct vfs_attr *ret)
{
	if (r == 0)
		current_attr(v, st, ret);
	return r;
}

/* Truncating them is all that can be done to notes that are not open. */
static int
set_notes(struct vfs *v, const struct node *n, const struct vfs_change *c,
    unsigned flags)
{
	struct notes *t;
	int r;

	if ((c->set & (VFS_SET_MODE | VFS_SET_UID | VFS_SET_GID)) != 0)
		return -EPERM;
	if ((c->set & VFS_SET_SIZE) == 0)
		return 0;
	if ((flags & VFS_NOWAIT) != 0)
		return -EAGAIN;
	r = notes_open(v, n, false, flags, &t);
	if (r < 0)
		return r;
	r = notes_truncate(t, c->size);
	if (r == 0)
		r = notes_flush(t, flags);
	notes_close(t);
	return r;
}

int
vfs_setattr(struct vfs *v, uint64_t ino, const struct vfs_change *c,
    unsigned flags, struct vfs_attr *ret)
{
	struct draft_change dc;
	struct current cur;
	struct stat st;
	struct place p;
	int r;

	r = find(v, ino, &cur, &p);
	if (r < 0)
		return r;
	if (r == 1) {
		dc = (struct draft_change){.set = c->set, .mode = c->mode,
		    .uid = c->uid, .gid = c->gid, .size = c->size,
		    .mtime = c->mtime};
		return done(v, draft_setattr(cur.draft, cur.ino, &dc,
		    flags & VFS_NOWAIT, &st), &st, ret);
	}
	r = p.pos == 0 && p.node->kind == NODE_NOTES ?
	    set_notes(v, p.node, c, flags) : edit_refused(&p);
	place_fini(&p);
	return r < 0 ? r : vfs_getattr(v, ino, flags, ret);
}

static int
make_draft(struct vfs *v, const struct current *c, const char *name,
    const struct vfs_new *n, unsigned flags, struct vfs_attr *ret)
{
	struct draft_new dn = {
	    .mode = n->mode,
	    .umask = n->umask,
	    .rdev = n->rdev,
	    .target = n->target,
	    .uid = n->uid,
	    .gid = n->gid,
	};
	struct stat st;

	return done(v, draft_make(c->draft, c->ino, name, &dn,
	    flags & VFS_NOWAIT, &st), &st, ret);
}

/* They begin to exist when they are opened. */
static int
make_notes(struct vfs *v, const struct place *p, struct vfs_attr *ret)
{
	return attr_node(v, p->nodes, node_child(p->node, "notes"), VFS_NOWAIT,
	    ret);
}

int
vfs_make(struct vfs *v, uint64_t parent, const char *name,
    const struct vfs_new *n, unsigned flags, struct vfs_attr *ret)
{
	struct current c;
	struct place p;
	int r;

	if (strlen(name) > VFS_NAME_MAX)
		return -ENAMETOOLONG;
	r = find(v, parent, &c, &p);
	if (r == 1)
		return make_draft(v, &c, name, n, flags, ret);
	if (r < 0)
		return r;
	r = node_snap(p.node) == NULL ?
	    vfs_lookup(v, parent, name, flags, ret) : -EROFS;
	if (r == 0)
		r = -EEXIST;
	if (r != -ENOENT)
		goto out;
	if (S_ISDIR(n->mode)) {
		r = edit_mkdir(v, &p, name, flags);
		if (r == 0)
			r = vfs_lookup(v, parent, name, flags, ret);
	} else if (p.pos == 0 && p.node->kind == NODE_GROUP &&
	    S_ISREG(n->mode) && streq(name, "notes")) {
		r = make_notes(v, &p, ret);
	} else {
		r = edit_refused(&p);
	}
out:
	place_fini(&p);
	return r;
}

int
vfs_link(struct vfs *v, uint64_t ino, uint64_t parent, const char *name,
    unsigned flags, struct vfs_attr *ret)
{
	struct current from, to;
	struct stat st;
	struct place p;
	int r;

	if (strlen(name) > VFS_NAME_MAX)
		return -ENAMETOOLONG;
	r = find(v, parent, &to, &p);
	if (r < 0)
		return r;
	if (r == 0) {
		r = edit_refused(&p);
		place_fini(&p);
		return r;
	}
	r = current_find(v, ino, &from);
	if (r < 0)
		return r;
	if (r == 0 || from.draft != to.draft)
		return -EXDEV;
	return done(v, draft_link(to.draft, from.ino, to.ino, name,
	    flags & VFS_NOWAIT, &st), &st, ret);
}

int
vfs_unlink(struct vfs *v, uint64_t parent, const char *name, unsigned flags)
{
	const struct node *n;
	struct current c;
	struct place p;
	int r;

	r = find(v, parent, &c, &p);
	if (r == 1)
		return draft_unlink(c.draft, c.ino, name, flags & VFS_NOWAIT);
	if (r < 0)
		return r;
	n = p.pos == 0 ? node_child(p.node, name) : NULL;
	if (n == NULL || n->kind != NODE_NOTES)
		r = edit_refused(&p);
	else if (!node_is_shown(n))
		r = -ENOENT;
	else if ((flags & VFS_NOWAIT) != 0)
		r = -EAGAIN;
	else
		r = notes_store(v, n, NULL, 0);
	place_fini(&p);
	return r;
}

int
vfs_rmdir(struct vfs *v, uint64_t parent, const char *name, unsigned flags)
{
	struct current c;
	struct place p;
	int r;

	r = find(v, parent, &c, &p);
	if (r == 1)
		return draft_rmdir(c.draft, c.ino, name, flags & VFS_NOWAIT);
	if (r < 0)
		return r;
	r = edit_rmdir(v, &p, name, flags);
	place_fini(&p);
	return r;
}

/* Why a name cannot be moved when not both ends are in open snapshots. */
static int
rename_refused(struct vfs *v, uint64_t parent, bool in_current)
{
	struct place p;
	int r;

	if (in_current)
		return -EXDEV;
	r = place_find(v, parent, &p);
	if (r < 0)
		return r;
	r = edit_refused(&p);
	place_fini(&p);
	return r;
}

int
vfs_rename(struct vfs *v, uint64_t parent, const char *name,
    uint64_t newparent, const char *newname, unsigned how, unsigned flags)
{
	struct current from, to;
	int r, s;

	if (v->drafts == NULL)
		return -EROFS;
	if (strlen(newname) > VFS_NAME_MAX)
		return -ENAMETOOLONG;
	r = current_find(v, parent, &from);
	s = current_find(v, newparent, &to);
	if (r < 0 || s < 0)
		return -ESTALE;
	if (r == 1 && s == 1)
		return from.draft != to.draft ? -EXDEV :
		    draft_rename(from.draft, from.ino, name, to.ino, newname,
			how, flags & VFS_NOWAIT);
	r = rename_refused(v, parent, r == 1);
	return r == -EXDEV ? rename_refused(v, newparent, s == 1) : r;
}

int
vfs_xattr_set(struct vfs *v, uint64_t ino, const char *name, const void *val,
    size_t len, int how, unsigned flags)
{
	struct current c;
	struct place p;
	int r;

	r = find(v, ino, &c, &p);
	if (r == 1)
		return draft_xattr_set(c.draft, c.ino, name, val, len, how,
		    flags & VFS_NOWAIT);
	if (r < 0)
		return r;
	r = edit_xattr(v, &p, name, val, len, how, flags);
	place_fini(&p);
	return r;
}

int
vfs_xattr_remove(struct vfs *v, uint64_t ino, const char *name,
    unsigned flags)
{
	struct current c;
	struct place p;
	int r;

	r = find(v, ino, &c, &p);
	if (r == 1)
		return draft_xattr_remove(c.draft, c.ino, name,
		    flags & VFS_NOWAIT);
	if (r < 0)
		return r;
	r = edit_xattr(v, &p, name, NULL, 0, 0, flags);
	place_fini(&p);
	return r;
}

int
vfs_fsync(struct vfs *v, uint64_t ino)
{
	struct current c;
	int r;

	/* What is not in an open snapshot is in the store. */
	r = current_find(v, ino, &c);
	return r == 1 ? draft_fsync(c.draft, c.ino) : r;
}
