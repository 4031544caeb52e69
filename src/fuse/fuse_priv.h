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
	off_t off;
	struct fuse_file_info fi;
	const char *name;	/* valid while fn runs */
	char *own_name;		/* owned, while it waits for a thread */
};
void call_run(struct call *c);
/** call_errno(r): what the kernel is told. */
int call_errno(int r);

/* Replies; each answers the request. */
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
void data_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
/** data_is_listing(c, dir): whether the caller is in the middle of reading that
 * directory. */
bool data_is_listing(struct call *c, fuse_ino_t dir);
/** data_end(m): waits for reads under way and closes what is open. */
void data_end(struct fuse_mount *m);

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
