/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/pxar.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "pbs/pxar_priv.h"

static void
dir_unrefp(struct pxar_dir **d)
{
	pxar_dir_unref(*d);
}

struct path {
	char *s;	/* owned; terminated */
	size_t len, size;
};

static int
path_add(struct path *p, const char *name)
{
	size_t n = strlen(name), need = p->len + 1 + n + 1;
	char *s;

	if (need > PXAR_PATH_MAX)
		return -ENAMETOOLONG;
	if (need > p->size) {
		s = realloc(p->s, 2 * need);
		if (s == NULL)
			return -ENOMEM;
		p->s = s;
		p->size = 2 * need;
	}
	if (p->len > 0)
		p->s[p->len++] = '/';
	memcpy(p->s + p->len, name, n + 1);
	p->len += n;
	return 0;
}

/* One step down: from the directory at *dir to the entry of it whose range
 * pos is in.  1 if that is the entry at pos, 0 if it is a directory above. */
static int
step_down(struct pxar *a, uint64_t pos, uint64_t *dir, struct path *p)
{
	_cleanup_(dir_unrefp) struct pxar_dir *d = NULL;
	char name[PXAR_NAME_MAX + 1];
	struct pxar_entry e;
	uint64_t link;
	int r, added;
	size_t i;

	r = pxar_dir_open(a, *dir, &d);
	if (r < 0)
		return r;
	if (!pxar_dir_at(d, pos, &i))
		return -ENOENT;
	r = pxar_dir_entry(a, d, i, 0, name, &e, &link);
	if (r < 0)
		return r;
	if (S_ISDIR(e.mode)) {
		*dir = e.pos;
		r = pos == e.pos;
	} else {
		r = pos == (link != 0 ? link : e.pos) ? 1 : -ENOENT;
	}
	pxar_entry_fini(&e);
	if (r < 0)
		return r;
	added = path_add(p, name);
	return added < 0 ? added : r;
}

int
pxar_path(struct pxar *a, uint64_t pos, char **ret)
{
	_cleanup_free_ char *owned = NULL;
	uint64_t dir = a->root;
	struct path p = {0};
	int r = 0;

	if (pos > a->root)
		return -ENOENT;
	if (pos == a->root) {
		*ret = strdup("");
		return *ret != NULL ? 0 : -ENOMEM;
	}
	/* Each directory lies inside of the one before. */
	while (r == 0)
		r = step_down(a, pos, &dir, &p);
	owned = p.s;
	if (r < 0)
		return r;
	*ret = steal(&owned);
	return 0;
}

/* Directories that have been seen and not yet walked. */
struct todo {
	uint64_t *pos;	/* owned */
	size_t n, size;
};

static int
todo_push(struct todo *t, uint64_t pos)
{
	uint64_t *p;
	size_t size;

	if (t->n == t->size) {
		size = t->size == 0 ? 64 : 2 * t->size;
		p = reallocarray(t->pos, size, sizeof(*p));
		if (p == NULL)
			return -ENOMEM;
		t->pos = p;
		t->size = size;
	}
	t->pos[t->n++] = pos;
	return 0;
}

/* One directory; its subdirectories come later, so that depth costs nothing. */
static int
links_of(struct pxar *a, uint64_t dir, struct todo *todo, pxar_link_fn *fn,
    void *arg)
{
	_cleanup_(dir_unrefp) struct pxar_dir *d = NULL;
	char name[PXAR_NAME_MAX + 1];
	struct pxar_entry e;
	struct pxar_win w;
	uint64_t link;
	size_t i;
	int r;

	r = pxar_dir_open(a, dir, &d);
	if (r == -EBADMSG || r == -EOVERFLOW)
		return 0;
	if (r < 0)
		return r;
	pxar_dir_window(a, d, &w);
	for (i = 0; i < pxar_dir_count(d); i++) {
		r = pxar_dir_read(a, d, i, 0, &w, name, &e, &link);
		if (r == -EBADMSG)
			continue;
		if (r < 0)
			return r;
		if (S_ISDIR(e.mode))
			r = todo_push(todo, e.pos);
		else if (link != 0)
			r = fn(arg, e.pos);
		pxar_entry_fini(&e);
		if (r != 0)
			return r;
	}
	return 0;
}

int
pxar_links(struct pxar *a, pxar_link_fn *fn, void *arg)
{
	struct todo todo = {0};
	int r;

	r = todo_push(&todo, a->root);
	while (r == 0 && todo.n > 0) {
		todo.n--;
		r = links_of(a, todo.pos[todo.n], &todo, fn, arg);
	}
	free(todo.pos);
	return r;
}
