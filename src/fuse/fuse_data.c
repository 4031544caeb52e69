/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/fuse_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/lock.h"

/* "." and ".." come first, with these as their cookies. */
#define DOT 1
#define DOTDOT 2
/* What FUSE says for "some number". */
#define INO_UNKNOWN 0xffffffff

_Static_assert(VFS_IOV_MAX < 1024, "a header and as many fit into one writev");

void
fuse_mount_stats(struct fuse_mount *m, struct fuse_mount_stats *ret)
{
	LOCK(&m->lock);

	*ret = m->stats;
	ret->reading = m->reads;
}

static struct handle *
handle_of(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

struct vfs_file *
data_file(const struct fuse_file_info *fi)
{
	return handle_of(fi)->file;
}

static struct handle *
handle_new(struct call *c, struct vfs_file *f, struct vfs_dir *d)
{
	struct handle *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->file = f;
	h->dir = d;
	h->ino = c->ino;
	h->pid = fuse_req_ctx(c->req)->pid;
	LOCK(&c->m->lock);
	LIST_INSERT_HEAD(&c->m->handles, h, link);
	c->m->stats.open++;
	return h;
}

bool
data_is_listing(struct call *c, fuse_ino_t dir)
{
	pid_t pid = fuse_req_ctx(c->req)->pid;
	struct handle *h;

	LOCK(&c->m->lock);
	LIST_FOREACH(h, &c->m->handles, link)
		if (h->dir != NULL && h->ino == dir && h->pid == pid &&
		    !h->at_end)
			return true;
	return false;
}

static void
handle_free(struct handle *h)
{
	vfs_close(h->file);
	vfs_closedir(h->dir);
	free(h);
}

static void
handle_close(struct fuse_mount *m, struct handle *h)
{
	{
		LOCK(&m->lock);
		LIST_REMOVE(h, link);
		m->stats.open--;
	}
	handle_free(h);
}

void
data_end(struct fuse_mount *m)
{
	struct handle *h;

	{
		LOCK(&m->lock);
		while (m->reads > 0)
			pthread_cond_wait(&m->changed, &m->lock);
	}
	while ((h = LIST_FIRST(&m->handles)) != NULL)
		handle_close(m, h);
}

void
data_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	handle_close(fuse_req_userdata(req), handle_of(fi));
	fuse_reply_err(req, 0);
}

static int
do_opendir(struct call *c, unsigned flags)
{
	struct vfs_attr before;
	struct vfs_dir *d;
	struct handle *h;
	int r;

	perm_before(c, &before);
	r = vfs_opendir(c->m->v, c->ino, flags, &d);
	if (r < 0)
		return r;
	r = perm_check(c, &before, R_OK);
	h = r == 0 ? handle_new(c, NULL, d) : NULL;
	if (h == NULL) {
		vfs_closedir(d);
		return r < 0 ? r : -ENOMEM;
	}
	c->fi.fh = (uintptr_t)h;
	/* The hierarchy is listed from memory, and seeing its listings tells
	 * who is at it (provisional attributes). */
	c->fi.cache_readdir = c->ino != VFS_ROOT &&
	    !fuse_in_hierarchy(c->ino) && !vfs_is_current(c->m->v, c->ino);
	c->fi.keep_cache = c->fi.cache_readdir;
	/* The opener was interrupted: nobody will release it. */
	if (fuse_reply_open(c->req, &c->fi) == -ENOENT)
		handle_close(c->m, h);
	return 0;
}

void
data_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	call_run(&(struct call){
	    .req = req, .fn = do_opendir, .ino = ino, .fi = *fi});
}

/* A reply to readdir while it fills up. */
struct listing {
	struct call *c;
	bool plus;
	bool full;
	char *buf;	/* owned */
	size_t used;
};

static int
listing_add(struct listing *l, const char *name,
    const struct fuse_entry_param *e, off_t cookie)
{
	size_t left = l->c->size - l->used, n;
	char *p = l->buf + l->used;

	n = l->plus ?
	    fuse_add_direntry_plus(l->c->req, p, left, name, e, cookie) :
	    fuse_add_direntry(l->c->req, p, left, name, &e->attr, cookie);
	if (n > left) {
		l->full = true;
		return 1;
	}
	l->used += n;
	return 0;
}

static int
listing_entry(void *arg, const struct vfs_dirent *d)
{
	struct fuse_entry_param e = {0};

	/* Without a number of its own the kernel looks the name up itself. */
	if (d->attr != NULL)
		reply_fill(&e, d->attr);
	e.attr.st_ino = d->ino;
	if (d->attr == NULL)
		e.attr.st_mode = d->type;
	return listing_add(arg, d->name, &e, (off_t)(d->cookie + DOTDOT));
}

static int
listing_dots(struct listing *l)
{
	struct fuse_entry_param e = {.attr = {.st_mode = S_IFDIR}};
	uint64_t up = INO_UNKNOWN;

	if (l->c->off < DOT) {
		e.attr.st_ino = l->c->ino;
		if (listing_add(l, ".", &e, DOT) != 0)
			return 1;
	}
	if (l->c->off < DOTDOT) {
		/* Inside of an archive it would have to be searched for. */
		if (fuse_in_hierarchy(l->c->ino) && vfs_parent(l->c->m->v,
		    l->c->ino, VFS_NOWAIT, &up) < 0)
			up = INO_UNKNOWN;
		e.attr.st_ino = up;
		return listing_add(l, "..", &e, DOTDOT);
	}
	return 0;
}

static int
list(struct call *c, unsigned flags, bool plus)
{
	_cleanup_free_ char *buf = malloc(c->size);
	struct listing l = {.c = c, .plus = plus, .buf = buf};
	uint64_t cookie = c->off > DOTDOT ? (uint64_t)c->off - DOTDOT : 0;
	int r = 0;

	if (buf == NULL)
		return -ENOMEM;
	if (listing_dots(&l) == 0)
		r = vfs_readdir(handle_of(&c->fi)->dir, cookie, plus, flags,
		    listing_entry, &l);
	/* What was found before an error is delivered before it. */
	if (r < 0 && (l.used == 0 || r == -EAGAIN))
		return r;
	if (l.used == 0) {
		LOCK(&c->m->lock);
		handle_of(&c->fi)->at_end = true;
	}
	fuse_reply_buf(c->req, buf, l.used);
	return 0;
}

static int
do_readdir(struct call *c, unsigned flags)
{
	return list(c, flags, false);
}

static int
do_readdirplus(struct call *c, unsigned flags)
{
	return list(c, flags, true);
}

void
data_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi)
{
	call_run(&(struct call){.req = req, .fn = do_readdir, .ino = ino,
	    .size = size, .off = off, .fi = *fi});
}

void
data_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi)
{
	call_run(&(struct call){.req = req, .fn = do_readdirplus, .ino = ino,
	    .size = size, .off = off, .fi = *fi});
}

int
data_reply_open(struct call *c, struct vfs_file *f, const struct vfs_attr *a)
{
	enum vfs_caching caching = vfs_file_caching(f);
	struct fuse_entry_param e;
	struct handle *h;
	int r;

	h = handle_new(c, f, NULL);
	if (h == NULL) {
		vfs_close(f);
		return -ENOMEM;
	}
	c->fi.fh = (uintptr_t)h;
	c->fi.direct_io = caching == VFS_CACHE_NOT;
	c->fi.keep_cache = caching == VFS_CACHE_KEEP;
	c->fi.noflush = (c->fi.flags & O_ACCMODE) == O_RDONLY;
	if (a == NULL) {
		r = fuse_reply_open(c->req, &c->fi);
	} else {
		reply_fill(&e, a);
		r = fuse_reply_create(c->req, &e, &c->fi);
	}
	/* Who opened it was interrupted: nobody will release it. */
	if (r == -ENOENT) {
		handle_close(c->m, h);
		if (a != NULL)
			vfs_forget(c->m->v, a->st.st_ino, 1);
	}
	return 0;
}

static int
do_open(struct call *c, unsigned flags)
{
	struct vfs_file *f;
	int r;

	r = vfs_open(c->m->v, c->ino, c->fi.flags, flags, &f);
	return r < 0 ? r : data_reply_open(c, f, NULL);
}

void
data_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	call_run(&(struct call){.req = req, .fn = do_open, .ino = ino,
	    .fi = *fi, .writes = (fi->flags & O_ACCMODE) != O_RDONLY ||
		(fi->flags & O_TRUNC) != 0});
}

/* On any thread: the reply goes out of the memory of the chunks. */
static void
read_done(void *arg, int err, const struct iovec *iov, int n)
{
	fuse_req_t req = arg;
	struct fuse_mount *m = fuse_req_userdata(req);

	if (err == -ENOKEY || err == -ENOMEM)
		fuse_reply_err(req, -err);
	else if (err < 0)
		fuse_reply_err(req, EIO);
	else if (n == 0)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_iov(req, iov, n);
	LOCK(&m->lock);
	m->answered++;
	if (--m->reads == 0)
		pthread_cond_broadcast(&m->changed);
}

void
data_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi)
{
	struct fuse_mount *m = fuse_req_userdata(req);

	(void)ino;
	{
		LOCK(&m->lock);
		m->reads++;
		if (!vfs_file_is_generated(handle_of(fi)->file))
			m->stats.reads++;
	}
	vfs_read(handle_of(fi)->file, (uint64_t)off, size, read_done, req);
}

static int
do_lseek(struct call *c, unsigned flags)
{
	uint64_t to;
	int r;

	/* Nothing else knows whether it would wait. */
	if ((flags & VFS_NOWAIT) != 0 && vfs_is_current(c->m->v, c->ino))
		return -EAGAIN;
	r = vfs_seek(handle_of(&c->fi)->file, (uint64_t)c->off, (int)c->how,
	    &to);
	if (r < 0)
		return r;
	fuse_reply_lseek(c->req, (off_t)to);
	return 0;
}

void
data_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
    struct fuse_file_info *fi)
{
	if (off < 0) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	call_run(&(struct call){.req = req, .fn = do_lseek, .ino = ino,
	    .off = off, .how = (unsigned)whence, .fi = *fi});
}
