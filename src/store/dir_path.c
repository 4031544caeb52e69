/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/dir_path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#define OPEN_DIR (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* The next part of *path, or 0 if there is none; -ENAMETOOLONG. */
static int
next_part(const char **path, char part[NAME_MAX + 1])
{
	size_t len;

	*path += strspn(*path, "/");
	len = strcspn(*path, "/");
	if (len > NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(part, *path, len);
	part[len] = '\0';
	*path += len;
	return len > 0;
}

/* For kernels before 5.6 and sandboxes that refuse openat2. */
static int
open_by_parts(int base, const char *path, int flags)
{
	_cleanup_close_ int dir = -1;
	char part[NAME_MAX + 1];
	int r;

	while ((r = next_part(&path, part)) > 0) {
		bool last = path[strspn(path, "/")] == '\0';
		int fd;

		fd = openat(dir >= 0 ? dir : base, part,
		    last ? flags | O_NOFOLLOW | O_CLOEXEC
			 : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		if (last)
			return fd;
		if (dir >= 0)
			close(dir);
		dir = fd;
	}
	return r < 0 ? r : -ENOENT;
}

int
dir_path_open(int base, const char *path, int flags)
{
	struct open_how how = {
	    .flags = (unsigned)(flags | O_NOFOLLOW | O_CLOEXEC),
	    .resolve =
		RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, base, path, &how, sizeof(how));

	if (fd >= 0)
		return (int)fd;
	if (errno == ENOSYS || errno == EPERM)
		return open_by_parts(base, path, flags);
	return -errno;
}

static int
make_dir(int dir, const char *name, mode_t mode, const struct dir_owner *owner,
    bool sync)
{
	_cleanup_close_ int fd = -1;

	if (mkdirat(dir, name, mode) < 0)
		return errno == EEXIST ? 0 : -errno;
	if (owner == NULL)
		return 0;
	fd = openat(dir, name, OPEN_DIR);
	/* The umask must not take away what a server insists on. */
	if (fd < 0 || fchmod(fd, mode) < 0 ||
	    (owner->set && fchown(fd, owner->uid, owner->gid) < 0) ||
	    (sync && (fsync(fd) < 0 || fsync(dir) < 0)))
		return -errno;
	return 0;
}

int
dir_path_make(int base, const char *path, mode_t mode,
    const struct dir_owner *owner, bool sync)
{
	_cleanup_close_ int dir = openat(base, ".", OPEN_DIR);
	char part[NAME_MAX + 1];
	int fd, r;

	if (dir < 0)
		return -errno;
	while ((r = next_part(&path, part)) > 0) {
		fd = openat(dir, part, OPEN_DIR);
		if (fd < 0 && errno == ENOENT) {
			r = make_dir(dir, part, mode, owner, sync);
			if (r < 0)
				return r;
			fd = openat(dir, part, OPEN_DIR);
		}
		if (fd < 0)
			return -errno;
		close(dir);
		dir = fd;
	}
	if (r < 0)
		return r;
	fd = dir;
	dir = -1;
	return fd;
}

void
dir_path_split(const char *path, char *ret_dir, const char **ret_name)
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL) {
		memcpy(ret_dir, ".", 2);
		*ret_name = path;
		return;
	}
	memcpy(ret_dir, path, (size_t)(slash - path));
	ret_dir[slash - path] = '\0';
	*ret_name = slash + 1;
}

bool
dir_path_is_absent(int err)
{
	return err == -ENOENT || err == -ENOTDIR || err == -ELOOP ||
	       err == -ENAMETOOLONG || err == -ENXIO;
}

int
dir_path_unlink(int base, const char *path, int flags)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *dir = malloc(strlen(path) + 2);
	const char *name;

	if (dir == NULL)
		return -ENOMEM;
	dir_path_split(path, dir, &name);
	fd = dir_path_open(base, dir, O_PATH | O_DIRECTORY);
	if (fd < 0)
		return dir_path_is_absent(fd) ? 0 : fd;
	if (unlinkat(fd, name, flags) == 0 || dir_path_is_absent(-errno))
		return 0;
	return -errno;
}
