/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/fuse_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"

#define WRITE_MAX (1u << 20)

/*
 * Requests about names and attributes; those on open files are in fuse_data.c,
 * those that change something in fuse_write.c.
 */

/*
 * No write-back cache: publishing must see all that was written, and what goes
 * wrong must be told to who writes, not to who comes later.
 */
static void
init_writing(struct fuse_conn_info *conn, unsigned *want)
{
	/* Nobody else changes what is being written: what the kernel has of it
	 * is right. */
	conn->want &= ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA |
	    FUSE_CAP_WRITEBACK_CACHE);
	/* Default ACLs override the umask, and only we see both.  Set-id bits
	 * go with a write. */
	*want |= FUSE_CAP_DONT_MASK | FUSE_CAP_HANDLE_KILLPRIV |
	    FUSE_CAP_ATOMIC_O_TRUNC;
	if (conn->max_write > WRITE_MAX)
		conn->max_write = WRITE_MAX;
}

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
	if (m->opts.writable)
		init_writing(conn, &want);
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
	struct fuse_mount *m = fuse_req_userdata(req);

	vfs_forget(m->v, ino, nlookup);
	fuse_reply_none(req);
}

static void
ll_forget_multi(fuse_req_t req, size_t n, struct fuse_forget_data *forgets)
{
	struct fuse_mount *m = fuse_req_userdata(req);
	size_t i;

	for (i = 0; i < n; i++)
		vfs_forget(m->v, forgets[i].ino, forgets[i].nlookup);
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
	st.f_ffree = s.files_free;
	st.f_favail = s.files_free;
	st.f_namemax = 255;
	st.f_flag = s.read_only ? ST_RDONLY : 0;
	fuse_reply_statfs(req, &st);
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
    .mknod = write_mknod,
    .mkdir = write_mkdir,
    .create = write_create,
    .symlink = write_symlink,
    .link = write_link,
    .unlink = write_unlink,
    .rmdir = write_rmdir,
    .rename = write_rename,
    .setattr = write_setattr,
    .setxattr = write_setxattr,
    .removexattr = write_removexattr,
    .write = write_write,
    .flush = write_flush,
    .fsync = write_fsync,
    .fsyncdir = write_fsync,
    .fallocate = write_fallocate,
};
