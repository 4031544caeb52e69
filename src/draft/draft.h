/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_DRAFT_H
#define DRAFT_DRAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "repo/edit.h"

struct buf;
struct claim;
struct enc_key;
struct repo;
struct str;
struct uploads;

/*
 * Open snapshots: what a mount shows as current/ in each group.  A draft is a
 * tree of files that begins as a view of the group's latest finished snapshot
 * and takes all that a POSIX program may do to it.  Publishing makes a
 * finished snapshot of it, which the draft then is a view of.
 *
 * What was changed lives in a journal and in staging files below the state
 * directory, from where any later mount goes on.  A change that was answered
 * survives the death of this process; after draft_fsync it survives that of
 * the host.
 *
 * Inode numbers are those of FUSE: they have bit 62 set and bit 63 clear, and
 * stay the same as long as somebody holds them, over publishing too.  Each
 * call that returns attributes by name (lookup, make, link) counts a
 * reference, which draft_forget takes back.  A number nobody holds is -ESTALE,
 * but for draft_root.
 *
 * Any thread.  Calls take DRAFT_NOWAIT: -EAGAIN instead of waiting for the
 * store, for room, or for a snapshot being published; local disks are not
 * waited for in this sense.  Changes wait while a snapshot is published; reads
 * do not.  Errors are negative errno; those of the store as in repo.h.
 */
struct drafts;
struct draft;

enum draft_flags {
	DRAFT_NOWAIT = 1,	/* same value as VFS_NOWAIT and REPO_NOWAIT */
};

struct drafts_opts {
	const char *state;	/* directory, made if missing; not shared with
				 * others' files */
	const char *identity;	/* what the store is: URL or real path */
	struct uploads *uploads;	/* borrowed */
	struct claim *claim;	/* borrowed; NULL in tests */
	uint64_t staging;	/* bytes on the local disk at most; 0: 10 GiB */
	uint64_t floor;		/* bytes of its file system that stay free */
	unsigned timeout_ms;	/* how long a writer waits for room; 0: 5 min */
	unsigned idle_s;	/* publish what nobody writes for so long; 0:
				 * never */
	int archive;		/* of archives: 1 pxar, 2 split; 0: 2 */
	bool fsync_store;	/* fsync waits for the store */
	uid_t uid;		/* of current/ itself */
	gid_t gid;
	/* What snapshots are signed with, and all in them encrypted unless
	 * sign_only; borrowed; NULL: neither. */
	const struct enc_key *key;
	bool sign_only;
	/* Content of rsa-encrypted.key in each of them; borrowed; NULL: none,
	 * as there is without key. */
	const struct buf *key_blob;
	/* Told before published: what the format keeps as several files, all
	 * of them known by one number, and this name is not the file that has
	 * the number now.  On any thread. */
	void (*parted)(void *arg, uint64_t dir, const char *name,
	    uint64_t ino);
	/* Told after a snapshot has been published, on any thread. */
	void (*published)(void *arg, const struct group_name *g, int64_t time);
	void *arg;
	/* To test crashes: SIGKILL ourselves at that write of a journal, the
	 * first is 1; odd before it, even after; 0: never. */
	unsigned kill_at;
};

/** drafts_open(r, o, ret): r is borrowed.  Reads all journals.  -EBUSY: another
 * process has the state directory; -EBADMSG: a journal is damaged, with a
 * message that says what to do. */
int drafts_open(struct repo *r, const struct drafts_opts *o,
    struct drafts **ret);
/** drafts_shutdown(ds): who waits is told -ESHUTDOWN.  The store was shut down
 * before. */
void drafts_shutdown(struct drafts *ds);
void drafts_free(struct drafts *ds);

/** drafts_get(ds, g, ret): of a group in the tree; -ENOENT.  Borrowed, and
 * there as long as ds. */
int drafts_get(struct drafts *ds, const struct group_name *g,
    struct draft **ret);
/** drafts_of(ds, ino): whose number it is, or NULL. */
struct draft *drafts_of(struct drafts *ds, uint64_t ino);
/** drafts_remove(ds, g): the group goes.  -EBUSY if anything is open or was
 * changed in it. */
int drafts_remove(struct drafts *ds, const struct group_name *g);
/** drafts_refreshed(ds, fn, arg): the repository has a new tree: drafts without
 * changes that nobody has open become views of what is the latest snapshot now;
 * their numbers are -ESTALE from then on, and fn, unless NULL, is told of each.
 */
typedef void drafts_replaced_fn(void *arg, const struct group_name *g);
void drafts_refreshed(struct drafts *ds, drafts_replaced_fn *fn, void *arg);

/** drafts_forget(ds, g, time), drafts_forget_group(ds, g): repo_forget and
 * repo_forget_group where there are open snapshots: -EBUSY, with a message, if
 * the one of the group is a view of what is to go (of a group: is there) and
 * was changed or is in use.  One that is not becomes a view of the latest
 * snapshot that is left, of which drafts_refreshed tells. */
int drafts_forget(struct drafts *ds, const struct group_name *g,
    int64_t time);
int drafts_forget_group(struct drafts *ds, const struct group_name *g);
/** draft_say_busy(g, time, changed): that message; time 0: all of it.  For who
 * knows of open snapshots by draft_scan. */
void draft_say_busy(const struct group_name *g, int64_t time, bool changed);

struct draft_state {
	struct group_name group;
	bool changed;		/* there is something to publish */
	bool publishing;
	uint64_t staged;	/* bytes on the local disk alone */
	uint64_t uploaded;	/* bytes in the store that no index has yet */
	int64_t since;		/* epoch seconds: the oldest change; 0 */
	uint64_t done, total;	/* bytes, while publishing */
};
typedef void draft_state_fn(void *arg, const struct draft_state *s);
/** drafts_each(ds, fn, arg): all that have changes or are being published. */
void drafts_each(struct drafts *ds, draft_state_fn *fn, void *arg);
struct drafts_stats {
	uint64_t staged, staged_limit;
	unsigned waiting;	/* writers that wait for room */
	unsigned changed;	/* drafts */
	uint64_t unsent;	/* bytes */
	int64_t oldest;		/* epoch seconds; 0 */
};
void drafts_stats(struct drafts *ds, struct drafts_stats *ret);
/** drafts_finish(ds): before a mount ends: publishes what idle_s would have
 * published later, and waits for uploads that fsync has promised. */
int drafts_finish(struct drafts *ds);

uint64_t draft_root(const struct draft *d);

/* Names and attributes: st_ino, exact st_size and st_nlink. */
int draft_lookup(struct draft *d, uint64_t parent, const char *name,
    unsigned flags, struct stat *ret);
void draft_forget(struct draft *d, uint64_t ino, uint64_t n);
int draft_getattr(struct draft *d, uint64_t ino, unsigned flags,
    struct stat *ret);
/** draft_parent(d, ino, flags, ret): of a directory; of the root 0. */
int draft_parent(struct draft *d, uint64_t ino, unsigned flags,
    uint64_t *ret);
int draft_readlink(struct draft *d, uint64_t ino, unsigned flags,
    struct buf **ret);

enum draft_set {
	DRAFT_SET_MODE = 1, DRAFT_SET_UID = 2, DRAFT_SET_GID = 4,
	DRAFT_SET_SIZE = 8, DRAFT_SET_MTIME = 16, DRAFT_SET_MTIME_NOW = 32,
};
struct draft_change {
	unsigned set;
	mode_t mode;		/* permission bits */
	uid_t uid;
	gid_t gid;
	uint64_t size;
	struct timespec mtime;
};
int draft_setattr(struct draft *d, uint64_t ino, const struct draft_change *c,
    unsigned flags, struct stat *ret);

struct draft_new {
	mode_t mode;		/* with type; as open(2) was given it */
	mode_t umask;		/* applied unless the directory has a default
				 * ACL */
	dev_t rdev;
	const char *target;	/* of a symlink */
	uid_t uid;
	gid_t gid;		/* a setgid directory overrides it */
};
int draft_make(struct draft *d, uint64_t parent, const char *name,
    const struct draft_new *n, unsigned flags, struct stat *ret);
int draft_link(struct draft *d, uint64_t ino, uint64_t parent,
    const char *name, unsigned flags, struct stat *ret);
int draft_unlink(struct draft *d, uint64_t parent, const char *name,
    unsigned flags);
int draft_rmdir(struct draft *d, uint64_t parent, const char *name,
    unsigned flags);
/** draft_rename(...): how is 0, RENAME_NOREPLACE or RENAME_EXCHANGE. */
int draft_rename(struct draft *d, uint64_t parent, const char *name,
    uint64_t newparent, const char *newname, unsigned how, unsigned flags);

/* user.*, trusted.*, security.capability, security.NTACL and POSIX ACLs, which
 * are what the format holds; others are -EOPNOTSUPP.  how: XATTR_CREATE,
 * XATTR_REPLACE. */
int draft_xattr_list(struct draft *d, uint64_t ino, unsigned flags,
    struct buf **ret);
int draft_xattr_get(struct draft *d, uint64_t ino, const char *name,
    unsigned flags, struct buf **ret);
int draft_xattr_set(struct draft *d, uint64_t ino, const char *name,
    const void *p, size_t len, int how, unsigned flags);
int draft_xattr_remove(struct draft *d, uint64_t ino, const char *name,
    unsigned flags);

/* Directories: as vfs_readdir.  What is made or removed after opening may or
 * may not be seen; everything else is seen once. */
struct draft_dir;
struct draft_dirent {
	const char *name;	/* valid during the call */
	uint64_t ino;
	uint64_t cookie;	/* never 0; good for any opening */
	mode_t type;
};
typedef int draft_readdir_fn(void *arg, const struct draft_dirent *e);
int draft_opendir(struct draft *d, uint64_t ino, unsigned flags,
    struct draft_dir **ret);
int draft_readdir(struct draft_dir *dir, uint64_t cookie, unsigned flags,
    draft_readdir_fn *fn, void *arg);
void draft_closedir(struct draft_dir *dir);

/* Files.  An open file keeps its inode, with or without a name. */
struct draft_file;
/** draft_open(d, ino, oflags, flags, ret): O_TRUNC is honoured; O_APPEND is the
 * caller's business. */
int draft_open(struct draft *d, uint64_t ino, int oflags, unsigned flags,
    struct draft_file **ret);
void draft_close(struct draft_file *f);
/** draft_read(f, off, len, fn, arg): as vfs_read; never waits itself. */
typedef void draft_read_fn(void *arg, int err, const struct iovec *iov, int n);
void draft_read(struct draft_file *f, uint64_t off, size_t len,
    draft_read_fn *fn, void *arg);
/** draft_write(f, p, len, off, flags): all of it or an error.  What failed is
 * remembered of the file until it is written again: draft_flush, draft_fsync
 * and publishing fail. */
int draft_write(struct draft_file *f, const void *p, size_t len, uint64_t off,
    unsigned flags);
/** draft_flush(f): at close(2): what went wrong since the last one. */
int draft_flush(struct draft_file *f);
/** draft_fsync(d, ino): data, attributes and names; directories too. */
int draft_fsync(struct draft *d, uint64_t ino);
/** draft_fallocate(f, mode, off, len, flags): plain, KEEP_SIZE, PUNCH_HOLE,
 * ZERO_RANGE; else -EOPNOTSUPP. */
int draft_fallocate(struct draft_file *f, int mode, uint64_t off,
    uint64_t len, unsigned flags);
/** draft_seek(f, off, whence, ret): SEEK_DATA, SEEK_HOLE. */
int draft_seek(struct draft_file *f, uint64_t off, int whence, uint64_t *ret);

/**
 * draft_publish(d, time):
 * Makes a finished snapshot of what the draft is at this moment.  -EEXIST,
 * -EINVAL for a time that is not after the latest snapshot; -EBUSY while one is
 * being published; -ENODATA for a draft without anything in it; -EILSEQ for
 * what the format cannot hold, -EIO for a file that lost data; each with a
 * message that names the path.  On error the draft is as it was.
 */
int draft_publish(struct draft *d, int64_t time);

#endif
