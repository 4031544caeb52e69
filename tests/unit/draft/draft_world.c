/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft_world.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../pxar/mkpxar.h"
#include "../repo/slow_store.h"
#include "../vfs/world.h"
#include "base/buf.h"
#include "base/lock.h"
#include "base/num.h"
#include "base/str.h"
#include "repo/known.h"
#include "repo/repo.h"
#include "repo/uploads.h"

static void
open_drafts(struct draft_world *w)
{
	const struct group_name g = {.type = BACKUP_HOST, .id = "h1"};
	const struct drafts_opts o = {
	    .state = w->dir.path,
	    .identity = "mem:",
	    .uploads = w->uploads,
	    .staging = 64 * MIB,
	    .timeout_ms = 2000,
	};

	assert_int_equal(drafts_open(w->repo, &o, &w->ds), 0);
	assert_int_equal(drafts_get(w->ds, &g, &w->d), 0);
}

void
draft_world_open(struct draft_world *w, struct slow_store *s)
{
	const struct repo_opts ro = {.timeout_ms = 5000};

	memset(w, 0, sizeof(*w));
	scratch_begin(&w->dir);
	w->s = s;
	assert_int_equal(repo_open(&s->s, &ro, &w->repo), 0);
	assert_int_equal(known_new(NULL, "1", 0, &w->known), 0);
	assert_int_equal(uploads_new(repo_store(w->repo), w->known, NULL,
	    &w->uploads), 0);
	open_drafts(w);
}

void
draft_world_close(struct draft_world *w)
{
	drafts_free(w->ds);
	uploads_free(w->uploads);
	known_free(w->known);
	repo_free(w->repo);
	scratch_end(&w->dir);
}

void
draft_world_again(struct draft_world *w)
{
	struct scratch_dir copy;
	struct str cmd = {0};

	scratch_begin(&copy);
	str_addf(&cmd, "cp -a --sparse=always %s/. %s/", w->dir.path,
	    copy.path);
	assert_int_equal(system(str_get(&cmd)), 0);
	str_fini(&cmd);
	drafts_free(w->ds);
	scratch_end(&w->dir);
	w->dir = copy;
	open_drafts(w);
}

struct slow_store *
draft_world_empty(void)
{
	struct slow_store *s = slow_store_new();

	slow_store_put(s, ".cnt/host/h1/owner", "root@pam\n", 9);
	return s;
}

static void
make_dirs(struct mk *m)
{
	uint64_t first[4][4];
	char name[64], path[128];
	int i, k, n;

	for (i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		mk_dir(m, name, MK(S_IFDIR | 0755));
		for (k = 0; k < 4; k++) {
			snprintf(name, sizeof(name), "a%d", k);
			mk_dir(m, name, MK(S_IFDIR | 0750));
			for (n = 0; n < 4; n++) {
				uint64_t f;

				snprintf(name, sizeof(name), "f%d", n);
				snprintf(path, sizeof(path), "d%d/a%d/f%d\n",
				    i, k, n);
				f = mk_file(m, name, MK(S_IFREG | 0644), path,
				    strlen(path));
				if (n == 0)
					first[i][k] = f;
			}
			mk_up(m);
		}
		snprintf(path, sizeof(path), "d%d/a0/f0", i);
		mk_link(m, "hard", first[i][0], path);
		mk_up(m);
	}
	for (i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "hard%d", i);
		snprintf(path, sizeof(path), "d%d/a0/f0", i);
		mk_link(m, name, first[i][0], path);
	}
	mk_symlink(m, "sym", MK(S_IFLNK | 0777), "d0/a0");
	mk_xattr(m, "user.colour", "blue", 4);
	mk_file(m, "tagged", MK(S_IFREG | 0644), "t", 1);
}

struct slow_store *
draft_world_tree(int version)
{
	struct slow_store *s = slow_store_new();
	struct mk *m = malloc(sizeof(*m));
	struct snap_maker sm;

	assert_non_null(m);
	mk_init(m, version);
	mk_root(m, MK(S_IFDIR | 0755));
	make_dirs(m);
	mk_finish(m);
	snap_begin(&sm, s, "", BACKUP_HOST, "h1", T1);
	snap_pxar(&sm, "root", m);
	snap_fixed(&sm, "disk.img.fidx", "0123456789", 10);
	snap_blob(&sm, "a.conf.blob", "conf\n", 5);
	snap_finish(&sm, NULL);
	mk_fini(m);
	free(m);
	return s;
}

void
dw_drop(struct draft_world *w, uint64_t ino)
{
	if (ino != draft_root(w->d))
		draft_forget(w->d, ino, 1);
}

/* The inode is held. */
static int
resolve(struct draft_world *w, const char *path, size_t len,
    struct stat *ret)
{
	uint64_t at = draft_root(w->d), next;
	const char *end = path + len, *slash;
	char name[512];
	size_t n;
	int r;

	r = draft_getattr(w->d, at, 0, ret);
	while (r == 0 && path < end) {
		slash = memchr(path, '/', (size_t)(end - path));
		n = (size_t)((slash != NULL ? slash : end) - path);
		assert_true(n < sizeof(name));
		memcpy(name, path, n);
		name[n] = '\0';
		path += n + (slash != NULL);
		r = draft_lookup(w->d, at, name, 0, ret);
		next = r == 0 ? ret->st_ino : 0;
		dw_drop(w, at);
		at = next;
	}
	return r;
}

int
dw_find(struct draft_world *w, const char *path, struct stat *ret)
{
	int r = resolve(w, path, strlen(path), ret);

	if (r == 0)
		dw_drop(w, ret->st_ino);
	return r;
}

struct stat
dw_stat(struct draft_world *w, const char *path)
{
	struct stat st = {0};
	int r = dw_find(w, path, &st);

	if (r < 0)
		fail_msg("%s: %s", path, strerror(-r));
	return st;
}

int
dw_parent(struct draft_world *w, const char *path, uint64_t *ret,
    const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	struct stat st;
	int r;

	*ret_name = slash != NULL ? slash + 1 : path;
	r = resolve(w, path, slash != NULL ? (size_t)(slash - path) : 0, &st);
	if (r == 0 && !S_ISDIR(st.st_mode)) {
		dw_drop(w, st.st_ino);
		r = -ENOTDIR;
	}
	*ret = r == 0 ? st.st_ino : 0;
	return r;
}

static int
make(struct draft_world *w, const char *path, const struct draft_new *n)
{
	const char *name;
	struct stat st;
	uint64_t dir;
	int r;

	r = dw_parent(w, path, &dir, &name);
	if (r < 0)
		return r;
	r = draft_make(w->d, dir, name, n, 0, &st);
	if (r == 0)
		dw_drop(w, st.st_ino);
	dw_drop(w, dir);
	return r;
}

int
dw_make(struct draft_world *w, const char *path, mode_t mode)
{
	const struct draft_new n = {.mode = mode, .umask = 022, .uid = 1000,
	    .gid = 1001, .rdev = 0x501};

	return make(w, path, &n);
}

int
dw_symlink(struct draft_world *w, const char *path, const char *target)
{
	const struct draft_new n = {.mode = S_IFLNK | 0777, .target = target};

	return make(w, path, &n);
}

static int
remove_path(struct draft_world *w, const char *path,
    int (*fn)(struct draft *, uint64_t, const char *, unsigned))
{
	const char *name;
	uint64_t dir;
	int r;

	r = dw_parent(w, path, &dir, &name);
	if (r < 0)
		return r;
	r = fn(w->d, dir, name, 0);
	dw_drop(w, dir);
	return r;
}

int
dw_unlink(struct draft_world *w, const char *path)
{
	return remove_path(w, path, draft_unlink);
}

int
dw_rmdir(struct draft_world *w, const char *path)
{
	return remove_path(w, path, draft_rmdir);
}

int
dw_link(struct draft_world *w, const char *from, const char *to)
{
	struct stat st, now;
	const char *name;
	uint64_t dir;
	int r;

	r = resolve(w, from, strlen(from), &st);
	if (r < 0)
		return r;
	r = dw_parent(w, to, &dir, &name);
	if (r == 0) {
		r = draft_link(w->d, st.st_ino, dir, name, 0, &now);
		if (r == 0) {
			assert_true(now.st_ino == st.st_ino);
			dw_drop(w, now.st_ino);
		}
		dw_drop(w, dir);
	}
	dw_drop(w, st.st_ino);
	return r;
}

int
dw_rename(struct draft_world *w, const char *from, const char *to,
    unsigned how)
{
	const char *name, *to_name;
	uint64_t dir, to_dir;
	int r;

	r = dw_parent(w, from, &dir, &name);
	if (r < 0)
		return r;
	r = dw_parent(w, to, &to_dir, &to_name);
	if (r == 0) {
		r = draft_rename(w->d, dir, name, to_dir, to_name, how, 0);
		dw_drop(w, to_dir);
	}
	dw_drop(w, dir);
	return r;
}

static int
change(struct draft_world *w, const char *path, const struct draft_change *c)
{
	struct stat st;
	int r;

	r = resolve(w, path, strlen(path), &st);
	if (r < 0)
		return r;
	r = draft_setattr(w->d, st.st_ino, c, 0, &st);
	dw_drop(w, st.st_ino);
	return r;
}

int
dw_chmod(struct draft_world *w, const char *path, mode_t mode)
{
	const struct draft_change c = {.set = DRAFT_SET_MODE, .mode = mode};

	return change(w, path, &c);
}

int
dw_truncate(struct draft_world *w, const char *path, uint64_t size)
{
	const struct draft_change c = {.set = DRAFT_SET_SIZE, .size = size};

	return change(w, path, &c);
}

int
dw_write(struct draft_world *w, const char *path, const void *p, size_t len,
    uint64_t off)
{
	struct draft_file *f;
	struct stat st;
	int r;

	r = resolve(w, path, strlen(path), &st);
	if (r < 0)
		return r;
	r = draft_open(w->d, st.st_ino, O_RDWR, 0, &f);
	if (r == 0) {
		r = draft_write(f, p, len, off, 0);
		draft_close(f);
	}
	dw_drop(w, st.st_ino);
	return r;
}

struct reply {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
	int err;
	uint8_t *p;
	size_t room, len;
};

static void
on_read(void *arg, int err, const struct iovec *iov, int n)
{
	struct reply *re = arg;
	int i;
	LOCK(&re->lock);

	re->err = err;
	for (i = 0; err == 0 && i < n; i++) {
		assert_true(iov[i].iov_len <= re->room - re->len);
		memcpy(re->p + re->len, iov[i].iov_base, iov[i].iov_len);
		re->len += iov[i].iov_len;
	}
	re->done = true;
	pthread_cond_signal(&re->cond);
}

ssize_t
dw_read(struct draft_world *w, const char *path, void *p, size_t len,
    uint64_t off)
{
	struct reply re = {.p = p, .room = len};
	struct draft_file *f;
	struct stat st;
	int r;

	r = resolve(w, path, strlen(path), &st);
	if (r < 0)
		return r;
	pthread_mutex_init(&re.lock, NULL);
	assert_int_equal(cond_init(&re.cond), 0);
	r = draft_open(w->d, st.st_ino, O_RDONLY, 0, &f);
	if (r == 0) {
		draft_read(f, off, len, on_read, &re);
		pthread_mutex_lock(&re.lock);
		while (!re.done)
			pthread_cond_wait(&re.cond, &re.lock);
		pthread_mutex_unlock(&re.lock);
		r = re.err;
		draft_close(f);
	}
	pthread_cond_destroy(&re.cond);
	pthread_mutex_destroy(&re.lock);
	dw_drop(w, st.st_ino);
	return r < 0 ? r : (ssize_t)re.len;
}

int
dw_set(struct draft_world *w, const char *path, const char *name,
    const char *value)
{
	struct stat st;
	int r;

	r = resolve(w, path, strlen(path), &st);
	if (r < 0)
		return r;
	r = value != NULL ? draft_xattr_set(w->d, st.st_ino, name, value,
	    strlen(value), 0, 0) :
	    draft_xattr_remove(w->d, st.st_ino, name, 0);
	dw_drop(w, st.st_ino);
	return r;
}

char *
dw_get(struct draft_world *w, const char *path, const char *name)
{
	struct buf *b = NULL;
	struct stat st;
	char *text;
	int r;

	assert_int_equal(resolve(w, path, strlen(path), &st), 0);
	r = draft_xattr_get(w->d, st.st_ino, name, 0, &b);
	dw_drop(w, st.st_ino);
	if (r == -ENODATA)
		return NULL;
	assert_int_equal(r, 0);
	text = strndup((const char *)b->data, b->len);
	buf_unref(b);
	return text;
}

struct names {
	char **v;
	size_t n;
};

static int
add_name(void *arg, const struct draft_dirent *e)
{
	struct names *l = arg;

	l->v = realloc(l->v, (l->n + 1) * sizeof(*l->v));
	assert_non_null(l->v);
	l->v[l->n++] = strdup(e->name);
	assert_true(e->cookie != 0);
	return 0;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char *
dw_list(struct draft_world *w, const char *path)
{
	struct names l = {0};
	struct str all = {0};
	struct draft_dir *dir;
	struct stat st;
	size_t i;

	assert_int_equal(resolve(w, path, strlen(path), &st), 0);
	assert_int_equal(draft_opendir(w->d, st.st_ino, 0, &dir), 0);
	assert_int_equal(draft_readdir(dir, 0, 0, add_name, &l), 0);
	draft_closedir(dir);
	dw_drop(w, st.st_ino);
	if (l.n > 0)
		qsort(l.v, l.n, sizeof(l.v[0]), by_name);
	for (i = 0; i < l.n; i++) {
		str_addf(&all, "%s ", l.v[i]);
		free(l.v[i]);
	}
	free(l.v);
	return all.s != NULL ? str_take(&all) : strdup("");
}
