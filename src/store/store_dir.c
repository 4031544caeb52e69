/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/backends.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "store/dir.h"

/* A file that is written in place may shrink between stat and read. */
#define READ_TRIES 3

void
dir_object(struct store_object *ret, const struct stat *st)
{
	memset(ret, 0, sizeof(*ret));
	ret->size = (uint64_t)st->st_size;
	ret->mtime = st->st_mtim.tv_sec;
	ret->atime = st->st_atim.tv_sec;
	snprintf(ret->etag, sizeof(ret->etag), "%llx-%llx-%llx.%lx",
	    (unsigned long long)st->st_ino, (unsigned long long)st->st_size,
	    (unsigned long long)st->st_ctim.tv_sec,
	    (unsigned long)st->st_ctim.tv_nsec);
}

void
dir_object_mark(struct store_object *ret)
{
	memset(ret, 0, sizeof(*ret));
	snprintf(ret->etag, sizeof(ret->etag), "namespace");
}

int
dir_failed(
    const struct store_dir *d, const char *what, const char *path, int err)
{
	log_err("%s/%s: cannot %s: %s", d->base, path, what, strerror(-err));
	return err;
}

int
dir_open_file(
    const struct store_dir *d, const struct dir_name *n, struct stat *ret_st)
{
	_cleanup_close_ int fd = -1;
	int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY, ret;

	memset(ret_st, 0, sizeof(*ret_st));
	/* Only the owner may leave the access time alone. */
	fd = dir_path_open(d->fd, n->path, flags | O_NOATIME);
	if (fd == -EPERM)
		fd = dir_path_open(d->fd, n->path, flags);
	if (fd < 0)
		return dir_path_is_absent(fd) ? -ENOENT : fd;
	if (fstat(fd, ret_st) < 0)
		return -errno;
	/* A server leaves an empty file where it knows of a chunk but has
	 * none, and so does a crash. */
	if (!S_ISREG(ret_st->st_mode) ||
	    (n->place == DIR_CHUNK_SUB && ret_st->st_size == 0))
		return -ENOENT;
	ret = fd;
	fd = -1;
	return ret;
}

static int
stat_mark(struct store_dir *d, const struct dir_name *n)
{
	_cleanup_close_ int fd = -1;

	fd = dir_path_open(d->fd, n->path, O_PATH | O_DIRECTORY);
	if (fd < 0)
		return dir_path_is_absent(fd)
			   ? 1
			   : dir_failed(d, "look at", n->path, fd);
	return 0;
}

static int
read_file(int fd, const struct stat *st, const struct store_get *how,
    struct buf **ret)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	uint64_t size = (uint64_t)st->st_size, off = 0, len = size;
	int r;

	if (how->len != 0) {
		if (how->off >= size)
			return -ERANGE;
		off = how->off;
		len = MIN(how->len, size - off);
	}
	if (len > how->max)
		return -EFBIG;
	b = buf_new((size_t)len);
	if (b == NULL)
		return -ENOMEM;
	r = io_pread_full(fd, b->data, (size_t)len, (off_t)off);
	if (r < 0)
		return r;
	*ret = steal(&b);
	return 0;
}

static int
dir_get(struct store *s, const char *key, const struct store_get *how,
    struct buf **ret, struct store_object *ret_obj)
{
	struct store_dir *d = (struct store_dir *)s;
	struct dir_name n;
	struct stat st;
	int r = 0;

	if (dir_names_of_key(key, &n) != 0)
		return 1;
	if (n.is_mark) {
		r = stat_mark(d, &n);
		if (r != 0)
			return r;
		if (how->len != 0)
			return -ERANGE;
		if (ret_obj != NULL)
			dir_object_mark(ret_obj);
		*ret = buf_new(0);
		return *ret != NULL ? 0 : -ENOMEM;
	}
	for (int try = 0; try < READ_TRIES; try++) {
		_cleanup_close_ int fd = dir_open_file(d, &n, &st);

		if (fd == -ENOENT)
			return 1;
		r = fd < 0 ? fd : read_file(fd, &st, how, ret);
		if (r != -ENODATA)
			break;
	}
	if (r == -EFBIG || r == -ERANGE)
		return r;
	if (r < 0)
		return dir_failed(d, "read", n.path, r == -ENODATA ? -EIO : r);
	if (ret_obj != NULL)
		dir_object(ret_obj, &st);
	return 0;
}

static int
put_mark(struct store_dir *d, const struct dir_name *n, size_t len,
    bool if_absent, struct store_object *ret)
{
	_cleanup_close_ int fd = -1;

	if (len != 0)
		return -EINVAL;
	if (if_absent && stat_mark(d, n) == 0)
		return 1;
	fd = dir_path_make(d->fd, n->path, 0755, &d->owner, true);
	if (fd < 0)
		return dir_failed(d, "make", n->path, fd);
	if (ret != NULL)
		dir_object_mark(ret);
	return 0;
}

static int
dir_put(struct store *s, const char *key, const void *p, size_t len,
    const struct store_put *how, struct store_object *ret_obj)
{
	struct store_dir *d = (struct store_dir *)s;
	struct dir_name n;

	if (dir_names_of_key(key, &n) != 0) {
		log_err("%s: a directory datastore has no place for %s",
		    d->base, key);
		return -EINVAL;
	}
	if (n.is_mark)
		return put_mark(d, &n, len, how->if_absent, ret_obj);
	return dir_write(d, &n, p, len, how, ret_obj);
}

static int
dir_stat(struct store *s, const char *key, deadline_t deadline,
    struct store_object *ret)
{
	struct store_dir *d = (struct store_dir *)s;
	_cleanup_close_ int fd = -1;
	struct dir_name n;
	struct stat st;

	(void)deadline;
	if (streq(key, ".chunks")) {
		if (fstatat(d->fd, key, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return dir_path_is_absent(-errno)
				   ? 1
				   : dir_failed(d, "look at", key, -errno);
		dir_object_mark(ret);
		return S_ISDIR(st.st_mode) ? 0 : 1;
	}
	if (dir_names_of_key(key, &n) != 0)
		return 1;
	if (n.is_mark) {
		dir_object_mark(ret);
		return stat_mark(d, &n);
	}
	fd = dir_path_open(d->fd, n.path, O_PATH);
	if (fd < 0 && dir_path_is_absent(fd))
		return 1;
	if (fd < 0)
		return dir_failed(d, "look at", n.path, fd);
	if (fstat(fd, &st) < 0)
		return dir_failed(d, "look at", n.path, -errno);
	if (!S_ISREG(st.st_mode) ||
	    (n.place == DIR_CHUNK_SUB && st.st_size == 0))
		return 1;
	dir_object(ret, &st);
	return 0;
}

static int
dir_list_op(struct store *s, const char *prefix, const char *start_after,
    store_list_fn *fn, void *arg)
{
	return dir_list((struct store_dir *)s, prefix, start_after, fn, arg);
}

static int
del_file(struct store_dir *d, const struct dir_name *n)
{
	int r = dir_check_owner(d, n);

	if (r < 0)
		return r;
	r = dir_path_unlink(d->fd, n->path, 0);
	/* A directory is no object. */
	if (r == -EISDIR)
		return 0;
	if (r == 0)
		dir_prune(d, n);
	return r;
}

/* A namespace goes when nothing is in it but empty directories of types. */
static int
del_mark(struct store_dir *d, const struct dir_name *n)
{
	static const struct {
		const char *name;
		int flags;
	} subs[] = {
	    {"ct", AT_REMOVEDIR},
	    {"host", AT_REMOVEDIR},
	    {"ns", AT_REMOVEDIR},
	    {"vm", AT_REMOVEDIR},
	    {DIR_NAMESPACE, 0},
	};
	char path[DIR_PATH_MAX + sizeof("/" DIR_NAMESPACE)];
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(subs); i++) {
		snprintf(path, sizeof(path), "%s/%s", n->path, subs[i].name);
		r = dir_path_unlink(d->fd, path, subs[i].flags);
		if (r < 0)
			return r;
	}
	return dir_path_unlink(d->fd, n->path, AT_REMOVEDIR);
}

static int
del_one(struct store_dir *d, const char *key, bool marks, store_delete_fn *fn,
    void *arg)
{
	struct dir_name n;
	int r;

	if (dir_names_of_key(key, &n) != 0 || n.is_mark != marks)
		return 0;
	r = marks ? del_mark(d, &n) : del_file(d, &n);
	if (r == 0)
		return 0;
	dir_failed(d, "remove", n.path, r);
	if (fn != NULL)
		fn(arg, key, strerror(-r));
	return r;
}

static int
dir_del(struct store *s, const char *const *keys, size_t count,
    store_delete_fn *fn, void *arg, deadline_t deadline)
{
	struct store_dir *d = (struct store_dir *)s;
	int r = 0, e;

	(void)deadline;
	for (size_t i = 0; i < count; i++) {
		e = del_one(d, keys[i], false, fn, arg);
		r = r < 0 ? r : e;
	}
	/* Keys in order have a namespace before those in it. */
	for (size_t i = count; i > 0; i--) {
		e = del_one(d, keys[i - 1], true, fn, arg);
		r = r < 0 ? r : e;
	}
	return r;
}

static int
dir_copy(struct store *s, const char *from, const char *to, deadline_t deadline)
{
	static const struct store_put how;
	const struct store_get all = {.max = SIZE_MAX, .deadline = deadline};
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	int r;

	r = dir_get(s, from, &all, &b, NULL);
	if (r != 0)
		return r;
	return dir_put(s, to, b->data, b->len, &how, NULL);
}

static int
dir_touch_op(struct store *s, const char *key)
{
	struct store_dir *d = (struct store_dir *)s;
	struct dir_name n;

	if (dir_names_of_key(key, &n) != 0)
		return 1;
	return n.is_mark ? stat_mark(d, &n) : dir_touch(d, &n);
}

/*
 * One after the other, and so with the lock: the kernel tells of lost pages
 * once, and whoever comes next must not be told that all is well.
 */
static int
dir_sync(struct store *s)
{
	struct store_dir *d = (struct store_dir *)s;
	LOCK(&d->sync_lock);

	if (d->sync_error < 0 || syncfs(d->fd) == 0)
		return d->sync_error;
	d->sync_error = -errno;
	log_err("%s: not all that was written is on the disk: %s\n"
		"hint: check the disk, then mount again",
	    d->base, strerror(-d->sync_error));
	return d->sync_error;
}

static void
dir_free(struct store *s)
{
	struct store_dir *d = (struct store_dir *)s;

	if (d->fd >= 0)
		close(d->fd);
	pthread_mutex_destroy(&d->sync_lock);
	free(d->base);
	free(d);
}

static const struct store_ops dir_ops = {
    .get = dir_get,
    .put = dir_put,
    .stat = dir_stat,
    .list = dir_list_op,
    .del = dir_del,
    .copy = dir_copy,
    .touch = dir_touch_op,
    .sync = dir_sync,
    .free = dir_free,
};

int
store_dir_new(const char *base, struct store **ret)
{
	struct store_dir *d = calloc(1, sizeof(*d));
	struct stat st;
	int r;

	if (d == NULL)
		return -ENOMEM;
	d->s.ops = &dir_ops;
	d->s.name = "dir";
	pthread_mutex_init(&d->sync_lock, NULL);
	d->fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->fd < 0 || fstat(d->fd, &st) < 0) {
		r = -errno;
		log_err("datastore %s: cannot open it: %s", base, strerror(-r));
		goto fail;
	}
	d->base = strdup(base);
	if (d->base == NULL) {
		r = -ENOMEM;
		goto fail;
	}
	/* What root makes must stay usable for the server's own user. */
	d->owner.set = geteuid() == 0;
	d->owner.uid = st.st_uid;
	d->owner.gid = st.st_gid;
	*ret = &d->s;
	return 0;
fail:
	dir_free(&d->s);
	return r;
}

const char *
store_dir_base(struct store *s, int *ret_fd)
{
	const struct store_dir *d;

	while (s != NULL && s->ops != &dir_ops)
		s = s->below;
	d = (const struct store_dir *)s;
	*ret_fd = d != NULL ? d->fd : -1;
	return d != NULL ? d->base : NULL;
}
