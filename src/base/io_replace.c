/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/cleanup.h"

/* As dirname: "a/b" is "a", "/b" is "/", "b" is ".". */
static int
parent_of(const char *path, char out[PATH_MAX])
{
	const char *slash;
	size_t n = strlen(path);

	if (n == 0 || n >= PATH_MAX)
		return n == 0 ? -ENOENT : -ENAMETOOLONG;
	while (n > 1 && path[n - 1] == '/')
		n--;
	slash = memrchr(path, '/', n);
	if (slash == NULL) {
		memcpy(out, ".", 2);
		return 0;
	}
	n = (size_t)(slash - path);
	while (n > 0 && path[n - 1] == '/')
		n--;
	if (n == 0)
		n = 1;
	memcpy(out, path, n);
	out[n] = '\0';
	return 0;
}

static int
fsync_parent(int dirfd, const char *path)
{
	char parent[PATH_MAX];
	int r = parent_of(path, parent);

	return r < 0 ? r : io_fsync_dir(dirfd, parent);
}

static int
make_dirs(int dirfd, const char *path, mode_t mode, bool sync)
{
	char p[PATH_MAX];
	struct stat st;
	size_t len = strlen(path);
	int r;

	if (len == 0)
		return -ENOENT;
	if (len >= sizeof(p))
		return -ENAMETOOLONG;
	memcpy(p, path, len + 1);
	for (size_t i = 1; i <= len; i++) {
		char c = p[i];

		/* At the end of each component. */
		if ((c != '/' && c != '\0') || p[i - 1] == '/')
			continue;
		p[i] = '\0';
		if (mkdirat(dirfd, p, mode) == 0) {
			r = sync ? fsync_parent(dirfd, p) : 0;
			if (r < 0)
				return r;
		} else {
			/* There already; or so, on a read-only file system. */
			r = -errno;
			if (fstatat(dirfd, p, &st, 0) < 0)
				return r == -EEXIST ? -errno : r;
			if (!S_ISDIR(st.st_mode))
				return -ENOTDIR;
		}
		p[i] = c;
	}
	return 0;
}

int
io_mkdirs(int dirfd, const char *path, mode_t mode)
{
	return make_dirs(dirfd, path, mode, false);
}

/* A new file beside path, under a name nobody else has. */
static int
open_temp(int dirfd, const char *path, char tmp[PATH_MAX])
{
	static const char letters[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

	for (unsigned tries = 0; tries < 100; tries++) {
		uint8_t rnd[6];
		int fd, n;

		if (getrandom(rnd, sizeof(rnd), 0) != sizeof(rnd))
			return -EIO;
		n = snprintf(tmp, PATH_MAX, "%s.tmp_XXXXXX", path);
		if (n < 0 || n >= PATH_MAX)
			return -ENAMETOOLONG;
		for (size_t i = 0; i < sizeof(rnd); i++)
			tmp[(size_t)n - sizeof(rnd) + i] =
			    letters[rnd[i] % (sizeof(letters) - 1)];
		fd = openat(dirfd, tmp,
		    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd >= 0)
			return fd;
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

static int
fill(int fd, const struct iovec *iov, int n, mode_t mode, bool sync)
{
	for (int i = 0; i < n; i++) {
		int r = io_write_full(fd, iov[i].iov_base, iov[i].iov_len);

		if (r < 0)
			return r;
	}
	if (fchmod(fd, mode) < 0)
		return -errno;
	if (sync && fsync(fd) < 0)
		return -errno;
	return 0;
}

static int
put_in_place(int dirfd, const char *tmp, const char *path, bool noreplace)
{
	if (!noreplace)
		return renameat(dirfd, tmp, dirfd, path) < 0 ? -errno : 0;
	if (renameat2(dirfd, tmp, dirfd, path, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* Some file systems only know the old way. */
	if (linkat(dirfd, tmp, dirfd, path, 0) < 0)
		return -errno;
	return unlinkat(dirfd, tmp, 0) < 0 ? -errno : 0;
}

int
io_replace(int dirfd, const char *path, const struct iovec *iov, int n,
    mode_t mode, unsigned flags)
{
	char tmp[PATH_MAX], parent[PATH_MAX];
	bool sync = flags & IO_SYNC;
	int fd, r;

	fd = open_temp(dirfd, path, tmp);
	if (fd == -ENOENT && (flags & IO_MKDIRS)) {
		r = parent_of(path, parent);
		if (r == 0)
			r = make_dirs(dirfd, parent, 0755, sync);
		if (r < 0)
			return r;
		fd = open_temp(dirfd, path, tmp);
	}
	if (fd < 0)
		return fd;
	r = fill(fd, iov, n, mode, sync);
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r == 0)
		r = put_in_place(dirfd, tmp, path, flags & IO_NOREPLACE);
	if (r < 0) {
		unlinkat(dirfd, tmp, 0);
		return r;
	}
	return sync ? fsync_parent(dirfd, path) : 0;
}
