/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VFS_VFS_H
#define VFS_VFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/uio.h>

struct buf;
struct change_list;
struct drafts;
struct repo;

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
 * Those of open snapshots are different: they have bit 62 alone, and are only
 * good as long as somebody holds them.  vfs_lookup, vfs_make, vfs_link and
 * vfs_resolve count a reference of what they return, which vfs_forget takes
 * back; of all other numbers it takes nothing.
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
	/*
	 * To write: the open snapshots of the same repository; borrowed.  NULL:
	 * the tree is read-only.  uid, gid and umask above are not for what is
	 * in them.
	 */
	struct drafts *drafts;
	const char *owner;	/* of new groups; NULL: "root@pam" */
	const char *disk;	/* a directory on the file system that gets
				 * what is written; NULL: a store without end */
};

/** vfs_new(r, o, ret): r is borrowed.  -ENOENT, -ENOTDIR for subdir. */
int vfs_new(struct repo *r, const struct vfs_opts *o, struct vfs **ret);
/** vfs_shutdown(v): what waits for the store fails soon. */
void vfs_shutdown(struct vfs *v);
/** vfs_let_go(v): no call comes any more, and the drafts are freed before v. */
void vfs_let_go(struct vfs *v);
void vfs_free(struct vfs *v);

struct vfs_attr {
	struct stat st;		/* st_ino is the number to use; st_size exact */
	/* False while the attributes may still change without notice: the root
	 * of an archive that was not opened yet, link counts, .pbs3fs files.
	 * A listing never opens an archive to tell what its root is like;
	 * asking for the root itself does, unless VFS_PROVISIONAL is given or
	 * the store does not answer in a moment. */
	bool stable;
	/* False if a change made here may give the name another meaning, or
	 * the number another size, before the listener hears of it. */
	bool lasting;
};

/* -ENOENT, -ENOTDIR, -ESTALE for a number that names nothing (any more),
 * -EIO and others of the repository. */
int vfs_lookup(struct vfs *v, uint64_t parent, const char *name,
    unsigned flags, struct vfs_attr *ret);
int vfs_getattr(struct vfs *v, uint64_t ino, unsigned flags,
    struct vfs_attr *ret);
/** vfs_parent(v, ino, flags, ret): of a directory, for "..". */
int vfs_parent(struct vfs *v, uint64_t ino, unsigned flags, uint64_t *ret);
/** vfs_is_snapshot(v, ino): it is a snapshot or lies in one, finished or open,
 * so that its names are those that they are until who uses this interface
 * changes them or a refresh tells otherwise. */
bool vfs_is_snapshot(struct vfs *v, uint64_t ino);
/** vfs_is_current(v, ino): it lies in an open snapshot. */
bool vfs_is_current(struct vfs *v, uint64_t ino);
void vfs_forget(struct vfs *v, uint64_t ino, uint64_t n);
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
/** vfs_open(v, ino, oflags, flags, ret): the access mode and O_TRUNC of open(2);
 * O_APPEND is the caller's business. */
int vfs_open(struct vfs *v, uint64_t ino, int oflags, unsigned flags,
    struct vfs_file **ret);
void vfs_close(struct vfs_file *f);	/* reads under way go on */
uint64_t vfs_file_size(struct vfs_file *f);
/** vfs_file_is_generated(f): made at open (.pbs3fs). */
bool vfs_file_is_generated(struct vfs_file *f);

enum vfs_caching {
	VFS_CACHE_NOT,		/* pages are wrong at once */
	VFS_CACHE_OPEN,		/* good until it is opened again */
	VFS_CACHE_KEEP,
};
/** vfs_file_caching(f): what a cache above may do with its content. */
enum vfs_caching vfs_file_caching(struct vfs_file *f);

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
/** vfs_seek(f, off, whence, ret): SEEK_DATA or SEEK_HOLE; -ENXIO.  May wait. */
int vfs_seek(struct vfs_file *f, uint64_t off, int whence, uint64_t *ret);

/*
 * Changes.  In an open snapshot all that POSIX has.  Elsewhere: directories
 * for namespaces and groups are made and removed; making a directory in a group
 * with a timestamp for a name publishes its open snapshot, and returns when
 * that is done; removing one forgets the snapshot.  A group's notes can be
 * written; what was written counts when vfs_flush returns 0.  A snapshot has
 * user.pbs3fs.protected ("0", "1") and user.pbs3fs.notes.
 *
 * -EROFS below a finished snapshot, and everywhere without drafts; -EPERM for
 * what else cannot be changed; -EXDEV from one snapshot to another.  Those of
 * draft.h and repo/edit.h.
 */
enum vfs_set {		/* same values as DRAFT_SET_* */
	VFS_SET_MODE = 1, VFS_SET_UID = 2, VFS_SET_GID = 4,
	VFS_SET_SIZE = 8, VFS_SET_MTIME = 16, VFS_SET_MTIME_NOW = 32,
};
struct vfs_change {
	unsigned set;
	mode_t mode;		/* permission bits */
	uid_t uid;
	gid_t gid;
	uint64_t size;
	struct timespec mtime;
};
int vfs_setattr(struct vfs *v, uint64_t ino, const struct vfs_change *c,
    unsigned flags, struct vfs_attr *ret);

struct vfs_new {
	mode_t mode;		/* with type; as open(2) was given it */
	mode_t umask;
	dev_t rdev;
	const char *target;	/* of a symlink */
	uid_t uid;
	gid_t gid;
};
int vfs_make(struct vfs *v, uint64_t parent, const char *name,
    const struct vfs_new *n, unsigned flags, struct vfs_attr *ret);
int vfs_link(struct vfs *v, uint64_t ino, uint64_t parent, const char *name,
    unsigned flags, struct vfs_attr *ret);
int vfs_unlink(struct vfs *v, uint64_t parent, const char *name,
    unsigned flags);
int vfs_rmdir(struct vfs *v, uint64_t parent, const char *name,
    unsigned flags);
/** vfs_rename(...): how is 0, RENAME_NOREPLACE or RENAME_EXCHANGE. */
int vfs_rename(struct vfs *v, uint64_t parent, const char *name,
    uint64_t newparent, const char *newname, unsigned how, unsigned flags);
/** vfs_xattr_set(...): how is 0, XATTR_CREATE or XATTR_REPLACE. */
int vfs_xattr_set(struct vfs *v, uint64_t ino, const char *name,
    const void *p, size_t len, int how, unsigned flags);
int vfs_xattr_remove(struct vfs *v, uint64_t ino, const char *name,
    unsigned flags);

/** vfs_write(f, p, len, off, flags): all of it or an error. */
int vfs_write(struct vfs_file *f, const void *p, size_t len, uint64_t off,
    unsigned flags);
/** vfs_flush(f, flags): at each close(2): what went wrong since the last. */
int vfs_flush(struct vfs_file *f, unsigned flags);
/** vfs_fsync(v, ino): a file or a directory; waits. */
int vfs_fsync(struct vfs *v, uint64_t ino);
int vfs_fallocate(struct vfs_file *f, int mode, uint64_t off, uint64_t len,
    unsigned flags);

struct vfs_statfs {
	uint64_t bytes_total, bytes_free;
	uint64_t files, files_free;
	bool read_only;
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
/** vfs_listen(v, l): before the first call that could tell something, and with
 * an empty one in the end: nobody is in the old one after this. */
void vfs_listen(struct vfs *v, const struct vfs_listener *l);
/** vfs_refresh(v): repo_refresh, then tells the listener what changed. */
int vfs_refresh(struct vfs *v);
/** vfs_renew(v): the repository has a new tree that was not made through here:
 * shows that, and tells the listener.  Changes made through here need no such
 * call. */
int vfs_renew(struct vfs *v);
/** vfs_changed(v): the same when what the latest snapshots are may have changed:
 * open ones without changes follow. */
int vfs_changed(struct vfs *v);

/** vfs_parted(v, dir, name, ino): what drafts_opts.parted is told. */
void vfs_parted(struct vfs *v, uint64_t dir, const char *name, uint64_t ino);

/** vfs_refreshes(v, ret): how the calls of vfs_refresh went; who has asked for
 * one by a signal sees from it when that is done. */
struct vfs_refreshes {
	uint64_t done, failed;
	size_t snaps_added, snaps_removed, changed;	/* by the last done */
};
void vfs_refreshes(struct vfs *v, struct vfs_refreshes *ret);
/** vfs_last_changes(v, ret): what the last one found, by name; a copy for the
 * caller; -ENOMEM. */
int vfs_last_changes(struct vfs *v, struct change_list *ret);

/** vfs_generate(v, name, fn, arg): content of .pbs3fs/NAME, made by fn when it
 * is opened (status.json, metrics); errors is the vfs's own. */
struct str;
typedef void vfs_generate_fn(void *arg, struct str *out);
int vfs_generate(struct vfs *v, const char *name, vfs_generate_fn *fn,
    void *arg);

#endif
