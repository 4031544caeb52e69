/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/known.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "pbs/index.h"
#include "repo/known_file.h"
#include "repo/known_set.h"

/* Records that are read or written in one go, and digests of an index that are
 * added before somebody else has a turn. */
#define BATCH 1024
/* A file with so many times more records than there are digests, and then
 * some, is written anew. */
#define SLACK 2
#define SLACK_MORE 4096
/* Chunks in doubt that are remembered. */
#define DOUBTS_MAX ((size_t)1 << 16)

struct known {
	char *path;		/* owned; NULL: there is no file */
	uint8_t header[KNOWN_HEADER_LEN];
	uint64_t file_seed;
	size_t file_max;	/* records that are read */
	int fd;			/* owned; -1: there is no file */

	pthread_mutex_t lock;	/* guards all below; never held for the file */
	struct known_set set;
	struct known_set doubts;	/* not in set */
	bool partial;		/* more may be in the file than in set */
	uint64_t era;		/* how often some were condemned */
	uint64_t end;		/* of the file: where the next record goes */
	bool failed;		/* additions are not written any more */
	bool useless;		/* nor anything else: the file is void */
};

/* With the lock, or before anybody else has k. */
static int
set_add(struct known *k, const struct digest *d)
{
	int r;

	if (known_set_count(&k->set) >= k->set.max)
		k->partial = true;
	r = known_set_add(&k->set, d);
	if (r < 0)
		k->partial = true;
	return r;
}

static void
apply(struct known *k, enum known_op op, const struct digest *d)
{
	/* Without memory it is uploaded once more. */
	if (op == KNOWN_ADD)
		(void)set_add(k, d);
	else if (op == KNOWN_REMOVE)
		known_set_remove(&k->set, d);
}

/* The records from off on; n of them. */
static int
read_records(struct known *k, uint64_t off, uint64_t n)
{
	_cleanup_free_ uint8_t *p = malloc(BATCH * KNOWN_RECORD_LEN);
	struct digest d;
	size_t part;
	int r;

	if (p == NULL)
		return -ENOMEM;
	for (; n > 0; n -= part) {
		part = (size_t)MIN(n, (uint64_t)BATCH);
		r = io_pread_full(k->fd, p, part * KNOWN_RECORD_LEN,
		    (off_t)off);
		if (r < 0)
			return r;
		off += part * KNOWN_RECORD_LEN;
		for (size_t i = 0; i < part; i++)
			apply(k, known_file_decode(p + i * KNOWN_RECORD_LEN,
			    k->file_seed, &d), &d);
	}
	return 0;
}

static int
begin_anew(struct known *k)
{
	if (ftruncate(k->fd, 0) < 0)
		return -errno;
	k->end = KNOWN_HEADER_LEN;
	return io_write_full(k->fd, k->header, KNOWN_HEADER_LEN);
}

/* What is there, if it belongs to our generation. */
static int
load(struct known *k, uint64_t *ret_records)
{
	uint8_t header[KNOWN_HEADER_LEN];
	uint64_t n, skip;
	struct stat st;
	int r;

	*ret_records = 0;
	if (fstat(k->fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	r = io_pread_full(k->fd, header, sizeof(header), 0);
	if (r < 0 && r != -ENODATA)
		return r;
	if (r == -ENODATA ||
	    memcmp(header, k->header, KNOWN_HEADER_LEN) != 0)
		return begin_anew(k);
	n = ((uint64_t)st.st_size - KNOWN_HEADER_LEN) / KNOWN_RECORD_LEN;
	*ret_records = n;
	/* One that was cut short is written over. */
	k->end = KNOWN_HEADER_LEN + n * KNOWN_RECORD_LEN;
	skip = n > k->file_max ? n - k->file_max : 0;
	k->partial = skip > 0;
	return read_records(k, KNOWN_HEADER_LEN + skip * KNOWN_RECORD_LEN,
	    n - skip);
}

static int
write_all(struct known *k, int fd, uint64_t *ret_end)
{
	_cleanup_free_ uint8_t *p = malloc(BATCH * KNOWN_RECORD_LEN);
	size_t i = 0, n = 0;
	struct digest d;
	int r;

	if (p == NULL)
		return -ENOMEM;
	*ret_end = KNOWN_HEADER_LEN;
	r = io_write_full(fd, k->header, KNOWN_HEADER_LEN);
	while (r == 0) {
		bool more = known_set_each(&k->set, &i, &d) == 0;

		if (more)
			known_file_encode(KNOWN_ADD, &d, k->file_seed,
			    p + n++ * KNOWN_RECORD_LEN);
		if (n == BATCH || !more) {
			r = io_write_full(fd, p, n * KNOWN_RECORD_LEN);
			*ret_end += n * KNOWN_RECORD_LEN;
			n = 0;
		}
		if (!more)
			break;
	}
	return r;
}

static int
sync_dir_of(const char *path)
{
	_cleanup_free_ char *dir = strdup(path);
	char *slash;

	if (dir == NULL)
		return -ENOMEM;
	slash = strrchr(dir, '/');
	if (slash == NULL)
		return io_fsync_dir(AT_FDCWD, ".");
	slash[slash == dir] = '\0';
	return io_fsync_dir(AT_FDCWD, dir);
}

/* Without what is not true any more. */
static int
rewrite(struct known *k)
{
	_cleanup_free_ char *temp = NULL;
	uint64_t end;
	int fd, r;

	if (asprintf(&temp, "%s.new", k->path) < 0) {
		temp = NULL;
		return -ENOMEM;
	}
	fd = open(temp, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
	    0600);
	if (fd < 0)
		return -errno;
	r = write_all(k, fd, &end);
	/* Removals go into the new file and no longer into the old one, which
	 * must not come back. */
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && rename(temp, k->path) < 0)
		r = -errno;
	if (r == 0)
		r = sync_dir_of(k->path);
	if (r < 0) {
		close(fd);
		unlink(temp);
		return r;
	}
	close(k->fd);
	k->fd = fd;
	k->end = end;
	return 0;
}

static void
warn(const struct known *k, const char *what, int err)
{
	log_warn("list of chunks %s: cannot %s it: %s\n"
	    "hint: chunks that are in the store already may be sent again",
	    k->path, what, strerror(-err));
}

/* What was read in part may lack a removal, so it is void: the next who opens
 * it must not read more. */
static void
open_file(struct known *k)
{
	uint64_t records = 0;
	int r;

	k->fd = open(k->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK |
	    O_CLOEXEC, 0600);
	r = k->fd < 0 ? -errno : load(k, &records);
	if (r == 0 && records > SLACK * known_set_count(&k->set) + SLACK_MORE)
		r = rewrite(k);
	if (r == 0)
		return;
	warn(k, "use", r);
	if (k->fd < 0)
		return;
	(void)unlink(k->path);
	close(k->fd);
	k->fd = -1;
	known_set_clear(&k->set);
}

int
known_new(const char *path, const char *generation, size_t max,
    struct known **ret)
{
	struct known *k = calloc(1, sizeof(*k));
	int r;

	if (k == NULL)
		return -ENOMEM;
	k->fd = -1;
	k->file_seed = known_file_header(generation, k->header);
	r = known_set_init(&k->set, max);
	if (r == 0)
		r = known_set_init(&k->doubts, DOUBTS_MAX);
	if (r == 0)
		r = -pthread_mutex_init(&k->lock, NULL);
	if (r < 0) {
		known_set_fini(&k->set);
		known_set_fini(&k->doubts);
		free(k);
		return r;
	}
	/* Removed ones are in it as well. */
	k->file_max = 4 * k->set.max;
	if (path != NULL) {
		k->path = strdup(path);
		if (k->path == NULL) {
			known_free(k);
			return -ENOMEM;
		}
		open_file(k);
	}
	*ret = k;
	return 0;
}

void
known_free(struct known *k)
{
	if (k == NULL)
		return;
	if (k->fd >= 0)
		close(k->fd);
	known_set_fini(&k->set);
	known_set_fini(&k->doubts);
	pthread_mutex_destroy(&k->lock);
	free(k->path);
	free(k);
}

bool
known_has(struct known *k, const struct digest *d)
{
	LOCK(&k->lock);
	return known_set_has(&k->set, d);
}

size_t
known_count(struct known *k)
{
	LOCK(&k->lock);
	return known_set_count(&k->set);
}

/*
 * An addition that is not in the file costs an upload.  A removal that is not
 * would be forgotten by the next process, which would then refer to a chunk
 * that is gone: rather no file.
 */
static void
write_failed(struct known *k, enum known_op op, int err)
{
	bool first;

	{
		LOCK(&k->lock);
		first = !k->failed;
		k->failed = true;
		k->useless = k->useless || op == KNOWN_REMOVE;
	}
	if (first)
		warn(k, "write", err);
	if (op == KNOWN_REMOVE && ftruncate(k->fd, 0) < 0 &&
	    unlink(k->path) < 0 && errno != ENOENT)
		warn(k, "remove", -errno);
}

/* Records have their places before they are written, so that their order is
 * that of the changes, and a failure leaves a gap and nothing else. */
static int
write_at(struct known *k, enum known_op op, const uint8_t *p, size_t len,
    uint64_t off)
{
	ssize_t n;
	int r;

	do
		n = pwrite(k->fd, p, len, (off_t)off);
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)len)
		return 0;
	r = n < 0 ? -errno : -ENOSPC;
	write_failed(k, op, r);
	return r;
}

static void
write_record(struct known *k, enum known_op op, const struct digest *d,
    uint64_t off)
{
	uint8_t p[KNOWN_RECORD_LEN];

	known_file_encode(op, d, k->file_seed, p);
	(void)write_at(k, op, p, sizeof(p), off);
}

/* The place of the next record; 0: it is not written.  With the lock. */
static uint64_t
next_place(struct known *k, enum known_op op)
{
	uint64_t off = k->end;

	if (k->fd < 0 || k->useless || (k->failed && op == KNOWN_ADD))
		return 0;
	k->end += KNOWN_RECORD_LEN;
	return off;
}

void
known_add(struct known *k, const struct digest *d)
{
	uint64_t off = 0;

	{
		LOCK(&k->lock);
		known_set_remove(&k->doubts, d);
		if (set_add(k, d) == 0)
			off = next_place(k, KNOWN_ADD);
	}
	if (off != 0)
		write_record(k, KNOWN_ADD, d, off);
}

static void
take_out(struct known *k, const struct digest *d, bool doubt)
{
	uint64_t off = 0;
	bool again;

	{
		LOCK(&k->lock);
		known_set_remove(&k->set, d);
		/* Without memory the next index makes it known again.  What is
		 * read over and over must not fill the file. */
		again = doubt && known_set_add(&k->doubts, d) == 1;
		if (!again)
			off = next_place(k, KNOWN_REMOVE);
	}
	if (off != 0)
		write_record(k, KNOWN_REMOVE, d, off);
}

void
known_remove(struct known *k, const struct digest *d)
{
	take_out(k, d, false);
}

void
known_doubt(struct known *k, const struct digest *d)
{
	take_out(k, d, true);
}

bool
known_in_doubt(struct known *k, const struct digest *d)
{
	LOCK(&k->lock);
	return known_set_has(&k->doubts, d);
}

uint64_t
known_era(struct known *k)
{
	LOCK(&k->lock);
	return k->era;
}

/* Their records, for what the file may have; how many.  With the lock. */
static size_t
condemn(struct known *k, const struct digest *d, size_t n, uint8_t *p)
{
	size_t m = 0;

	k->era++;
	for (size_t i = 0; i < n; i++) {
		if (!k->partial && !known_set_has(&k->set, &d[i]))
			continue;
		known_set_remove(&k->set, &d[i]);
		known_file_encode(KNOWN_REMOVE, &d[i], k->file_seed,
		    p + m++ * KNOWN_RECORD_LEN);
	}
	return m;
}

int
known_condemn(struct known *k, const struct digest *d, size_t n)
{
	_cleanup_free_ uint8_t *p = calloc(n + 1, KNOWN_RECORD_LEN);
	uint64_t off;
	size_t m;
	int r;

	if (p == NULL)
		return -ENOMEM;
	{
		LOCK(&k->lock);
		m = condemn(k, d, n, p);
		/* Whether what was done about a file that could not be written
		 * survives is not known. */
		if (k->useless)
			return -EIO;
		if (k->fd < 0 || m == 0)
			return 0;
		off = k->end;
		k->end += m * KNOWN_RECORD_LEN;
	}
	r = write_at(k, KNOWN_REMOVE, p, m * KNOWN_RECORD_LEN, off);
	if (r == 0 && fdatasync(k->fd) < 0) {
		r = -errno;
		write_failed(k, KNOWN_REMOVE, r);
	}
	return r;
}

int
known_add_index(struct known *k, const struct index *x, uint64_t era)
{
	size_t n = index_count(x), i = 0, end;

	while (i < n) {
		LOCK(&k->lock);

		/* What was added before that has been taken out again. */
		if (k->era != era)
			return 1;
		for (end = MIN(n, i + BATCH); i < end; i++) {
			struct digest d = index_chunk(x, i).digest;

			if (!known_set_has(&k->doubts, &d))
				apply(k, KNOWN_ADD, &d);
		}
	}
	return 0;
}

int
known_add_listed(struct known *k, const struct digest *d, uint64_t era)
{
	LOCK(&k->lock);

	if (k->era != era)
		return 1;
	if (!known_set_has(&k->doubts, d))
		apply(k, KNOWN_ADD, d);
	return 0;
}
