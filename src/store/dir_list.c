/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"

/*
 * A datastore is some 20 levels deep; what is deeper is none, and might be
 * made so to hurt.
 */
#define DEPTH_MAX 48

struct entry {
	char *name;            /* owned */
	enum dir_place sub;    /* of a directory; DIR_NOWHERE: a file */
	struct store_object o; /* of a file */
};

/* One directory on the way down, read completely and sorted. */
struct frame {
	struct entry *v; /* owned */
	size_t n, room;
	size_t next;
	size_t key_len; /* of its prefix, with the '/' */
	enum dir_place place;
};

struct listing {
	struct store_dir *d;
	store_list_fn *fn;
	void *arg;
	const char *start_after; /* borrowed, or NULL */
	char key[KEY_MAX + 2];   /* prefix of the current directory */
	struct frame stack[DEPTH_MAX];
	size_t depth;
};

static void
frame_fini(struct frame *f)
{
	for (size_t i = 0; i < f->n; i++)
		free(f->v[i].name);
	free(f->v);
	memset(f, 0, sizeof(*f));
}

static int
frame_add(struct frame *f, const char *name, enum dir_place sub,
    const struct store_object *o)
{
	struct entry *e;

	if (f->n == f->room) {
		size_t room = f->room != 0 ? 2 * f->room : 16;
		struct entry *v;

		v = reallocarray(f->v, room, sizeof(*v));
		if (v == NULL)
			return -ENOMEM;
		f->v = v;
		f->room = room;
	}
	e = &f->v[f->n];
	memset(e, 0, sizeof(*e));
	e->name = strdup(name);
	if (e->name == NULL)
		return -ENOMEM;
	e->sub = sub;
	if (o != NULL)
		e->o = *o;
	f->n++;
	return 0;
}

/*
 * In the order of the keys that begin with them: a directory "a" counts as
 * "a/", after "a-b" and before "a0".
 */
static int
entry_cmp(const void *pa, const void *pb)
{
	const struct entry *a = pa, *b = pb;

	for (size_t i = 0;; i++) {
		unsigned char ca = (unsigned char)a->name[i];
		unsigned char cb = (unsigned char)b->name[i];
		bool end = ca == 0 || cb == 0;

		if (ca == 0 && a->sub != DIR_NOWHERE)
			ca = '/';
		if (cb == 0 && b->sub != DIR_NOWHERE)
			cb = '/';
		if (ca != cb || end)
			return ca - cb;
	}
}

/* One name of the directory dir.  What has vanished meanwhile is left out. */
static int
add_name(void *arg, int dir, const struct dirent *de)
{
	struct frame *f = arg;
	enum dir_place place = f->place;
	const char *name = de->d_name;
	enum dir_place sub;
	struct store_object o;
	struct stat st;
	bool is_dir = de->d_type == DT_DIR;

	if (!store_key_is_valid(name))
		return 0;
	if (!is_dir) {
		if (de->d_type != DT_REG && de->d_type != DT_UNKNOWN)
			return 0;
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return errno == ENOENT ? 0 : -errno;
		is_dir = S_ISDIR(st.st_mode);
	}
	if (is_dir) {
		sub = dir_names_sub(place, name, strlen(name));
		/* The objects' directory has no chunks and no contents. */
		if (sub == DIR_NOWHERE ||
		    (place == DIR_ROOT && sub != DIR_OBJECTS))
			return 0;
		return frame_add(f, name, sub, NULL);
	}
	if (!S_ISREG(st.st_mode) || !dir_names_file(place, name) ||
	    place == DIR_NS || (place == DIR_CHUNK_SUB && st.st_size == 0))
		return 0;
	dir_object(&o, &st);
	return frame_add(f, name, DIR_NOWHERE, &o);
}

static int
read_names(struct listing *l, struct frame *f, const struct dir_name *n)
{
	int fd = dir_path_open(l->d->fd, n->path, O_RDONLY | O_DIRECTORY);

	f->place = n->place;
	return fd < 0 ? fd : io_read_dir(fd, add_name, f);
}

/* Read the directory of the prefix l->key, of key_len bytes. */
static int
push(struct listing *l, size_t key_len)
{
	struct frame *f;
	struct dir_name n;
	int r;

	if (__atomic_load_n(&l->d->s.down, __ATOMIC_ACQUIRE))
		return -ESHUTDOWN;
	if (dir_names_of_prefix(l->key, &n) != 0)
		return 0;
	if (l->depth == DEPTH_MAX) {
		log_limited(LOG_LVL_WARN,
		    "%s/%s: left out: nested too deep for a datastore",
		    l->d->base, n.path);
		return 0;
	}
	f = &l->stack[l->depth++];
	memset(f, 0, sizeof(*f));
	f->key_len = key_len;
	r = read_names(l, f, &n);
	if (dir_path_is_absent(r)) {
		/* Also when it vanished half way: so did what is in it. */
		r = 0;
		if (n.place == DIR_NS)
			return 0;
	}
	if (r < 0 && r != -ENOMEM)
		return dir_failed(l->d, "list", n.path, r);
	if (r == 0 && n.place == DIR_NS) {
		struct store_object o;

		dir_object_mark(&o);
		r = frame_add(f, DIR_NAMESPACE, DIR_NOWHERE, &o);
	}
	if (r == 0 && n.place == DIR_ROOT)
		r = frame_add(f, ".chunks", DIR_CHUNKS, NULL);
	if (r == 0 && n.place == DIR_ROOT)
		r = frame_add(f, ".cnt", DIR_CNT, NULL);
	if (f->n > 1)
		qsort(f->v, f->n, sizeof(f->v[0]), entry_cmp);
	return r;
}

/* Whether all that begins with the prefix l->key comes before start_after. */
static bool
is_before_start(const struct listing *l, size_t len)
{
	return l->start_after != NULL &&
	       strncmp(l->key, l->start_after, len) < 0;
}

/* Tell of the next entry of the deepest directory, or go down into it. */
static int
step(struct listing *l)
{
	struct frame *f = &l->stack[l->depth - 1];
	const struct entry *e;
	size_t len;

	if (f->next == f->n) {
		frame_fini(f);
		l->depth--;
		return 0;
	}
	e = &f->v[f->next++];
	len = f->key_len + strlen(e->name);
	if (len >= KEY_MAX) {
		log_limited(
		    LOG_LVL_WARN, "%s: left out: path too long", l->d->base);
		return 0;
	}
	memcpy(l->key + f->key_len, e->name, len - f->key_len + 1);
	if (e->sub == DIR_NOWHERE) {
		if (l->start_after != NULL &&
		    strcmp(l->key, l->start_after) <= 0)
			return 0;
		return l->fn(l->arg, l->key, &e->o);
	}
	l->key[len++] = '/';
	l->key[len] = '\0';
	return is_before_start(l, len) ? 0 : push(l, len);
}

int
dir_list(struct store_dir *d, const char *prefix, const char *start_after,
    store_list_fn *fn, void *arg)
{
	_cleanup_free_ struct listing *l = calloc(1, sizeof(*l));
	size_t len = strlen(prefix);
	int r;

	if (l == NULL)
		return -ENOMEM;
	l->d = d;
	l->fn = fn;
	l->arg = arg;
	l->start_after = start_after;
	memcpy(l->key, prefix, len + 1);
	r = push(l, len);
	while (r == 0 && l->depth > 0)
		r = step(l);
	while (l->depth > 0)
		frame_fini(&l->stack[--l->depth]);
	return r;
}
