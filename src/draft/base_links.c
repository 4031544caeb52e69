/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/base.h"

#include <errno.h>
#include <stdlib.h>

#include "base/lock.h"
#include "base/num.h"
#include "draft/base_priv.h"
#include "pbs/catalog.h"
#include "repo/reader.h"
#include "repo/repo.h"

/* An archive that repeats a chunk over and over can have more hard links than
 * any disk; nobody else has so many files with several names. */
#define FILES_MAX ((size_t)16 << 20)

#define CATALOG_MAX (16 * MIB)
/* Of a v1 archive, which is read as a whole for its links. */
#define CHEAP_MAX (64 * MIB)

/* Files that links were seen to, some of them several times until merged. */
struct count {
	struct file_links *f;	/* owned */
	size_t n, size;
};

void
base_links_free(struct base_archive *a)
{
	free(a->data->links);
}

static int
by_pos(const void *pa, const void *pb)
{
	const struct file_links *a = pa, *b = pb;

	return (a->pos > b->pos) - (a->pos < b->pos);
}

static void
merge(struct count *c)
{
	size_t i, n = 0;

	if (c->n == 0)
		return;
	qsort(c->f, c->n, sizeof(*c->f), by_pos);
	for (i = 1; i < c->n; i++) {
		if (c->f[i].pos == c->f[n].pos)
			c->f[n].n += c->f[i].n;
		else
			c->f[++n] = c->f[i];
	}
	c->n = n + 1;
}

static int
saw_link(void *arg, uint64_t pos)
{
	struct count *c = arg;
	struct file_links *f;
	size_t size;

	if (c->n == c->size)
		merge(c);
	if (c->n > c->size / 2 || c->size == 0) {
		if (c->n >= FILES_MAX)
			return -EOVERFLOW;
		size = MAX(64, c->size * 2);
		f = reallocarray(c->f, size, sizeof(*f));
		if (f == NULL)
			return -ENOMEM;
		c->f = f;
		c->size = size;
	}
	c->f[c->n++] = (struct file_links){.pos = pos, .n = 1};
	return 0;
}

/* Waits for who counts already; then 1, or 0 if the caller is to count, and
 * nobody else does. */
static int
begin(struct base_archive_data *x, unsigned flags)
{
	LOCK(&x->lock);

	while (x->links_state == LINKS_COUNTING) {
		if ((flags & REPO_NOWAIT) != 0)
			return -EAGAIN;
		pthread_cond_wait(&x->cond, &x->lock);
	}
	if (x->links_state == LINKS_KNOWN)
		return 1;
	x->links_state = LINKS_COUNTING;
	return 0;
}

/* 1: there are hard links; 0: none; else nobody knows. */
static int
ask_catalog(struct base_archive *a, unsigned flags)
{
	const struct tree_file *f;
	struct reader *rd = NULL;
	uint64_t size;
	void *p;
	int r;

	f = tree_find_file(&a->base->snap, "catalog.pcat1.didx");
	if (f == NULL)
		return -ENOENT;
	r = repo_reader(a->base->repo, f, flags, &rd);
	if (r < 0)
		return r;
	size = reader_size(rd);
	p = size <= CATALOG_MAX ? malloc(size) : NULL;
	r = size > CATALOG_MAX ? -EFBIG : p == NULL ? -ENOMEM :
	    reader_pread(rd, p, size, 0, flags);
	if (r == 0)
		r = catalog_has_links(p, size, a->server);
	free(p);
	reader_unref(rd);
	return r;
}

static int
count(struct base_archive *a, unsigned flags, struct count *c)
{
	struct base_archive_data *x = a->data;
	struct pxar *px;
	int r;

	r = base_pxar(a, flags & REPO_NOWAIT, &px);
	if (r < 0)
		return r;
	/* In a split archive metadata is all there is to read. */
	if (pxar_version(px) == 1 && !x->many_links) {
		r = ask_catalog(a, flags & REPO_NOWAIT);
		if (r == 0 || r == -EAGAIN || repo_is_outage(r))
			return r;
		x->many_links =
		    reader_size(x->opened->stream) > CHEAP_MAX;
	}
	if (x->many_links && (flags & BASE_CHEAP) != 0)
		return -EOVERFLOW;
	return pxar_links(px, saw_link, c);
}

static int
prepare(struct base_archive *a, unsigned flags)
{
	struct base_archive_data *x = a->data;
	struct count c = {0};
	int r;

	r = begin(x, flags);
	if (r != 0)
		return MIN(r, 0);
	r = count(a, flags, &c);
	merge(&c);
	LOCK(&x->lock);
	x->links_state = r == 0 ? LINKS_KNOWN : LINKS_UNKNOWN;
	if (r == 0) {
		x->links = c.f;
		x->n_links = c.n;
	} else {
		free(c.f);
	}
	pthread_cond_broadcast(&x->cond);
	return r;
}

int
base_nlink(struct base_archive *a, uint64_t pos, unsigned flags,
    uint32_t *ret)
{
	const struct file_links key = {.pos = pos}, *f = NULL;
	struct base_archive_data *x = a->data;
	int r;

	*ret = 1;
	if (!base_is_tree(a))
		return 0;
	r = prepare(a, flags);
	if (r < 0)
		return r;
	if (x->n_links > 0)
		f = bsearch(&key, x->links, x->n_links, sizeof(key), by_pos);
	if (f != NULL)
		*ret = 1 + (uint32_t)MIN(f->n, UINT32_MAX - 1);
	return 0;
}
