/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "vfs/vfs.h"

/* Entries that are sorted together. */
#define PART 65536

struct entry {
	char *name;	/* owned */
	uint64_t ino;
	mode_t type;
	bool has_attr;
	struct vfs_attr attr;
};

struct dir {
	char *path;	/* owned; "" for the first */
	uint64_t ino;
	bool told;	/* the caller has had it */
	struct vfs_attr attr;
	struct dir *next;
};

struct walking {
	const struct walk *w;
	struct entry *part;	/* owned */
	size_t n, size;
	uint64_t cookie;	/* of the entry that was taken last */
	bool no_memory;
	struct dir *todo;	/* owned; a stack */
};

static int
take(void *arg, const struct vfs_dirent *e)
{
	struct walking *k = arg;
	struct entry *x;

	if (k->n == k->size) {
		size_t size = k->size == 0 ? 64 : 2 * k->size;

		x = reallocarray(k->part, size, sizeof(*x));
		if (x == NULL)
			goto no_memory;
		k->part = x;
		k->size = size;
	}
	x = &k->part[k->n];
	x->name = strdup(e->name);
	if (x->name == NULL)
		goto no_memory;
	x->ino = e->ino;
	x->type = e->type;
	x->has_attr = e->attr != NULL;
	if (e->attr != NULL)
		x->attr = *e->attr;
	k->cookie = e->cookie;
	k->n++;
	return k->n == PART;
no_memory:
	k->no_memory = true;
	return 1;
}

/* In the order of the listing, before what was there. */
static int
push(struct dir ***at, const char *path, uint64_t ino,
    const struct vfs_attr *attr)
{
	struct dir *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return -ENOMEM;
	d->path = strdup(path);
	if (d->path == NULL) {
		free(d);
		return -ENOMEM;
	}
	d->ino = ino;
	d->told = attr == NULL;
	if (attr != NULL)
		d->attr = *attr;
	d->next = **at;
	**at = d;
	*at = &d->next;
	return 0;
}

static char *
join(const char *dir, const char *name)
{
	struct str s = {0};

	if (*dir != '\0') {
		str_add(&s, dir);
		str_addc(&s, '/');
	}
	str_add(&s, name);
	return str_take(&s);
}

static int
handle(struct walking *k, const struct dir *d, struct entry *e,
    struct dir ***at)
{
	const struct walk *w = k->w;
	_cleanup_free_ char *path = NULL;
	int r;

	/* It tells about a mount, and there is none. */
	if (d->ino == VFS_ROOT && streq(e->name, ".pbs3fs"))
		return 0;
	path = join(d->path, e->name);
	if (path == NULL)
		return -ENOMEM;
	if (w->want_attr && !e->has_attr) {
		r = vfs_getattr(w->vfs, e->ino, 0, &e->attr);
		if (r < 0)
			return w->failed(w->arg, path, r);
	}
	if (w->recursive && S_ISDIR(e->type))
		return push(at, path, e->ino, &e->attr);
	return w->entry(w->arg, path, e->ino, e->type,
	    w->want_attr ? &e->attr : NULL);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name,
	    ((const struct entry *)b)->name);
}

static int
handle_part(struct walking *k, const struct dir *d, struct dir ***at)
{
	int r = 0;

	if (k->n > 0)
		qsort(k->part, k->n, sizeof(*k->part), by_name);
	for (size_t i = 0; i < k->n; i++) {
		if (r == 0)
			r = handle(k, d, &k->part[i], at);
		free(k->part[i].name);
	}
	k->n = 0;
	return r;
}

static int
one_dir(struct walking *k, const struct dir *d)
{
	struct dir **at = &k->todo;
	struct vfs_dir *vd;
	bool more = true;
	int r, r2;

	r = d->told ? 0 : k->w->entry(k->w->arg, d->path, d->ino, S_IFDIR,
	    k->w->want_attr ? &d->attr : NULL);
	if (r < 0)
		return r;
	r = vfs_opendir(k->w->vfs, d->ino, 0, &vd);
	if (r < 0)
		return k->w->failed(k->w->arg, d->path, r);
	k->cookie = 0;
	while (r >= 0 && more) {
		r = vfs_readdir(vd, k->cookie, k->w->want_attr, 0, take, k);
		more = r >= 0 && k->n == PART;
		r2 = k->no_memory ? -ENOMEM : handle_part(k, d, &at);
		/* What was found before the error is good. */
		if (r < 0 && r2 == 0)
			r2 = k->w->failed(k->w->arg, d->path, r);
		r = r2;
	}
	vfs_closedir(vd);
	return r < 0 ? r : 0;
}

int
walk_dir(const struct walk *w, uint64_t ino)
{
	struct walking k = {.w = w};
	struct dir **at = &k.todo;
	int r;

	r = push(&at, "", ino, NULL);
	while (k.todo != NULL) {
		struct dir *d = k.todo;

		k.todo = d->next;
		if (r == 0)
			r = one_dir(&k, d);
		free(d->path);
		free(d);
	}
	while (k.n > 0)
		free(k.part[--k.n].name);
	free(k.part);
	return r;
}
