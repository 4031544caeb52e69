/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/draft.h"
#include "pbs/pxar.h"
#include "vfs/archive.h"
#include "vfs/current.h"
#include "vfs/dircache.h"
#include "vfs/ino.h"
#include "vfs/links.h"
#include "vfs/node.h"
#include "vfs/notes.h"
#include "vfs/outage.h"
#include "vfs/vfs_priv.h"

/* A failure that came at once may be asked for again. */
#define SLOW_MS 500

/*
 * Looking up and listing, in the hierarchy and in archives.
 */

static int
lookup_entry(struct vfs *v, const struct place *p, const char *name,
    unsigned flags, struct vfs_attr *ret)
{
	struct pxar_dir *dir = NULL;
	struct archive *a;
	struct pxar_entry e;
	int r;

	r = archive_get(v, p->node, flags, &a);
	if (r < 0)
		return r;
	r = dircache_get(v->dirs, a, p->pos != 0 ? p->pos :
	    pxar_root(archive_pxar(a, flags)), flags, &dir);
	if (r < 0)
		goto out;
	r = pxar_dir_find(archive_pxar(a, flags), dir, name, strlen(name), 0,
	    &e);
	if (r < 0) {
		r = archive_error(a, r);
		goto out;
	}
	r = attr_entry(v, a, p->node, &e, flags, ret);
	pxar_entry_fini(&e);
out:
	dircache_put(v->dirs, dir);
	archive_unref(a);
	return r;
}

/* Whether the place is a directory; an entry's own table tells later. */
static int
check_dir(struct vfs *v, const struct place *p, unsigned flags)
{
	int r;

	if (p->pos != 0)
		return 0;
	if (p->node->kind == NODE_FILE) {
		r = snap_learn(v, p->node, flags);
		if (r < 0)
			return r;
	}
	return node_is_dir(p->node) ? 0 : -ENOTDIR;
}

/* Being opened for writing makes notes exist. */
static bool
is_there(struct vfs *v, const struct node *n)
{
	uint64_t size;

	return node_is_shown(n) || notes_size(v, n->ino, &size) == 1;
}

static int
lookup(struct vfs *v, uint64_t parent, const char *name, unsigned flags,
    struct vfs_attr *ret)
{
	struct current c;
	struct node *n;
	struct place p;
	uint64_t up;
	int r;

	if (strlen(name) > VFS_NAME_MAX)
		return -ENAMETOOLONG;
	r = current_find(v, parent, &c);
	if (r < 0)
		return r;
	/* Only who has a number from elsewhere, as NFS, asks for these. */
	if (streq(name, ".") || streq(name, "..")) {
		if (r == 1 && (name[1] == '.' || c.ino != draft_root(c.draft)))
			return -ESTALE;
		up = parent;
		r = name[1] == '.' ? vfs_parent(v, parent, flags & VFS_NOWAIT,
		    &up) : 0;
		return r < 0 ? r : vfs_getattr(v, up, flags, ret);
	}
	if (r == 1)
		return current_lookup(v, &c, name, flags, ret);
	r = place_find(v, parent, &p);
	if (r < 0)
		return r;
	r = check_dir(v, &p, flags & VFS_NOWAIT);
	if (r < 0)
		goto out;
	if (p.pos != 0 || node_is_archive(p.node)) {
		r = lookup_entry(v, &p, name, flags & VFS_NOWAIT, ret);
		goto out;
	}
	n = node_child(p.node, name);
	r = n != NULL && is_there(v, n) ?
	    attr_node(v, p.nodes, n, flags, ret) : -ENOENT;
out:
	place_fini(&p);
	return r;
}

static void
name_digest(uint64_t parent, const char *name, struct digest *ret)
{
	uint8_t b[8 + VFS_NAME_MAX];
	size_t len = strnlen(name, VFS_NAME_MAX);

	put_le64(b, parent);
	memcpy(b + 8, name, len);
	*ret = digest_of(b, 8 + len);
}

/*
 * Those who ask for the same name are let through by the kernel one after the
 * other; when the store says nothing, only the first waits for the deadline.
 */
int
vfs_lookup(struct vfs *v, uint64_t parent, const char *name, unsigned flags,
    struct vfs_attr *ret)
{
	uint64_t start = clock_mono_ms();
	struct digest key;
	int r;

	if ((flags & VFS_NOWAIT) != 0)
		return lookup(v, parent, name, flags, ret);
	name_digest(parent, name, &key);
	r = outage_of(v->outages, &key);
	if (r < 0)
		return r;
	r = lookup(v, parent, name, flags, ret);
	if ((r == -EIO || r == -ETIMEDOUT || r == -EHOSTDOWN) &&
	    clock_mono_ms() - start >= SLOW_MS)
		outage_note(v->outages, &key, r);
	return r;
}

bool
vfs_is_snapshot(struct vfs *v, uint64_t ino)
{
	struct place p;
	bool is;

	if (vfs_is_current(v, ino))
		return true;
	if (place_find(v, ino, &p) < 0)
		return false;
	is = node_snap(p.node) != NULL;
	place_fini(&p);
	return is;
}

struct vfs_dir {
	struct vfs *v;			/* borrowed */
	struct place place;
	/* In the hierarchy: children in the order of their cookies. */
	struct node **order;		/* owned */
	size_t n_order;
	/* In an archive. */
	struct archive *archive;	/* shared */
	struct pxar_dir *table;		/* shared */
	/* In an open snapshot. */
	struct draft_dir *draft;	/* owned */
};

/* The number without its domain: stable, unique, and 63 bits are enough for
 * it and what an adapter adds. */
static uint64_t
node_cookie(const struct node *n)
{
	return (n->ino & INO_HIER_MASK) + 1;
}

static int
by_cookie(const void *a, const void *b)
{
	uint64_t x = node_cookie(*(struct node *const *)a);
	uint64_t y = node_cookie(*(struct node *const *)b);

	return x < y ? -1 : x > y;
}

static int
open_nodes(struct vfs_dir *d, unsigned flags)
{
	struct node *n = d->place.node;
	size_t i;
	int r;

	if (n->kind == NODE_SNAP) {
		r = snap_enter(d->v, n, flags);
		if (r < 0)
			return r;
	}
	if (n->n_children == 0)
		return 0;
	d->order = calloc(n->n_children, sizeof(*d->order));
	if (d->order == NULL)
		return -ENOMEM;
	for (i = 0; i < n->n_children; i++)
		if (is_there(d->v, &n->children[i]))
			d->order[d->n_order++] = &n->children[i];
	qsort(d->order, d->n_order, sizeof(*d->order), by_cookie);
	return 0;
}

static int
open_table(struct vfs_dir *d, unsigned flags)
{
	uint64_t pos = d->place.pos;
	int r;

	r = archive_get(d->v, d->place.node, flags, &d->archive);
	if (r < 0)
		return r;
	if (pos == 0)
		pos = pxar_root(archive_pxar(d->archive, flags));
	return dircache_get(d->v->dirs, d->archive, pos, flags, &d->table);
}

int
vfs_opendir(struct vfs *v, uint64_t ino, unsigned flags, struct vfs_dir **ret)
{
	struct vfs_dir *d = calloc(1, sizeof(*d));
	struct current c;
	int r;

	if (d == NULL)
		return -ENOMEM;
	d->v = v;
	r = current_find(v, ino, &c);
	if (r == 1)
		r = draft_opendir(c.draft, c.ino, flags & VFS_NOWAIT,
		    &d->draft);
	else if (r == 0)
		r = place_find(v, ino, &d->place);
	if (r < 0) {
		free(d);
		return r;
	}
	if (d->draft != NULL) {
		*ret = d;
		return 0;
	}
	r = check_dir(v, &d->place, flags);
	if (r == 0)
		r = d->place.pos != 0 || node_is_archive(d->place.node) ?
		    open_table(d, flags) : open_nodes(d, flags);
	if (r < 0) {
		vfs_closedir(d);
		return r;
	}
	*ret = d;
	return 0;
}

void
vfs_closedir(struct vfs_dir *d)
{
	if (d == NULL)
		return;
	if (d->draft != NULL)
		draft_closedir(d->draft);
	dircache_put(d->v->dirs, d->table);
	archive_unref(d->archive);
	free(d->order);
	place_fini(&d->place);
	free(d);
}

static int
readdir_nodes(struct vfs_dir *d, uint64_t cookie, bool want_attr,
    unsigned flags, vfs_readdir_fn *fn, void *arg)
{
	size_t lo = 0, hi = d->n_order, mid, first;
	struct vfs_dirent e;
	struct vfs_attr attr;
	struct current c;
	struct node *n;
	int r;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (node_cookie(d->order[mid]) > cookie)
			hi = mid;
		else
			lo = mid + 1;
	}
	for (first = lo; lo < d->n_order; lo++) {
		n = d->order[lo];
		e.name = n->name;
		e.ino = vfs_number(d->v, n->ino);
		e.cookie = node_cookie(n);
		e.type = attr_type(n);
		e.attr = NULL;
		if (want_attr) {
			r = attr_node(d->v, d->place.nodes, n,
			    flags | VFS_PROVISIONAL, &attr);
			if (r == -EAGAIN)
				return lo == first ? -EAGAIN : 0;
			/* What fails for one is told to who asks for it. */
			if (r == 0) {
				e.type = attr.st.st_mode & S_IFMT;
				e.attr = &attr;
				e.ino = attr.st.st_ino;
			}
		} else if (n->kind == NODE_CURRENT &&
		    current_of(d->v, n, &c) == 0) {
			e.ino = vfs_number(d->v, c.ino);
		}
		if (fn(arg, &e) != 0)
			return 0;
	}
	return 0;
}

/* One entry of a table: 1 if it cannot be shown. */
static int
read_entry(struct vfs_dir *d, size_t i, unsigned flags, char *name,
    struct pxar_entry *e)
{
	uint64_t link;
	int r;

	r = pxar_dir_entry(archive_pxar(d->archive, flags), d->table, i, 0,
	    name, e, &link);
	if (r == -EBADMSG || r == -VFS_EDAMAGED) {
		(void)archive_error(d->archive, r);
		return 1;
	}
	if (r < 0)
		return r;
	if (strlen(name) > VFS_NAME_MAX) {
		struct str text = {0};

		str_escape(&text, name, strlen(name));
		log_limited(LOG_LVL_WARN, "a name of %zu bytes is not shown, "
		    "longer than %d: %.64s...", strlen(name), VFS_NAME_MAX,
		    str_get(&text));
		str_fini(&text);
		pxar_entry_fini(e);
		return 1;
	}
	if (link != 0)
		links_saw(archive_links(d->archive), link, e->pos);
	return 0;
}

static int
readdir_table(struct vfs_dir *d, uint64_t cookie, bool want_attr,
    unsigned flags, vfs_readdir_fn *fn, void *arg)
{
	_cleanup_free_ char *name = malloc(PXAR_NAME_MAX + 1);
	size_t i, n = pxar_dir_count(d->table);
	bool delivered = false;
	struct pxar_entry pe;
	struct vfs_dirent e;
	struct vfs_attr attr;
	int r;

	if (name == NULL)
		return -ENOMEM;
	for (i = (size_t)cookie; i < n; i++) {
		r = read_entry(d, i, flags, name, &pe);
		if (r == 1)
			continue;
		if (r < 0)
			return delivered ? 0 : r;
		e.name = name;
		e.ino = archive_base(d->archive) + pe.pos;
		e.cookie = i + 1;
		e.type = pe.mode & S_IFMT;
		e.attr = NULL;
		r = want_attr ? attr_entry(d->v, d->archive, d->place.node,
		    &pe, flags, &attr) : 0;
		pxar_entry_fini(&pe);
		if (r == -EAGAIN)
			return delivered ? 0 : r;
		if (want_attr && r == 0)
			e.attr = &attr;
		delivered = true;
		if (fn(arg, &e) != 0)
			return 0;
	}
	return 0;
}

/* Attributes would count references, of which those that do not fit into an
 * answer had to be given back again: who wants them asks by name. */
struct passing {
	struct vfs *v;
	vfs_readdir_fn *fn;
	void *arg;
};

static int
pass_entry(void *arg, const struct draft_dirent *de)
{
	const struct passing *p = arg;
	struct vfs_dirent e = {
	    .name = de->name,
	    .ino = vfs_number(p->v, de->ino),
	    .cookie = de->cookie,
	    .type = de->type,
	};

	return p->fn(p->arg, &e);
}

int
vfs_readdir(struct vfs_dir *d, uint64_t cookie, bool want_attr,
    unsigned flags, vfs_readdir_fn *fn, void *arg)
{
	struct passing p = {.v = d->v, .fn = fn, .arg = arg};

	if (d->draft != NULL)
		return draft_readdir(d->draft, cookie, flags & VFS_NOWAIT,
		    pass_entry, &p);
	return d->table != NULL ?
	    readdir_table(d, cookie, want_attr, flags, fn, arg) :
	    readdir_nodes(d, cookie, want_attr, flags, fn, arg);
}
