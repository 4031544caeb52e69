/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/spot.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/lock.h"
#include "base/log.h"
#include "draft/draft_priv.h"

/* An entry of the base.  Holds a reference of its base. */
struct found {
	struct base_archive *archive;
	uint64_t pos;
	struct pxar_entry entry;
};

static void
found_fini(struct found *f)
{
	if (f->archive == NULL)
		return;
	pxar_entry_fini(&f->entry);
	base_unref(f->archive->base);
	f->archive = NULL;
}

/* An archive or a file at the top.  -ENOENT. */
static int
find_archive(struct base *b, const char *name, unsigned flags,
    struct found *ret)
{
	struct base_archive *a = base_find(b, name);
	int r;

	if (a == NULL)
		return -ENOENT;
	r = base_root(a, flags, &ret->pos);
	if (r == 0)
		r = base_entry(a, ret->pos, 0, flags, &ret->entry);
	if (r < 0)
		return r;
	if (base_is_tree(a) != S_ISDIR(ret->entry.mode)) {
		pxar_entry_fini(&ret->entry);
		return -EBADMSG;
	}
	base_ref(b);
	ret->archive = a;
	return 0;
}

static int
find_entry(struct base_archive *a, uint64_t dir, const char *name,
    size_t len, unsigned flags, struct found *ret)
{
	int r;

	r = base_lookup(a, dir, name, len, flags, &ret->entry);
	if (r < 0)
		return r;
	base_ref(a->base);
	ret->archive = a;
	ret->pos = ret->entry.pos;
	return 0;
}

/*
 * A directory has one parent.  An entry of a damaged base, or of a journal that
 * is none of ours, may claim otherwise; going on would make a loop of it.
 */
static int
attach(struct draft *d, struct inode *dir, struct inode *child)
{
	if (child->parent == dir)
		return 0;
	if (S_ISDIR(child->mode) && child->parent != NULL) {
		log_limited(LOG_LVL_ERR, "directory %llu of an open snapshot "
		    "is in two places", (unsigned long long)child->ino);
		return -EBADMSG;
	}
	inode_set_parent(d, child, dir);
	return 0;
}

/* Looks the name up in the base directory behind s->dir, if there is one; then
 * with the lock held again.  -EAGAIN as from the store; 1: something has
 * changed meanwhile. */
static int
ask_base(struct draft *d, struct spot *s, unsigned flags)
{
	struct base_archive *a = s->dir->archive;
	uint64_t pos = s->dir->pos;
	struct base *b = base_ref(a != NULL ? a->base : d->base);
	struct found f = {0};
	int r;

	pthread_mutex_unlock(&d->lock);
	r = a != NULL ? find_entry(a, pos, s->name, s->len, flags, &f) :
	    find_archive(b, s->name, flags, &f);
	pthread_mutex_lock(&d->lock);
	if (s->dir->archive != a || s->dir->pos != pos ||
	    (a == NULL && d->base != b) ||
	    dentry_find(s->dir, s->name, s->len) != NULL)
		r = 1;
	if (r == 0)
		r = inode_of_base(d, f.archive, f.pos, &f.entry, &s->child);
	if (r == 0) {
		s->in_base = true;
		r = attach(d, s->dir, s->child);
	}
	found_fini(&f);
	base_unref(b);
	return r == -ENOENT ? 0 : r;
}

static int
find_child(struct draft *d, struct spot *s, unsigned flags)
{
	struct dentry *e;
	int r = 1;

	while (r == 1) {
		if (s->dir->nlink == 0)
			return 0;
		e = dentry_find(s->dir, s->name, s->len);
		if (e != NULL) {
			s->in_base = e->hides;
			if (e->child == NULL)
				return 0;
			s->child = inode_ref(e->child);
			return attach(d, s->dir, s->child);
		}
		if (s->dir->archive == NULL && s->dir != d->root)
			return 0;
		r = ask_base(d, s, flags);
	}
	return r;
}

static int
check_name(const char *name, size_t len)
{
	if (len > RECORD_NAME_MAX)
		return -ENAMETOOLONG;
	if (len == 0 || memchr(name, '/', len) != NULL ||
	    strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -EINVAL;
	return 0;
}

int
spot_find(struct draft *d, uint64_t parent, const char *name, unsigned want,
    unsigned flags, struct spot *ret)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->name = name;
	ret->len = strlen(name);
	r = check_name(name, ret->len);
	if (r < 0)
		return r;
	{
		LOCK(&d->lock);
		ret->dir = inode_find(d, parent);
		if (ret->dir == NULL)
			return -ESTALE;
		r = S_ISDIR(ret->dir->mode) ? find_child(d, ret, flags) :
		    -ENOTDIR;
	}
	if (r == 0 && ret->child != NULL)
		r = inode_load(d, ret->child, flags);
	if (r == 0 && ret->child != NULL && want != 0) {
		r = inode_count(d, ret->child, (want & SPOT_NLINK) != 0 ?
		    flags : flags | BASE_CHEAP);
		if (r < 0 && r != -EAGAIN && (want & SPOT_NLINK) == 0)
			r = 0;
	}
	if (r < 0)
		spot_fini(d, ret);
	return r;
}

void
spot_fini(struct draft *d, struct spot *s)
{
	LOCK(&d->lock);

	if (s->child != NULL)
		inode_unref(d, s->child);
	if (s->dir != NULL)
		inode_unref(d, s->dir);
	s->child = s->dir = NULL;
}

int
spot_is(const struct spot *s)
{
	const struct dentry *e = dentry_find(s->dir, s->name, s->len);
	const struct inode *now;

	if (s->dir->nlink == 0)
		return -ENOENT;
	now = e != NULL ? e->child : s->in_base ? s->child : NULL;
	return now == s->child ? 0 : -EAGAIN;
}
