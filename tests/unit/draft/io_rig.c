/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/num.h"
#include "base/str.h"
#include "repo/claim.h"
#include "repo/known.h"
#include "repo/repo.h"
#include "repo/uploads.h"
#include "store/backends.h"

#include "../cm.h"

#define CHUNKS ".chunks/"

struct door {
	struct store s;
	struct io_store *st;	/* borrowed */
};

static struct io_store *
of(struct store *s)
{
	return ((struct door *)s)->st;
}

static int
door_get(struct store *s, const char *key, const struct store_get *how,
    struct buf **ret, struct store_object *ret_obj)
{
	struct io_store *st = of(s);
	int r = 0;

	if (how->flags & STORE_LOCAL)
		return -EAGAIN;
	if (str_starts(key, CHUNKS)) {
		LOCK(&st->lock);
		st->gets++;
		r = st->get_error;
	}
	return r < 0 ? r : store_get(st->store, key, how, ret, ret_obj);
}

static int
door_put(struct store *s, const char *key, const void *p, size_t len,
    const struct store_put *how, struct store_object *ret_obj)
{
	struct io_store *st = of(s);
	int r = 0;

	if (str_starts(key, CHUNKS)) {
		LOCK(&st->lock);
		while (st->hold_puts)
			pthread_cond_wait(&st->cond, &st->lock);
		st->puts++;
		st->put_bytes += len;
		r = st->put_error;
		st->unsynced += r == 0 && how->lazy;
	}
	return r < 0 ? r : store_put(st->store, key, p, len, how, ret_obj);
}

static int
door_stat(struct store *s, const char *key, deadline_t deadline,
    struct store_object *ret)
{
	return store_stat(of(s)->store, key, deadline, ret);
}

static int
door_list(struct store *s, const char *prefix, const char *start_after,
    store_list_fn *fn, void *arg)
{
	return store_list(of(s)->store, prefix, start_after, fn, arg);
}

static int
door_del(struct store *s, const char *const *keys, size_t n,
    store_delete_fn *fn, void *arg, deadline_t deadline)
{
	return store_delete(of(s)->store, keys, n, fn, arg, deadline);
}

static int
door_touch(struct store *s, const char *key)
{
	return store_touch(of(s)->store, key);
}

static int
door_sync(struct store *s)
{
	struct io_store *st = of(s);
	int r = store_sync(st->store);

	LOCK(&st->lock);
	if (r == 0)
		r = st->sync_error;
	if (r == 0)
		st->unsynced = 0;
	return r;
}

static void
door_free(struct store *s)
{
	free(s);
}

static const struct store_ops door_ops = {
	.get = door_get,
	.put = door_put,
	.stat = door_stat,
	.list = door_list,
	.del = door_del,
	.touch = door_touch,
	.sync = door_sync,
	.free = door_free,
};

static struct store *
new_door(struct io_store *st)
{
	struct door *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	d->s.ops = &door_ops;
	d->s.name = "door";
	d->st = st;
	return &d->s;
}

static void
begin(struct io_rig *g)
{
	const char *tmp = getenv("TMPDIR");

	memset(g, 0, sizeof(*g));
	snprintf(g->dir, sizeof(g->dir), "%s/test-io-XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(g->dir));
	pthread_mutex_init(&g->st.lock, NULL);
	assert_int_equal(cond_init(&g->st.cond), 0);
	g->group.type = BACKUP_HOST;
	snprintf(g->group.id, sizeof(g->group.id), "web1");
}

static void
put_owner(struct io_rig *g)
{
	const struct store_put how = {0};

	assert_int_equal(store_put(g->st.store, ".cnt/host/web1/owner",
	    "root@pam\n", 9, &how, NULL), 0);
}

void
io_rig_begin(struct io_rig *g)
{
	begin(g);
	assert_int_equal(store_mem_new(&g->st.store), 0);
	put_owner(g);
}

void
io_rig_begin_dir(struct io_rig *g)
{
	char path[192];
	int fd;

	begin(g);
	snprintf(g->base, sizeof(g->base), "%s/store", g->dir);
	/* The directories of chunks come as they are needed: to make and
	 * remove all of them takes many times what a test does. */
	snprintf(path, sizeof(path), "%s/.chunks", g->base);
	assert_int_equal(io_mkdirs(AT_FDCWD, path, 0750), 0);
	snprintf(path, sizeof(path), "%s/.lock", g->base);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(store_dir_new(g->base, &g->st.store), 0);
	put_owner(g);
}

/* As a mount does it. */
static void
take_claim(struct io_rig *g)
{
	const struct claim_opts o = {
	    .name = "test",
	    .identity = g->base,
	    .base = g->base,
	    .run_dir = g->dir,
	};

	if (g->base[0] == '\0')
		return;
	assert_int_equal(claim_take(repo_store(g->repo), &o, &g->claim), 0);
	g->o.claim = g->claim;
}

void
io_rig_open(struct io_rig *g)
{
	const struct uploads_opts uo = {.memory = 64 * MIB, .timeout_ms = 2000};
	const struct repo_opts ro = {
	    .name = "test",
	    .timeout_ms = 5000,
	    .memory = MAX(g->memory, 1),
	};
	char state[160];

	snprintf(state, sizeof(state), "%s/state", g->dir);
	assert_int_equal(repo_open(new_door(&g->st), &ro, &g->repo), 0);
	assert_int_equal(known_new(NULL, "g", KNOWN_MAX_DEFAULT, &g->known), 0);
	assert_int_equal(uploads_new(repo_store(g->repo), g->known, &uo,
	    &g->up), 0);
	g->o.state = state;
	g->o.identity = "test";
	g->o.uploads = g->up;
	take_claim(g);
	assert_int_equal(drafts_open(g->repo, &g->o, &g->ds), 0);
	assert_int_equal(drafts_get(g->ds, &g->group, &g->d), 0);
}

void
io_rig_close(struct io_rig *g)
{
	if (g->ds == NULL)
		return;
	drafts_shutdown(g->ds);
	drafts_free(g->ds);
	claim_free(g->claim);
	g->claim = NULL;
	uploads_free(g->up);
	known_free(g->known);
	repo_free(g->repo);
	g->ds = NULL;
}

void
io_rig_end(struct io_rig *g)
{
	io_rig_close(g);
	store_free(g->st.store);
	pthread_cond_destroy(&g->st.cond);
	pthread_mutex_destroy(&g->st.lock);
	assert_int_equal(io_remove_tree(AT_FDCWD, g->dir), 0);
}

void
io_rig_fail(struct io_rig *g, int put_error, int get_error)
{
	LOCK(&g->st.lock);
	g->st.put_error = put_error;
	g->st.get_error = get_error;
}

void
io_rig_hold(struct io_rig *g, bool on)
{
	LOCK(&g->st.lock);
	g->st.hold_puts = on;
	pthread_cond_broadcast(&g->st.cond);
}

unsigned
io_rig_puts(struct io_rig *g)
{
	LOCK(&g->st.lock);
	return g->st.puts;
}

unsigned
io_rig_gets(struct io_rig *g)
{
	LOCK(&g->st.lock);
	return g->st.gets;
}

struct doomed {
	struct store *s;
	char keys[64][128];
	size_t n;
};

static int
note_key(void *arg, const char *key, const struct store_object *o)
{
	struct doomed *d = arg;

	(void)o;
	if (d->n == ARRAY_SIZE(d->keys))
		return 1;
	snprintf(d->keys[d->n++], sizeof(d->keys[0]), "%s", key);
	return 0;
}

void
io_rig_drop_chunks(struct io_rig *g)
{
	struct doomed d;
	const char *key;
	int r;

	do {
		d.n = 0;
		r = store_list(g->st.store, CHUNKS, NULL, note_key, &d);
		assert_true(r >= 0);
		for (size_t k = 0; k < d.n; k++) {
			key = d.keys[k];
			assert_int_equal(store_delete(g->st.store, &key, 1,
			    NULL, NULL, 0), 0);
		}
	} while (r == 1);
}

uint64_t
io_rig_staged(struct io_rig *g)
{
	struct drafts_stats st;

	drafts_stats(g->ds, &st);
	return st.staged;
}

static void
check(int r, const char *path, const char *what)
{
	if (r < 0)
		fail_msg("%s: %s: %s", path, what, strerror(-r));
}

/* With a lookup. */
static uint64_t
dir_of(struct io_rig *g, const char *path, const char **ret_name)
{
	const struct draft_new n = {.mode = S_IFDIR | 0755};
	const char *slash = strchr(path, '/');
	char name[256];
	struct stat st;
	int r;

	*ret_name = slash != NULL ? slash + 1 : path;
	if (slash == NULL)
		return draft_root(g->d);
	snprintf(name, sizeof(name), "%.*s", (int)(slash - path), path);
	r = draft_lookup(g->d, draft_root(g->d), name, 0, &st);
	if (r == -ENOENT)
		r = draft_make(g->d, draft_root(g->d), name, &n, 0, &st);
	check(r, path, "directory");
	return st.st_ino;
}

uint64_t
io_lookup(struct io_rig *g, const char *path)
{
	const char *name;
	uint64_t dir = dir_of(g, path, &name);
	struct stat st;

	check(draft_lookup(g->d, dir, name, 0, &st), path, "lookup");
	io_forget(g, dir);
	return st.st_ino;
}

void
io_forget(struct io_rig *g, uint64_t ino)
{
	if (ino != draft_root(g->d))
		draft_forget(g->d, ino, 1);
}

struct draft_file *
io_open(struct io_rig *g, const char *path, int oflags, uint64_t *ret_ino)
{
	const struct draft_new n = {.mode = S_IFREG | 0644};
	struct draft_file *f;
	const char *name;
	uint64_t dir = dir_of(g, path, &name);
	struct stat st;
	int r;

	r = draft_lookup(g->d, dir, name, 0, &st);
	if (r == -ENOENT && (oflags & O_CREAT))
		r = draft_make(g->d, dir, name, &n, 0, &st);
	check(r, path, "lookup");
	io_forget(g, dir);
	check(draft_open(g->d, st.st_ino, oflags & ~O_CREAT, 0, &f), path,
	    "open");
	*ret_ino = st.st_ino;
	return f;
}

void
io_close(struct io_rig *g, struct draft_file *f, uint64_t ino)
{
	draft_close(f);
	io_forget(g, ino);
}

void
io_unlink(struct io_rig *g, const char *path)
{
	const char *name;
	uint64_t dir = dir_of(g, path, &name);

	check(draft_unlink(g->d, dir, name, 0), path, "unlink");
	io_forget(g, dir);
}

struct wait {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
	int err;
	size_t len;
	uint8_t *p;
};

static void
got(void *arg, int err, const struct iovec *iov, int n)
{
	struct wait *w = arg;

	for (int k = 0; err == 0 && k < n; k++) {
		memcpy(w->p + w->len, iov[k].iov_base, iov[k].iov_len);
		w->len += iov[k].iov_len;
	}
	LOCK(&w->lock);
	w->err = err;
	w->done = true;
	pthread_cond_signal(&w->cond);
}

int
io_read_at(struct draft_file *f, void *p, uint64_t off, size_t len,
    size_t *ret)
{
	struct wait w = {.p = p};

	pthread_mutex_init(&w.lock, NULL);
	assert_int_equal(cond_init(&w.cond), 0);
	draft_read(f, off, len, got, &w);
	{
		LOCK(&w.lock);
		while (!w.done)
			pthread_cond_wait(&w.cond, &w.lock);
	}
	pthread_cond_destroy(&w.cond);
	pthread_mutex_destroy(&w.lock);
	*ret = w.len;
	return w.err;
}

void
io_expect(struct draft_file *f, const void *p, uint64_t off, size_t len)
{
	_cleanup_free_ uint8_t *q = malloc(len);
	size_t n;

	assert_non_null(q);
	check(io_read_at(f, q, off, len, &n), "file", "read");
	assert_int_equal(n, len);
	assert_memory_equal(p, q, len);
}

void
io_write_all(struct draft_file *f, const void *p, uint64_t off, size_t len)
{
	const uint8_t *b = p;
	size_t n;

	for (; len > 0; len -= n, b += n, off += n) {
		n = MIN(len, (size_t)128 << 10);
		check(draft_write(f, b, n, off, 0), "file", "write");
	}
}

void
io_noise(void *p, size_t len, uint64_t seed)
{
	uint8_t *out = p, word[8];
	size_t k;

	for (k = 0; k < len; k++) {
		if (k % 8 == 0) {
			seed = seed * 6364136223846793005ULL +
			    1442695040888963407ULL;
			put_le64(word, seed ^ seed >> 29);
		}
		out[k] = word[k % 8];
	}
}

void
io_reopen(struct io_rig *g, struct draft_file **f, uint64_t *ino,
    const char *path)
{
	io_close(g, *f, *ino);
	io_rig_close(g);
	io_rig_open(g);
	*f = io_open(g, path, O_RDWR, ino);
}
