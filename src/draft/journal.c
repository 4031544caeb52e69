/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/journal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "crypt/digest.h"
#include "draft/journal_file.h"

/* Set aside on disk at a time. */
#define ROOM_STEP MIB
/* Of a new file, what is written at once; a buffer larger than that is not
 * kept. */
#define BUFFER_KEPT MIB

struct bytes {
	uint8_t *p;	/* owned */
	size_t len, size;
};

struct journal {
	int dir;	/* borrowed */
	char *name;	/* owned */
	char *temp;	/* owned: of a new file until it is whole */

	pthread_mutex_t lock;	/* guards all below, but for what flight and fd
				 * are while busy: they are those of the thread
				 * that made it so */
	pthread_cond_t idle;
	bool busy;		/* a thread writes, syncs or rewrites */
	bool rewriting;
	bool failed;		/* for ever */
	int fd;
	uint64_t salt;
	struct bytes added;	/* frames from written_end on */
	struct bytes flight;	/* being written */
	/* The last transaction that was added, written, synced; those that were
	 * replayed are number 1 together.  And where in the file it ends. */
	uint64_t added_seq, written_seq, synced_seq;
	uint64_t added_end, written_end, synced_end;
	uint64_t room_end;	/* set aside on disk */
	bool no_prealloc;	/* the file system cannot */
};

static atomic_uint kill_at, writes;

void
journal_kill_at(unsigned n)
{
	atomic_store(&writes, 0);
	atomic_store(&kill_at, n);
}

static void
die_at(unsigned point)
{
	if (atomic_load(&kill_at) == point)
		kill(getpid(), SIGKILL);
}

static int
write_at(int fd, const uint8_t *p, size_t len, uint64_t off)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
		off += (uint64_t)n;
	}
	return 0;
}

/* "DIR/NAME" for messages, as good as it can be known. */
static void
add_path(const struct journal *j, struct str *out)
{
	char link[32], path[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", j->dir);
	n = readlink(link, path, sizeof(path));
	if (n > 0 && (size_t)n < sizeof(path)) {
		str_escape(out, path, (size_t)n);
		str_addc(out, '/');
	}
	str_escape(out, j->name, strlen(j->name));
}

/* Nothing that is written from now on could be relied on. */
static int
fail(struct journal *j, const char *what, int err)
{
	_cleanup_(str_fini) struct str path = {0};

	add_path(j, &path);
	log_err("journal %s: cannot %s: %s\n"
	        "hint: no more changes are taken until the store is mounted "
	        "again", str_get(&path), what, strerror(-err));
	j->failed = true;
	return -EIO;
}

/* Grows b; false if there is no memory. */
static bool
make_room(struct bytes *b, size_t more)
{
	size_t need, size;
	uint8_t *p;

	if (__builtin_add_overflow(b->len, more, &need))
		return false;
	if (need <= b->size)
		return true;
	size = MAX(need, b->size < SIZE_MAX / 2 ? b->size * 2 : need);
	p = realloc(b->p, size);
	if (p == NULL)
		return false;
	b->p = p;
	b->size = size;
	return true;
}

static void
put_frame(struct bytes *b, const void *p, size_t len, uint64_t salt,
    uint64_t pos, uint64_t durable)
{
	uint8_t *at = b->p + b->len;

	memcpy(at + JOURNAL_FRAME_LEN, p, len);
	journal_frame(at, len, salt, pos, durable);
	b->len += JOURNAL_FRAME_LEN + len;
}

static void
empty_bytes(struct bytes *b)
{
	b->len = 0;
	if (b->size > BUFFER_KEPT) {
		free(b->p);
		memset(b, 0, sizeof(*b));
	}
}

/* Where a file system cannot set room aside: at least do not begin what has no
 * chance. */
static int
check_free(int fd, uint64_t more)
{
	struct statvfs v;

	if (fstatvfs(fd, &v) < 0)
		return -errno;
	if ((uint64_t)v.f_bavail * v.f_frsize < more + ROOM_STEP)
		return -ENOSPC;
	return 0;
}

/* So that the write itself finds room. */
static int
set_aside(struct journal *j, uint64_t end)
{
	uint64_t more = end - j->room_end;
	uint64_t step = (more + ROOM_STEP - 1) / ROOM_STEP * ROOM_STEP;
	int r = -1;

	if (!j->no_prealloc) {
		r = fallocate(j->fd, FALLOC_FL_KEEP_SIZE, (off_t)j->room_end,
		    (off_t)step);
		/* All that is left may still be enough. */
		if (r < 0 && (errno == ENOSPC || errno == EDQUOT)) {
			step = more;
			r = fallocate(j->fd, FALLOC_FL_KEEP_SIZE,
			    (off_t)j->room_end, (off_t)step);
		}
		if (r < 0 && errno != EOPNOTSUPP && errno != ENOSYS)
			return -errno;
	}
	if (r < 0) {
		j->no_prealloc = true;
		return check_free(j->fd, end - j->written_end);
	}
	j->room_end += step;
	return 0;
}

int
journal_add(struct journal *j, const void *p, size_t len, uint64_t *ret_seq)
{
	uint64_t end;
	int r;

	if (len == 0 || len > JOURNAL_FRAME_MAX)
		return -EINVAL;
	LOCK(&j->lock);
	assert(!j->rewriting);
	if (j->failed)
		return -EIO;
	end = j->added_end + JOURNAL_FRAME_LEN + len;
	if (!make_room(&j->added, JOURNAL_FRAME_LEN + len))
		return -ENOMEM;
	if (end > j->room_end) {
		r = set_aside(j, end);
		if (r < 0)
			return r;
	}
	put_frame(&j->added, p, len, j->salt, j->added_end, j->synced_end);
	j->added_end = end;
	*ret_seq = ++j->added_seq;
	return 0;
}

/* Busy; lock held, but not while it writes. */
static int
write_added(struct journal *j)
{
	struct bytes next = j->flight;
	uint64_t seq = j->added_seq, end = j->added_end;
	unsigned n = atomic_fetch_add(&writes, 1) + 1;
	int r;

	j->flight = j->added;
	j->added = next;
	pthread_mutex_unlock(&j->lock);
	die_at(2 * n - 1);
	r = write_at(j->fd, j->flight.p, j->flight.len, j->written_end);
	die_at(2 * n);
	pthread_mutex_lock(&j->lock);
	empty_bytes(&j->flight);
	if (r < 0)
		return fail(j, "write", r);
	j->written_seq = seq;
	j->written_end = end;
	return 0;
}

/* The same. */
static int
sync_written(struct journal *j)
{
	uint64_t seq = j->written_seq, end = j->written_end;
	int r;

	pthread_mutex_unlock(&j->lock);
	r = fdatasync(j->fd) < 0 ? -errno : 0;
	pthread_mutex_lock(&j->lock);
	/* After a failed one nobody knows what is on disk. */
	if (r < 0)
		return fail(j, "sync", r);
	j->synced_seq = seq;
	j->synced_end = end;
	return 0;
}

static void
become_idle(struct journal *j)
{
	j->busy = false;
	pthread_cond_broadcast(&j->idle);
}

/* Until *have, which grows, is seq.  One thread works for all that wait. */
static int
reach(struct journal *j, const uint64_t *have, uint64_t seq)
{
	int r = 0;

	LOCK(&j->lock);
	assert(seq <= j->added_seq);
	if (seq == 0)
		seq = j->added_seq;
	while (r == 0 && *have < seq) {
		if (j->busy) {
			cond_wait_until(&j->idle, &j->lock, 0);
			continue;
		}
		if (j->failed)
			return -EIO;
		j->busy = true;
		if (j->written_seq < seq)
			r = write_added(j);
		else
			r = sync_written(j);
		become_idle(j);
	}
	return r;
}

int
journal_commit(struct journal *j, uint64_t seq)
{
	return reach(j, &j->written_seq, seq);
}

int
journal_sync(struct journal *j, uint64_t seq)
{
	return reach(j, &j->synced_seq, seq);
}

uint64_t
journal_size(struct journal *j)
{
	LOCK(&j->lock);
	return j->added_end;
}

/* b to the file, if it is more than a little or must go. */
static int
drain(int fd, struct bytes *b, uint64_t *pos, bool all)
{
	int r;

	if (!all && b->len < BUFFER_KEPT)
		return 0;
	r = write_at(fd, b->p, b->len, *pos);
	*pos += b->len;
	empty_bytes(b);
	return r;
}

static int
fill_file(int fd, const uint8_t *p, const size_t *lens, size_t n,
    uint64_t salt, uint64_t end)
{
	struct bytes b = {0};
	uint64_t pos = 0;
	int r = -ENOMEM;

	if (!make_room(&b, JOURNAL_HEADER_LEN))
		goto out;
	journal_header(b.p, salt, end);
	b.len = JOURNAL_HEADER_LEN;
	for (size_t i = 0; i < n; i++) {
		r = drain(fd, &b, &pos, false);
		if (r < 0)
			goto out;
		r = -ENOMEM;
		if (!make_room(&b, JOURNAL_FRAME_LEN + lens[i]))
			goto out;
		put_frame(&b, p, lens[i], salt, pos + b.len, pos + b.len);
		p += lens[i];
	}
	r = drain(fd, &b, &pos, true);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
out:
	free(b.p);
	return r;
}

/*
 * A whole new file under its temporary name.  Neither lock nor the file that is
 * in use is touched.
 */
static int
new_file(struct journal *j, const void *p, const size_t *lens, size_t n,
    uint64_t salt, uint64_t end, int *ret)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (unlinkat(j->dir, j->temp, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = openat(j->dir, j->temp,
	    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = fill_file(fd, p, lens, n, salt, end);
	if (r < 0) {
		unlinkat(j->dir, j->temp, 0);
		return r;
	}
	*ret = fd;
	fd = -1;
	return 0;
}

/* Two points for those that test crashes. */
static int
replace_file(struct journal *j, const void *p, const size_t *lens, size_t n,
    uint64_t salt, uint64_t end, int *ret, bool *ret_lost)
{
	unsigned w = atomic_fetch_add(&writes, 2) + 1;
	int fd = -1, r;

	*ret_lost = false;
	die_at(2 * w - 1);
	r = new_file(j, p, lens, n, salt, end, &fd);
	if (r < 0)
		return r;
	die_at(2 * w);
	die_at(2 * w + 1);
	if (renameat(j->dir, j->temp, j->dir, j->name) < 0) {
		r = -errno;
		unlinkat(j->dir, j->temp, 0);
		close(fd);
		return r;
	}
	die_at(2 * w + 2);
	if (fsync(j->dir) < 0) {
		/* Which of the two will be there, nobody knows. */
		r = -errno;
		*ret_lost = true;
		close(fd);
		return r;
	}
	*ret = fd;
	return 0;
}

static void
use_file(struct journal *j, int fd, uint64_t salt, uint64_t end)
{
	if (j->fd >= 0)
		close(j->fd);
	j->fd = fd;
	j->salt = salt;
	empty_bytes(&j->added);
	j->written_seq = j->synced_seq = j->added_seq;
	j->added_end = j->written_end = j->synced_end = j->room_end = end;
}

int
journal_rewrite(struct journal *j, const void *p, const size_t *lens, size_t n)
{
	uint64_t end = JOURNAL_HEADER_LEN, salt;
	bool lost;
	int fd = -1, r;

	for (size_t i = 0; i < n; i++) {
		if (lens[i] == 0 || lens[i] > JOURNAL_FRAME_MAX)
			return -EINVAL;
		end += JOURNAL_FRAME_LEN + lens[i];
	}
	r = crypt_random(&salt, sizeof(salt));
	if (r < 0)
		return r;
	LOCK(&j->lock);
	while (j->busy)
		cond_wait_until(&j->idle, &j->lock, 0);
	if (j->failed)
		return -EIO;
	j->busy = j->rewriting = true;
	pthread_mutex_unlock(&j->lock);
	r = replace_file(j, p, lens, n, salt, end, &fd, &lost);
	pthread_mutex_lock(&j->lock);
	j->rewriting = false;
	if (r == 0)
		use_file(j, fd, salt, end);
	else if (lost)
		r = fail(j, "sync the directory of", r);
	become_idle(j);
	return r;
}

static int
damaged(const struct journal *j, const struct journal_scan *s, int err)
{
	_cleanup_(str_fini) struct str path = {0};

	add_path(j, &path);
	if (err == -EPROTONOSUPPORT)
		log_err("journal %s: %s\n"
		        "hint: mount with that version, publish, and unmount",
		    str_get(&path), s->why);
	else
		log_err("journal %s: at byte %llu of %llu: %s\n"
		        "hint: changes that were not published are in it and "
		        "in the files beside it; to give them up, move the "
		        "directory away",
		    str_get(&path), (unsigned long long)s->end,
		    (unsigned long long)s->size, s->why);
	return err;
}

/* Takes off what a crash left half written. */
static int
cut_tail(struct journal *j, const struct journal_scan *s)
{
	_cleanup_(str_fini) struct str path = {0};

	add_path(j, &path);
	log_info("journal %s: cut off %llu bytes that a crash left unfinished",
	    str_get(&path), (unsigned long long)(s->size - s->end));
	/* Durably: or what is cut off could come back behind what is written
	 * there now, and look sound. */
	if (ftruncate(j->fd, (off_t)s->end) < 0 || fsync(j->fd) < 0)
		return -errno;
	return 0;
}

static int
open_file(struct journal *j)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	fd = openat(j->dir, j->name,
	    O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	j->fd = fd;
	fd = -1;
	return 0;
}

static int
replay(struct journal *j, journal_replay_fn *fn, void *arg)
{
	struct journal_scan s;
	int r;

	r = journal_scan(j->fd, fn, arg, &s);
	if ((r == -EBADMSG || r == -EPROTONOSUPPORT) && s.why != NULL)
		return damaged(j, &s, r);
	if (r != 0)
		return r;
	if (s.end < s.size) {
		r = cut_tail(j, &s);
		if (r < 0)
			return r;
	}
	j->salt = s.salt;
	j->added_end = j->written_end = j->room_end = s.end;
	/* Whoever wrote the rest may not have synced it. */
	j->synced_end = s.durable;
	j->added_seq = j->written_seq = 1;
	return 0;
}

static void
journal_destroy(struct journal *j)
{
	if (j->fd >= 0)
		close(j->fd);
	pthread_cond_destroy(&j->idle);
	pthread_mutex_destroy(&j->lock);
	free(j->added.p);
	free(j->flight.p);
	free(j->temp);
	free(j->name);
	free(j);
}

static int
journal_new(int dir, const char *name, struct journal **ret)
{
	struct journal *j = calloc(1, sizeof(*j));
	int r;

	if (j == NULL)
		return -ENOMEM;
	j->dir = dir;
	j->fd = -1;
	j->name = strdup(name);
	if (asprintf(&j->temp, "%s.new", name) < 0)
		j->temp = NULL;
	r = j->name == NULL || j->temp == NULL ? -ENOMEM :
	    -pthread_mutex_init(&j->lock, NULL);
	if (r < 0)
		goto err_names;
	r = cond_init(&j->idle);
	if (r < 0)
		goto err_lock;
	*ret = j;
	return 0;

err_lock:
	pthread_mutex_destroy(&j->lock);
err_names:
	free(j->temp);
	free(j->name);
	free(j);
	return r;
}

int
journal_open(int dir, const char *name, journal_replay_fn *fn, void *arg,
    struct journal **ret)
{
	struct journal *j;
	int r;

	r = journal_new(dir, name, &j);
	if (r < 0)
		return r;
	r = open_file(j);
	if (r == 0)
		r = replay(j, fn, arg);
	else if (r == -ENOENT)
		r = journal_rewrite(j, NULL, NULL, 0);
	/* What a rewrite left that did not come to its end. */
	if (r == 0 && unlinkat(dir, j->temp, 0) < 0 && errno != ENOENT)
		r = -errno;
	if (r != 0) {
		journal_destroy(j);
		return r;
	}
	*ret = j;
	return 0;
}

/* Busy; lock held, but not while it writes. */
static int
mark_durable(struct journal *j)
{
	uint8_t b[JOURNAL_HEADER_LEN];
	int r;

	journal_header(b, j->salt, j->synced_end);
	pthread_mutex_unlock(&j->lock);
	r = write_at(j->fd, b, sizeof(b), 0);
	if (r == 0 && fdatasync(j->fd) < 0)
		r = -errno;
	pthread_mutex_lock(&j->lock);
	return r < 0 ? fail(j, "sync", r) : 0;
}

int
journal_seal(struct journal *j)
{
	int r = journal_sync(j, 0);

	if (r < 0)
		return r;
	LOCK(&j->lock);
	while (j->busy)
		cond_wait_until(&j->idle, &j->lock, 0);
	if (j->failed)
		return -EIO;
	j->busy = true;
	r = mark_durable(j);
	become_idle(j);
	return r;
}

void
journal_close(struct journal *j)
{
	if (j == NULL)
		return;
	/* Said when it fails; what was set aside and not needed goes back. */
	if (journal_commit(j, 0) == 0 && j->room_end > j->written_end &&
	    ftruncate(j->fd, (off_t)j->written_end) < 0)
		log_warn("journal %s: cannot give back room: %s", j->name,
		    strerror(errno));
	journal_destroy(j);
}
