/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/publish.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/lock.h"
#include "base/num.h"
#include "draft/draft_priv.h"
#include "draft/walk.h"

/*
 * Where inodes that somebody holds are in a new base.  Those that were in
 * memory when their entry was written have been told.  What came up later,
 * while reading went on, is something of the old base that nobody has changed:
 * it is where it was, as seen from the first directory above it that was in
 * memory, for a directory with changes is.
 */
struct place {
	uint32_t archive;
	uint64_t pos;
};

/* Down a path of names; "": p itself. */
static int
go_down(struct base *b, const char *path, struct place *p)
{
	struct base_archive *a = base_archive(b, p->archive);
	struct pxar_entry e;
	struct pxar_dir *dir;
	struct pxar *px;
	size_t len;
	int r;

	r = *path != '\0' ? base_pxar(a, 0, &px) : 0;
	for (; r == 0 && *path != '\0'; path += len + (path[len] == '/')) {
		len = strcspn(path, "/");
		r = base_dir(a, p->pos, 0, &dir);
		if (r < 0)
			break;
		r = pxar_dir_find(px, dir, path, len, 0, &e);
		pxar_dir_unref(dir);
		if (r < 0)
			break;
		p->pos = e.pos;
		pxar_entry_fini(&e);
	}
	return r == -EINVAL ? -ENOENT : r;
}

/* From the top. */
static int
find_path(struct base *b, const char *path, struct place *ret)
{
	_cleanup_free_ char *top = strndup(path, strcspn(path, "/"));
	struct base_archive *a;
	int r;

	if (top == NULL)
		return -ENOMEM;
	a = base_find(b, top);
	if (a == NULL)
		return -ENOENT;
	ret->archive = a->ordinal;
	r = base_root(a, 0, &ret->pos);
	path += strlen(top);
	return r < 0 ? r : go_down(b, path + (*path == '/'), ret);
}

static void
put(struct draft *d, struct inode *i, const struct place *p)
{
	LOCK(&d->lock);
	i->new_archive = p->archive;
	i->new_pos = p->pos;
	i->placed = true;
}

int
place_set(struct draft *d, struct inode *i, uint32_t archive, uint64_t pos,
    const char *path)
{
	LOCK(&d->lock);

	if (i->placed && (i->new_archive != archive || i->new_pos != pos))
		return parted_add(d, i, path);
	i->new_archive = archive;
	i->new_pos = pos;
	i->placed = true;
	return 0;
}

static bool
is_placed(struct draft *d, struct base_archive *a, uint64_t pos,
    struct place *ret)
{
	struct inode *i;
	bool is = false;
	LOCK(&d->lock);

	i = inode_at(d, a, pos);
	if (i == NULL)
		return false;
	is = i->placed;
	ret->archive = i->new_archive;
	ret->pos = i->new_pos;
	inode_unref(d, i);
	return is;
}

/* An entry of the old base that is unchanged. */
static int
find_entry(struct draft *d, struct base *b, struct base_archive *a,
    uint64_t pos, struct place *ret)
{
	_cleanup_free_ char *path = NULL;
	const char *name, *rest;
	struct place old, at;
	struct pxar *px;
	bool known;
	int r;

	if (!base_is_tree(a))
		return find_path(b, a->shown, ret);
	r = base_pxar(a, 0, &px);
	if (r == 0)
		r = pxar_path(px, pos, &path);
	if (r < 0)
		return r;
	r = base_root(a, 0, &old.pos);
	if (r < 0)
		return r;
	known = is_placed(d, a, old.pos, ret);
	if (!known) {
		r = find_path(b, a->shown, ret);
		known = r == 0;
		if (r < 0 && r != -ENOENT)
			return r;
	}
	/* The lowest directory on the way that has a place. */
	rest = path;
	old.archive = a->ordinal;
	for (name = path; *name != '\0';) {
		size_t len = strcspn(name, "/");
		char *end = path + (name - path) + len;
		const char c = *end;

		*end = '\0';
		r = go_down(a->base, name, &old);
		*end = c;
		if (r < 0)
			return r;
		name = end + (c == '/');
		if (is_placed(d, a, old.pos, &at)) {
			*ret = at;
			known = true;
			rest = name;
		}
	}
	return known ? go_down(b, rest, ret) : -ENOENT;
}

/* Inodes, each with a reference. */
struct list {
	struct inode **v;	/* owned */
	size_t n, room;
};

static void
list_fini(struct draft *d, struct list *l)
{
	{
		LOCK(&d->lock);
		for (size_t k = 0; k < l->n; k++)
			inode_unref(d, l->v[k]);
	}
	free(l->v);
	inode_reap(d);
}

static int
list_add(struct list *l, struct inode *i)
{
	size_t room = MAX(l->room * 2, (size_t)64);
	struct inode **v;

	if (l->n == l->room) {
		v = reallocarray(l->v, room, sizeof(*v));
		if (v == NULL)
			return -ENOMEM;
		l->v = v;
		l->room = room;
	}
	l->v[l->n++] = inode_ref(i);
	return 0;
}

/* Those that have a name and no place. */
static int
list_unplaced(struct draft *d, struct list *l)
{
	struct inode *i;
	int r = 0;
	LOCK(&d->lock);

	RB_FOREACH(i, inodes_by_ino, &d->inos)
		if (r == 0 && i != d->root && !i->placed &&
		    i->archive != NULL && !(i->nlink_known && i->nlink == 0))
			r = list_add(l, i);
	return r;
}

static int
place_one(struct draft *d, struct base *b, struct inode *i)
{
	struct place p;
	int r;

	r = find_entry(d, b, i->archive, i->pos, &p);
	if (r == 0) {
		put(d, i, &p);
	} else if (r == -ENOENT || r == -EBADMSG) {
		/* It was left out: who holds it keeps it, without a name. */
		LOCK(&d->lock);
		i->nlink = 0;
		i->nlink_known = true;
		r = 0;
	}
	return r;
}

int
place_rest(struct draft *d, struct base *b)
{
	struct list l = {0};
	int r;

	r = list_unplaced(d, &l);
	for (size_t k = 0; r == 0 && k < l.n; k++)
		r = place_one(d, b, l.v[k]);
	list_fini(d, &l);
	return r;
}

int
place_all(struct draft *d, struct base *b)
{
	const struct walk_entry *e;
	struct walk *w;
	struct place p;
	int r;

	place_forget(d);
	r = walk_new(d, 0, &w);
	while (r == 0) {
		r = walk_next(w, &e);
		if (r != 0 || e->step == WALK_DIR_END || e->inode == NULL)
			continue;
		r = find_path(b, e->path, &p);
		if (r == 0)
			r = place_set(d, e->inode, p.archive, p.pos, e->path);
		else if (r == -ENOENT)
			r = 0;
	}
	walk_free(w);
	return MIN(r, 0);
}

void
place_forget(struct draft *d)
{
	struct inode *i;
	LOCK(&d->lock);

	RB_FOREACH(i, inodes_by_ino, &d->inos)
		i->placed = false;
	parted_clear(d);
}
