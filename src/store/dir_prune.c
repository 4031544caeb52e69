/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/str.h"

/* Servers before version 4 leave it in each snapshot. */
#define OLD_LOCK ".index.json.lck"

/* How many names deep below the directory of its type path is. */
static unsigned
depth_below_type(const struct dir_name *n, const char *path)
{
	unsigned depth = 0;

	for (const char *p = path + n->keep; *p != '\0'; p++)
		depth += *p == '/';
	return depth;
}

static bool
is_junk(const char *name)
{
	return dir_names_is_unfinished(name) || streq(name, OLD_LOCK);
}

static int
find_more(void *arg, int dir, const struct dirent *e)
{
	(void)arg;
	(void)dir;
	return is_junk(e->d_name) ? 0 : 1;
}

static int
remove_junk(void *arg, int dir, const struct dirent *e)
{
	(void)arg;
	return is_junk(e->d_name) && unlinkat(dir, e->d_name, 0) < 0 &&
		errno != ENOENT ? -errno : 0;
}

static int
read_dir(const struct store_dir *d, const char *path, io_name_fn *fn)
{
	int fd = dir_path_open(d->fd, path, O_RDONLY | O_DIRECTORY);

	return fd < 0 ? fd : io_read_dir(fd, fn, NULL);
}

/* Where there is more a server may be about to rename something. */
static int
remove_snapshot(const struct store_dir *d, const char *path)
{
	int r = dir_path_unlink(d->fd, path, AT_REMOVEDIR);

	if (r != -ENOTEMPTY && r != -EEXIST)
		return r;
	if (read_dir(d, path, find_more) != 0 ||
	    read_dir(d, path, remove_junk) != 0)
		return -ENOTEMPTY;
	return dir_path_unlink(d->fd, path, AT_REMOVEDIR);
}

void
dir_prune(const struct store_dir *d, const struct dir_name *n)
{
	char path[DIR_PATH_MAX + 1], *slash;
	int r;

	memcpy(path, n->path, strlen(n->path) + 1);
	while ((slash = strrchr(path, '/')) != NULL) {
		*slash = '\0';
		if (strlen(path) <= n->keep)
			return;
		if (n->place == DIR_BELOW && depth_below_type(n, path) == 2)
			r = remove_snapshot(d, path);
		else
			r = dir_path_unlink(d->fd, path, AT_REMOVEDIR);
		if (r < 0)
			return;
	}
}

static int
find_directory(void *arg, int dir, const struct dirent *e)
{
	struct stat st;

	(void)arg;
	if (e->d_type != DT_UNKNOWN)
		return e->d_type == DT_DIR;
	return fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISDIR(st.st_mode);
}

int
dir_check_owner(const struct store_dir *d, const struct dir_name *n)
{
	char path[DIR_PATH_MAX + 1];
	const char *name;
	int r;

	if (n->place != DIR_BELOW || depth_below_type(n, n->path) != 2)
		return 0;
	dir_path_split(n->path, path, &name);
	if (!streq(name, "owner"))
		return 0;
	r = read_dir(d, path, find_directory);
	if (r < 0 && dir_path_is_absent(r))
		return 0;
	return r > 0 ? -ENOTEMPTY : r;
}
