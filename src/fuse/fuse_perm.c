/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/fuse_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

void
perm_before(struct call *c, struct vfs_attr *ret)
{
	ret->stable = true;
	if (!c->m->opts.default_permissions)
		return;
	/* What an archive holds is never made up. */
	if (c->ino != VFS_ROOT && !fuse_in_hierarchy(c->ino))
		return;
	if (vfs_getattr(c->m->v, c->ino, VFS_NOWAIT | VFS_PROVISIONAL,
	    ret) < 0)
		ret->stable = false;
}

static bool
in_group(struct call *c, gid_t gid)
{
	_cleanup_free_ gid_t *list = NULL;
	int i, n;

	if (fuse_req_ctx(c->req)->gid == gid)
		return true;
	n = fuse_req_getgroups(c->req, 0, NULL);
	if (n <= 0)
		return false;
	list = calloc((size_t)n, sizeof(*list));
	if (list == NULL)
		return false;
	n = fuse_req_getgroups(c->req, n, list);
	for (i = 0; i < n; i++)
		if (list[i] == gid)
			return true;
	return false;
}

/*
 * The kernel has checked against attributes that were made up, as those of an
 * archive's root are until it is opened.  From then on it knows better.
 */
int
perm_check(struct call *c, const struct vfs_attr *before, int mask)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(c->req);
	struct vfs_attr now;
	int r, shift = 0;

	if (before->stable)
		return 0;
	r = vfs_getattr(c->m->v, c->ino, 0, &now);
	if (r < 0)
		return r;
	if (ctx->uid == 0)
		return 0;
	if (ctx->uid == now.st.st_uid)
		shift = 6;
	else if (in_group(c, now.st.st_gid))
		shift = 3;
	return ((now.st.st_mode >> shift) & (mode_t)mask) == (mode_t)mask ? 0 :
	    -EACCES;
}
