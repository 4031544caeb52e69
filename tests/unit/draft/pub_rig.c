/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pub_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../pbs/fixture.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/num.h"
#include "repo/guard.h"
#include "repo/known.h"
#include "repo/repo.h"
#include "repo/tree.h"
#include "repo/uploads.h"

#include "../cm.h"

static void
published(void *arg, const struct group_name *n, int64_t time)
{
	struct rig *g = arg;

	(void)n;
	(void)time;
	g->published++;
}

void
rig_begin(struct rig *g, bool is_dir)
{
	const struct store_put how = {0};
	char path[128];

	memset(g, 0, sizeof(*g));
	g->is_dir = is_dir;
	snprintf(g->dir, sizeof(g->dir), "/tmp/test-publish-XXXXXX");
	assert_non_null(mkdtemp(g->dir));
	if (is_dir) {
		snprintf(path, sizeof(path), "%s/store/.chunks", g->dir);
		assert_int_equal(io_mkdirs(AT_FDCWD, path, 0755), 0);
		snprintf(path, sizeof(path), "%s/store", g->dir);
	}
	g->gate = gate_new(is_dir ? path : NULL);
	g->group.type = BACKUP_HOST;
	snprintf(g->group.id, sizeof(g->group.id), "web1");
	assert_int_equal(store_put(g->gate->store, ".cnt/host/web1/owner",
	    "root@pam\n", 9, &how, NULL), 0);
}

void
rig_fixture(struct rig *g, const char *name, const char *top,
    enum backup_type type, const char *id)
{
	struct fixture *f = fixture_load(name);

	rig_begin(g, false);
	gate_fill(g->gate, f, top);
	fixture_free(f);
	g->group.type = type;
	snprintf(g->group.id, sizeof(g->group.id), "%s", id);
}

void
rig_open(struct rig *g)
{
	struct uploads_opts uo = {.memory = 64 * MIB, .timeout_ms = 2000};
	const struct repo_opts ro = {
	    .name = "test", .timeout_ms = 5000,
	    .keys = g->keys != NULL ? g->keys : fixture_keys()};
	char state[128];

	snprintf(state, sizeof(state), "%s/state", g->dir);
	assert_int_equal(repo_open(gate_door(g->gate), &ro, &g->repo), 0);
	assert_int_equal(known_new(NULL, "g", 1000000,
	    &g->known), 0);
	assert_int_equal(guard_new(NULL, g->known, &g->guard), 0);
	uo.chunks = repo_chunks(g->repo);
	uo.guard = g->guard;
	assert_int_equal(uploads_new(repo_store(g->repo), g->known, &uo,
	    &g->up), 0);
	g->o.state = state;
	g->o.identity = "test";
	g->o.uploads = g->up;
	g->o.published = published;
	g->o.arg = g;
	assert_int_equal(drafts_open(g->repo, &g->o, &g->ds), 0);
	assert_int_equal(drafts_get(g->ds, &g->group, &g->d), 0);
}

void
rig_close(struct rig *g)
{
	if (g->ds == NULL)
		return;
	guard_shutdown(g->guard);
	drafts_shutdown(g->ds);
	drafts_free(g->ds);
	uploads_free(g->up);
	guard_free(g->guard);
	known_free(g->known);
	repo_free(g->repo);
	g->ds = NULL;
}

void
rig_lose_state(struct rig *g)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/state", g->dir);
	assert_int_equal(io_remove_tree(AT_FDCWD, path), 0);
}

void
rig_end(struct rig *g)
{
	rig_close(g);
	gate_free(g->gate);
	assert_int_equal(io_remove_tree(AT_FDCWD, g->dir), 0);
}

/*
 * The draft by path.
 */

void
fs_forget(struct rig *g, uint64_t ino)
{
	if (ino != draft_root(g->d))
		draft_forget(g->d, ino, 1);
}

/* With a reference; fails the test if it is not there. */
static uint64_t
walk(struct rig *g, const char *path, size_t len, struct stat *st)
{
	uint64_t at = draft_root(g->d), next;
	struct stat mine;
	char name[256];
	size_t n, i = 0;
	int r;

	if (st == NULL)
		st = &mine;
	if (len == 0)
		assert_int_equal(draft_getattr(g->d, at, 0, st), 0);
	for (; i < len; i += n + 1) {
		n = strcspn(path + i, "/");
		n = MIN(n, len - i);
		memcpy(name, path + i, n);
		name[n] = '\0';
		r = draft_lookup(g->d, at, name, 0, st);
		if (r < 0)
			fail_msg("%.*s: %s", (int)len, path, strerror(-r));
		next = st->st_ino;
		fs_forget(g, at);
		at = next;
	}
	return at;
}

uint64_t
fs_ino(struct rig *g, const char *path, struct stat *st)
{
	return walk(g, path, strlen(path), st);
}

static const char *
last(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

static uint64_t
parent(struct rig *g, const char *path)
{
	const char *slash = strrchr(path, '/');

	return walk(g, path, slash != NULL ? (size_t)(slash - path) : 0, NULL);
}

static void
check(int r, const char *path)
{
	if (r < 0)
		fail_msg("%s: %s", path, strerror(-r));
}

void
fs_mknod(struct rig *g, const char *path, mode_t mode, dev_t rdev,
    const char *target)
{
	const struct draft_new n = {
	    .mode = mode, .rdev = rdev, .target = target, .uid = 7, .gid = 8};
	uint64_t dir = parent(g, path);
	struct stat st;

	check(draft_make(g->d, dir, last(path), &n, 0, &st), path);
	fs_forget(g, st.st_ino);
	fs_forget(g, dir);
}

void
fs_mkdir(struct rig *g, const char *path)
{
	fs_mknod(g, path, S_IFDIR | 0750, 0, NULL);
}

static bool
exists(struct rig *g, const char *path)
{
	uint64_t dir = parent(g, path);
	struct stat st;
	int r;

	r = draft_lookup(g->d, dir, last(path), 0, &st);
	fs_forget(g, dir);
	if (r == 0)
		fs_forget(g, st.st_ino);
	return r == 0;
}

struct draft_file *
fs_open(struct rig *g, const char *path, int oflags, uint64_t *ret_ino)
{
	struct draft_file *f;

	if ((oflags & O_CREAT) != 0 && !exists(g, path))
		fs_mknod(g, path, S_IFREG | 0640, 0, NULL);
	*ret_ino = fs_ino(g, path, NULL);
	check(draft_open(g->d, *ret_ino, oflags & ~O_CREAT, 0, &f), path);
	return f;
}

static void
write_at(struct rig *g, const char *path, int oflags, const void *p,
    size_t len, uint64_t off)
{
	struct draft_file *f;
	uint64_t ino;
	size_t n;

	f = fs_open(g, path, O_RDWR | oflags, &ino);
	for (size_t i = 0; i < len; i += n) {
		n = MIN(len - i, MIB);
		check(draft_write(f, (const uint8_t *)p + i, n, off + i, 0),
		    path);
	}
	check(draft_flush(f), path);
	draft_close(f);
	fs_forget(g, ino);
}

void
fs_write(struct rig *g, const char *path, const void *p, size_t len)
{
	write_at(g, path, O_CREAT | O_TRUNC, p, len, 0);
}

void
fs_text(struct rig *g, const char *path, const char *text)
{
	fs_write(g, path, text, strlen(text));
}

void
fs_pwrite(struct rig *g, const char *path, const void *p, size_t len,
    uint64_t off)
{
	write_at(g, path, 0, p, len, off);
}

static void
set(struct rig *g, const char *path, const struct draft_change *c)
{
	uint64_t ino = fs_ino(g, path, NULL);
	struct stat st;

	check(draft_setattr(g->d, ino, c, 0, &st), path);
	fs_forget(g, ino);
}

void
fs_truncate(struct rig *g, const char *path, uint64_t size)
{
	const struct draft_change c = {.set = DRAFT_SET_SIZE, .size = size};

	set(g, path, &c);
}

void
fs_chmod(struct rig *g, const char *path, mode_t mode)
{
	const struct draft_change c = {.set = DRAFT_SET_MODE, .mode = mode};

	set(g, path, &c);
}

void
fs_link(struct rig *g, const char *from, const char *to)
{
	uint64_t ino = fs_ino(g, from, NULL), dir = parent(g, to);
	struct stat st;

	check(draft_link(g->d, ino, dir, last(to), 0, &st), to);
	fs_forget(g, st.st_ino);
	fs_forget(g, ino);
	fs_forget(g, dir);
}

void
fs_unlink(struct rig *g, const char *path)
{
	uint64_t dir = parent(g, path);

	check(draft_unlink(g->d, dir, last(path), 0), path);
	fs_forget(g, dir);
}

void
fs_rmdir(struct rig *g, const char *path)
{
	uint64_t dir = parent(g, path);

	check(draft_rmdir(g->d, dir, last(path), 0), path);
	fs_forget(g, dir);
}

void
fs_rename(struct rig *g, const char *from, const char *to)
{
	uint64_t a = parent(g, from), b = parent(g, to);

	check(draft_rename(g->d, a, last(from), b, last(to), 0, 0), from);
	fs_forget(g, a);
	fs_forget(g, b);
}

void
fs_xattr(struct rig *g, const char *path, const char *name, const void *p,
    size_t len)
{
	uint64_t ino = fs_ino(g, path, NULL);

	check(draft_xattr_set(g->d, ino, name, p, len, 0, 0), path);
	fs_forget(g, ino);
}

struct reading {
	uint8_t *p;
	size_t len;
	int err;
	unsigned done;
};

static void
got(void *arg, int err, const struct iovec *iov, int n)
{
	struct reading *rd = arg;

	rd->err = err;
	for (int i = 0; err == 0 && i < n; i++) {
		memcpy(rd->p + rd->len, iov[i].iov_base, iov[i].iov_len);
		rd->len += iov[i].iov_len;
	}
	__atomic_store_n(&rd->done, 1, __ATOMIC_RELEASE);
}

int
fs_try_read(struct draft_file *f, uint64_t off, size_t len)
{
	uint8_t *p = malloc(len);
	struct reading rd = {.p = p};

	assert_non_null(p);
	draft_read(f, off, len, got, &rd);
	while (__atomic_load_n(&rd.done, __ATOMIC_ACQUIRE) == 0)
		usleep(200);
	free(p);
	return rd.err;
}

static size_t
read_some(struct draft_file *f, uint8_t *p, uint64_t off, size_t len,
    const char *path)
{
	struct reading rd = {.p = p};

	draft_read(f, off, len, got, &rd);
	while (__atomic_load_n(&rd.done, __ATOMIC_ACQUIRE) == 0)
		usleep(200);
	check(rd.err, path);
	return rd.len;
}

uint8_t *
fs_read(struct rig *g, const char *path, size_t *ret_len)
{
	struct draft_file *f;
	uint64_t ino, off = 0;
	struct stat st;
	uint8_t *p;
	size_t n;

	f = fs_open(g, path, O_RDONLY, &ino);
	check(draft_getattr(g->d, ino, 0, &st), path);
	p = malloc((size_t)st.st_size + 1);
	assert_non_null(p);
	while (off < (uint64_t)st.st_size) {
		n = read_some(f, p + off, off,
		    MIN((size_t)((uint64_t)st.st_size - off), 4 * MIB), path);
		assert_true(n > 0);
		off += n;
	}
	draft_close(f);
	fs_forget(g, ino);
	*ret_len = off;
	return p;
}

void
rig_noise(void *p, size_t len, uint64_t seed)
{
	uint8_t *out = p;
	uint8_t word[8];

	for (size_t i = 0; i < len; i++) {
		if (i % 8 == 0) {
			seed = seed * 6364136223846793005ULL +
			    1442695040888963407ULL;
			put_le64(word, seed ^ seed >> 29);
		}
		out[i] = word[i % 8];
	}
}

const struct tree_snap *
rig_snap(struct rig *g, struct tree *t, int64_t time)
{
	const struct tree_ns *ns = tree_find_ns(t, g->group.ns);
	const struct tree_group *gr;
	const struct tree_snap *s;

	assert_non_null(ns);
	gr = tree_find_group(ns, g->group.type, g->group.id);
	assert_non_null(gr);
	s = tree_find_snap(gr, time);
	if (s == NULL)
		fail_msg("no snapshot of %lld", (long long)time);
	return s;
}

bool
rig_has(struct rig *g, int64_t time, const char *name)
{
	struct tree *t = repo_tree(g->repo);
	bool has = tree_find_file(rig_snap(g, t, time), name) != NULL;

	tree_unref(t);
	return has;
}

struct index *
rig_index(struct rig *g, int64_t time, const char *name)
{
	struct tree *t = repo_tree(g->repo);
	const struct tree_file *f = tree_find_file(rig_snap(g, t, time), name);
	struct index *x;

	if (f == NULL)
		fail_msg("%s is not there", name);
	check(repo_index(g->repo, f, 0, &x), name);
	tree_unref(t);
	return x;
}
