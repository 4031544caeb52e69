/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/base.h"

#include <errno.h>
#include <stdlib.h>

#include "base/lock.h"
#include "base/num.h"
#include "draft/base_priv.h"

/* Of all tables of a base; the one used last stays, however large it is. */
#define DIRS_BYTES ((size_t)8 * MIB)

/* With the lock. */
static struct pxar_dir *
find(struct base *b, const struct base_archive *a, uint64_t pos)
{
	struct base_dir_slot *s;

	TAILQ_FOREACH(s, &b->dirs, lru) {
		if (s->a != a || s->pos != pos)
			continue;
		TAILQ_REMOVE(&b->dirs, s, lru);
		TAILQ_INSERT_HEAD(&b->dirs, s, lru);
		return pxar_dir_ref(s->dir);
	}
	return NULL;
}

static void
drop(struct base *b, struct base_dir_slot *s)
{
	TAILQ_REMOVE(&b->dirs, s, lru);
	b->dirs_bytes -= pxar_dir_memory(s->dir);
	pxar_dir_unref(s->dir);
	free(s);
}

void
base_dirs_free(struct base *b)
{
	while (!TAILQ_EMPTY(&b->dirs))
		drop(b, TAILQ_FIRST(&b->dirs));
}

/* No memory to keep it is no error. */
static void
keep(struct base *b, const struct base_archive *a, uint64_t pos,
    struct pxar_dir *dir)
{
	struct base_dir_slot *s = malloc(sizeof(*s));

	if (s == NULL)
		return;
	s->a = a;
	s->pos = pos;
	s->dir = pxar_dir_ref(dir);
	TAILQ_INSERT_HEAD(&b->dirs, s, lru);
	b->dirs_bytes += pxar_dir_memory(dir);
	while (b->dirs_bytes > DIRS_BYTES &&
	    TAILQ_NEXT(TAILQ_FIRST(&b->dirs), lru) != NULL)
		drop(b, TAILQ_LAST(&b->dirs, base_dir_slots));
}

int
base_dir(struct base_archive *a, uint64_t pos, unsigned flags,
    struct pxar_dir **ret)
{
	struct base *b = a->base;
	struct pxar_dir *d, *other;
	struct pxar *px;
	int r;

	{
		LOCK(&b->lock);
		*ret = find(b, a, pos);
		if (*ret != NULL)
			return 0;
	}
	r = base_pxar(a, flags, &px);
	if (r < 0)
		return r;
	r = pxar_dir_open(px, pos, &d);
	if (r < 0)
		return base_error(a, r == -ENOENT ? -EBADMSG : r);
	LOCK(&b->lock);
	other = find(b, a, pos);
	if (other != NULL) {
		pxar_dir_unref(d);
		d = other;
	} else {
		keep(b, a, pos, d);
	}
	*ret = d;
	return 0;
}

int
base_lookup(struct base_archive *a, uint64_t pos, const char *name,
    size_t len, unsigned flags, struct pxar_entry *ret)
{
	struct pxar_dir *table;
	struct pxar *px;
	int r;

	r = base_dir(a, pos, flags, &table);
	if (r < 0)
		return r;
	r = base_pxar(a, flags, &px);
	if (r == 0) {
		r = pxar_dir_find(px, table, name, len, 0, ret);
		if (r != -ENOENT)
			r = base_error(a, r);
	}
	pxar_dir_unref(table);
	return r;
}
