/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "store/cache_log.h"
#include "store/dir_path.h"

#define ENDS 1024
#define BATCH 64

/* Directories still to be read. */
struct todo {
	char **v; /* owned, and the paths in it */
	size_t n, room;
};

static int
todo_add(struct todo *t, const char *path)
{
	if (t->n == t->room) {
		size_t room = t->room != 0 ? 2 * t->room : 64;
		char **v = reallocarray(t->v, room, sizeof(*v));

		if (v == NULL)
			return -ENOMEM;
		t->v = v;
		t->room = room;
	}
	t->v[t->n] = strdup(path);
	if (t->v[t->n] == NULL)
		return -ENOMEM;
	t->n++;
	return 0;
}

static void
todo_fini(struct todo *t)
{
	while (t->n > 0)
		free(t->v[--t->n]);
	free(t->v);
}

/* A file of size bytes is there. */
static int
found(struct cache *c, const char *path, uint64_t size)
{
	struct cache_entry *e;
	struct cache_id id;
	int r;

	if (!store_key_is_valid(path) || cache_id_of_key(path, &id) != 0) {
		log_debug("cache %s: %s is none of its files", c->dir, path);
		return 0;
	}
	LOCK(&c->lock);
	e = cache_index_find(&c->ix, &id);
	if (e == NULL) {
		r = cache_index_add(&c->ix, &id, size, &e);
		if (r < 0)
			return r;
		/* Nobody knows when it was used: it goes first. */
		cache_index_ready(&c->ix, e, true);
	} else if (e->size != size) {
		cache_index_resize(&c->ix, e, size);
	}
	e->seen = true;
	return 0;
}

/* A directory while it is read. */
struct scanning {
	struct cache *c;
	struct todo *todo;
	const char *path;
};

static int
scan_name(void *arg, int fd, const struct dirent *de)
{
	const struct scanning *s = arg;
	char path[CACHE_PATH_MAX + 1];
	size_t len = strlen(s->path), name = strlen(de->d_name);
	struct stat st;

	if (len + 1 + name > CACHE_PATH_MAX)
		return 0;
	memcpy(path, s->path, len);
	path[len] = '/';
	memcpy(path + len + 1, de->d_name, name + 1);
	if (fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISDIR(st.st_mode))
		return todo_add(s->todo, path);
	if (S_ISREG(st.st_mode))
		return found(s->c, path, (uint64_t)st.st_size);
	return 0;
}

static int
scan_dir(struct cache *c, struct todo *t, const char *path)
{
	struct scanning s = {.c = c, .todo = t, .path = path};
	int fd = dir_path_open(c->fd, path, O_RDONLY | O_DIRECTORY);

	if (fd < 0)
		return dir_path_is_absent(fd) ? 0 : fd;
	return io_read_dir(fd, scan_name, &s);
}

/* Remove path if it is empty, and then those above it. */
static void
remove_empty(struct cache *c, char *path)
{
	char *slash;

	while ((slash = strrchr(path, '/')) != NULL) {
		if (dir_path_unlink(c->fd, path, AT_REMOVEDIR) < 0)
			return;
		*slash = '\0';
	}
}

static bool
is_stopped(struct cache *c)
{
	LOCK(&c->lock);

	return c->stop;
}

/* Forget those of n that have no file, or one of another size. */
static void
check_files(struct cache *c, const struct cache_id *ids, const uint64_t *sizes,
    size_t n)
{
	char path[CACHE_PATH_MAX + 1];
	struct stat st;

	for (size_t i = 0; i < n; i++) {
		_cleanup_close_ int fd = -1;

		cache_id_path(&ids[i], path);
		fd = dir_path_open(c->fd, path, O_PATH);
		if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
		    (uint64_t)st.st_size == sizes[i])
			continue;
		cache_room_drop(c, &ids[i], false);
	}
}

/* Up to BATCH entries that have not been seen, which now count as seen. */
static size_t
take_unseen(struct cache *c, struct cache_id *ids, uint64_t *sizes)
{
	LOCK(&c->lock);
	struct cache_entry *e;
	size_t n = 0;

	for (int k = 0; k < CACHE_KINDS; k++)
		TAILQ_FOREACH_REVERSE(e, &c->ix.lru[k], cache_lru, lru)
		{
			if (n == BATCH)
				return n;
			if (e->seen)
				continue;
			e->seen = true;
			sizes[n] = e->size;
			cache_entry_id(e, &ids[n++]);
		}
	return n;
}

static void
forget_seen(struct cache *c)
{
	LOCK(&c->lock);
	struct cache_entry *e;

	for (int k = 0; k < CACHE_KINDS; k++)
		TAILQ_FOREACH (e, &c->ix.lru[k], lru)
			e->seen = false;
}

int
cache_scan(struct cache *c)
{
	static const char *const roots[] = {".chunks", ".cnt"};
	_cleanup_free_ struct cache_id *ids = calloc(BATCH, sizeof(*ids));
	uint64_t sizes[BATCH];
	struct todo t = {0};
	size_t n;
	int r = 0;

	if (ids == NULL)
		return -ENOMEM;
	forget_seen(c);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(roots); i++)
		r = todo_add(&t, roots[i]);
	while (r == 0 && t.n > 0 && !is_stopped(c)) {
		_cleanup_free_ char *path = t.v[--t.n];

		r = scan_dir(c, &t, path);
		if (r == 0)
			remove_empty(c, path);
	}
	todo_fini(&t);
	while (r == 0 && !is_stopped(c)) {
		n = take_unseen(c, ids, sizes);
		if (n == 0)
			break;
		check_files(c, ids, sizes, n);
	}
	return r < 0 ? r : is_stopped(c) ? -ECANCELED : 0;
}

/* Check up to ENDS entries of a kind from one end. */
static void
scan_end(struct cache *c, enum cache_kind kind, bool newest)
{
	_cleanup_free_ struct cache_id *ids = calloc(ENDS, sizeof(*ids));
	_cleanup_free_ uint64_t *sizes = calloc(ENDS, sizeof(*sizes));
	size_t n = 0;

	if (ids == NULL || sizes == NULL)
		return;
	{
		LOCK(&c->lock);
		struct cache_entry *e =
		    newest ? TAILQ_FIRST(&c->ix.lru[kind])
			   : TAILQ_LAST(&c->ix.lru[kind], cache_lru);

		for (; e != NULL && n < ENDS;
		     e = newest ? TAILQ_NEXT(e, lru)
				: TAILQ_PREV(e, cache_lru, lru)) {
			sizes[n] = e->size;
			cache_entry_id(e, &ids[n++]);
		}
	}
	check_files(c, ids, sizes, n);
}

void
cache_scan_ends(struct cache *c)
{
	for (int k = 0; k < CACHE_KINDS; k++) {
		scan_end(c, (enum cache_kind)k, true);
		scan_end(c, (enum cache_kind)k, false);
	}
}
