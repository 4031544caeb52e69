/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/verify_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "pbs/catalog.h"
#include "pbs/pxar.h"
#include "repo/reader.h"
#include "repo/repo.h"

#define CATALOG_NAME "catalog.pcat1.didx"
/* More than that is not read only to name what is damaged. */
#define CATALOG_MAX (64 * MIB)
#define DIR_MAX ((size_t)1 << 20)

struct verify_names {
	struct buf *catalog;	/* shared */
	uint64_t archive;	/* the table of its root */
	struct verify_name *v;	/* owned: of the directory, by hash */
	size_t n, size;
};

struct step {
	const char *name;
	size_t len;
	uint64_t dir;
};

static int
find_step(void *arg, const struct catalog_entry *e)
{
	struct step *s = arg;

	if (e->type != CATALOG_DIR || e->name_len != s->len ||
	    memcmp(e->name, s->name, s->len) != 0)
		return 0;
	s->dir = e->dir;
	return 1;
}

/* From the table at *pos to that of the directory of that name in it. */
static bool
step_down(const struct verify_names *n, const char *name, size_t len,
    uint64_t *pos)
{
	struct step s = {name, len, 0};

	if (catalog_table(n->catalog->data, n->catalog->len, *pos, find_step,
	    &s) != 1)
		return false;
	*pos = s.dir;
	return true;
}

static struct buf *
read_catalog(struct verify *v, const struct tree_snap *s)
{
	const struct tree_file *f = tree_find_file(s, CATALOG_NAME);
	struct buf *b = NULL;
	struct reader *r;

	if (f == NULL || repo_reader(v->o->repo, f, 0, &r) < 0)
		return NULL;
	if (reader_size(r) <= CATALOG_MAX)
		b = buf_new((size_t)reader_size(r));
	if (b != NULL && reader_pread(r, b->data, b->len, 0, 0) < 0)
		buf_unref(steal(&b));
	reader_unref(r);
	return b;
}

struct verify_names *
verify_names_open(struct verify *v, const struct tree_snap *s,
    const char *archive)
{
	struct verify_names *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return NULL;
	n->catalog = read_catalog(v, s);
	if (n->catalog != NULL &&
	    catalog_root(n->catalog->data, n->catalog->len, &n->archive) == 0 &&
	    step_down(n, archive, strlen(archive), &n->archive))
		return n;
	verify_names_close(n);
	return NULL;
}

void
verify_names_close(struct verify_names *n)
{
	if (n == NULL)
		return;
	buf_unref(n->catalog);
	free(n->v);
	free(n);
}

static int
by_hash(const void *pa, const void *pb)
{
	const struct verify_name *a = pa, *b = pb;

	return (a->hash > b->hash) - (a->hash < b->hash);
}

static int
add_name(void *arg, const struct catalog_entry *e)
{
	struct verify_names *n = arg;
	struct verify_name *p;
	size_t size;

	if (n->n == DIR_MAX)
		return 1;
	if (n->n == n->size) {
		size = n->size == 0 ? 64 : 2 * n->size;
		p = reallocarray(n->v, size, sizeof(*p));
		if (p == NULL)
			return -ENOMEM;
		n->v = p;
		n->size = size;
	}
	n->v[n->n++] = (struct verify_name){
	    .hash = pxar_name_hash(e->name, e->name_len),
	    .name = e->name,
	    .len = e->name_len,
	    .is_dir = e->type == CATALOG_DIR,
	    .is_file = e->type == CATALOG_FILE,
	    .size = e->type == CATALOG_FILE ? e->size : 0,
	};
	return 0;
}

void
verify_names_dir(struct verify_names *n, const char *path)
{
	uint64_t pos = n->archive;

	n->n = 0;
	while (*path != '\0') {
		size_t len = strcspn(path, "/");

		if (!step_down(n, path, len, &pos))
			return;
		path += len;
		path += *path == '/';
	}
	/* What comes before damage is as good as all. */
	catalog_table(n->catalog->data, n->catalog->len, pos, add_name, n);
	if (n->n > 0)
		qsort(n->v, n->n, sizeof(*n->v), by_hash);
}

const struct verify_name *
verify_names_find(const struct verify_names *n, uint64_t hash)
{
	const struct verify_name key = {.hash = hash};

	if (n->n == 0)
		return NULL;
	return bsearch(&key, n->v, n->n, sizeof(*n->v), by_hash);
}
