/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/draft_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/content.h"
#include "draft/xattrs.h"

/* What programs should read and copy in. */
#define BLKSIZE (1 << 20)

static int
cmp_ino(const struct inode *a, const struct inode *b)
{
	return (a->ino > b->ino) - (a->ino < b->ino);
}

static int
cmp_base(const struct inode *a, const struct inode *b)
{
	uintptr_t x = (uintptr_t)a->archive, y = (uintptr_t)b->archive;

	if (x != y)
		return x > y ? 1 : -1;
	return (a->pos > b->pos) - (a->pos < b->pos);
}

RB_GENERATE(inodes_by_ino, inode, by_ino, cmp_ino)
RB_GENERATE(inodes_by_base, inode, by_base, cmp_base)

/* By number, whoever holds it: borrowed. */
static struct inode *
at_number(struct draft *d, uint64_t ino)
{
	struct inode *i = RB_ROOT(&d->inos);

	while (i != NULL && i->ino != ino)
		i = ino < i->ino ? RB_LEFT(i, by_ino) : RB_RIGHT(i, by_ino);
	return i;
}

struct inode *
inode_find(struct draft *d, uint64_t ino)
{
	struct inode *i = at_number(d, ino);

	return i != NULL ? inode_ref(i) : NULL;
}

struct inode *
inode_ref(struct inode *i)
{
	i->refs++;
	return i;
}

/* Borrowed. */
static struct inode *
at_entry(struct draft *d, const struct base_archive *a, uint64_t pos)
{
	struct inode *i = RB_ROOT(&d->bases);
	uintptr_t x = (uintptr_t)a, y;

	while (i != NULL) {
		y = (uintptr_t)i->archive;
		if (x == y && pos == i->pos)
			return i;
		i = x < y || (x == y && pos < i->pos) ? RB_LEFT(i, by_base) :
		    RB_RIGHT(i, by_base);
	}
	return NULL;
}

struct inode *
inode_at(struct draft *d, const struct base_archive *a, uint64_t pos)
{
	struct inode *i = at_entry(d, a, pos);

	return i != NULL ? inode_ref(i) : NULL;
}

void
inode_place(struct draft *d, struct inode *i, struct base_archive *a,
    uint64_t pos)
{
	if (i->archive != NULL) {
		RB_REMOVE(inodes_by_base, &d->bases, i);
		base_unref(i->archive->base);
	}
	i->archive = a;
	i->pos = pos;
	if (a != NULL) {
		base_ref(a->base);
		RB_INSERT(inodes_by_base, &d->bases, i);
	}
}

/* Many that read must not keep out for ever who gives room back. */
static int
init_data(pthread_rwlock_t *l)
{
	pthread_rwlockattr_t attr;
	int r;

	r = -pthread_rwlockattr_init(&attr);
	if (r < 0)
		return r;
	r = -pthread_rwlockattr_setkind_np(&attr,
	    PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	if (r == 0)
		r = -pthread_rwlock_init(l, &attr);
	pthread_rwlockattr_destroy(&attr);
	return r;
}

int
inode_new(struct draft *d, uint64_t ino, struct inode **ret)
{
	struct inode *i = calloc(1, sizeof(*i));
	int r;

	if (i == NULL)
		return -ENOMEM;
	r = init_data(&i->data);
	if (r < 0) {
		free(i);
		return r;
	}
	i->ino = ino;
	i->refs = 1;
	RB_INIT(&i->names);
	RB_INIT(&i->ids);
	if (RB_INSERT(inodes_by_ino, &d->inos, i) != NULL) {
		pthread_rwlock_destroy(&i->data);
		free(i);
		return -EEXIST;
	}
	*ret = i;
	return 0;
}

/* Takes its content away.  What is left on the disk is for inode_reap; if there
 * is no memory to remember it, the next mount removes it. */
static void
disown(struct draft *d, struct inode *i)
{
	struct grave *g;
	uint64_t room;

	if (!inode_disown(d, i, &room))
		return;
	g = malloc(sizeof(*g));
	if (g == NULL) {
		log_limited(LOG_LVL_ERR, "room on the local disk is lost until "
		    "the next mount: out of memory");
		return;
	}
	g->ino = i->ino;
	g->staged = room;
	STAILQ_INSERT_TAIL(&d->graves, g, link);
}

void
inode_free(struct draft *d, struct inode *i)
{
	RB_REMOVE(inodes_by_ino, &d->inos, i);
	inode_place(d, i, NULL, 0);
	dentry_clear(d, i);
	disown(d, i);
	xattrs_clear(i);
	free(i->target);
	pthread_rwlock_destroy(&i->data);
	free(i);
}

void
inode_unref(struct draft *d, struct inode *i)
{
	struct inode *up;

	while (i != NULL && --i->refs == 0) {
		up = i->parent;
		inode_free(d, i);
		i = up;
	}
}

void
inode_reap(struct draft *d)
{
	STAILQ_HEAD(, grave) graves = STAILQ_HEAD_INITIALIZER(graves);
	struct grave *g;

	{
		LOCK(&d->lock);
		STAILQ_CONCAT(&graves, &d->graves);
	}
	while ((g = STAILQ_FIRST(&graves)) != NULL) {
		STAILQ_REMOVE_HEAD(&graves, link);
		inode_bury(d, g->ino, g->staged);
		free(g);
	}
}

void
inode_set_parent(struct draft *d, struct inode *i, struct inode *dir)
{
	struct inode *before = i->parent;

	i->parent = dir != NULL ? inode_ref(dir) : NULL;
	if (before != NULL)
		inode_unref(d, before);
}

void
inode_keep(struct draft *d, struct inode *i)
{
	(void)d;
	if (i->logged || i->nlink == 0)
		return;
	i->logged = true;
	i->own_attr = true;
	inode_ref(i);
}

void
inode_nameless(struct draft *d, struct inode *i)
{
	i->nlink = 0;
	i->nlink_known = true;
	if (S_ISDIR(i->mode)) {
		dentry_clear(d, i);
		inode_set_parent(d, i, NULL);
	}
	if (i->logged) {
		i->logged = false;
		inode_unref(d, i);
	}
}

void
inode_hold(struct inode *i)
{
	if (i->nlookup++ == 0)
		inode_ref(i);
}

/*
 * From the base.
 */

/* What it does not have of its own.  With the lock. */
static int
fill(struct inode *i, const struct pxar_entry *e)
{
	char *target = NULL;

	if (i->own_attr && (i->mode & S_IFMT) != (e->mode & S_IFMT))
		return -EBADMSG;
	if (e->target != NULL && i->target == NULL) {
		target = strdup(e->target);
		if (target == NULL)
			return -ENOMEM;
		i->target = target;
	}
	if (!i->own_attr) {
		i->mode = e->mode;
		i->uid = e->uid;
		i->gid = e->gid;
		i->pxar_flags = e->flags;
		i->mtime.tv_sec = e->mtime_sec;
		i->mtime.tv_nsec = e->mtime_nsec;
		i->ctime = i->mtime;
		i->rdev = makedev((unsigned)e->dev_major,
		    (unsigned)e->dev_minor);
	}
	/* After a replay a content may be known before its base is. */
	if (i->content == NULL)
		i->size = S_ISREG(i->mode) ?
		    MIN(e->size, (uint64_t)INT64_MAX) :
		    S_ISLNK(i->mode) ? strlen(i->target) : 0;
	i->has_meta = e->has_meta;
	if (!e->has_meta)
		i->meta_known = true;
	i->loaded = true;
	return 0;
}

static int
new_of_base(struct draft *d, struct base_archive *a, uint64_t pos,
    const struct pxar_entry *e, struct inode **ret)
{
	uint64_t ino = base_number(a, pos);
	struct inode *i;
	int r;

	if (ino - a->first >= a->span)
		return -EBADMSG;
	r = inode_new(d, ino, &i);
	if (r < 0)
		return r == -EEXIST ? -EBADMSG : r;
	i->nlink = 1;
	i->nlink_known = !S_ISREG(e->mode) || !base_is_tree(a);
	r = fill(i, e);
	if (r < 0) {
		inode_unref(d, i);
		return r;
	}
	inode_place(d, i, a, pos);
	*ret = i;
	return 0;
}

int
inode_of_base(struct draft *d, struct base_archive *a, uint64_t pos,
    const struct pxar_entry *e, struct inode **ret)
{
	struct inode *i = at_entry(d, a, pos);
	int r;

	if (i == NULL)
		return new_of_base(d, a, pos, e, ret);
	r = i->loaded ? 0 : fill(i, e);
	if (r == 0)
		*ret = inode_ref(i);
	return r;
}

int
inode_load(struct draft *d, struct inode *i, unsigned flags)
{
	struct base_archive *a;
	struct pxar_entry e;
	uint64_t pos;
	int r;

	do {
		{
			LOCK(&d->lock);
			a = i->archive;
			pos = i->pos;
			if (i->loaded || a == NULL)
				return 0;
			base_ref(a->base);
		}
		r = base_entry(a, pos, 0, flags, &e);
		if (r == 0) {
			LOCK(&d->lock);
			/* It may have become an entry of another base. */
			if (!i->loaded && i->archive == a && i->pos == pos)
				r = fill(i, &e);
			pxar_entry_fini(&e);
		}
		base_unref(a->base);
	} while (r == 0);
	return r;
}

int
inode_count(struct draft *d, struct inode *i, unsigned flags)
{
	struct base_archive *a;
	uint32_t nlink;
	uint64_t pos;
	int r;

	do {
		{
			LOCK(&d->lock);
			a = i->archive;
			pos = i->pos;
			if (i->nlink_known || a == NULL)
				return 0;
			base_ref(a->base);
		}
		r = base_nlink(a, pos, flags, &nlink);
		if (r == 0) {
			LOCK(&d->lock);
			if (!i->nlink_known && i->archive == a &&
			    i->pos == pos) {
				i->nlink = nlink;
				i->nlink_known = true;
			}
		}
		base_unref(a->base);
	} while (r == 0);
	return r;
}

void
inode_retarget(struct draft *d, struct inode *i, struct base_archive *a,
    uint64_t pos)
{
	if (i->content != NULL)
		i->size = content_size(i->content);
	disown(d, i);
	xattrs_clear(i);
	inode_place(d, i, a, pos);
	/* The archive may hold fewer names of it than the draft did. */
	i->nlink_known = !S_ISREG(i->mode) || !base_is_tree(a);
	i->nlink = 1;
	/* Attributes stay as they are known: those of the entry are the same,
	 * and if not, the caller takes loaded back. */
	i->own_attr = false;
	i->own_meta = false;
	i->meta_known = false;
	i->has_meta = true;
}

/*
 * For others.
 */

static blkcnt_t
blocks_of(const struct inode *i, uint64_t size)
{
	uint64_t bytes = size;

	if (i->content != NULL && i->archive == NULL)
		bytes = content_staged(i->content) +
		    content_chunked(i->content) + content_lost(i->content);
	else if (i->archive != NULL && i->archive->kind == ARCHIVE_FIXED &&
	    size > 512)
		/* Less than it takes: makes cp and tar ask for holes. */
		bytes -= 512;
	return (blkcnt_t)(bytes / 512 + (bytes % 512 != 0));
}

void
inode_stat(const struct draft *d, const struct inode *i, struct stat *ret)
{
	uint64_t size = i->content != NULL ? content_size(i->content) : i->size;

	(void)d;
	memset(ret, 0, sizeof(*ret));
	ret->st_ino = i->ino;
	ret->st_mode = i->mode;
	ret->st_nlink = i->nlink;
	ret->st_uid = i->uid;
	ret->st_gid = i->gid;
	ret->st_blksize = 4096;
	if (S_ISREG(i->mode)) {
		ret->st_blksize = BLKSIZE;
		ret->st_size = (off_t)size;
		ret->st_blocks = blocks_of(i, size);
	} else if (S_ISLNK(i->mode)) {
		ret->st_size = (off_t)i->size;
	} else if (S_ISBLK(i->mode) || S_ISCHR(i->mode)) {
		ret->st_rdev = i->rdev;
	}
	ret->st_mtim = i->mtime;
	ret->st_atim = i->mtime;
	ret->st_ctim = i->ctime;
}

/* The name that leads from dir to i, as far as it needs no I/O. */
static const char *
name_in(const struct draft *d, struct inode *dir, const struct inode *i)
{
	struct dentry *e;

	RB_FOREACH(e, dentries, &dir->names)
		if (e->child == i)
			return e->name;
	if (dir == d->root && i->archive != NULL &&
	    i->ino == i->archive->first)
		return i->archive->shown;
	return "?";
}

void
inode_path(struct draft *d, struct inode *i, struct str *out)
{
	const char *names[64];
	size_t n = 0;

	for (; i != d->root && i->parent != NULL && n < ARRAY_SIZE(names);
	    i = i->parent)
		names[n++] = name_in(d, i->parent, i);
	if (i != d->root)
		str_add(out, n < ARRAY_SIZE(names) ? "?" : "...");
	while (n-- > 0) {
		if (out->len > 0)
			str_addc(out, '/');
		str_escape(out, names[n], strlen(names[n]));
	}
}

struct inode *
inode_get(struct draft *d, uint64_t ino)
{
	LOCK(&d->lock);
	return inode_find(d, ino);
}

void
inode_put(struct draft *d, struct inode *i)
{
	{
		LOCK(&d->lock);
		inode_unref(d, i);
	}
	inode_reap(d);
}

int
inode_get_with(struct draft *d, uint64_t ino, inode_load_fn *load,
    unsigned flags, struct inode **ret)
{
	struct inode *i = inode_get(d, ino);
	int r;

	if (i == NULL)
		return -ESTALE;
	r = load(d, i, flags);
	if (r < 0) {
		inode_put(d, i);
		return r;
	}
	*ret = i;
	return 0;
}
