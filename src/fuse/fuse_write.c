/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/fuse_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/lock.h"

/*
 * Requests that change something.  The vfs says where that is possible; on a
 * read-only mount it says EROFS to all of them.
 */

static int
run_make(struct call *c, const char *target, unsigned flags)
{
	struct vfs_new n = {
	    .mode = c->mode,
	    .umask = c->ctx.umask,
	    .rdev = c->rdev,
	    .target = target,
	    .uid = c->ctx.uid,
	    .gid = c->ctx.gid,
	};
	struct vfs_attr a;
	int r;

	r = vfs_make(c->m->v, c->ino, c->name, &n, flags, &a);
	if (r < 0)
		return r;
	/* What was made is found by its name. */
	if (!call_may_answer(c)) {
		vfs_forget(c->m->v, a.st.st_ino, 1);
		return 0;
	}
	return reply_entry(c, &a);
}

static int
do_make(struct call *c, unsigned flags)
{
	return run_make(c, NULL, flags);
}

void
write_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
    dev_t rdev)
{
	call_run(&(struct call){.req = req, .fn = do_make, .ino = parent,
	    .name = name, .mode = mode, .rdev = rdev, .writes = true});
}

/* In a group this publishes a snapshot, which may take hours. */
void
write_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	call_run(&(struct call){.req = req, .fn = do_make, .ino = parent,
	    .name = name, .mode = S_IFDIR | (mode & 07777), .writes = true,
	    .interruptible = fuse_in_hierarchy(parent)});
}

static int
do_symlink(struct call *c, unsigned flags)
{
	return run_make(c, c->to_name, flags);
}

void
write_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
    const char *name)
{
	call_run(&(struct call){.req = req, .fn = do_symlink, .ino = parent,
	    .name = name, .to_name = target, .mode = S_IFLNK | 0777,
	    .writes = true});
}

static int
do_create(struct call *c, unsigned flags)
{
	struct vfs_new n = {
	    .mode = c->mode,
	    .umask = c->ctx.umask,
	    .uid = c->ctx.uid,
	    .gid = c->ctx.gid,
	};
	struct vfs_file *f;
	struct vfs_attr a;
	int r;

	r = vfs_make(c->m->v, c->ino, c->name, &n, flags, &a);
	if (r < 0)
		return r;
	/* It is new: there is nothing to wait for, nor to truncate. */
	r = vfs_open(c->m->v, a.st.st_ino, c->fi.flags & ~O_TRUNC, 0, &f);
	if (r == 0)
		r = data_reply_open(c, f, &a);
	if (r < 0)
		vfs_forget(c->m->v, a.st.st_ino, 1);
	return r;
}

void
write_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
    struct fuse_file_info *fi)
{
	call_run(&(struct call){.req = req, .fn = do_create, .ino = parent,
	    .name = name, .mode = S_IFREG | (mode & 07777), .fi = *fi,
	    .writes = true});
}

static int
do_link(struct call *c, unsigned flags)
{
	struct vfs_attr a;
	int r;

	r = vfs_link(c->m->v, c->ino, c->to, c->name, flags, &a);
	return r < 0 ? r : reply_entry(c, &a);
}

void
write_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent,
    const char *name)
{
	call_run(&(struct call){.req = req, .fn = do_link, .ino = ino,
	    .to = parent, .name = name, .writes = true});
}

/* Those that are answered with nothing but success. */
static int
reply_done(struct call *c, int r)
{
	if (r < 0)
		return r;
	fuse_reply_err(c->req, 0);
	return 0;
}

static int
do_unlink(struct call *c, unsigned flags)
{
	return reply_done(c, vfs_unlink(c->m->v, c->ino, c->name, flags));
}

void
write_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	call_run(&(struct call){.req = req, .fn = do_unlink, .ino = parent,
	    .name = name, .writes = true});
}

static int
do_rmdir(struct call *c, unsigned flags)
{
	return reply_done(c, vfs_rmdir(c->m->v, c->ino, c->name, flags));
}

void
write_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	call_run(&(struct call){.req = req, .fn = do_rmdir, .ino = parent,
	    .name = name, .writes = true});
}

static int
do_rename(struct call *c, unsigned flags)
{
	return reply_done(c, vfs_rename(c->m->v, c->ino, c->name, c->to,
	    c->to_name, c->how, flags));
}

void
write_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
    fuse_ino_t newparent, const char *newname, unsigned flags)
{
	call_run(&(struct call){.req = req, .fn = do_rename, .ino = parent,
	    .name = name, .to = newparent, .to_name = newname, .how = flags,
	    .writes = true});
}

static int
do_setattr(struct call *c, unsigned flags)
{
	struct vfs_change ch = {
	    .mode = c->attr.st_mode & 07777,
	    .uid = c->attr.st_uid,
	    .gid = c->attr.st_gid,
	    .size = (uint64_t)c->attr.st_size,
	    .mtime = c->attr.st_mtim,
	};
	struct vfs_attr a;
	int r;

	/* Access times are not kept, and the time of a change is now. */
	ch.set = (c->how & FUSE_SET_ATTR_MODE ? VFS_SET_MODE : 0) |
	    (c->how & FUSE_SET_ATTR_UID ? VFS_SET_UID : 0) |
	    (c->how & FUSE_SET_ATTR_GID ? VFS_SET_GID : 0) |
	    (c->how & FUSE_SET_ATTR_SIZE ? VFS_SET_SIZE : 0);
	if ((c->how & FUSE_SET_ATTR_MTIME_NOW) != 0)
		ch.set |= VFS_SET_MTIME_NOW;
	else if ((c->how & FUSE_SET_ATTR_MTIME) != 0)
		ch.set |= VFS_SET_MTIME;
	r = vfs_setattr(c->m->v, c->ino, &ch, flags, &a);
	if (r < 0)
		return r;
	fuse_reply_attr(c->req, &a.st, reply_timeout(&a));
	return 0;
}

void
write_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
    struct fuse_file_info *fi)
{
	(void)fi;
	call_run(&(struct call){.req = req, .fn = do_setattr, .ino = ino,
	    .attr = *attr, .how = (unsigned)to_set, .writes = true});
}

static int
do_setxattr(struct call *c, unsigned flags)
{
	return reply_done(c, vfs_xattr_set(c->m->v, c->ino, c->name, c->data,
	    c->size, (int)c->how, flags));
}

void
write_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
    const char *value, size_t size, int flags)
{
	call_run(&(struct call){.req = req, .fn = do_setxattr, .ino = ino,
	    .name = name, .data = value, .size = size, .how = (unsigned)flags,
	    .writes = true});
}

static int
do_removexattr(struct call *c, unsigned flags)
{
	return reply_done(c, vfs_xattr_remove(c->m->v, c->ino, c->name,
	    flags));
}

void
write_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	call_run(&(struct call){.req = req, .fn = do_removexattr, .ino = ino,
	    .name = name, .writes = true});
}

static int
do_write(struct call *c, unsigned flags)
{
	int r;

	r = vfs_write(data_file(&c->fi), c->data, c->size, (uint64_t)c->off,
	    flags);
	if (r < 0)
		return r;
	fuse_reply_write(c->req, c->size);
	return 0;
}

/* Not write_buf: what is staged is also hashed, so that it has to be looked at
 * once in any case. */
void
write_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t size,
    off_t off, struct fuse_file_info *fi)
{
	struct fuse_mount *m = fuse_req_userdata(req);

	{
		LOCK(&m->lock);
		m->stats.writes++;
	}
	call_run(&(struct call){.req = req, .fn = do_write, .ino = ino,
	    .data = p, .size = size, .off = off, .fi = *fi, .writes = true});
}

static int
do_flush(struct call *c, unsigned flags)
{
	return reply_done(c, vfs_flush(data_file(&c->fi), flags));
}

void
write_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fuse_mount *m = fuse_req_userdata(req);

	/* The kernel does not ask again. */
	if (!m->opts.writable) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	call_run(&(struct call){.req = req, .fn = do_flush, .ino = ino,
	    .fi = *fi, .writes = true});
}

static int
do_fsync(struct call *c, unsigned flags)
{
	if ((flags & VFS_NOWAIT) != 0)
		return -EAGAIN;
	return reply_done(c, vfs_fsync(c->m->v, c->ino));
}

/* Of a directory too.  What datasync leaves out would save nothing. */
void
write_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
    struct fuse_file_info *fi)
{
	(void)datasync;
	call_run(&(struct call){.req = req, .fn = do_fsync, .ino = ino,
	    .fi = *fi, .writes = true});
}

static int
do_fallocate(struct call *c, unsigned flags)
{
	return reply_done(c, vfs_fallocate(data_file(&c->fi), (int)c->how,
	    (uint64_t)c->off, (uint64_t)c->len, flags));
}

void
write_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
    off_t len, struct fuse_file_info *fi)
{
	call_run(&(struct call){.req = req, .fn = do_fallocate, .ino = ino,
	    .how = (unsigned)mode, .off = off, .len = len, .fi = *fi,
	    .writes = true});
}
