/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "pbs/catalog.h"

/* Tables lie before those that refer to them, so a list of positions is all the
 * walk needs. */
struct walk {
	const char *archive;	/* the first level's name that counts */
	bool top;
	bool known;		/* the archive is there */
	bool found;
	size_t left;		/* entries that a tree can still have */
	uint64_t *dirs;		/* owned */
	size_t n, size;
};

static int
walk_entry(void *arg, const struct catalog_entry *e)
{
	struct walk *w = arg;
	uint64_t *dirs;
	size_t size;

	if (w->left-- == 0)
		return -EBADMSG;
	if (w->top && (e->name_len != strlen(w->archive) ||
	    memcmp(e->name, w->archive, e->name_len) != 0))
		return 0;
	w->known = true;
	if (e->type == CATALOG_HARDLINK) {
		w->found = true;
		return 1;
	}
	if (e->type != CATALOG_DIR)
		return 0;
	if (w->n == w->size) {
		size = w->size == 0 ? 64 : w->size * 2;
		dirs = reallocarray(w->dirs, size, sizeof(*dirs));
		if (dirs == NULL)
			return -ENOMEM;
		w->dirs = dirs;
		w->size = size;
	}
	w->dirs[w->n++] = e->dir;
	return 0;
}

/* Hostile catalogs may refer to a table many times; but an entry costs two
 * bytes or more, so a walk over more of them is not one of a tree. */
int
catalog_has_links(const void *p, size_t len, const char *archive)
{
	struct walk w = {.archive = archive, .top = true, .left = len / 2};
	uint64_t pos;
	int r;

	r = catalog_root(p, len, &pos);
	if (r == 0)
		r = catalog_table(p, len, pos, walk_entry, &w);
	w.top = false;
	while (r == 0 && w.n > 0)
		r = catalog_table(p, len, w.dirs[--w.n], walk_entry, &w);
	free(w.dirs);
	if (w.found)
		return 1;
	return r == 0 && !w.known ? -ENOENT : r;
}
