/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/num.h"

/* What one call is asked for at most: Linux transfers no more than this. */
#define IO_ONCE ((size_t)1 << 30)

int
io_read_full(int fd, void *p, size_t len)
{
	uint8_t *at = p;

	while (len > 0) {
		ssize_t n = read(fd, at, MIN(len, IO_ONCE));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

int
io_pread_full(int fd, void *p, size_t len, off_t off)
{
	uint8_t *at = p;

	while (len > 0) {
		ssize_t n = pread(fd, at, MIN(len, IO_ONCE), off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		at += n;
		off += n;
		len -= (size_t)n;
	}
	return 0;
}

int
io_write_full(int fd, const void *p, size_t len)
{
	const uint8_t *at = p;

	while (len > 0) {
		ssize_t n = write(fd, at, MIN(len, IO_ONCE));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Fills b up to its length or the end of the file; 0 or -errno. */
static int
read_up_to(int fd, struct buf *b, size_t have, size_t *ret)
{
	while (have < b->len) {
		ssize_t n = read(fd, b->data + have,
		    MIN(b->len - have, IO_ONCE));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	*ret = have;
	return 0;
}

int
io_read_file(int dirfd, const char *path, size_t max, struct buf **ret)
{
	_cleanup_close_ int fd = -1;
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	size_t have = 0, limit;
	struct stat st;
	int r;

	fd = openat(dirfd, path,
	    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if ((uint64_t)st.st_size > max)
		return -EFBIG;
	/* One byte more than there should be, to see the end.  A file that
	 * grows meanwhile is followed up to the limit. */
	if (__builtin_add_overflow(max, (size_t)1, &limit))
		limit = max;
	b = buf_new(MIN((size_t)st.st_size + 1, limit));
	if (b == NULL)
		return -ENOMEM;
	for (;;) {
		struct buf *more;

		r = read_up_to(fd, b, have, &have);
		if (r < 0)
			return r;
		if (have > max)
			return -EFBIG;
		if (have < b->len || b->len == limit)
			break;
		more = buf_new(b->len > limit / 2 ? limit : b->len * 2);
		if (more == NULL)
			return -ENOMEM;
		memcpy(more->data, b->data, have);
		buf_unref(b);
		b = more;
	}
	b->len = have;
	*ret = steal(&b);
	return 0;
}

int
io_fsync_dir(int dirfd, const char *path)
{
	_cleanup_close_ int fd =
	    openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

int
io_check_private(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_uid != geteuid() && st.st_uid != 0) ||
	    (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return -EPERM;
	return 0;
}

static bool
is_dots(const char *name)
{
	return name[0] == '.' &&
	    (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

int
io_read_dir(int fd, io_name_fn *fn, void *arg)
{
	DIR *d = fdopendir(fd);
	int r = 0;

	if (d == NULL) {
		r = -errno;
		close(fd);
		return r;
	}
	while (r == 0) {
		const struct dirent *e;

		errno = 0;
		e = readdir(d);
		if (e == NULL) {
			r = -errno;
			break;
		}
		if (!is_dots(e->d_name))
			r = fn(arg, dirfd(d), e);
	}
	closedir(d);
	return r;
}
