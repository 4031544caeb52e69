/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/meta.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/buf.h"
#include "base/lock.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/content.h"
#include "draft/draft_priv.h"
#include "draft/xattrs.h"
#include "pbs/acl.h"

/*
 * Between the xattrs that programs see and what an archive holds.
 */

int
meta_acl_chmod(const void *acl, size_t len, uint32_t mode, struct buf **ret)
{
	struct pxar_meta *m = calloc(1, sizeof(*m));
	struct pxar_entry e = {.mode = mode, .meta = m};
	uint32_t ignored;
	int r;

	if (m == NULL)
		return -ENOMEM;
	r = acl_set_access(m, mode, acl, len, &ignored);
	if (r == 0)
		r = acl_access(&e, ret);
	pxar_meta_free(m);
	return r;
}

static int
take_acl(struct inode *to, const char *name, int r, struct buf *acl)
{
	if (r != 0)
		return r < 0 ? r : 0;
	r = xattrs_set(to, name, acl->data, acl->len);
	buf_unref(acl);
	return r;
}

static int
xattrs_of(const struct pxar_entry *e, struct inode *to)
{
	const struct pxar_meta *m = e->meta;
	struct buf *acl = NULL;
	size_t n;
	int r = 0;

	if (m == NULL)
		return 0;
	for (n = 0; r == 0 && n < m->n_xattrs; n++)
		r = xattrs_set(to, m->xattrs[n].name, m->xattrs[n].value,
		    m->xattrs[n].len);
	if (r == 0 && m->fcaps != NULL)
		r = xattrs_set(to, XATTR_CAPABILITY, m->fcaps, m->fcaps_len);
	if (r == 0) {
		r = acl_access(e, &acl);
		r = take_acl(to, XATTR_ACL_ACCESS, r, acl);
	}
	if (r == 0) {
		r = acl_default(e, &acl);
		r = take_acl(to, XATTR_ACL_DEFAULT, r, acl);
	}
	return r;
}

int
inode_load_meta(struct draft *d, struct inode *i, unsigned flags)
{
	struct base_archive *a;
	struct inode read = {0};
	struct pxar_entry e;
	uint64_t pos;
	int r;

	r = inode_load(d, i, flags);
	if (r < 0)
		return r;
	do {
		{
			LOCK(&d->lock);
			a = i->archive;
			pos = i->pos;
			if (i->meta_known || a == NULL) {
				i->meta_known = true;
				return 0;
			}
			base_ref(a->base);
		}
		r = base_entry(a, pos, PXAR_META, flags, &e);
		if (r == 0) {
			r = xattrs_of(&e, &read);
			pxar_entry_fini(&e);
		}
		if (r == 0) {
			LOCK(&d->lock);
			if (!i->meta_known && i->archive == a &&
			    i->pos == pos) {
				xattrs_clear(i);
				i->xattrs = steal(&read.xattrs);
				i->n_xattrs = read.n_xattrs;
				i->meta_known = true;
				read.n_xattrs = 0;
			}
		}
		xattrs_clear(&read);
		base_unref(a->base);
	} while (r == 0);
	return r;
}

static int
add_xattr(struct pxar_meta *m, const struct inode_xattr *x)
{
	struct pxar_xattr *to = reallocarray(m->xattrs, m->n_xattrs + 1,
	    sizeof(*to));

	if (to == NULL)
		return -ENOMEM;
	m->xattrs = to;
	to += m->n_xattrs;
	to->name = strdup(x->name);
	to->value = malloc(MAX(x->len, 1));
	to->len = x->len;
	m->n_xattrs++;
	if (to->name == NULL || to->value == NULL)
		return -ENOMEM;
	if (x->len > 0)
		memcpy(to->value, x->value, x->len);
	return 0;
}

static int
meta_of(const struct inode *i, struct pxar_entry *e)
{
	struct pxar_meta *m = e->meta;
	const struct inode_xattr *x;
	uint32_t mode;
	int r = 0;
	size_t n;

	for (n = 0; r == 0 && n < i->n_xattrs; n++) {
		x = &i->xattrs[n];
		if (streq(x->name, XATTR_ACL_ACCESS)) {
			r = acl_set_access(m, e->mode, x->value, x->len,
			    &mode);
		} else if (streq(x->name, XATTR_ACL_DEFAULT)) {
			r = S_ISDIR(e->mode) ?
			    acl_set_default(m, x->value, x->len) : 0;
		} else if (streq(x->name, XATTR_CAPABILITY)) {
			m->fcaps = malloc(MAX(x->len, 1));
			if (m->fcaps == NULL)
				return -ENOMEM;
			memcpy(m->fcaps, x->value, x->len);
			m->fcaps_len = x->len;
		} else {
			r = add_xattr(m, x);
		}
	}
	return r;
}

/* With the lock. */
static int
entry_of(const struct inode *i, struct pxar_entry *e)
{
	e->mode = i->mode;
	e->flags = i->pxar_flags;
	e->uid = i->uid;
	e->gid = i->gid;
	e->mtime_sec = i->mtime.tv_sec;
	e->mtime_nsec = (uint32_t)i->mtime.tv_nsec;
	e->size = i->content != NULL ? content_size(i->content) : i->size;
	if (S_ISBLK(i->mode) || S_ISCHR(i->mode)) {
		e->dev_major = major(i->rdev);
		e->dev_minor = minor(i->rdev);
	}
	if (S_ISLNK(i->mode)) {
		e->target = strdup(i->target);
		if (e->target == NULL)
			return -ENOMEM;
	}
	if (i->n_xattrs == 0)
		return 0;
	e->meta = calloc(1, sizeof(*e->meta));
	if (e->meta == NULL)
		return -ENOMEM;
	return meta_of(i, e);
}

/* What has no xattr: the project of a quota. */
static int
keep_projid(const struct pxar_entry *base, struct pxar_entry *e)
{
	if (base->meta == NULL || !base->meta->has_projid)
		return 0;
	if (e->meta == NULL)
		e->meta = calloc(1, sizeof(*e->meta));
	if (e->meta == NULL)
		return -ENOMEM;
	e->meta->has_projid = true;
	e->meta->projid = base->meta->projid;
	return 0;
}

int
inode_entry(struct draft *d, struct inode *i, unsigned flags,
    struct pxar_entry *ret)
{
	struct base_archive *a;
	struct pxar_entry e;
	bool has_meta;
	uint64_t pos;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = inode_load_meta(d, i, flags);
	if (r < 0)
		return r;
	{
		LOCK(&d->lock);
		r = entry_of(i, ret);
		a = i->archive;
		pos = i->pos;
		has_meta = i->has_meta;
		if (a != NULL)
			base_ref(a->base);
	}
	if (r == 0 && a != NULL && has_meta && base_is_tree(a)) {
		r = base_entry(a, pos, PXAR_META, flags, &e);
		if (r == 0) {
			r = keep_projid(&e, ret);
			pxar_entry_fini(&e);
		}
	}
	if (a != NULL)
		base_unref(a->base);
	if (r == 0)
		ret->has_meta = ret->meta != NULL;
	else
		pxar_entry_fini(ret);
	return r;
}
