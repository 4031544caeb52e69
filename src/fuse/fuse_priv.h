/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef FUSE_FUSE_PRIV_H
#define FUSE_FUSE_PRIV_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include <fuse_lowlevel.h>

#include "base/workq.h"
#include "fuse/fuse_mount.h"
#include "vfs/vfs.h"

struct vfs_dir;
struct vfs_file;

/*
 * An open file or directory, as the kernel knows it.  Listed, because the
 * kernel does not release what was open when a mount ends.
 */
struct handle {
	struct vfs_file *file;		/* owned reference, or NULL */
	struct vfs_dir *dir;		/* owned, or NULL */
	fuse_ino_t ino;
	pid_t pid;			/* who opened it */
	bool at_end;			/* of a directory: all was read */
	LIST_ENTRY(handle) link;
};

/* fuse_signals.c: what SIGTERM, SIGINT and SIGHUP do, from before the mount is
 * there; one at a time in a process. */
struct signals {
	int pipe[2];		/* a byte for each that came, 0 to wake */
	struct sigaction term, intr, hup, usr2, sigpipe;	/* before */
};
int signals_begin(struct signals *s);
void signals_end(struct signals *s);
/** signals_raise(s, sig): as if it had come; 0 only wakes who reads. */
void signals_raise(struct signals *s, int sig);

struct fuse_mount {
	struct vfs *v;			/* borrowed */
	struct fuse_session *se;	/* owned */
	char *mountpoint;		/* owned; absolute */
	struct fuse_mount_opts opts;	/* strings are not kept */
	struct workq *pool;		/* owned: requests that have to wait */
	struct workq *writers;		/* owned: those that change something */
	struct workq *notifier;		/* owned: one thread, see fuse_notify.c */
	bool mounted;			/* still to be unmounted by us */
	struct signals signals;

	pthread_mutex_t lock;		/* guards all below */
	pthread_cond_t changed;
	unsigned reads;			/* under way in the vfs */
	unsigned waiting;		/* other requests on the pool */
	uint64_t answered;		/* of both */
	struct fuse_mount_stats stats;
	LIST_HEAD(handles, handle) handles;
	bool refresh;			/* asked for by SIGHUP */
	bool ending;
	pthread_t refresher;		/* if has_refresher */
	bool has_refresher;
	unsigned telling;		/* notices under way or waiting */
	LIST_HEAD(calls, call) calls;	/* on a pool */
};

/* fuse_ll.c */
extern const struct fuse_lowlevel_ops fuse_ll_ops;

/** fuse_in_hierarchy(ino): not inside of an archive; VFS_ROOT may be either. */
static inline bool
fuse_in_hierarchy(fuse_ino_t ino)
{
	return (ino & (uint64_t)1 << 63) != 0;
}

/* fuse_call.c: a request, tried on the thread that read it, and again on a
 * thread that may wait. */
struct call {
	struct work work;
	struct fuse_mount *m;
	fuse_req_t req;
	/* Replies and returns 0, or returns -errno and has not replied. */
	int (*fn)(struct call *c, unsigned flags);
	fuse_ino_t ino;
	size_t size;
	off_t off, len;
	struct fuse_file_info fi;
	const char *name;	/* valid while fn runs */
	/* Of changes. */
	bool writes;
	/* May take so long that a signal ends the waiting, not the work. */
	bool interruptible;
	fuse_ino_t to;
	const char *to_name;	/* as name; a symlink's target */
	const void *data;	/* as name; size bytes */
	unsigned how;		/* flags of the request; a mode of fallocate */
	mode_t mode;
	dev_t rdev;
	struct stat attr;

	struct fuse_ctx ctx;	/* set by call_run */
	char *own;		/* owned: copies of the above, while it waits */
	/* Guarded by m->lock: */
	bool answered;
	LIST_ENTRY(call) link;	/* on a pool */
};
void call_run(struct call *c);
/** call_may_answer(c): to be asked, once, before the answer to an interruptible
 * request; false if there is nobody left who waits for it. */
bool call_may_answer(struct call *c);
/** call_errno(r): what the kernel is told. */
int call_errno(int r);
/** call_holds(m, dir): with m->lock held: a request on a pool has not been
 * answered, for which the kernel may have that directory locked. */
bool call_holds(const struct fuse_mount *m, fuse_ino_t dir);

/* Replies; each answers the request. */
/** reply_entry(c, a): NULL: there is no such name. */
int reply_entry(struct call *c, const struct vfs_attr *a);
void reply_fill(struct fuse_entry_param *e, const struct vfs_attr *a);
double reply_timeout(const struct vfs_attr *a);

/* fuse_data.c: directories and files that are open. */
void data_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void data_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi);
void data_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi);
void data_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void data_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi);
void data_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
    struct fuse_file_info *fi);
/** data_reply_open(c, f, a): takes f over; with a, create's reply.  0 or -errno
 * without a reply. */
int data_reply_open(struct call *c, struct vfs_file *f,
    const struct vfs_attr *a);
/** data_file(fi): of an open file. */
struct vfs_file *data_file(const struct fuse_file_info *fi);
void data_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
/** data_is_listing(c, dir): whether the caller is in the middle of reading that
 * directory. */
bool data_is_listing(struct call *c, fuse_ino_t dir);
/** data_end(m): waits for reads under way and closes what is open. */
void data_end(struct fuse_mount *m);

/* fuse_write.c: all that changes something. */
void write_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
    mode_t mode, dev_t rdev);
void write_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
    mode_t mode);
void write_create(fuse_req_t req, fuse_ino_t parent, const char *name,
    mode_t mode, struct fuse_file_info *fi);
void write_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
    const char *name);
void write_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent,
    const char *name);
void write_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void write_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void write_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
    fuse_ino_t newparent, const char *newname, unsigned flags);
void write_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
    int to_set, struct fuse_file_info *fi);
void write_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
    const char *value, size_t size, int flags);
void write_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
void write_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t size,
    off_t off, struct fuse_file_info *fi);
void write_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void write_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
    struct fuse_file_info *fi);
void write_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
    off_t len, struct fuse_file_info *fi);

/* fuse_notify.c: what the kernel must forget. */
/** notify_entry, notify_inode: a vfs_listener's functions; arg is the mount. */
void notify_entry(void *arg, uint64_t parent, const char *name);
void notify_inode(void *arg, uint64_t ino);
/** notify_end(m): with m->lock held: drops what waits, and waits for what is
 * under way, or for *over. */
void notify_end(struct fuse_mount *m, const bool *over);

/* fuse_perm.c */
/**
 * perm_check(c, before): after an operation below a directory whose
 * attributes, before, were provisional: whether the caller may do that with
 * the real ones.  mask is R_OK, X_OK.  0, -EACCES.
 */
int perm_check(struct call *c, const struct vfs_attr *before, int mask);
/** perm_before(c, ret): what to give perm_check later. */
void perm_before(struct call *c, struct vfs_attr *ret);

#endif
