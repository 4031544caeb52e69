/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/fuse_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"

/*
 * Requests about names and attributes; those on open files are in fuse_data.c.
 */

static void
ll_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fuse_mount *m = userdata;
	unsigned want = FUSE_CAP_ASYNC_READ | FUSE_CAP_EXPORT_SUPPORT |
	    FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_READDIRPLUS |
	    FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_CACHE_SYMLINKS |
	    FUSE_CAP_ASYNC_DIO;

	/* With this the kernel checks permissions whether asked to or not. */
	if (m->opts.default_permissions)
		want |= FUSE_CAP_POSIX_ACL;
	else
		conn->want &= ~(unsigned)FUSE_CAP_POSIX_ACL;
	conn->want |= want & conn->capable;
	conn->time_gran = 1;
}

/*
 * Who reads a directory and asks for its entries while at it wants a listing,
 * as `ls -l` does; that must not cost the opening of archives.  Who asks for
 * one of them at another time gets what is true.
 */
static unsigned
provisional(struct call *c, fuse_ino_t parent, unsigned flags)
{
	return data_is_listing(c, parent) ? flags | VFS_PROVISIONAL : flags;
}

static int
do_lookup(struct call *c, unsigned flags)
{
	struct vfs_attr before, a;
	int r, e;

	perm_before(c, &before);
	r = vfs_lookup(c->m->v, c->ino, c->name, flags | VFS_PROVISIONAL, &a);
	if (r == 0 && !a.stable && S_ISDIR(a.st.st_mode))
		r = vfs_lookup(c->m->v, c->ino, c->name,
		    provisional(c, c->ino, flags), &a);
	if (r == 0 || r == -ENOENT) {
		e = perm_check(c, &before, X_OK);
		if (e < 0)
			return e;
	}
	/* Absence is worth remembering where names do not change. */
	if (r == -ENOENT && vfs_is_snapshot(c->m->v, c->ino))
		return reply_entry(c, NULL);
	return r < 0 ? r : reply_entry(c, &a);
}

static void
ll_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	call_run(&(struct call){
	    .req = req, .fn = do_lookup, .ino = parent, .name = name});
}

static void
ll_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	(void)ino;
	(void)nlookup;
	fuse_reply_none(req);
}

static void
ll_forget_multi(fuse_req_t req, size_t n, struct fuse_forget_data *forgets)
{
	(void)n;
	(void)forgets;
	fuse_reply_none(req);
}

static int
do_getattr(struct call *c, unsigned flags)
{
	struct vfs_attr a;
	uint64_t parent;
	int r;

	r = vfs_getattr(c->m->v, c->ino, flags | VFS_PROVISIONAL, &a);
	if (r == 0 && !a.stable && S_ISDIR(a.st.st_mode)) {
		r = vfs_parent(c->m->v, c->ino, flags, &parent);
		if (r == 0)
			r = vfs_getattr(c->m->v, c->ino,
			    provisional(c, parent, flags), &a);
	}
	if (r < 0)
		return r;
	fuse_reply_attr(c->req, &a.st, reply_timeout(&a));
	return 0;
}

static void
ll_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	call_run(&(struct call){.req = req, .fn = do_getattr, .ino = ino});
}

static int
do_readlink(struct call *c, unsigned flags)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	_cleanup_free_ char *target = NULL;
	int r;

	r = vfs_readlink(c->m->v, c->ino, flags, &b);
	if (r < 0)
		return r;
	target = strndup((const char *)b->data, b->len);
	if (target == NULL)
		return -ENOMEM;
	fuse_reply_readlink(c->req, target);
	return 0;
}

static void
ll_readlink(fuse_req_t req, fuse_ino_t ino)
{
	call_run(&(struct call){.req = req, .fn = do_readlink, .ino = ino});
}

/* size 0 asks how much there is. */
static int
reply_xattr(struct call *c, const struct buf *b)
{
	if (c->size == 0)
		fuse_reply_xattr(c->req, b->len);
	else if (b->len > c->size)
		return -ERANGE;
	else
		fuse_reply_buf(c->req, (const char *)b->data, b->len);
	return 0;
}

static int
do_getxattr(struct call *c, unsigned flags)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	int r;

	r = vfs_xattr_get(c->m->v, c->ino, c->name, flags, &b);
	return r < 0 ? r : reply_xattr(c, b);
}

static void
ll_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	call_run(&(struct call){.req = req, .fn = do_getxattr, .ino = ino,
	    .name = name, .size = size});
}

static int
do_listxattr(struct call *c, unsigned flags)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	int r;

	r = vfs_xattr_list(c->m->v, c->ino, flags, &b);
	return r < 0 ? r : reply_xattr(c, b);
}

static void
ll_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	call_run(&(struct call){
	    .req = req, .fn = do_listxattr, .ino = ino, .size = size});
}

static void
ll_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct fuse_mount *m = fuse_req_userdata(req);
	struct statvfs st = {.f_bsize = 4096, .f_frsize = 4096};
	struct vfs_statfs s;

	(void)ino;
	vfs_statfs(m->v, &s);
	st.f_blocks = (s.bytes_total + 4095) / 4096;
	st.f_bfree = s.bytes_free / 4096;
	st.f_bavail = st.f_bfree;
	st.f_files = s.files;
	st.f_namemax = 255;
	st.f_flag = ST_RDONLY;
	fuse_reply_statfs(req, &st);
}

/*
 * The mount is read-only, so these come only if somebody remounts it.
 */
static void
ll_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
    dev_t rdev)
{
	(void)parent, (void)name, (void)mode, (void)rdev;
	fuse_reply_err(req, EROFS);
}

static void
ll_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	(void)parent, (void)name, (void)mode;
	fuse_reply_err(req, EROFS);
}

static void
ll_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	(void)parent, (void)name;
	fuse_reply_err(req, EROFS);
}

static void
ll_symlink(fuse_req_t req, const char *link, fuse_ino_t parent,
    const char *name)
{
	(void)link, (void)parent, (void)name;
	fuse_reply_err(req, EROFS);
}

static void
ll_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
    fuse_ino_t newparent, const char *newname, unsigned flags)
{
	(void)parent, (void)name, (void)newparent, (void)newname, (void)flags;
	fuse_reply_err(req, EROFS);
}

static void
ll_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	(void)ino, (void)parent, (void)name;
	fuse_reply_err(req, EROFS);
}

static void
ll_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
    struct fuse_file_info *fi)
{
	(void)ino, (void)attr, (void)to_set, (void)fi;
	fuse_reply_err(req, EROFS);
}

static void
ll_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
    const char *value, size_t size, int flags)
{
	(void)ino, (void)name, (void)value, (void)size, (void)flags;
	fuse_reply_err(req, EROFS);
}

static void
ll_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
    struct fuse_file_info *fi)
{
	(void)parent, (void)name, (void)mode, (void)fi;
	fuse_reply_err(req, EROFS);
}

static void
ll_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t size,
    off_t off, struct fuse_file_info *fi)
{
	(void)ino, (void)p, (void)size, (void)off, (void)fi;
	fuse_reply_err(req, EROFS);
}

static void
ll_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
    struct fuse_file_info *fi)
{
	(void)ino, (void)mode, (void)off, (void)len, (void)fi;
	fuse_reply_err(req, EROFS);
}

const struct fuse_lowlevel_ops fuse_ll_ops = {
    .init = ll_init,
    .lookup = ll_lookup,
    .forget = ll_forget,
    .forget_multi = ll_forget_multi,
    .getattr = ll_getattr,
    .readlink = ll_readlink,
    .getxattr = ll_getxattr,
    .listxattr = ll_listxattr,
    .statfs = ll_statfs,
    .opendir = data_opendir,
    .readdir = data_readdir,
    .readdirplus = data_readdirplus,
    .releasedir = data_release,
    .open = data_open,
    .read = data_read,
    .lseek = data_lseek,
    .release = data_release,
    .mknod = ll_mknod,
    .mkdir = ll_mkdir,
    .unlink = ll_remove,
    .rmdir = ll_remove,
    .symlink = ll_symlink,
    .rename = ll_rename,
    .link = ll_link,
    .setattr = ll_setattr,
    .setxattr = ll_setxattr,
    .removexattr = ll_remove,
    .create = ll_create,
    .write = ll_write,
    .fallocate = ll_fallocate,
};
