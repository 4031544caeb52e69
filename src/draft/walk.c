/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/lock.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/draft_priv.h"
#include "draft/publish.h"

/* A directory that is open. */
struct level {
	struct inode *inode;	/* a reference, or NULL */
	struct base_archive *archive;
	uint64_t pos;
	struct pxar *pxar;	/* borrowed from archive; NULL without dir */
	struct pxar_dir *dir;	/* a reference, or NULL */
	struct walk_list list;
	size_t next;
	size_t path_len;	/* of the directory itself */
};

/* Chains of files with several names, by what they are. */
struct links {
	struct walk_link **slots;	/* owned */
	size_t n, size;
};

struct walk {
	struct draft *d;
	unsigned flags;
	struct level *levels;	/* owned */
	size_t depth, room;
	struct links links;	/* of the archive that the walk is in */
	struct str path;
	struct walk_entry e;
	bool begun, enter;	/* the entry of the last step is a directory */
	char name[PXAR_NAME_MAX + 1];
};

static void
links_clear(struct links *l)
{
	struct walk_link *p, *next;

	for (size_t i = 0; i < l->size; i++)
		for (p = l->slots[i]; p != NULL; p = next) {
			next = p->next;
			free(p->path);
			free(p);
		}
	free(l->slots);
	memset(l, 0, sizeof(*l));
}

static size_t
links_slot(const struct links *l, const struct base_archive *a, uint64_t key)
{
	uint64_t h = key ^ (uint64_t)(uintptr_t)a;

	h *= 0x9e3779b97f4a7c15;
	return (size_t)(h >> 32) & (l->size - 1);
}

static int
links_grow(struct links *l)
{
	struct links n = {.size = MAX(l->size * 2, (size_t)64), .n = l->n};
	struct walk_link *p, *next;
	size_t at;

	n.slots = calloc(n.size, sizeof(*n.slots));
	if (n.slots == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < l->size; i++)
		for (p = l->slots[i]; p != NULL; p = next) {
			next = p->next;
			at = links_slot(&n, p->archive, p->key);
			p->next = n.slots[at];
			n.slots[at] = p;
		}
	free(l->slots);
	*l = n;
	return 0;
}

/* The one for that file; *ret_again tells whether it was there. */
static int
links_get(struct links *l, const struct base_archive *a, uint64_t key,
    const char *path, struct walk_link **ret, bool *ret_again)
{
	struct walk_link *p;
	size_t at;
	int r;

	*ret_again = true;
	if (l->size > 0)
		for (p = l->slots[links_slot(l, a, key)]; p != NULL;
		    p = p->next)
			if (p->archive == a && p->key == key) {
				*ret = p;
				return 0;
			}
	*ret_again = false;
	if (l->n >= l->size) {
		r = links_grow(l);
		if (r < 0)
			return r;
	}
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	p->path = strdup(path);
	if (p->path == NULL) {
		free(p);
		return -ENOMEM;
	}
	p->archive = a;
	p->key = key;
	at = links_slot(l, a, key);
	p->next = l->slots[at];
	l->slots[at] = p;
	l->n++;
	*ret = p;
	return 0;
}

static void
unref(struct draft *d, struct inode *i)
{
	if (i == NULL)
		return;
	LOCK(&d->lock);
	inode_unref(d, i);
}

static void
level_fini(struct draft *d, struct level *l)
{
	unref(d, l->inode);
	pxar_dir_unref(l->dir);
	walk_list_fini(&l->list);
}

int
walk_new(struct draft *d, unsigned pxar_flags, struct walk **ret)
{
	struct walk *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	w->d = d;
	w->flags = pxar_flags;
	*ret = w;
	return 0;
}

static void
entry_done(struct walk *w)
{
	unref(w->d, w->e.inode);
	pxar_entry_fini(&w->e.e);
	memset(&w->e, 0, sizeof(w->e));
}

void
walk_free(struct walk *w)
{
	if (w == NULL)
		return;
	entry_done(w);
	while (w->depth > 0)
		level_fini(w->d, &w->levels[--w->depth]);
	free(w->levels);
	links_clear(&w->links);
	str_fini(&w->path);
	/* It may have held the last reference of what was closed meanwhile. */
	inode_reap(w->d);
	free(w);
}

static int
failed(struct walk *w, int r)
{
	_cleanup_(str_fini) struct str title = {0}, path = {0};

	publish_title(w->d, &title);
	str_escape(&path, str_get(&w->path), w->path.len);
	publish_log(w->d, "%s: cannot publish: cannot read %s: %s",
	    str_get(&title), w->path.len > 0 ? str_get(&path) :
	    "the open snapshot", publish_why(r));
	return r;
}

/* The directory of the base behind l. */
static int
open_base(struct walk *w, struct level *l)
{
	int r;

	if (l->inode != NULL)
		r = draft_base_dir(w->d, l->inode, 0, &l->dir);
	else
		r = base_dir(l->archive, l->pos, 0, &l->dir);
	if (r == 0 && l->dir != NULL)
		r = base_pxar(l->archive, 0, &l->pxar);
	return r;
}

static int
push(struct walk *w)
{
	size_t room = MAX(w->room * 2, (size_t)16);
	struct level l = {
	    .inode = w->e.inode,
	    .archive = w->e.archive,
	    .pos = w->e.pos,
	    .path_len = w->path.len,
	};
	struct level *p;
	int r;

	if (w->depth == w->room) {
		p = reallocarray(w->levels, room, sizeof(*p));
		if (p == NULL)
			return -ENOMEM;
		w->levels = p;
		w->room = room;
	}
	w->e.inode = NULL;
	if (w->depth == 0) {
		r = walk_list_root(w->d, &l.list);
	} else {
		r = open_base(w, &l);
		if (r == 0)
			r = walk_list_dir(w->d, l.inode, l.pxar, l.dir,
			    &l.list);
	}
	if (r < 0) {
		level_fini(w->d, &l);
		return r;
	}
	w->levels[w->depth++] = l;
	return 0;
}

/* Attributes that are not the base's. */
static int
take_inode(struct walk *w, bool whole)
{
	struct walk_entry *e = &w->e;
	struct inode *i = e->inode;
	bool own;
	int r;

	r = inode_load(w->d, i, 0);
	if (r < 0)
		return r;
	{
		LOCK(&w->d->lock);
		e->archive = i->archive;
		e->pos = i->pos;
		e->own_content = S_ISREG(i->mode) &&
		    (i->content != NULL || i->archive == NULL);
		own = whole || i->own_attr || i->own_meta || e->own_content;
		if (own && (w->flags & PXAR_META) == 0) {
			pxar_entry_fini(&e->e);
			memset(&e->e, 0, sizeof(e->e));
			e->e.mode = i->mode;
			e->e.size = i->size;
			return 0;
		}
	}
	if (!own)
		return 0;
	pxar_entry_fini(&e->e);
	memset(&e->e, 0, sizeof(e->e));
	return inode_entry(w->d, i, 0, &e->e);
}

/* An archive at the top as the base has it. */
static int
read_archive(struct walk *w, size_t number)
{
	struct walk_entry *e = &w->e;
	int r;

	e->archive = base_archive(w->d->base, number);
	r = base_root(e->archive, 0, &e->pos);
	if (r == 0)
		r = base_entry(e->archive, e->pos, w->flags, 0, &e->e);
	return r;
}

static int
read_entry(struct walk *w, const struct level *l, const struct walk_name *n)
{
	struct walk_entry *e = &w->e;
	uint64_t link;
	int r;

	if (w->depth == 1) {
		r = read_archive(w, n->base - 1);
	} else {
		e->archive = l->archive;
		r = pxar_dir_entry(l->pxar, l->dir, n->base - 1, w->flags,
		    w->name, &e->e, &link);
		e->pos = e->e.pos;
	}
	if (r < 0)
		return r;
	LOCK(&w->d->lock);
	e->inode = inode_at(w->d, e->archive, e->pos);
	return 0;
}

/* Whether a regular file has names besides this one. */
static int
has_names(struct walk *w, bool *ret)
{
	struct walk_entry *e = &w->e;
	uint32_t n;
	int r;

	if (e->inode != NULL) {
		r = inode_count(w->d, e->inode, 0);
		LOCK(&w->d->lock);
		n = e->inode->nlink;
	} else {
		r = base_nlink(e->archive, e->pos, 0, &n);
	}
	*ret = r == 0 && n > 1;
	return r;
}

static int
find_link(struct walk *w)
{
	struct walk_entry *e = &w->e;
	bool several;
	int r;

	if (!S_ISREG(e->e.mode) || w->depth == 1)
		return 0;
	r = has_names(w, &several);
	if (r < 0 || !several)
		return r;
	r = links_get(&w->links, e->archive,
	    e->archive != NULL ? e->pos : e->inode->ino, e->below, &e->link,
	    &e->again);
	/* No link can lead there: each name is a file of its own. */
	if (r == 0 && strlen(e->link->path) > PXAR_TARGET_MAX) {
		e->link = NULL;
		e->again = false;
	}
	return r;
}

static int
read_name(struct walk *w, struct level *l)
{
	const struct walk_name *n = &l->list.v[l->next++];
	struct walk_entry *e = &w->e;
	const char *slash;
	int r = 0;

	w->path.len = l->path_len;
	if (w->depth == 1)
		str_reset(&w->path);
	else
		str_addc(&w->path, '/');
	str_add(&w->path, l->list.names + n->off);
	if (str_error(&w->path) < 0)
		return -ENOMEM;
	e->name = l->list.names + n->off;
	e->path = str_get(&w->path);
	e->path_len = w->path.len;
	e->depth = w->depth;
	slash = w->depth > 1 ? strchr(e->path, '/') : NULL;
	e->below = slash != NULL ? slash + 1 : "";
	if (n->child != NULL) {
		LOCK(&w->d->lock);
		e->inode = inode_ref(n->child);
	} else {
		r = read_entry(w, l, n);
	}
	if (r == 0 && e->inode != NULL)
		r = take_inode(w, n->child != NULL);
	if (r == 0)
		r = find_link(w);
	return r;
}

/* The directory on top is done. */
static void
pop(struct walk *w)
{
	struct level *l = &w->levels[--w->depth];
	struct walk_entry *e = &w->e;

	w->path.len = l->path_len;
	w->path.s[w->path.len] = '\0';
	e->step = WALK_DIR_END;
	e->path = str_get(&w->path);
	e->path_len = w->path.len;
	e->name = strrchr(e->path, '/');
	e->name = e->name != NULL ? e->name + 1 : e->path;
	e->depth = w->depth;
	e->below = strchr(e->path, '/');
	e->below = e->below != NULL ? e->below + 1 : "";
	e->e.mode = S_IFDIR;
	e->archive = l->archive;
	e->pos = l->pos;
	e->bad = l->list.bad;
	e->inode = l->inode;
	l->inode = NULL;
	level_fini(w->d, l);
	if (w->depth == 1)
		links_clear(&w->links);
}

int
walk_next(struct walk *w, const struct walk_entry **ret)
{
	struct level *l;
	int r = 0;

	if (w->enter || !w->begun)
		r = push(w);
	w->begun = true;
	w->enter = false;
	entry_done(w);
	if (r < 0)
		return failed(w, r);
	*ret = &w->e;
	l = &w->levels[w->depth - 1];
	if (l->next < l->list.n) {
		r = read_name(w, l);
		if (r < 0)
			return failed(w, r);
		w->enter = S_ISDIR(w->e.e.mode);
		w->e.step = w->enter ? WALK_DIR : WALK_ENTRY;
		return 0;
	}
	if (w->depth == 1)
		return 1;
	pop(w);
	return 0;
}

int
walk_content(const struct walk_entry *e, struct base_content *ret)
{
	struct pxar_entry base;
	int r;

	if (e->inode == NULL)
		return base_content(e->archive, &e->e, 0, ret);
	r = base_entry(e->archive, e->pos, 0, 0, &base);
	if (r < 0)
		return r;
	r = base_content(e->archive, &base, 0, ret);
	pxar_entry_fini(&base);
	return r;
}
