/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VFS_VFS_H
#define VFS_VFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/uio.h>

struct repo;
struct buf;

/*
 * The mounted tree over a repository, as POSIX calls; knows nothing of FUSE.
 * pbs3fs-mount(8) shows what the tree looks like.
 *
 * Inode numbers are the only handle: they are made from what they name, stay
 * the same over remounts, and can be resolved again at any time, so that
 * nothing has to be remembered or forgotten.  Numbers with the top bit set
 * name the hierarchy (hash of the path); the others lie in the range that an
 * archive owns, at the position of the entry in it.  VFS_ROOT is the mounted
 * directory.
 *
 * Every call takes VFS_NOWAIT: then -EAGAIN instead of waiting for a store.
 * Otherwise a call waits until the repository's timeout.  Any thread.
 */
struct vfs;

#define VFS_ROOT 1

enum vfs_flags {
	VFS_NOWAIT = 1,		/* same value as REPO_NOWAIT */
	/* Of a lookup or getattr: for the root of an archive that was not
	 * opened yet made-up attributes will do. */
	VFS_PROVISIONAL = 2,
};

enum vfs_links {
	VFS_LINKS_AUTO,		/* exact where the metadata is small */
	VFS_LINKS_SCAN,		/* always exact: read all metadata of an archive */
	VFS_LINKS_SEEN,		/* 1 + links seen so far */
};

struct vfs_opts {
	const char *subdir;	/* mount only that; NULL: all */
	bool set_uid, set_gid;
	uid_t uid;
	gid_t gid;
	mode_t umask;		/* taken from every mode */
	bool all;		/* also unfinished snapshots */
	enum vfs_links links;
};

/** vfs_new(r, o, ret): r is borrowed.  -ENOENT, -ENOTDIR for subdir. */
int vfs_new(struct repo *r, const struct vfs_opts *o, struct vfs **ret);
/** vfs_shutdown(v): what waits for the store fails soon. */
void vfs_shutdown(struct vfs *v);
void vfs_free(struct vfs *v);

struct vfs_attr {
	struct stat st;		/* st_ino is the number to use; st_size exact */
	/* False while the attributes may still change without notice: the root
	 * of an archive that was not opened yet, link counts, .pbs3fs files.
	 * A listing never opens an archive to tell what its root is like;
	 * asking for the root itself does, unless VFS_PROVISIONAL is given or
	 * the store does not answer in a moment. */
	bool stable;
};

/* -ENOENT, -ENOTDIR, -ESTALE for a number that names nothing (any more),
 * -EIO and others of the repository. */
int vfs_lookup(struct vfs *v, uint64_t parent, const char *name,
    unsigned flags, struct vfs_attr *ret);
int vfs_getattr(struct vfs *v, uint64_t ino, unsigned flags,
    struct vfs_attr *ret);
/** vfs_parent(v, ino, flags, ret): of a directory, for "..". */
int vfs_parent(struct vfs *v, uint64_t ino, unsigned flags, uint64_t *ret);
/** vfs_is_snapshot(v, ino): it is a snapshot or lies in one, so that its names
 * are those that they are until a refresh tells otherwise. */
bool vfs_is_snapshot(struct vfs *v, uint64_t ino);
int vfs_readlink(struct vfs *v, uint64_t ino, unsigned flags,
    struct buf **ret);

/** vfs_xattr_list: names, each with its NUL.  vfs_xattr_get: -ENODATA. */
int vfs_xattr_list(struct vfs *v, uint64_t ino, unsigned flags,
    struct buf **ret);
int vfs_xattr_get(struct vfs *v, uint64_t ino, const char *name,
    unsigned flags, struct buf **ret);

/*
 * An open directory.  Cookies are 64 bits, never 0, stable over remounts.
 */
struct vfs_dir;
int vfs_opendir(struct vfs *v, uint64_t ino, unsigned flags,
    struct vfs_dir **ret);
void vfs_closedir(struct vfs_dir *d);

struct vfs_dirent {
	const char *name;	/* valid during the call */
	uint64_t ino;
	uint64_t cookie;	/* to go on after this entry */
	mode_t type;		/* S_IFMT bits */
	const struct vfs_attr *attr;	/* NULL unless asked for and known */
};
/**
 * vfs_readdir(d, cookie, want_attr, flags, fn, arg):
 * Entries after cookie (0: from the start; "." and ".." are not among them)
 * until fn returns non-zero or the end.  -EAGAIN with VFS_NOWAIT only if
 * nothing was delivered yet.  A damaged entry is left out and reported.
 */
typedef int vfs_readdir_fn(void *arg, const struct vfs_dirent *e);
int vfs_readdir(struct vfs_dir *d, uint64_t cookie, bool want_attr,
    unsigned flags, vfs_readdir_fn *fn, void *arg);

/*
 * An open file.  Reads answer from any thread.
 */
struct vfs_file;
int vfs_open(struct vfs *v, uint64_t ino, unsigned flags,
    struct vfs_file **ret);
void vfs_close(struct vfs_file *f);	/* reads under way go on */
uint64_t vfs_file_size(struct vfs_file *f);
/** vfs_file_is_generated(f): made at open, not worth caching (.pbs3fs). */
bool vfs_file_is_generated(struct vfs_file *f);

/**
 * vfs_read(f, off, len, fn, arg):
 * fn is called once, on any thread, perhaps before this returns: bytes up to
 * the end of the file in at most VFS_IOV_MAX pieces, or an error.  iov is valid
 * until fn returns.
 */
#define VFS_IOV_MAX 64
typedef void vfs_read_fn(void *arg, int err, const struct iovec *iov, int n);
void vfs_read(struct vfs_file *f, uint64_t off, size_t len, vfs_read_fn *fn,
    void *arg);
/** vfs_read_wait(f, p, len, off): the same, waiting; bytes read, up to what
 * cannot be read, or -errno: -EBADMSG is damaged, -ENOENT missing in the store,
 * others say nothing of the data. */
ssize_t vfs_read_wait(struct vfs_file *f, void *p, size_t len, uint64_t off);
/** vfs_piece_end(f, off): where the chunk that holds off ends, within the file:
 * damage at off goes no further. */
uint64_t vfs_piece_end(struct vfs_file *f, uint64_t off);
/** vfs_seek(f, off, whence, ret): SEEK_DATA or SEEK_HOLE; -ENXIO. */
int vfs_seek(struct vfs_file *f, uint64_t off, int whence, uint64_t *ret);

struct vfs_statfs {
	uint64_t bytes_total, bytes_free;
	uint64_t files;
};
void vfs_statfs(struct vfs *v, struct vfs_statfs *ret);

/**
 * vfs_resolve(v, path, flags, ret): walks a path without following symlinks
 * but "latest"; for commands.
 */
int vfs_resolve(struct vfs *v, const char *path, unsigned flags,
    struct vfs_attr *ret);
/** vfs_path(v, ino, ret): the path below the root, malloc'ed. */
int vfs_path(struct vfs *v, uint64_t ino, char **ret);

/*
 * What the kernel must forget after a refresh.
 */
struct vfs_listener {
	void (*entry)(void *arg, uint64_t parent, const char *name);
	void (*inode)(void *arg, uint64_t ino);
	void *arg;
};
/** vfs_listen(v, l): before the first call that could tell something. */
void vfs_listen(struct vfs *v, const struct vfs_listener *l);
/** vfs_refresh(v): repo_refresh, then tells the listener what changed. */
int vfs_refresh(struct vfs *v);

/** vfs_refreshes(v, ret): how the calls of vfs_refresh went; who has asked for
 * one by a signal sees from it when that is done. */
struct vfs_refreshes {
	uint64_t done, failed;
	size_t snaps_added, snaps_removed, changed;	/* by the last done */
};
void vfs_refreshes(struct vfs *v, struct vfs_refreshes *ret);

/** vfs_generate(v, name, fn, arg): content of .pbs3fs/NAME, made by fn when it
 * is opened (status.json, metrics); errors is the vfs's own. */
struct str;
typedef void vfs_generate_fn(void *arg, struct str *out);
int vfs_generate(struct vfs *v, const char *name, vfs_generate_fn *fn,
    void *arg);

#endif
