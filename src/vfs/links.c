/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/links.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "pbs/catalog.h"
#include "pbs/pxar.h"
#include "repo/reader.h"
#include "repo/repo.h"
#include "repo/tree.h"
#include "vfs/archive.h"
#include "vfs/node.h"
#include "vfs/u64map.h"
#include "vfs/vfs_priv.h"

/* Counting at once is worth reading this much. */
#define META_MAX (16 * MIB)	/* all of a metadata stream, a catalog */
#define V1_MAX (64 * MIB)	/* all of a v1 archive that has links */
/* Tables are at most half full, and what was seen takes two. */
#define COUNT_MAX (LINKS_MEMORY_MAX / sizeof(struct u64pair) / 2)
#define SEEN_MAX (COUNT_MAX / 2)
/* After the store has failed, one who asks tries again this much later. */
#define AGAIN_MS 5000

enum state {
	UNKNOWN,	/* nobody asked yet, or the store has failed */
	COUNTING,	/* a thread is at it */
	EXACT,
	SEEN,		/* count what comes by */
};

struct links {
	pthread_mutex_t lock;	/* guards all below; never held in I/O */
	pthread_cond_t changed;
	enum state state;
	deadline_t again;	/* UNKNOWN: not before; 0: never tried */
	struct u64map count;	/* links besides the first, by file */
	struct u64map seen;	/* links that are in count; unless EXACT */
};

int
links_new(struct links **ret)
{
	struct links *l = calloc(1, sizeof(*l));
	int r;

	if (l == NULL)
		return -ENOMEM;
	r = -pthread_mutex_init(&l->lock, NULL);
	if (r < 0)
		goto err;
	r = cond_init(&l->changed);
	if (r < 0) {
		pthread_mutex_destroy(&l->lock);
		goto err;
	}
	*ret = l;
	return 0;

err:
	free(l);
	return r;
}

void
links_free(struct links *l)
{
	if (l == NULL)
		return;
	u64map_fini(&l->count);
	u64map_fini(&l->seen);
	pthread_cond_destroy(&l->changed);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* 1: there are hard links, 0: none, or the catalog does not tell (-errno). */
static int
ask_catalog(struct vfs *v, const struct node *n)
{
	const struct tree_file *f;
	struct reader *rd = NULL;
	uint64_t size;
	void *p;
	int r;

	f = tree_find_file(n->file->snap, "catalog.pcat1.didx");
	if (f == NULL)
		return -ENOENT;
	r = repo_reader(v->repo, f, 0, &rd);
	if (r < 0)
		return r;
	size = reader_size(rd);
	p = size <= META_MAX ? malloc(size) : NULL;
	r = size > META_MAX ? -EFBIG : p == NULL ? -ENOMEM :
	    reader_pread(rd, p, size, 0, 0);
	if (r == 0)
		r = catalog_has_links(p, size, n->file->name);
	free(p);
	reader_unref(rd);
	return r;
}

static int
count_link(void *arg, uint64_t pos)
{
	struct u64map *m = arg;
	uint64_t *n;

	/* An archive that repeats a chunk can have more than any disk; so many
	 * are counted as they are seen. */
	if (m->n >= COUNT_MAX && u64map_get(m, pos) == 0)
		return -EOVERFLOW;
	n = u64map_at(m, pos);
	if (n == NULL)
		return -ENOMEM;
	++*n;
	return 0;
}

/* What the store says of its content will not change; that it failed will. */
static enum state
without_count(int err)
{
	switch (err) {
	case -EBADMSG:
	case -EFBIG:
	case -ENOENT:
	case -ENOKEY:
	case -EOVERFLOW:
	case -VFS_EDAMAGED:
		return SEEN;
	default:
		return UNKNOWN;
	}
}

static enum state
count(struct vfs *v, struct archive *a, const struct node *n,
    struct u64map *ret)
{
	struct pxar *px = archive_pxar(a, 0);
	uint64_t size = reader_size(archive_reader(a));
	int r;

	if (v->opts.links == VFS_LINKS_SEEN)
		return SEEN;
	if (v->opts.links == VFS_LINKS_AUTO) {
		if (pxar_version(px) == 1) {
			r = ask_catalog(v, n);
			if (r == 0)
				return EXACT;
			if (r < 0)
				return without_count(r);
			if (size > V1_MAX)
				return SEEN;
		} else if (size > META_MAX) {
			return SEEN;
		}
	}
	r = archive_error(a, pxar_links(px, count_link, ret));
	if (r == 0)
		return EXACT;
	log_debug("link counts of %s: %s", n->file->name, strerror(-r));
	return without_count(r);
}

/* Whether there is nothing to do for now.  Only at first all wait for it. */
static bool
is_settled(const struct links *l)
{
	return l->state == EXACT || l->state == SEEN ||
	    (l->again != 0 &&
		(l->state == COUNTING || deadline_left(l->again) > 0));
}

int
links_prepare(struct vfs *v, struct archive *a, const struct node *n,
    unsigned flags)
{
	struct links *l = archive_links(a);
	struct u64map fresh = {0};
	enum state s;

	{
		LOCK(&l->lock);
		while (!is_settled(l) && l->state == COUNTING &&
		    (flags & VFS_NOWAIT) == 0)
			pthread_cond_wait(&l->changed, &l->lock);
		if (is_settled(l))
			return 0;
		if ((flags & VFS_NOWAIT) != 0)
			return -EAGAIN;
		l->state = COUNTING;
	}
	s = count(v, a, n, &fresh);
	LOCK(&l->lock);
	if (s == EXACT) {
		u64map_fini(&l->count);
		u64map_fini(&l->seen);
		l->count = fresh;
	} else {
		u64map_fini(&fresh);
	}
	if (s == UNKNOWN)
		l->again = deadline_in(AGAIN_MS);
	l->state = s;
	pthread_cond_broadcast(&l->changed);
	return 0;
}

uint32_t
links_count(struct links *l, uint64_t pos, bool *ret_exact)
{
	LOCK(&l->lock);

	*ret_exact = l->state == EXACT;
	return 1 + (uint32_t)MIN(u64map_get(&l->count, pos), UINT32_MAX - 1);
}

size_t
links_memory(struct links *l)
{
	LOCK(&l->lock);

	return u64map_memory(&l->count) + u64map_memory(&l->seen);
}

void
links_saw(struct links *l, uint64_t link, uint64_t pos)
{
	uint64_t *known, *n;

	LOCK(&l->lock);
	if (l->state == EXACT || l->seen.n >= SEEN_MAX)
		return;
	known = u64map_at(&l->seen, link);
	if (known == NULL || *known != 0)
		return;
	*known = pos;
	n = u64map_at(&l->count, pos);
	if (n != NULL)
		++*n;
}
