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
	case EBADF:
	case EBUSY:
	case EDQUOT:
	case EEXIST:
	case EFBIG:
	case EILSEQ:
	case EINTR:
	case EINVAL:
	case EISDIR:
	case ELOOP:
	case EMFILE:
	case EMLINK:
	case ENAMETOOLONG:
	case ENODATA:
	case ENODEV:
	case ENOENT:
	case ENOKEY:
	case ENOMEM:
	case ENOSPC:
	case ENOTDIR:
	case ENOTEMPTY:
	case ENXIO:
	case EOPNOTSUPP:
	case EOVERFLOW:
	case EPERM:
	case ERANGE:
	case EROFS:
	case ESTALE:
	case EXDEV:
		return -r;
	default:
		/* Damage, outages: the log says which. */
		return EIO;
	}
}

/* The answer goes out now; the work goes on. */
static void
on_interrupt(fuse_req_t req, void *data)
{
	struct call *c = data;
	bool late;

	{
		LOCK(&c->m->lock);
		late = c->answered;
		c->answered = true;
		pthread_cond_broadcast(&c->m->changed);
	}
	/* From here on c may be gone. */
	if (!late)
		fuse_reply_err(req, EINTR);
}

bool
call_may_answer(struct call *c)
{
	if (!c->interruptible)
		return true;
	{
		LOCK(&c->m->lock);
		if (c->answered)
			return false;
		c->answered = true;
	}
	/* Nor is anybody in on_interrupt after this. */
	fuse_req_interrupt_func(c->req, NULL, NULL);
	return true;
}

static void
call_job(struct work *w)
{
	struct call *c = (struct call *)w;
	int r;

	if (c->interruptible)
		fuse_req_interrupt_func(c->req, on_interrupt, c);
	r = c->fn(c, 0);
	if (r < 0 && call_may_answer(c))
		fuse_reply_err(c->req, call_errno(r));
	{
		LOCK(&c->m->lock);
		c->m->waiting--;
		c->m->answered++;
		LIST_REMOVE(c, link);
		pthread_cond_broadcast(&c->m->changed);
	}
	free(c->own);
	free(c);
}

bool
call_holds(const struct fuse_mount *m, fuse_ino_t dir)
{
	const struct call *c;

	LIST_FOREACH(c, &m->calls, link)
		if ((c->ino == dir || c->to == dir) &&
		    !(c->interruptible && c->answered))
			return true;
	return false;
}

/* What the library gave is gone when its thread goes on. */
static int
keep(struct call *c)
{
	size_t name = c->name != NULL ? strlen(c->name) + 1 : 0;
	size_t to = c->to_name != NULL ? strlen(c->to_name) + 1 : 0;
	size_t data = c->data != NULL ? c->size : 0;

	c->own = NULL;
	if (name + to + data == 0)
		return 0;
	c->own = malloc(name + to + data);
	if (c->own == NULL)
		return -ENOMEM;
	if (name > 0)
		c->name = memcpy(c->own, c->name, name);
	if (to > 0)
		c->to_name = memcpy(c->own + name, c->to_name, to);
	if (data > 0)
		c->data = memcpy(c->own + name + to, c->data, data);
	return 0;
}

static int
call_later(const struct call *c)
{
	struct call *later = malloc(sizeof(*later));
	int r;

	if (later == NULL)
		return -ENOMEM;
	*later = *c;
	later->work.fn = call_job;
	r = keep(later);
	if (r < 0) {
		free(later);
		return r;
	}
	{
		LOCK(&c->m->lock);
		c->m->waiting++;
		LIST_INSERT_HEAD(&c->m->calls, later, link);
	}
	r = workq_add(c->writes ? c->m->writers : c->m->pool, &later->work);
	if (r == 0)
		return 0;
	{
		LOCK(&c->m->lock);
		c->m->waiting--;
		LIST_REMOVE(later, link);
	}
	free(later->own);
	free(later);
	return r;
}

/*
 * Signals do not interrupt requests: reading a regular file must not fail with
 * EINTR, and every wait ends by a deadline.  Those that have none are marked
 * interruptible.
 */
void
call_run(struct call *c)
{
	bool later = c->interruptible;
	int r;

	c->m = fuse_req_userdata(c->req);
	c->ctx = *fuse_req_ctx(c->req);
	/* Nobody is told of an interrupt before it is on the pool. */
	c->interruptible = false;
	r = c->fn(c, VFS_NOWAIT);
	c->interruptible = later;
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
	if (!a->lasting)
		return 0.0;
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
	e->entry_timeout = a->lasting ? FOREVER : 0.0;
}

int
reply_entry(struct call *c, const struct vfs_attr *a)
{
	struct fuse_entry_param e = {.entry_timeout = FOREVER};

	if (a != NULL)
		reply_fill(&e, a);
	/* Who asked was interrupted: nobody will forget it. */
	if (fuse_reply_entry(c->req, &e) == -ENOENT && a != NULL)
		vfs_forget(c->m->v, a->st.st_ino, 1);
	return 0;
}
