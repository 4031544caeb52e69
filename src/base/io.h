/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct buf;
struct dirent;

/** io_read_full(fd, p, len): 0, -errno, or -ENODATA if the file ends before. */
int io_read_full(int fd, void *p, size_t len);
/** io_pread_full(fd, p, len, off): the same at an offset. */
int io_pread_full(int fd, void *p, size_t len, off_t off);
/** io_write_full(fd, p, len): all of it or -errno. */
int io_write_full(int fd, const void *p, size_t len);

/**
 * io_read_file(dirfd, path, max, ret):
 * The whole regular file, at most max bytes (-EFBIG above).  Symlinks in the
 * last component are not followed (-ELOOP).
 */
int io_read_file(int dirfd, const char *path, size_t max, struct buf **ret);

enum io_replace_flags {
	IO_SYNC = 1,		/* durable on return: file and directory */
	IO_NOREPLACE = 2,	/* -EEXIST if there is a file already */
	IO_MKDIRS = 4,		/* create missing parent directories, 0755 */
};

/**
 * io_replace(dirfd, path, iov, n, mode, flags):
 * Write a file so that others see the old or the new content and nothing in
 * between.  The temporary name is path + ".tmp_XXXXXX" in the same directory;
 * it is removed on error.
 */
int io_replace(int dirfd, const char *path, const struct iovec *iov, int n,
    mode_t mode, unsigned flags);

/** io_mkdirs(dirfd, path, mode): as mkdir -p; existing directories are fine. */
int io_mkdirs(int dirfd, const char *path, mode_t mode);

/** io_fsync_dir(dirfd, path): makes names in that directory durable. */
int io_fsync_dir(int dirfd, const char *path);

/**
 * io_check_private(fd):
 * Whether nobody but us and root can put names into the directory or take them
 * out: 0 or -EPERM.  In another one any name can become a symlink.
 */
int io_check_private(int fd);

/**
 * io_read_dir(fd, fn, arg):
 * Call fn for each name in the directory but "." and ".."; dir is the directory
 * to look at them with.  Takes fd over.  A non-zero return of fn ends it and is
 * returned.
 */
typedef int io_name_fn(void *arg, int dir, const struct dirent *e);
int io_read_dir(int fd, io_name_fn *fn, void *arg);

/**
 * io_remove_tree(dirfd, path):
 * As rm -rf, without following symlinks and without recursion on the stack
 * depth of the tree.  Absent is 0.
 */
int io_remove_tree(int dirfd, const char *path);

#endif
