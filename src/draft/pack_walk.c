/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/pack_walk.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lock.h"
#include "draft/draft_priv.h"
#include "draft/io.h"
#include "draft/spill.h"

#define STEPS 256	/* names or inodes looked at under the lock */

struct frame {
	uint64_t ino;		/* of a directory */
	struct dentry *after;	/* owned: a key; NULL: from its start */
};

struct pack_walk {
	struct draft *d;	/* borrowed */
	struct frame *v;	/* owned: directories that were begun */
	size_t depth, size;
	/* Directories of the base that have something new in them are not
	 * reached by names alone: they come one by one, by number. */
	bool begun;
	uint64_t next;
};

int
pack_walk_new(struct draft *d, struct pack_walk **ret)
{
	struct pack_walk *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	w->d = d;
	*ret = w;
	return 0;
}

static void
pop(struct pack_walk *w)
{
	free(w->v[--w->depth].after);
}

void
pack_walk_free(struct pack_walk *w)
{
	if (w == NULL)
		return;
	while (w->depth > 0)
		pop(w);
	free(w->v);
	free(w);
}

struct draft *
pack_walk_draft(const struct pack_walk *w)
{
	return w->d;
}

static int
push(struct pack_walk *w, uint64_t ino)
{
	size_t size = w->size > 0 ? w->size * 2 : 16;
	struct frame *v;

	if (w->depth == w->size) {
		v = reallocarray(w->v, size, sizeof(*v));
		if (v == NULL)
			return -ENOMEM;
		w->v = v;
		w->size = size;
	}
	w->v[w->depth++] = (struct frame){.ino = ino};
	return 0;
}

/* Going on behind that name, even if it is gone by then. */
static int
remember(struct frame *f, const struct dentry *e)
{
	size_t size = sizeof(*e) + e->len + 1;
	struct dentry *key = malloc(size);

	if (key == NULL)
		return -ENOMEM;
	memcpy(key, e, size);
	free(f->after);
	f->after = key;
	return 0;
}

/* A directory from where to go down: 1, 0: none yet, -ENOENT: no more. */
static int
next_start(struct pack_walk *w)
{
	struct inode key = {.ino = w->next}, *i;
	struct draft *d = w->d;
	unsigned n = 0;

	if (!w->begun) {
		w->begun = true;
		w->next = DRAFT_INO;
		return push(w, d->root->ino) < 0 ? -ENOMEM : 1;
	}
	for (i = RB_NFIND(inodes_by_ino, &d->inos, &key); i != NULL;
	    i = RB_NEXT(inodes_by_ino, &d->inos, i)) {
		if (i->ino & DRAFT_INO_NEW)
			break;
		if (++n > STEPS)
			return 0;
		w->next = i->ino + 1;
		if (i != d->root && i->archive != NULL && S_ISDIR(i->mode) &&
		    i->n_children > 0)
			return push(w, i->ino) < 0 ? -ENOMEM : 1;
	}
	return -ENOENT;
}

static bool
is_wanted(const struct inode *i, uint64_t cold)
{
	uint64_t size;

	if (!S_ISREG(i->mode) || i->content == NULL || i->nwrite > 0)
		return false;
	size = content_size(i->content);
	return size > 0 && size < SPILL_LARGE &&
	    content_staged(i->content) == size &&
	    clock_mono_ms() - i->written_at >= cold;
}

/* Some names of the innermost directory. */
static int
look(struct pack_walk *w, uint64_t cold, struct pack_found *v, size_t *n)
{
	struct frame *f = &w->v[w->depth - 1];
	struct inode key = {.ino = f->ino}, *dir, *i;
	struct dentry *e, *last = NULL;
	unsigned steps = 0;
	int r = 0;

	dir = RB_FIND(inodes_by_ino, &w->d->inos, &key);
	if (dir == NULL) {
		pop(w);
		return 0;
	}
	e = f->after == NULL ? RB_MIN(dentries, &dir->names) :
	    RB_NFIND(dentries, &dir->names, f->after);
	for (; e != NULL && steps < STEPS && *n < PACK_FOUND;
	    e = RB_NEXT(dentries, &dir->names, e)) {
		if (f->after != NULL && strcmp(e->name, f->after->name) == 0)
			continue;
		last = e;
		steps++;
		i = e->child;
		if (i == NULL)
			continue;
		if (S_ISDIR(i->mode) && i->archive == NULL) {
			r = remember(f, e);
			return r == 0 ? push(w, i->ino) : r;
		}
		if (dir != w->d->root && is_wanted(i, cold))
			v[(*n)++] = (struct pack_found){
			    i->ino, content_size(i->content)};
	}
	if (e == NULL)
		pop(w);
	else if (last != NULL)
		r = remember(f, last);
	return r;
}

int
pack_walk_next(struct pack_walk *w, uint64_t cold,
    struct pack_found v[PACK_FOUND], size_t *ret_n)
{
	int r;

	*ret_n = 0;
	LOCK(&w->d->lock);
	if (w->depth == 0) {
		r = next_start(w);
		if (r <= 0)
			return r;
	}
	return look(w, cold, v, ret_n);
}
