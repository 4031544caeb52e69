/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "store/cache_log.h"
#include "store/dir_path.h"

/* When the disk is short of space, one insertion gives back so much at most:
 * others may be waiting for it. */
#define FLOOR_STEP (64 * MIB)

void
cache_room_failed(struct cache *c, const char *what, int err)
{
	bool first;

	{
		LOCK(&c->lock);
		first = !c->warned;
		c->warned = true;
		c->retry_at = deadline_in(CACHE_RETRY_MS);
	}
	if (first)
		log_warn("cache %s: cannot %s: %s\n"
			 "hint: reading goes on without writing to the cache; "
			 "it is tried again every minute",
		    c->dir, what, strerror(-err));
}

static void
works_again(struct cache *c)
{
	{
		LOCK(&c->lock);
		if (!c->warned)
			return;
		c->warned = false;
		c->retry_at = 0;
	}
	log_info("cache %s: writing again", c->dir);
}

/* Remove directories that nothing is counted in, upwards.  With the lock. */
static void
prune(struct cache *c, struct cache_dir *d)
{
	while (d != NULL && d->refs == 0 && !d->leaving) {
		char path[CACHE_PATH_MAX + 1];
		unsigned gen = d->gen;

		memcpy(path, d->path, strlen(d->path) + 1);
		d->leaving = true;
		pthread_mutex_unlock(&c->lock);
		/* It may be in use again by now; then this fails, rightly. */
		(void)dir_path_unlink(c->fd, path, AT_REMOVEDIR);
		pthread_mutex_lock(&c->lock);
		d->leaving = false;
		/* Used and left meanwhile: it may exist again. */
		if (d->gen == gen && d->refs == 0)
			d = cache_index_remove_dir(&c->ix, d);
	}
}

/* Unlink the file of e, which is LEAVING, and forget it.  With the lock, which
 * is released meanwhile. */
static int
remove_leaving(struct cache *c, struct cache_entry *e)
{
	struct cache_id id;
	int r;

	cache_entry_id(e, &id);
	pthread_mutex_unlock(&c->lock);
	r = cache_file_unlink(c, &id);
	/* Not logged: the entry has no file at the next start, no harm. */
	if (r == 0)
		(void)cache_log_append(c->log, CACHE_LOG_DELETE, &id, 0);
	pthread_mutex_lock(&c->lock);
	if (r < 0) {
		/* Still there, still counted, and last in line. */
		cache_index_ready(&c->ix, e, false);
		return r;
	}
	prune(c, cache_index_remove(&c->ix, e));
	return 0;
}

/* Chunks go first: they are cheap to get again, one by one. */
static struct cache_entry *
pick_victim(struct cache *c)
{
	struct cache_entry *e = cache_index_oldest(&c->ix, CACHE_CHUNK);

	return e != NULL ? e : cache_index_oldest(&c->ix, CACHE_META);
}

/* With the lock, which is released meanwhile.  0, 1 if e is NULL. */
static int
evict(struct cache *c, struct cache_entry *e)
{
	if (e == NULL)
		return 1;
	c->evictions++;
	cache_index_leave(&c->ix, e);
	return remove_leaving(c, e);
}

static uint64_t
limit_of_entries(const struct cache *c)
{
	return c->limit > CACHE_BASE_COST ? c->limit - CACHE_BASE_COST : 0;
}

/*
 * How many bytes the file system lacks for need more: 0 if there is enough.
 */
static int
lacking(struct cache *c, uint64_t need, uint64_t *ret)
{
	struct statvfs v;
	uint64_t avail, want;

	*ret = 0;
	if (c->floor == 0)
		return 0;
	if (fstatvfs(c->fd, &v) < 0)
		return -errno;
	if (__builtin_mul_overflow((uint64_t)v.f_bavail, v.f_frsize, &avail))
		return 0;
	if (__builtin_add_overflow(c->floor, need, &want))
		return -EOVERFLOW;
	*ret = want > avail ? want - avail : 0;
	return 0;
}

/* Evict until lack bytes less are used than before.  With the lock. */
static int
make_floor(struct cache *c, uint64_t before, uint64_t lack)
{
	int r = 0;

	while (
	    r == 0 && before - MIN(before, c->ix.used) < MIN(lack, FLOOR_STEP))
		r = evict(c, pick_victim(c));
	if (r < 0)
		return r;
	return r == 0 && lack <= FLOOR_STEP ? 0 : -ENOSPC;
}

/*
 * Make room for an entry and add it, WRITING.  0; 1 if it is there already or
 * there can be no room; -errno.  With the lock.
 */
static int
reserve(struct cache *c, const struct cache_id *id, uint64_t size,
    struct cache_entry **ret)
{
	uint64_t limit = limit_of_entries(c);

	for (;;) {
		struct cache_entry *e = cache_index_find(&c->ix, id);
		uint64_t need = cache_index_cost(&c->ix, id, size);
		int r;

		if (e != NULL || need > limit || c->stop)
			return 1;
		/* Metadata may be half of it, chunks what is left. */
		if (id->kind == CACHE_META &&
		    c->ix.used_meta + need > limit / 2)
			e = cache_index_oldest(&c->ix, CACHE_META);
		else if (need + c->ix.used <= limit)
			return cache_index_add(&c->ix, id, size, ret);
		else
			e = id->kind == CACHE_META
				? pick_victim(c)
				: cache_index_oldest(&c->ix, CACHE_CHUNK);
		r = evict(c, e);
		if (r != 0)
			return r;
	}
}

/* Undo reserve.  With the lock. */
static void
unreserve(struct cache *c, struct cache_entry *e, bool logged)
{
	struct cache_id id;

	cache_entry_id(e, &id);
	if (logged) {
		pthread_mutex_unlock(&c->lock);
		(void)cache_log_append(c->log, CACHE_LOG_DELETE, &id, 0);
		pthread_mutex_lock(&c->lock);
	}
	prune(c, cache_index_remove(&c->ix, e));
}

/* Whether to write size bytes now, and how many are being written with them. */
static bool
may_write(struct cache *c, const struct cache_id *id, uint64_t size,
    uint64_t *writing)
{
	LOCK(&c->lock);

	if (!c->manager || !c->inserting ||
	    (c->retry_at != 0 && deadline_left(c->retry_at) > 0))
		return false;
	if (cache_index_find(&c->ix, id) != NULL)
		return false;
	c->writing += size;
	*writing = c->writing;
	return true;
}

/* Room in the limit and on the disk.  0, 1, -errno as reserve. */
static int
make_room(struct cache *c, const struct cache_id *id, uint64_t size,
    uint64_t writing, struct cache_entry **ret, unsigned *ret_temp)
{
	uint64_t lack, before;
	int r;

	r = lacking(c, writing, &lack);
	if (r < 0)
		return r;
	LOCK(&c->lock);
	before = c->ix.used;
	r = reserve(c, id, size, ret);
	if (r != 0)
		return r;
	*ret_temp = c->temp_n++;
	if (lack > 0)
		r = make_floor(c, before + size, lack);
	if (r < 0)
		unreserve(c, *ret, false);
	return r;
}

void
cache_room_insert(struct cache *c, const struct cache_id *id, const void *p,
    size_t len, const struct store_object *o)
{
	uint64_t size = cache_file_size(id, len), writing;
	struct cache_entry *e = NULL;
	unsigned temp = 0;
	int r;

	if (!may_write(c, id, size, &writing))
		return;
	r = make_room(c, id, size, writing, &e, &temp);
	if (r != 0) {
		pthread_mutex_lock(&c->lock);
		c->writing -= size;
		pthread_mutex_unlock(&c->lock);
		if (r < 0)
			cache_room_failed(c, "make room", r);
		return;
	}
	/*
	 * Announced before it exists: killed in between, there is an entry
	 * without a file, never a file that nobody counts.
	 */
	r = cache_log_append(c->log, CACHE_LOG_ADD, id, size);
	if (r == 0)
		r = cache_file_write(c, temp, id, p, len, o);
	pthread_mutex_lock(&c->lock);
	c->writing -= size;
	if (r == 0)
		cache_index_ready(&c->ix, e, false);
	else
		unreserve(c, e, true);
	if (!c->rewrite && cache_log_is_long(c->log, c->ix.log_live)) {
		c->rewrite = true;
		pthread_cond_signal(&c->cond);
	}
	pthread_mutex_unlock(&c->lock);
	if (r < 0)
		cache_room_failed(c, "write", r);
	else if (r == 0)
		works_again(c);
}

void
cache_room_drop(struct cache *c, const struct cache_id *id, bool bad)
{
	struct cache_entry *e;

	if (c->fd < 0)
		return;
	pthread_mutex_lock(&c->lock);
	if (bad)
		c->rejected++;
	if (!c->manager) {
		pthread_mutex_unlock(&c->lock);
		/* Not counted here; who counts it will find it gone. */
		if (bad)
			(void)cache_file_unlink(c, id);
		return;
	}
	e = cache_index_find(&c->ix, id);
	if (e != NULL && e->state == CACHE_READY) {
		cache_index_leave(&c->ix, e);
		(void)remove_leaving(c, e);
	} else if (e == NULL && bad) {
		pthread_mutex_unlock(&c->lock);
		(void)cache_file_unlink(c, id);
		return;
	}
	pthread_mutex_unlock(&c->lock);
}

bool
cache_room_forget(struct cache *c, const struct cache_id *id)
{
	char path[CACHE_PATH_MAX + 1];
	bool manager, here;
	int fd;

	if (c->fd < 0)
		return false;
	{
		LOCK(&c->lock);
		manager = c->manager;
		here = manager && cache_index_find(&c->ix, id) != NULL;
	}
	if (manager) {
		cache_room_drop(c, id, false);
		return here;
	}
	/* Who counts it will find it gone. */
	cache_id_path(id, path);
	fd = dir_path_open(c->fd, path, O_PATH);
	if (fd < 0)
		return false;
	close(fd);
	return cache_file_unlink(c, id) == 0;
}

void
cache_room_used(struct cache *c, const struct cache_id *id)
{
	LOCK(&c->lock);
	struct cache_entry *e;

	c->hits++;
	e = c->manager ? cache_index_find(&c->ix, id) : NULL;
	if (e == NULL || e->state != CACHE_READY)
		return;
	cache_index_touch(&c->ix, e);
	if (!c->touched) {
		c->touched = true;
		c->save_at = deadline_in(CACHE_SAVE_MS);
		pthread_cond_signal(&c->cond);
	}
}

bool
cache_room_fits(const struct cache *c)
{
	return c->ix.used <= limit_of_entries(c);
}

int
cache_room_trim(struct cache *c)
{
	int r = 0;

	pthread_mutex_lock(&c->lock);
	while (r == 0 && !c->stop && !cache_room_fits(c))
		r = evict(c, pick_victim(c));
	pthread_mutex_unlock(&c->lock);
	return r < 0 ? r : 0;
}
