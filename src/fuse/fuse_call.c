/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/fuse_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "vfs/vfs.h"

/* As good as for ever, and far from overflowing anything in the kernel. */
#define FOREVER 1e9

int
call_errno(int r)
{
	switch (-r) {
	case EACCES:
	case EINVAL:
	case EISDIR:
	case ELOOP:
	case EMFILE:
	case ENAMETOOLONG:
	case ENODATA:
	case ENOENT:
	case ENOKEY:
	case ENOMEM:
	case ENOTDIR:
	case ENXIO:
	case ERANGE:
	case EROFS:
	case ESTALE:
		return -r;
	default:
		/* Damage, outages: the log says which. */
		return EIO;
	}
}

static void
call_job(struct work *w)
{
	struct call *c = (struct call *)w;
	int r;

	r = c->fn(c, 0);
	if (r < 0)
		fuse_reply_err(c->req, call_errno(r));
	{
		LOCK(&c->m->lock);
		c->m->waiting--;
		c->m->answered++;
	}
	free(c->own_name);
	free(c);
}

static int
call_later(const struct call *c)
{
	struct call *later = malloc(sizeof(*later));
	int r = -ENOMEM;

	if (later == NULL)
		return -ENOMEM;
	*later = *c;
	later->work.fn = call_job;
	later->own_name = NULL;
	if (c->name != NULL) {
		later->own_name = strdup(c->name);
		later->name = later->own_name;
		if (later->own_name == NULL)
			goto err;
	}
	{
		LOCK(&c->m->lock);
		c->m->waiting++;
	}
	r = workq_add(c->m->pool, &later->work);
	if (r == 0)
		return 0;
	{
		LOCK(&c->m->lock);
		c->m->waiting--;
	}
err:
	free(later->own_name);
	free(later);
	return r;
}

/*
 * Signals do not interrupt requests: reading a regular file must not fail with
 * EINTR, and every wait ends by the repository's deadline.
 */
void
call_run(struct call *c)
{
	int r;

	c->m = fuse_req_userdata(c->req);
	r = c->fn(c, VFS_NOWAIT);
	{
		LOCK(&c->m->lock);
		c->m->stats.requests++;
		c->m->stats.waited += r == -EAGAIN;
	}
	if (r == -EAGAIN)
		r = call_later(c);
	if (r < 0)
		fuse_reply_err(c->req, call_errno(r));
}

double
reply_timeout(const struct vfs_attr *a)
{
	if (a->stable)
		return FOREVER;
	/* A link count that may grow is not worth asking for every time; the
	 * root of an archive must be right the moment it is known. */
	return S_ISREG(a->st.st_mode) && a->st.st_nlink > 0 &&
	    a->st.st_size > 0 ? 1.0 : 0.0;
}

void
reply_fill(struct fuse_entry_param *e, const struct vfs_attr *a)
{
	memset(e, 0, sizeof(*e));
	e->ino = a->st.st_ino;
	e->attr = a->st;
	e->attr_timeout = reply_timeout(a);
	/* Names that go are told to the kernel. */
	e->entry_timeout = FOREVER;
}

int
reply_entry(struct call *c, const struct vfs_attr *a)
{
	struct fuse_entry_param e = {.entry_timeout = FOREVER};

	if (a != NULL)
		reply_fill(&e, a);
	fuse_reply_entry(c->req, &e);
	return 0;
}
