/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/num.h"
#include "base/str.h"
#include "store/dir_path.h"

/*
 * After the content of a metadata object: etag[72], length u64, modification
 * time i64, magic u64, and a u64 of XXH3-64: of the name, which seeds that of
 * the content, which seeds that of the trailer so far.  With the name in it no
 * file passes for another.
 */
#define TRAILER_LEN 104
#define TRAILER_MAGIC 0x314154454d334250ULL
/* A directory may be pruned between making it and using it. */
#define TRIES 5

static uint64_t
meta_sum(const struct cache_id *id, const void *p, size_t len,
    const uint8_t *trailer)
{
	uint64_t name = XXH3_64bits(id->b, id->len);

	return XXH3_64bits_withSeed(
	    trailer, TRAILER_LEN - 8, XXH3_64bits_withSeed(p, len, name));
}

static void
make_trailer(const struct cache_id *id, const void *p, size_t len,
    const struct store_object *o, uint8_t out[TRAILER_LEN])
{
	_Static_assert(sizeof(o->etag) == 72, "the trailer has room for it");
	memset(out, 0, TRAILER_LEN);
	snprintf((char *)out, sizeof(o->etag), "%s", o->etag);
	put_le64(out + 72, len);
	put_le64(out + 80, (uint64_t)o->mtime);
	put_le64(out + 88, TRAILER_MAGIC);
	put_le64(out + 96, meta_sum(id, p, len, out));
}

/* Check a whole file; *ret_len is the length of its content. */
static int
read_trailer(const struct cache_id *id, const struct buf *b, size_t *ret_len,
    struct store_object *o)
{
	const uint8_t *t;

	if (b->len < TRAILER_LEN)
		return -EBADMSG;
	*ret_len = b->len - TRAILER_LEN;
	t = b->data + *ret_len;
	if (get_le64(t + 72) != *ret_len || get_le64(t + 88) != TRAILER_MAGIC ||
	    memchr(t, '\0', sizeof(o->etag)) == NULL ||
	    get_le64(t + 96) != meta_sum(id, b->data, *ret_len, t))
		return -EBADMSG;
	memset(o, 0, sizeof(*o));
	memcpy(o->etag, t, sizeof(o->etag));
	o->size = *ret_len;
	o->mtime = (int64_t)get_le64(t + 80);
	return 0;
}

uint64_t
cache_file_size(const struct cache_id *id, uint64_t len)
{
	return id->kind == CACHE_META ? len + TRAILER_LEN : len;
}

/* The part of [0, size) that is asked for. */
static int
range_of(
    const struct store_get *how, uint64_t size, uint64_t *off, uint64_t *len)
{
	*off = 0;
	*len = size;
	if (how->len != 0) {
		if (how->off >= size)
			return -ERANGE;
		*off = how->off;
		*len = MIN(how->len, size - how->off);
	}
	return *len > how->max ? -EFBIG : 0;
}

static int
read_at(int fd, uint64_t off, uint64_t len, struct buf **ret)
{
	_cleanup_(buf_unrefp) struct buf *b = buf_new((size_t)len);
	int r;

	if (b == NULL)
		return -ENOMEM;
	r = io_pread_full(fd, b->data, (size_t)len, (off_t)off);
	/* Cut short under our hands, or the disk is failing. */
	if (r < 0)
		return -EBADMSG;
	*ret = steal(&b);
	return 0;
}

static int
read_meta(const struct cache_id *id, int fd, uint64_t size,
    const struct store_get *how, struct buf **ret, struct store_object *o)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	uint64_t off, len;
	size_t content = 0;
	int r;

	/* No memory for what may be any file; the store below says whether
	 * the object is that large. */
	if (how->len == 0 && size > TRAILER_LEN &&
	    size - TRAILER_LEN > how->max)
		return 1;
	r = read_at(fd, 0, size, &b);
	if (r == 0)
		r = read_trailer(id, b, &content, o);
	if (r < 0)
		return r;
	if (how->etag != NULL && !streq(how->etag, o->etag))
		return 1;
	r = range_of(how, content, &off, &len);
	if (r < 0)
		return r;
	if (off == 0) {
		b->len = (size_t)len;
		*ret = steal(&b);
		return 0;
	}
	*ret = buf_copy(b->data + off, (size_t)len);
	return *ret != NULL ? 0 : -ENOMEM;
}

static int
read_chunk(int fd, const struct stat *st, const struct store_get *how,
    struct buf **ret, struct store_object *o)
{
	uint64_t off, len, size = (uint64_t)st->st_size;
	int r;

	if (size == 0)
		return -EBADMSG;
	memset(o, 0, sizeof(*o));
	o->size = size;
	o->mtime = st->st_mtim.tv_sec;
	r = range_of(how, size, &off, &len);
	return r < 0 ? r : read_at(fd, off, len, ret);
}

int
cache_file_read(struct cache *c, const struct cache_id *id, uint64_t expect,
    const struct store_get *how, struct buf **ret, struct store_object *ret_obj)
{
	_cleanup_close_ int fd = -1;
	char path[CACHE_PATH_MAX + 1];
	struct store_object o;
	struct stat st;
	int r;

	cache_id_path(id, path);
	fd = dir_path_open(c->fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return dir_path_is_absent(fd) ? 1 : fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return 1;
	if (expect != 0 && (uint64_t)st.st_size != expect)
		return -EBADMSG;
	/* Nothing that we wrote is larger than the cache. */
	if ((uint64_t)st.st_size > c->limit)
		return -EBADMSG;
	if (id->kind == CACHE_META)
		r = read_meta(id, fd, (uint64_t)st.st_size, how, ret, &o);
	else
		r = read_chunk(fd, &st, how, ret, &o);
	if (r == 0 && ret_obj != NULL)
		*ret_obj = o;
	return r;
}

static int
write_temp(struct cache *c, const char *temp, const struct cache_id *id,
    const void *p, size_t len, const struct store_object *o)
{
	_cleanup_close_ int fd = -1;
	uint8_t trailer[TRAILER_LEN];
	int r;

	fd = openat(c->fd, temp,
	    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = io_write_full(fd, p, len);
	if (r == 0 && id->kind == CACHE_META) {
		make_trailer(id, p, len, o, trailer);
		r = io_write_full(fd, trailer, sizeof(trailer));
	}
	if (r < 0)
		return r;
	/* Network file systems report a full disk only now. */
	r = close(fd) < 0 ? -errno : 0;
	fd = -1;
	return r;
}

int
cache_file_write(struct cache *c, unsigned temp_n, const struct cache_id *id,
    const void *p, size_t len, const struct store_object *o)
{
	char path[CACHE_PATH_MAX + 1], dir[CACHE_PATH_MAX + 2], temp[32];
	const char *name;
	int r;

	cache_id_path(id, path);
	dir_path_split(path, dir, &name);
	snprintf(temp, sizeof(temp), CACHE_TMP "/%u", temp_n);
	r = write_temp(c, temp, id, p, len, o);
	for (int try = 0; r == 0 && try < TRIES; try++) {
		_cleanup_close_ int fd = -1;

		fd = dir_path_make(c->fd, dir, 0700, NULL, false);
		if (fd < 0) {
			r = fd;
			break;
		}
		if (renameat(c->fd, temp, fd, name) == 0)
			return 0;
		if (errno != ENOENT)
			r = -errno;
	}
	unlinkat(c->fd, temp, 0);
	if (r == 0)
		return 1; /* pruned each time: not worth a fight */
	/* One object's name may be another one's directory. */
	return r == -ENAMETOOLONG || r == -ENOTDIR || r == -ELOOP ||
		       r == -EISDIR || r == -EEXIST || r == -ENOTEMPTY
		   ? 1
		   : r;
}

int
cache_file_unlink(struct cache *c, const struct cache_id *id)
{
	char path[CACHE_PATH_MAX + 1];
	int r;

	cache_id_path(id, path);
	r = dir_path_unlink(c->fd, path, 0);
	/* A directory is no file of ours, whatever the log said. */
	return r == -EISDIR ? 0 : r;
}
