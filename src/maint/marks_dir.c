/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/marks_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "maint/marks.h"

#define LOCK_NAME "lock"
#define RUN_PREFIX "run-"
#define NEW_PREFIX "new-"
#define ID_HEX 16
#define NAME_SIZE (4 + ID_HEX + 1)

static int
failed(const struct marks_dir *d, const char *what, int err)
{
	log_err("%s: cannot %s: %s%s", d->path, what, strerror(-err),
	    err == -ENOSPC || err == -EDQUOT ? "\nhint: garbage collection "
	    "keeps 32 bytes of each chunk there" : "");
	return err;
}

/* 1 if it is no name of a run: prefix is RUN_PREFIX or NEW_PREFIX. */
static int
parse_name(const char *name, const char *prefix, uint64_t *ret)
{
	uint8_t b[ID_HEX / 2];

	if (!str_starts(name, prefix) ||
	    hex_decode(b, sizeof(b), name + strlen(prefix)) < 0)
		return 1;
	*ret = get_le64(b);
	return 0;
}

static void
make_name(char out[NAME_SIZE], const char *prefix, uint64_t id)
{
	uint8_t b[ID_HEX / 2];

	put_le64(b, id);
	memcpy(out, prefix, 4);
	hex_encode(out + 4, b, sizeof(b));
}

static int
remove_unfinished(void *arg, int dir, const struct dirent *e)
{
	uint64_t id;

	(void)arg;
	if (parse_name(e->d_name, NEW_PREFIX, &id) != 0)
		return 0;
	return unlinkat(dir, e->d_name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static int
open_again(const struct marks_dir *d)
{
	int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int
each_name(struct marks_dir *d, io_name_fn *fn, void *arg)
{
	int fd = open_again(d);

	return fd < 0 ? fd : io_read_dir(fd, fn, arg);
}

static int
lock_dir(struct marks_dir *d)
{
	d->lock = openat(d->fd, LOCK_NAME,
	    O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (d->lock < 0)
		return failed(d, "open the lock in it", -errno);
	if (flock(d->lock, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno != EWOULDBLOCK)
		return failed(d, "lock it", -errno);
	log_err("%s: another process is collecting garbage with it", d->path);
	return -EBUSY;
}

int
marks_dir_open(struct marks_dir *d, const char *path)
{
	int r;

	d->fd = d->lock = -1;
	d->path = strdup(path);
	if (d->path == NULL)
		return -ENOMEM;
	r = io_mkdirs(AT_FDCWD, path, 0700);
	if (r == 0) {
		d->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = d->fd < 0 ? -errno : io_check_private(d->fd);
	}
	if (r < 0)
		r = failed(d, r == -EPERM ? "use it: others can put files there"
		    : "open it", r);
	if (r == 0)
		r = lock_dir(d);
	if (r == 0) {
		r = each_name(d, remove_unfinished, NULL);
		if (r < 0)
			r = failed(d, "clean it", r);
	}
	if (r < 0)
		marks_dir_close(d);
	return r;
}

void
marks_dir_close(struct marks_dir *d)
{
	if (d->lock >= 0)
		close(d->lock);
	if (d->fd >= 0)
		close(d->fd);
	d->fd = d->lock = -1;
	free(steal(&d->path));
}

struct load {
	struct marks_dir *d;
	const struct digest *sources;
	size_t n;
	marks_dir_fn *fn;
	void *arg;
};

static int
source_cmp(size_t i, const struct load *l, const struct digest *d)
{
	return memcmp(&l->sources[i], d, MARKS_SOURCE_LEN);
}

/* 0, or 1 if the run is of a source that is gone. */
static int
check_sources(const struct load *l, const struct marks_run *run)
{
	struct marks_reader x;
	const struct digest *v;
	size_t n, at = 0;
	int r;

	r = marks_reader_init(&x, run, MARKS_SOURCES);
	while (r == 0 && (r = x.l.next(&x.l, &v, &n)) == 0) {
		for (size_t i = 0; i < n && r == 0; i++) {
			while (at < l->n && source_cmp(at, l, &v[i]) < 0)
				at++;
			r = at == l->n || source_cmp(at, l, &v[i]) != 0 ?
			    2 : 0;
		}
	}
	marks_reader_fini(&x);
	return r == 1 ? 0 : r == 2 ? 1 : r;
}

/* All of it is read once before anything relies on it. */
static int
check_digests(const struct marks_run *run)
{
	struct marks_reader x;
	const struct digest *v;
	size_t n;
	int r;

	r = marks_reader_init(&x, run, MARKS_DIGESTS);
	while (r == 0)
		r = x.l.next(&x.l, &v, &n);
	marks_reader_fini(&x);
	return r == 1 ? 0 : r;
}

static int
open_run(const struct load *l, int dir, const char *name, uint64_t id,
    struct marks_run *ret)
{
	struct stat st;
	int fd, r;

	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ELOOP ? -EBADMSG : -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EBADMSG;
	}
	r = marks_run_open(fd, ret);
	if (r < 0)
		return r;
	r = ret->id == id ? check_sources(l, ret) : -EBADMSG;
	if (r == 0)
		r = check_digests(ret);
	if (r != 0)
		marks_run_close(ret);
	return r;
}

static int
load_one(void *arg, int dir, const struct dirent *e)
{
	const struct load *l = arg;
	struct marks_run run;
	uint64_t id;
	int r;

	if (parse_name(e->d_name, RUN_PREFIX, &id) != 0)
		return 0;
	r = open_run(l, dir, e->d_name, id, &run);
	if (r == 0)
		return l->fn(l->arg, &run);
	if (r != 1 && r != -EBADMSG)
		return r == -ENOENT ? 0 : r;
	if (r == -EBADMSG)
		log_warn("%s/%s: damaged, made anew", l->d->path, e->d_name);
	return unlinkat(dir, e->d_name, 0) < 0 && errno != ENOENT &&
		errno != EISDIR ? -errno : 0;
}

int
marks_dir_load(struct marks_dir *d, const struct digest *sources, size_t n,
    marks_dir_fn *fn, void *arg)
{
	struct load l = {d, sources, n, fn, arg};
	int r = each_name(d, load_one, &l);

	return r < 0 ? failed(d, "read it", r) : 0;
}

/* A new file, and the number in its name. */
static int
make_file(struct marks_dir *d, char name[NAME_SIZE], uint64_t *ret_id)
{
	int fd, r;

	r = crypt_random(ret_id, sizeof(*ret_id));
	if (r < 0)
		return r;
	make_name(name, NEW_PREFIX, *ret_id);
	fd = openat(d->fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return fd < 0 ? failed(d, "make a file in it", -errno) : fd;
}

static int
begin(struct marks_dir *d, bool unnamed, struct marks_writer *w)
{
	char name[NAME_SIZE];
	uint64_t id;
	int fd, r;

	fd = make_file(d, name, &id);
	if (fd < 0)
		return fd;
	if (unnamed && unlinkat(d->fd, name, 0) < 0) {
		r = failed(d, "remove a file in it", -errno);
		close(fd);
		return r;
	}
	r = marks_writer_init(w, id, fd);
	return r < 0 ? failed(d, "write to it", r) : 0;
}

int
marks_dir_begin(struct marks_dir *d, struct marks_writer *w)
{
	return begin(d, false, w);
}

int
marks_dir_temp(struct marks_dir *d, struct marks_writer *w)
{
	return begin(d, true, w);
}

int
marks_dir_commit(struct marks_dir *d, struct marks_writer *w,
    struct marks_run *ret)
{
	char from[NAME_SIZE], to[NAME_SIZE];
	int r = marks_writer_finish(w, ret);

	if (r < 0)
		return failed(d, "write to it", r);
	make_name(from, NEW_PREFIX, ret->id);
	make_name(to, RUN_PREFIX, ret->id);
	if (renameat(d->fd, from, d->fd, to) == 0)
		return 0;
	r = failed(d, "rename a file in it", -errno);
	marks_run_close(ret);
	return r;
}

void
marks_dir_remove(struct marks_dir *d, const struct marks_run *run)
{
	char name[NAME_SIZE];

	make_name(name, RUN_PREFIX, run->id);
	if (unlinkat(d->fd, name, 0) < 0 && errno != ENOENT)
		log_warn("%s/%s: cannot remove it: %s", d->path, name,
		    strerror(errno));
}
