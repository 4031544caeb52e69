/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "crypt/digest.h"
#include "pbs/blob.h"

/* A directory may be pruned between making it and writing into it. */
#define TRIES 5
#define TEMP_LEN 32

/*
 * Hidden, with an extension that servers and we take for unfinished, and
 * short: names of objects may be as long as a name can be.
 */
static int
temp_name(char out[TEMP_LEN])
{
	unsigned long long x;
	int r = crypt_random(&x, sizeof(x));

	if (r == 0)
		snprintf(out, TEMP_LEN, ".tmp_%016llx", x);
	return r;
}

/* Give temp its name, only if there is none yet.  0, 1, -errno. */
static int
rename_noreplace(int dir, const char *temp, const char *name)
{
	int r;

	if (renameat2(dir, temp, dir, name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno == EEXIST)
		return 1;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* Some network file systems have links, but not this rename. */
	if (linkat(dir, temp, dir, name, 0) == 0)
		r = 0;
	else
		r = errno == EEXIST ? 1 : -errno;
	if (unlinkat(dir, temp, 0) < 0 && r == 0)
		r = -errno;
	return r;
}

static int
write_temp(const struct store_dir *d, int fd, const void *p, size_t len,
    bool lazy)
{
	int r = io_write_full(fd, p, len);

	if (r < 0)
		return r;
	if (fchmod(fd, 0644) < 0 ||
	    (d->owner.set && fchown(fd, d->owner.uid, d->owner.gid) < 0) ||
	    (!lazy && fsync(fd) < 0))
		return -errno;
	return 0;
}

static int
write_in(const struct store_dir *d, int dir, const char *name, const void *p,
    size_t len, const struct store_put *how, struct store_object *ret)
{
	_cleanup_close_ int fd = -1;
	char temp[TEMP_LEN];
	struct stat st;
	int r;

	r = temp_name(temp);
	if (r < 0)
		return r;
	fd = openat(dir, temp,
	    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = write_temp(d, fd, p, len, how->lazy);
	if (r == 0 && how->if_absent)
		r = rename_noreplace(dir, temp, name);
	else if (r == 0 && renameat(dir, temp, dir, name) < 0)
		r = -errno;
	if (r != 0) {
		unlinkat(dir, temp, 0);
		return r;
	}
	if (!how->lazy && fsync(dir) < 0)
		return -errno;
	/* After the rename, which is a change too. */
	if (fstat(fd, &st) < 0)
		return -errno;
	if (ret != NULL)
		dir_object(ret, &st);
	return 0;
}

/*
 * Proxmox Backup's rule for a chunk that is there already: the smaller
 * encoding stays; a plain chunk never stands in for an encrypted one; an empty
 * file is none.  What stays gets a new access time, which keeps it from
 * garbage collection.
 */
static const struct timespec accessed_now[2] = {
    {.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};

enum keep { KEEP_NONE, KEEP_IT, KEEP_REPLACE };

/* What to do about the chunk that is there, or -errno. */
static int
keep_chunk(const struct store_dir *d, const struct dir_name *n, const void *p,
    size_t len)
{
	_cleanup_close_ int fd = -1;
	enum blob_kind mine, theirs;
	uint8_t head[BLOB_HEADER_ENC];
	struct stat st;
	size_t head_len;
	int r;

	fd = dir_open_file(d, n, &st);
	if (fd == -ENOENT)
		return S_ISREG(st.st_mode) ? KEEP_REPLACE : KEEP_NONE;
	if (fd < 0)
		return fd;
	if ((uint64_t)st.st_size != len) {
		head_len = (uint64_t)st.st_size < sizeof(head)
			       ? (size_t)st.st_size
			       : sizeof(head);
		r = io_pread_full(fd, head, head_len, 0);
		if (r < 0)
			return r;
		/* What is no blob at all is no chunk to keep. */
		if (blob_kind(head, head_len, &theirs) < 0)
			return KEEP_REPLACE;
		if (blob_kind(p, len, &mine) < 0)
			return KEEP_IT;
		if (blob_is_encrypted(mine) && !blob_is_encrypted(theirs)) {
			log_err("%s/%s: an unencrypted chunk is in the place "
				"of an encrypted one",
			    d->base, n->path);
			return -EBADMSG;
		}
		if (!blob_is_encrypted(mine) && len < (uint64_t)st.st_size)
			return KEEP_REPLACE;
	}
	if (futimens(fd, accessed_now) < 0)
		return -errno;
	return KEEP_IT;
}

int
dir_write(const struct store_dir *d, const struct dir_name *n, const void *p,
    size_t len, const struct store_put *how, struct store_object *ret)
{
	struct store_put put = *how;
	bool chunk = n->place == DIR_CHUNK_SUB;
	char path[DIR_PATH_MAX + 1];
	const char *name;
	int r = -ENOENT;

	if (chunk && len == 0)
		return -EINVAL;
	if (chunk && how->if_absent) {
		r = keep_chunk(d, n, p, len);
		/* An attack has been told of. */
		if (r < 0)
			return r == -EBADMSG
				   ? r
				   : dir_failed(d, "keep", n->path, r);
		if (r == KEEP_IT)
			return 1;
		put.if_absent = r == KEEP_NONE;
		r = -ENOENT;
	}
	dir_path_split(n->path, path, &name);
	for (int try = 0; try < TRIES && r == -ENOENT; try++) {
		_cleanup_close_ int dir = -1;

		dir = dir_path_make(d->fd, path, chunk ? 0750 : 0755,
		    &d->owner, !how->lazy);
		r = dir < 0 ? dir : write_in(d, dir, name, p, len, &put, ret);
	}
	if (r < 0)
		return dir_failed(d, "write", n->path, r);
	return r;
}

int
dir_touch(const struct store_dir *d, const struct dir_name *n)
{
	_cleanup_close_ int dir = -1;
	char path[DIR_PATH_MAX + 1];
	const char *name;
	struct stat st;

	dir_path_split(n->path, path, &name);
	dir = dir_path_open(d->fd, path, O_PATH | O_DIRECTORY);
	if (dir < 0)
		return dir_path_is_absent(dir)
			   ? 1
			   : dir_failed(d, "look at", n->path, dir);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (!S_ISREG(st.st_mode) ||
		    (n->place == DIR_CHUNK_SUB && st.st_size == 0))
			return 1;
		if (utimensat(dir, name, accessed_now, AT_SYMLINK_NOFOLLOW) ==
		    0)
			return 0;
	}
	return dir_path_is_absent(-errno)
		   ? 1
		   : dir_failed(d, "touch", n->path, -errno);
}
