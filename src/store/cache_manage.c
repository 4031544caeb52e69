/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "store/cache_log.h"
#include "store/dir_path.h"

#define LOCK_NAME "lock"
#define SUBDIR_MODE 0700

/* What was deleted last: its directories may not have been removed. */
#define DELETED_MAX 64

struct replay {
	struct cache_index *x;
	struct cache_id deleted[DELETED_MAX];
	size_t n_deleted;
};

static int
replay(
    void *arg, enum cache_log_op op, const struct cache_id *id, uint64_t size)
{
	struct replay *rp = arg;
	struct cache_entry *e = cache_index_find(rp->x, id);
	int r;

	if (op == CACHE_LOG_DELETE) {
		rp->deleted[rp->n_deleted++ % DELETED_MAX] = *id;
		if (e != NULL)
			cache_index_forget(rp->x, e);
		return 0;
	}
	if (e != NULL) {
		if (op == CACHE_LOG_ADD)
			cache_index_resize(rp->x, e, size);
		cache_index_touch(rp->x, e);
		return 0;
	}
	if (op != CACHE_LOG_ADD)
		return 0;
	r = cache_index_add(rp->x, id, size, &e);
	if (r == 0)
		cache_index_ready(rp->x, e, false);
	return r;
}

/* rmdir does nothing to directories that are in use. */
static void
remove_left_dirs(struct cache *c, const struct replay *rp)
{
	char path[CACHE_PATH_MAX + 1], *slash;

	for (size_t i = 0; i < rp->n_deleted && i < DELETED_MAX; i++) {
		cache_id_path(&rp->deleted[i], path);
		while ((slash = strrchr(path, '/')) != NULL) {
			*slash = '\0';
			if (strchr(path, '/') == NULL ||
			    dir_path_unlink(c->fd, path, AT_REMOVEDIR) < 0)
				break;
		}
	}
}

static int
check_name(void *arg, int dir, const struct dirent *e)
{
	(void)arg;
	(void)dir;
	return streq(e->d_name, LOCK_NAME) || streq(e->d_name, "lost+found")
		   ? 0
		   : -ENOTEMPTY;
}

/*
 * A directory that holds anything else must not become a cache: files in it
 * would be evicted, and a datastore looks much like a cache.
 */
static int
check_is_empty(struct cache *c)
{
	int fd = openat(c->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : io_read_dir(fd, check_name, NULL);
}

static int
check_is_ours(struct cache *c)
{
	struct stat st;
	int r = 0;

	/* Twice: another process may be making it one at this moment, and the
	 * log is what it makes first. */
	for (int i = 0; i < 2; i++) {
		if (fstatat(c->fd, CACHE_LOG_NAME, &st, AT_SYMLINK_NOFOLLOW) ==
		    0)
			return S_ISREG(st.st_mode) ? 0 : -EEXIST;
		r = check_is_empty(c);
		if (r != -ENOTEMPTY)
			break;
	}
	return r;
}

/* Be the one process that changes the directory.  0, 1 if another one is. */
static int
take_lock(struct cache *c)
{
	int fd, r;

	fd = openat(
	    c->fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		r = errno == EWOULDBLOCK ? 1 : -errno;
		close(fd);
		return r;
	}
	c->lock_fd = fd;
	return 0;
}

static int
make_subdirs(struct cache *c)
{
	static const char *const names[] = {".chunks", ".cnt", CACHE_TMP};
	int r;

	/* What was being written when the last process ended. */
	r = io_remove_tree(c->fd, CACHE_TMP);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(names); i++)
		r = io_mkdirs(c->fd, names[i], SUBDIR_MODE);
	return r;
}

/* Take the directory over.  0, 1 if another process has it, -errno. */
static int
become_manager(struct cache *c)
{
	_cleanup_free_ struct replay *rp = calloc(1, sizeof(*rp));
	enum cache_log_trust trust;
	int r;

	if (rp == NULL)
		return -ENOMEM;
	r = take_lock(c);
	if (r != 0)
		return r;
	rp->x = &c->ix;
	/* The log comes first: it is what makes the directory ours. */
	r = cache_log_open(c->fd, replay, rp, &trust, &c->log);
	if (r == 0)
		r = make_subdirs(c);
	if (r < 0) {
		cache_log_close(c->log, false);
		c->log = NULL;
		cache_index_fini(&c->ix);
		close(c->lock_fd);
		c->lock_fd = -1;
		return cache_index_init(&c->ix) < 0 ? -ENOMEM : r;
	}
	{
		LOCK(&c->lock);
		c->saved_clock = c->ix.clock;
		c->manager = true;
		c->scan = trust == CACHE_LOG_LOST;
	}
	if (trust == CACHE_LOG_KILLED) {
		remove_left_dirs(c, rp);
		cache_scan_ends(c);
	}
	LOCK(&c->lock);
	c->inserting = !c->scan && cache_room_fits(c);
	return 0;
}

static void
try_again(struct cache *c)
{
	int r = become_manager(c);

	if (r == 0)
		log_info("cache %s: this process manages it now", c->dir);
	else if (r < 0)
		cache_room_failed(c, "take it over", r);
}

/* Bring what is on disk within what is known and allowed. */
static void
settle(struct cache *c, bool scan)
{
	int r = 0;

	if (scan) {
		log_info("cache %s: looking at what a crash has left", c->dir);
		r = cache_scan(c);
	}
	if (r == 0)
		r = cache_room_trim(c);
	if (r == 0 && scan)
		cache_save_all(c);
	if (r < 0 && r != -ECANCELED)
		cache_room_failed(c, "look at it", r);
	LOCK(&c->lock);
	if (r < 0)
		c->scan = c->scan || scan;
	else
		c->inserting = !c->stop;
}

/* One thing that is due.  With the lock, released meanwhile; false if there is
 * nothing, and then *ret_next is when to look again. */
static bool
work(struct cache *c, deadline_t *lock_at, deadline_t *ret_next)
{
	bool wait = c->retry_at != 0 && deadline_left(c->retry_at) > 0;
	bool scan = c->scan;

	*ret_next = 0;
	if (!c->manager) {
		*ret_next = *lock_at;
		if (deadline_left(*lock_at) > 0)
			return false;
		*lock_at = deadline_in(CACHE_RETRY_MS);
		pthread_mutex_unlock(&c->lock);
		try_again(c);
	} else if (!c->inserting) {
		*ret_next = c->retry_at;
		if (wait)
			return false;
		c->scan = false;
		pthread_mutex_unlock(&c->lock);
		settle(c, scan);
	} else if (c->rewrite && !wait) {
		pthread_mutex_unlock(&c->lock);
		cache_save_all(c);
	} else if (c->touched) {
		*ret_next = c->save_at;
		if (deadline_left(c->save_at) > 0)
			return false;
		pthread_mutex_unlock(&c->lock);
		cache_save_recency(c);
	} else {
		return false;
	}
	pthread_mutex_lock(&c->lock);
	return true;
}

static void *
run(void *arg)
{
	struct cache *c = arg;
	deadline_t lock_at = deadline_in(CACHE_RETRY_MS), next;
	LOCK(&c->lock);

	while (!c->stop)
		if (!work(c, &lock_at, &next))
			(void)cond_wait_until(&c->cond, &c->lock, next);
	return NULL;
}

/* Errors of a disk, which may pass, rather than of a configuration. */
static bool
is_passing(int err)
{
	return err == -EROFS || err == -EACCES || err == -EPERM ||
	       err == -ENOSPC || err == -EDQUOT || err == -EIO;
}

static int
open_dir(const char *path, bool make)
{
	int fd, r;

	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 || errno != ENOENT || !make)
		return fd >= 0 ? fd : -errno;
	r = io_mkdirs(AT_FDCWD, path, SUBDIR_MODE);
	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 ? fd : -errno;
}

/* The limit leaves no room: what an earlier one allowed has to go. */
static void
empty_dir(struct cache *c)
{
	static const char *const names[] = {".chunks", ".cnt", CACHE_TMP};
	struct stat st;
	int r = 0;

	c->fd = open_dir(c->dir, false);
	if (c->fd < 0)
		return;
	if (io_check_private(c->fd) == 0 &&
	    fstatat(c->fd, CACHE_LOG_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    take_lock(c) == 0) {
		for (size_t i = 0; r == 0 && i < ARRAY_SIZE(names); i++)
			r = io_remove_tree(c->fd, names[i]);
		if (r == 0 && unlinkat(c->fd, CACHE_LOG_NAME, 0) < 0)
			r = -errno;
		if (r < 0)
			log_warn("cache %s: cannot empty it: %s", c->dir,
			    strerror(-r));
	}
	close(c->fd);
	c->fd = -1;
}

int
cache_manage_start(struct cache *c)
{
	int r;

	if (c->limit <= CACHE_BASE_COST) {
		empty_dir(c);
		return 0;
	}
	c->fd = open_dir(c->dir, true);
	if (c->fd >= 0 && io_check_private(c->fd) == -EPERM) {
		log_err("cache %s: others can write there\n"
			"hint: a cache needs a directory of its own, chmod 700",
		    c->dir);
		return -EPERM;
	}
	r = c->fd < 0 ? c->fd : check_is_ours(c);
	if (r == -ENOTEMPTY) {
		log_err("cache %s: there are other files in this directory\n"
			"hint: give the cache an empty directory of its own",
		    c->dir);
		return r;
	}
	if (r < 0 && is_passing(r)) {
		log_warn("cache %s: cannot use it: %s\n"
			 "hint: reading goes on without a cache",
		    c->dir, strerror(-r));
		if (c->fd >= 0)
			close(c->fd);
		c->fd = -1;
		return 0;
	}
	if (r < 0) {
		log_err("cache %s: cannot use it: %s", c->dir, strerror(-r));
		return r;
	}
	r = become_manager(c);
	if (r > 0)
		log_info("cache %s: another process manages it, so this one "
			 "only reads from it",
		    c->dir);
	else if (r < 0)
		cache_room_failed(c, "take it over", r);
	r = pthread_create(&c->thread, NULL, run, c);
	if (r != 0) {
		log_err(
		    "cache %s: cannot start a thread: %s", c->dir, strerror(r));
		return -r;
	}
	c->has_thread = true;
	return 0;
}

void
cache_manage_stop(struct cache *c)
{
	bool clean;

	{
		LOCK(&c->lock);
		c->stop = true;
		clean = c->manager && c->inserting;
		pthread_cond_broadcast(&c->cond);
	}
	if (c->has_thread)
		pthread_join(c->thread, NULL);
	cache_save_recency(c);
	cache_log_close(c->log, clean);
	if (c->lock_fd >= 0)
		close(c->lock_fd);
	if (c->fd >= 0)
		close(c->fd);
}
