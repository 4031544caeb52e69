/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef FUSE_FUSE_MOUNT_H
#define FUSE_FUSE_MOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vfs;

/*
 * The low-level FUSE adapter: decodes requests, asks the vfs, encodes replies.
 * What the vfs can answer from memory is answered by the thread that read the
 * request; the rest goes to a pool, of which those who write have their own.
 * Reads complete on whatever thread has the data.
 */
struct fuse_mount_opts {
	const char *source;	/* shown in the mount table */
	const char *fsname;	/* overrides source; NULL */
	/* Mounts are always nodev and nosuid. */
	bool writable;		/* default_permissions then always is on */
	bool allow_other, allow_root, default_permissions, noexec;
	bool debug;
	unsigned refresh_s;	/* seconds between refreshes; 0: on SIGHUP only */
};

struct fuse_mount;

/** fuse_mount_new(v, mountpoint, o, ret): mounts on a directory given by its
 * absolute path; a message on failure. */
int fuse_mount_new(struct vfs *v, const char *mountpoint,
    const struct fuse_mount_opts *o, struct fuse_mount **ret);
/**
 * fuse_mount_run(m, ready, arg): serves until the mount is gone or SIGTERM or
 * SIGINT came; ready is called, on another thread, when requests are being
 * answered.  SIGHUP refreshes.  A signal to end unmounts; if the mount is in
 * use, it goes on for those who use it until a second one.  The repository is
 * shut down on return, unless the mount was writable and ended without being
 * told twice: then there may be something left to do with it.
 */
int fuse_mount_run(struct fuse_mount *m, void (*ready)(void *arg), void *arg);
/** fuse_mount_free(m): waits for requests under way. */
void fuse_mount_free(struct fuse_mount *m);

struct fuse_mount_stats {
	uint64_t requests;	/* all but reads */
	uint64_t waited;	/* of them: not answered from memory */
	uint64_t reads;		/* without those of .pbs3fs */
	uint64_t writes;
	unsigned open;		/* files and directories */
	unsigned reading;	/* reads under way */
};
/** fuse_mount_stats(m, ret): since the mount.  Any thread. */
void fuse_mount_stats(struct fuse_mount *m, struct fuse_mount_stats *ret);

#endif
