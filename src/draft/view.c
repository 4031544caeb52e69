/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/lock.h"
#include "draft/draft_priv.h"
#include "repo/reader.h"

void
view_unref(struct base_view *v)
{
	if (v == NULL ||
	    __atomic_sub_fetch(&v->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	base_content_fini(&v->c);
	base_unref(v->base);
	free(v);
}

struct base_view *
view_ref(struct base_view *v)
{
	__atomic_add_fetch(&v->refs, 1, __ATOMIC_RELAXED);
	return v;
}

/* A snapshot that was published meanwhile moves an inode to another base. */
static bool
is_of(const struct base_view *v, const struct inode *i)
{
	return v->archive == i->archive && v->pos == i->pos;
}

struct base_view *
view_now(struct inode *i)
{
	return i->view != NULL && is_of(i->view, i) ? view_ref(i->view) : NULL;
}

/* What it is a view of, and the right to look at it. */
static int
view_aim(struct draft *d, struct inode *i, struct base_view *v,
    struct base_view **ret)
{
	LOCK(&d->lock);
	*ret = view_now(i);
	if (*ret != NULL)
		return 0;
	if (i->archive == NULL)
		return -ENOENT;
	v->archive = i->archive;
	v->pos = i->pos;
	v->base = base_ref(i->archive->base);
	return 0;
}

static void
view_keep(struct draft *d, struct inode *i, struct base_view *v)
{
	struct base_view *old;

	{
		LOCK(&d->lock);
		if (!is_of(v, i))
			return;
		old = i->view;
		i->view = view_ref(v);
	}
	view_unref(old);
}

int
view_get(struct draft *d, struct inode *i, unsigned flags,
    struct base_view **ret)
{
	struct base_view *v = calloc(1, sizeof(*v));
	struct pxar_entry e;
	int r;

	if (v == NULL)
		return -ENOMEM;
	v->refs = 1;
	r = view_aim(d, i, v, ret);
	if (r < 0 || *ret != NULL) {
		free(v);
		return r;
	}
	r = base_entry(v->archive, v->pos, 0, flags, &e);
	if (r == 0) {
		r = base_content(v->archive, &e, flags, &v->c);
		pxar_entry_fini(&e);
		if (r < 0)
			memset(&v->c, 0, sizeof(v->c));
	}
	if (r < 0) {
		view_unref(v);
		/* The file is there; what it is made of is not. */
		return r == -ENOENT ? -EIO : r;
	}
	view_keep(d, i, v);
	*ret = v;
	return 0;
}

int
view_read(struct base_view *v, void *p, size_t len, uint64_t off,
    unsigned flags)
{
	if (off > v->c.size || len > v->c.size - off)
		return -EBADMSG;
	if (v->c.stream != NULL)
		return reader_pread(v->c.stream, p, len, v->c.off + off,
		    flags);
	if (v->c.blob == NULL)
		return len == 0 ? 0 : -EBADMSG;
	if (v->c.off > v->c.blob->len || v->c.size > v->c.blob->len - v->c.off)
		return -EBADMSG;
	memcpy(p, v->c.blob->data + v->c.off + off, len);
	return 0;
}
