/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/cache_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/num.h"
#include "crypt/digest.h"
#include "store/cache_index.h"
#include "store/store.h"

#define MAGIC 0x314c4350u /* "PCL1" */
#define RECORD_MAX (CACHE_LOG_HEADER + KEY_MAX)
#define READ_SIZE (256 * KIB)
#define NEW_NAME CACHE_LOG_NAME ".new"
#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_LEN 36

struct cache_log {
	int dirfd;            /* borrowed */
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t cond;
	int fd; /* owned; appends */
	uint64_t size;
	unsigned appending;
	bool held;
	bool lost; /* not to be trusted by the next process */
};

static void
checksum(uint8_t *rec, size_t len, uint64_t *ret)
{
	uint8_t saved[8];

	memcpy(saved, rec + 16, sizeof(saved));
	memset(rec + 16, 0, sizeof(saved));
	*ret = XXH3_64bits(rec, len);
	memcpy(rec + 16, saved, sizeof(saved));
}

size_t
cache_log_len(const struct cache_id *id)
{
	return CACHE_LOG_HEADER + (size_t)id->len;
}

size_t
cache_log_encode(uint8_t *out, enum cache_log_op op, const struct cache_id *id,
    uint64_t size)
{
	size_t len = cache_log_len(id);
	uint64_t sum;

	memset(out, 0, CACHE_LOG_HEADER);
	put_le32(out, MAGIC);
	out[4] = (uint8_t)op;
	out[5] = id->kind;
	out[6] = (uint8_t)id->len;
	out[7] = (uint8_t)(id->len >> 8);
	put_le64(out + 8, size);
	memcpy(out + CACHE_LOG_HEADER, id->b, id->len);
	checksum(out, len, &sum);
	put_le64(out + 16, sum);
	return len;
}

/* Whether id names what the kind says. */
static bool
id_is_valid(enum cache_log_op op, struct cache_id *id)
{
	struct cache_id same;
	char key[KEY_MAX + 1];

	if (op == CACHE_LOG_OPEN || op == CACHE_LOG_CLOSE)
		return true;
	if (id->kind == CACHE_CHUNK)
		return id->len == DIGEST_LEN;
	if (id->kind != CACHE_META || memchr(id->b, '\0', id->len) != NULL)
		return false;
	memcpy(key, id->b, id->len);
	key[id->len] = '\0';
	return store_key_is_valid(key) && cache_id_of_key(key, &same) == 0 &&
	       same.kind == CACHE_META;
}

/* The record at p: its length, 0 if it is none, -EAGAIN if cut off. */
static int
decode(uint8_t *p, size_t len, enum cache_log_op *op, struct cache_id *id,
    uint64_t *size)
{
	size_t name, all;
	uint64_t sum;

	if (len < 4)
		return -EAGAIN;
	if (get_le32(p) != MAGIC)
		return 0;
	if (len < CACHE_LOG_HEADER)
		return -EAGAIN;
	name = p[6] | (size_t)p[7] << 8;
	if (name > KEY_MAX || p[4] < CACHE_LOG_OPEN || p[4] > CACHE_LOG_USE)
		return 0;
	all = CACHE_LOG_HEADER + name;
	if (len < all)
		return -EAGAIN;
	checksum(p, all, &sum);
	if (sum != get_le64(p + 16))
		return 0;
	*op = p[4];
	id->kind = p[5];
	id->len = (uint16_t)name;
	memcpy(id->b, p + CACHE_LOG_HEADER, name);
	*size = get_le64(p + 8);
	return id_is_valid(*op, id) ? (int)all : 0;
}

/* What reading has shown so far. */
struct replay {
	cache_log_fn *fn;
	void *arg;
	char boot[BOOT_ID_LEN];
	uint64_t end; /* of the last record */
	bool opened, closed, this_boot;
	bool torn;    /* a record is cut off, or seems to be */
	bool garbage; /* something that was a record may be lost */
};

static int
apply(struct replay *rp, enum cache_log_op op, const struct cache_id *id,
    uint64_t size)
{
	/* What looked like a cut tail has something after it. */
	rp->garbage = rp->garbage || rp->torn;
	rp->closed = op == CACHE_LOG_CLOSE;
	if (op == CACHE_LOG_OPEN) {
		rp->opened = true;
		rp->this_boot = id->len == BOOT_ID_LEN &&
				memcmp(id->b, rp->boot, BOOT_ID_LEN) == 0;
		return 0;
	}
	return op == CACHE_LOG_CLOSE ? 0 : rp->fn(rp->arg, op, id, size);
}

/* Apply the records in buf, which is at off in the file; *used is how far it
 * came.  last: nothing comes after buf. */
static int
apply_all(struct replay *rp, uint8_t *buf, size_t len, uint64_t off, bool last,
    size_t *used)
{
	enum cache_log_op op = 0;
	struct cache_id id;
	uint64_t size = 0;
	size_t at = 0;
	int r = 0;

	while (at < len && r == 0) {
		int n = decode(buf + at, len - at, &op, &id, &size);

		if (n == -EAGAIN && !last)
			break;
		if (n > 0) {
			r = apply(rp, op, &id, size);
			at += (size_t)n;
			rp->end = off + at;
			continue;
		}
		if (n == -EAGAIN)
			rp->torn = true;
		else if (!rp->torn)
			rp->garbage = true;
		at++;
	}
	*used = at;
	return r;
}

static int
replay(int fd, struct replay *rp)
{
	_cleanup_free_ uint8_t *buf = malloc(READ_SIZE);
	uint64_t off = 0;
	size_t have = 0;
	int r = 0;

	if (buf == NULL)
		return -ENOMEM;
	for (;;) {
		ssize_t n;
		size_t used;

		n = pread(
		    fd, buf + have, READ_SIZE - have, (off_t)(off + have));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		have += (size_t)n;
		r = apply_all(rp, buf, have, off, n == 0, &used);
		if (r < 0 || n == 0)
			return r;
		memmove(buf, buf + used, have - used);
		have -= used;
		off += used;
	}
}

/* Without one every start counts as after a crash, which is safe. */
static void
read_boot_id(char out[BOOT_ID_LEN])
{
	_cleanup_close_ int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || io_read_full(fd, out, BOOT_ID_LEN) < 0)
		memset(out, 0, BOOT_ID_LEN);
}

static enum cache_log_trust
trust(const struct replay *rp)
{
	if (!rp->opened || rp->garbage)
		return CACHE_LOG_LOST;
	if (rp->closed)
		return CACHE_LOG_CLEAN;
	return rp->this_boot && rp->boot[0] != '\0' ? CACHE_LOG_KILLED
						    : CACHE_LOG_LOST;
}

static void
boot_record(const char boot[BOOT_ID_LEN], struct cache_id *id)
{
	memset(id, 0, sizeof(*id));
	id->len = BOOT_ID_LEN;
	memcpy(id->b, boot, BOOT_ID_LEN);
}

int
cache_log_open(int dirfd, cache_log_fn *fn, void *arg,
    enum cache_log_trust *ret_trust, struct cache_log **ret)
{
	struct replay rp = {.fn = fn, .arg = arg};
	struct cache_log *l;
	struct cache_id id;
	bool fresh = false;
	int r;

	l = calloc(1, sizeof(*l));
	if (l == NULL)
		return -ENOMEM;
	r = cond_init(&l->cond);
	if (r < 0) {
		free(l);
		return r;
	}
	pthread_mutex_init(&l->lock, NULL);
	l->dirfd = dirfd;
	unlinkat(dirfd, NEW_NAME, 0);
	l->fd = openat(dirfd, CACHE_LOG_NAME,
	    O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (l->fd < 0 && errno == ENOENT) {
		fresh = true;
		l->fd = openat(dirfd, CACHE_LOG_NAME,
		    O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	}
	if (l->fd < 0) {
		r = -errno;
		goto fail;
	}
	read_boot_id(rp.boot);
	r = replay(l->fd, &rp);
	if (r < 0)
		goto fail;
	/* What is appended must not follow half a record. */
	if (ftruncate(l->fd, (off_t)rp.end) < 0) {
		r = -errno;
		goto fail;
	}
	l->size = rp.end;
	*ret_trust = fresh ? CACHE_LOG_CLEAN : trust(&rp);
	/* Without its boot id, whoever comes next will not trust it either. */
	l->lost = *ret_trust == CACHE_LOG_LOST;
	if (l->lost)
		memset(rp.boot, 0, sizeof(rp.boot));
	boot_record(rp.boot, &id);
	r = cache_log_append(l, CACHE_LOG_OPEN, &id, 0);
	if (r < 0)
		goto fail;
	*ret = l;
	return 0;
fail:
	cache_log_close(l, false);
	return r;
}

void
cache_log_close(struct cache_log *l, bool clean)
{
	const struct cache_id none = {.len = 0};

	if (l == NULL)
		return;
	/* Not clean until all before it is on the disk too.  A failure leaves
	 * it unclean, which costs the next start a look around. */
	if (clean && !l->lost && fsync(l->fd) == 0 &&
	    cache_log_append(l, CACHE_LOG_CLOSE, &none, 0) == 0)
		(void)fsync(l->fd);
	if (l->fd >= 0)
		close(l->fd);
	pthread_cond_destroy(&l->cond);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

int
cache_log_write(struct cache_log *l, const void *p, size_t len)
{
	int fd, r;

	{
		LOCK(&l->lock);
		while (l->held)
			pthread_cond_wait(&l->cond, &l->lock);
		l->appending++;
		fd = l->fd;
	}
	r = io_write_full(fd, p, len);
	LOCK(&l->lock);
	l->size += len;
	if (--l->appending == 0)
		pthread_cond_broadcast(&l->cond);
	return r;
}

int
cache_log_append(struct cache_log *l, enum cache_log_op op,
    const struct cache_id *id, uint64_t size)
{
	uint8_t rec[RECORD_MAX];

	return cache_log_write(l, rec, cache_log_encode(rec, op, id, size));
}

bool
cache_log_is_long(struct cache_log *l, uint64_t live)
{
	LOCK(&l->lock);

	return l->size > CACHE_LOG_MIN && l->size / 4 > live;
}

void
cache_log_hold(struct cache_log *l)
{
	LOCK(&l->lock);

	l->held = true;
	while (l->appending > 0)
		pthread_cond_wait(&l->cond, &l->lock);
}

static int
write_new(struct cache_log *l, const void *p, size_t len, int *ret_fd)
{
	uint8_t rec[RECORD_MAX];
	char boot[BOOT_ID_LEN];
	struct cache_id id;
	int fd, r;

	fd = openat(l->dirfd, NEW_NAME,
	    O_RDWR | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
	    0600);
	if (fd < 0)
		return -errno;
	read_boot_id(boot);
	boot_record(boot, &id);
	r = io_write_full(
	    fd, rec, cache_log_encode(rec, CACHE_LOG_OPEN, &id, 0));
	if (r == 0)
		r = io_write_full(fd, p, len);
	/* A crash must not leave an empty file under the name. */
	if (r == 0 && fdatasync(fd) < 0)
		r = -errno;
	if (r == 0 &&
	    renameat(l->dirfd, NEW_NAME, l->dirfd, CACHE_LOG_NAME) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(l->dirfd, NEW_NAME, 0);
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

int
cache_log_replace(struct cache_log *l, const void *p, size_t len)
{
	int fd = -1, r = 0;

	if (p != NULL)
		r = write_new(l, p, len, &fd);
	LOCK(&l->lock);
	if (fd >= 0) {
		/* Replaced: errors of the old file have no meaning. */
		(void)close(l->fd);
		l->fd = fd;
		l->size = CACHE_LOG_HEADER + BOOT_ID_LEN + len;
		l->lost = false;
	}
	l->held = false;
	pthread_cond_broadcast(&l->cond);
	return r;
}
