/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/draft_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/lock.h"
#include "draft/dirs.h"

/*
 * First the names of the base directory, in its order, whatever they are now;
 * then those that only the draft has, by their ids.  A name that is replaced
 * stays where it was, so that all that is not made or removed is seen once.
 */
#define COOKIE_OWN ((uint64_t)1 << 62)

int
draft_base_dir(struct draft *d, struct inode *i, unsigned flags,
    struct pxar_dir **ret)
{
	struct base_archive *a;
	uint64_t pos;
	int r = 0;

	*ret = NULL;
	{
		LOCK(&d->lock);
		a = i->archive;
		pos = i->pos;
		if (a == NULL || !S_ISDIR(i->mode))
			return 0;
		base_ref(a->base);
	}
	r = base_dir(a, pos, flags, ret);
	base_unref(a->base);
	return r;
}

int
draft_opendir(struct draft *d, uint64_t ino, unsigned flags,
    struct draft_dir **ret)
{
	struct draft_dir *dir = calloc(1, sizeof(*dir));
	int r = 0;
	bool named;

	if (dir == NULL)
		return -ENOMEM;
	dir->d = d;
	{
		LOCK(&d->lock);
		struct inode *i = inode_find(d, ino);

		if (i == NULL || !S_ISDIR(i->mode)) {
			r = i == NULL ? -ESTALE : -ENOTDIR;
			if (i != NULL)
				inode_unref(d, i);
			free(dir);
			return r;
		}
		dir->inode = i;
		dir->archive = i->archive;
		dir->pos = i->pos;
		if (i->archive != NULL)
			dir->base = base_ref(i->archive->base);
		else if (i == d->root)
			dir->base = base_ref(d->base);
		named = i->nlink > 0;
		LIST_INSERT_HEAD(&d->dirs, dir, link);
	}
	if (dir->archive != NULL && named)
		r = base_dir(dir->archive, dir->pos, flags, &dir->table);
	if (r < 0) {
		draft_closedir(dir);
		return r;
	}
	*ret = dir;
	return 0;
}

void
draft_closedir(struct draft_dir *dir)
{
	struct draft *d;

	if (dir == NULL)
		return;
	d = dir->d;
	{
		LOCK(&d->lock);
		LIST_REMOVE(dir, link);
		if (dir->before != NULL)
			inode_unref(d, dir->before);
		inode_unref(d, dir->inode);
	}
	inode_reap(d);
	pxar_dir_unref(dir->table);
	base_unref(dir->base);
	free(dir);
}

void
dirs_reset(struct draft *d, struct inode *i)
{
	struct draft_dir *dir;
	struct inode *before = NULL;
	struct dentry *e;

	LIST_FOREACH(dir, &d->dirs, link) {
		if (dir->inode != i || dir->before != NULL)
			continue;
		if (before == NULL) {
			before = calloc(1, sizeof(*before));
			if (before == NULL)
				return;
			(void)pthread_rwlock_init(&before->data, NULL);
			RB_INIT(&before->names);
			RB_INIT(&before->ids);
			before->ino = d->root->ino + d->next_new++;
			before->mode = i->mode;
			RB_INSERT(inodes_by_ino, &d->inos, before);
			/* The names move: nobody else wants them. */
			while ((e = RB_ROOT(&i->names)) != NULL) {
				RB_REMOVE(dentries, &i->names, e);
				RB_REMOVE(dentries_by_id, &i->ids, e);
				RB_INSERT(dentries, &before->names, e);
				RB_INSERT(dentries_by_id, &before->ids, e);
			}
			before->n_children = i->n_children;
			before->n_hidden = i->n_hidden;
			i->n_children = i->n_hidden = 0;
		}
		dir->before = inode_ref(before);
	}
}

/* The inode whose names are told. */
static struct inode *
names_of(const struct draft_dir *dir)
{
	return dir->before != NULL ? dir->before : dir->inode;
}

struct base_name {
	const char *name;
	size_t len;
	struct base_archive *archive;
	uint64_t pos;
	bool unknown;		/* pos: it is the root of an archive */
	mode_t type;
};

/* 0: it is *ret now; 1: there is no such name. */
static int
see_base_name(struct draft_dir *dir, const struct base_name *n,
    struct draft_dirent *ret)
{
	struct draft *d = dir->d;
	struct inode *i;
	struct dentry *e;
	LOCK(&d->lock);

	ret->name = n->name;
	ret->type = n->type;
	e = dentry_find(names_of(dir), n->name, n->len);
	if (e != NULL && e->child == NULL)
		return 1;
	if (e != NULL) {
		ret->ino = e->child->ino;
		ret->type = e->child->mode & S_IFMT;
		return 0;
	}
	if (n->unknown) {
		ret->ino = n->archive->first;
		return 0;
	}
	i = inode_at(d, n->archive, n->pos);
	ret->ino = i != NULL ? i->ino : base_number(n->archive, n->pos);
	if (i != NULL)
		inode_unref(d, i);
	return 0;
}

/* Archives and files at the top: 1 when fn has had enough. */
static int
read_top(struct draft_dir *dir, uint64_t *cookie, draft_readdir_fn *fn,
    void *arg)
{
	struct base_name n = {0};
	struct draft_dirent e;
	uint64_t i;

	for (i = *cookie; i < base_count(dir->base); i++) {
		n.archive = base_archive(dir->base, i);
		n.name = n.archive->shown;
		n.len = strlen(n.name);
		n.type = base_is_tree(n.archive) ? S_IFDIR : S_IFREG;
		/* To list archives is not worth opening them. */
		n.unknown = base_root(n.archive, DRAFT_NOWAIT, &n.pos) < 0;
		if (see_base_name(dir, &n, &e) != 0)
			continue;
		e.cookie = i + 1;
		if (fn(arg, &e) != 0)
			return 1;
	}
	*cookie = COOKIE_OWN;
	return 0;
}

/* What the base directory has.  An entry that cannot be read is passed over:
 * the others are fine. */
static int
read_table(struct draft_dir *dir, uint64_t *cookie, unsigned flags,
    draft_readdir_fn *fn, void *arg)
{
	_cleanup_free_ char *name = malloc(PXAR_NAME_MAX + 1);
	struct base_name n = {.archive = dir->archive};
	bool delivered = false;
	struct draft_dirent e;
	struct pxar_entry pe;
	struct pxar *px;
	uint64_t i, link;
	int r;

	if (name == NULL)
		return -ENOMEM;
	r = base_pxar(dir->archive, flags, &px);
	if (r < 0)
		return r;
	for (i = *cookie; i < pxar_dir_count(dir->table); i++) {
		r = pxar_dir_entry(px, dir->table, i, 0, name, &pe, &link);
		if (r == -EBADMSG) {
			(void)base_error(dir->archive, r);
			continue;
		}
		if (r < 0)
			return delivered ? 1 : r;
		n.name = name;
		n.len = strlen(name);
		n.pos = pe.pos;
		n.type = pe.mode & S_IFMT;
		pxar_entry_fini(&pe);
		if (n.len > RECORD_NAME_MAX || see_base_name(dir, &n, &e) != 0)
			continue;
		e.cookie = i + 1;
		delivered = true;
		if (fn(arg, &e) != 0)
			return 1;
	}
	*cookie = COOKIE_OWN;
	return 0;
}

/* The next name after that id which is none of the base directory's. */
static int
next_own(struct draft_dir *dir, uint64_t id, char name[RECORD_NAME_MAX + 1],
    struct draft_dirent *ret)
{
	struct inode *names;
	struct dentry *e;
	LOCK(&dir->d->lock);

	names = names_of(dir);
	e = dentry_next_id(names, id);
	while (e != NULL && (e->hides || e->child == NULL))
		e = dentry_next_id(names, e->id);
	if (e == NULL)
		return 1;
	memcpy(name, e->name, e->len + 1u);
	ret->name = name;
	ret->ino = e->child->ino;
	ret->type = e->child->mode & S_IFMT;
	ret->cookie = COOKIE_OWN | e->id;
	return 0;
}

int
draft_readdir(struct draft_dir *dir, uint64_t cookie, unsigned flags,
    draft_readdir_fn *fn, void *arg)
{
	char name[RECORD_NAME_MAX + 1];
	struct draft_dirent e;
	int r = 0;

	if (cookie < COOKIE_OWN) {
		if (dir->table != NULL)
			r = read_table(dir, &cookie, flags, fn, arg);
		else if (dir->base != NULL && dir->archive == NULL)
			r = read_top(dir, &cookie, fn, arg);
		else
			cookie = COOKIE_OWN;
		if (r != 0)
			return r < 0 ? r : 0;
	}
	while (next_own(dir, cookie & ~COOKIE_OWN, name, &e) == 0) {
		if (fn(arg, &e) != 0)
			return 0;
		cookie = e.cookie;
	}
	return 0;
}
