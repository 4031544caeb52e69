/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/staging.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/num.h"
#include "base/str.h"

#define DATA_DIR "data"
#define NAME_LEN 16	/* hex digits of an inode number */
#define SUB_LEN 2	/* the last two of them */
/* What file systems allocate, or a multiple of it. */
#define BLOCK 4096

struct names {
	char sub[SUB_LEN + 1];
	char file[NAME_LEN + 1];
};

static struct names
names_of(uint64_t ino)
{
	struct names n;

	snprintf(n.file, sizeof(n.file), "%016llx", (unsigned long long)ino);
	memcpy(n.sub, n.file + NAME_LEN - SUB_LEN, sizeof(n.sub));
	return n;
}

/* A directory that is no symlink. */
static int
open_dir(int dir, const char *name, bool create)
{
	const int how = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
	int fd = openat(dir, name, how);

	if (fd < 0 && errno == ENOENT && create) {
		/* Another thread may do the same. */
		if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
			return -errno;
		fd = openat(dir, name, how);
	}
	return fd < 0 ? -errno : fd;
}

static int
open_sub(int dir, const struct names *n, bool create)
{
	_cleanup_close_ int data = open_dir(dir, DATA_DIR, create);

	return data < 0 ? data : open_dir(data, n->sub, create);
}

int
staging_file(int dir, uint64_t ino, bool create)
{
	struct names n = names_of(ino);
	_cleanup_close_ int sub = open_sub(dir, &n, create);
	struct stat st;
	int fd;

	if (sub < 0)
		return sub;
	fd = openat(sub, n.file, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK |
	    O_NOCTTY | (create ? O_CREAT : 0), 0600);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EIO;
	}
	return fd;
}

int
staging_sync_name(int dir, uint64_t ino)
{
	struct names n = names_of(ino);
	_cleanup_close_ int data = open_dir(dir, DATA_DIR, false);
	_cleanup_close_ int sub = -1;

	if (data < 0)
		return data;
	sub = open_dir(data, n.sub, false);
	if (sub < 0)
		return sub;
	return fsync(sub) < 0 || fsync(data) < 0 || fsync(dir) < 0 ? -errno : 0;
}

int
staging_remove(int dir, uint64_t ino)
{
	struct names n = names_of(ino);
	_cleanup_close_ int sub = open_sub(dir, &n, false);

	if (sub < 0)
		return sub == -ENOENT ? 0 : sub;
	return unlinkat(sub, n.file, 0) < 0 && errno != ENOENT ? -errno : 0;
}

int
staging_punch(int fd, uint64_t off, uint64_t len)
{
	uint64_t end;

	if (__builtin_add_overflow(off, len, &end) || end > INT64_MAX)
		return -EINVAL;
	off = (off + BLOCK - 1) / BLOCK * BLOCK;
	end = end / BLOCK * BLOCK;
	if (off >= end)
		return 0;
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	    (off_t)off, (off_t)(end - off)) < 0 ? -errno : 0;
}

struct sweep {
	bool (*keep)(void *arg, uint64_t ino);
	void *arg;
	char sub[SUB_LEN + 1];
	int err;	/* the first one */
};

/* Exactly as names_of writes it. */
static bool
parse_name(const char *text, size_t len, uint64_t *ret)
{
	static const char digits[] = "0123456789abcdef";
	uint64_t v = 0;

	if (strlen(text) != len)
		return false;
	for (size_t i = 0; i < len; i++) {
		const char *d = strchr(digits, text[i]);

		if (d == NULL)
			return false;
		v = v << 4 | (uint64_t)(d - digits);
	}
	*ret = v;
	return true;
}

static int
sweep_file(void *arg, int dir, const struct dirent *e)
{
	struct sweep *s = arg;
	struct stat st;
	uint64_t ino;

	if (!parse_name(e->d_name, NAME_LEN, &ino) ||
	    !streq(e->d_name + NAME_LEN - SUB_LEN, s->sub) ||
	    s->keep(s->arg, ino))
		return 0;
	if (fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISREG(st.st_mode))
		return 0;
	/* One that cannot be removed does not save the others. */
	if (unlinkat(dir, e->d_name, 0) < 0 && s->err == 0)
		s->err = -errno;
	return 0;
}

static int
sweep_sub(void *arg, int dir, const struct dirent *e)
{
	struct sweep *s = arg;
	uint64_t v;
	int fd;

	if (!parse_name(e->d_name, SUB_LEN, &v))
		return 0;
	fd = open_dir(dir, e->d_name, false);
	if (fd == -ENOTDIR || fd == -ELOOP)
		return 0;
	if (fd < 0)
		return fd;
	memcpy(s->sub, e->d_name, sizeof(s->sub));
	return io_read_dir(fd, sweep_file, s);
}

int
staging_sweep(int dir, bool (*keep)(void *arg, uint64_t ino), void *arg)
{
	struct sweep s = {.keep = keep, .arg = arg};
	int fd, r;

	fd = open_dir(dir, DATA_DIR, false);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	r = io_read_dir(fd, sweep_sub, &s);
	return r < 0 ? r : s.err;
}
