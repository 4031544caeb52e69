/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/str.h"
#include "draft/draft_priv.h"
#include "draft/io.h"
#include "draft/journal.h"
#include "draft/staging.h"

static int
check_type(const struct inode *i)
{
	if (S_ISREG(i->mode))
		return 0;
	return S_ISDIR(i->mode) ? -EISDIR : S_ISLNK(i->mode) ? -ELOOP :
	    -ENXIO;
}

/* It will be read, so that what is not at hand is told now. */
static int
open_view(struct draft_file *f, unsigned flags)
{
	struct base_view *v;
	int r;

	{
		LOCK(&f->d->lock);
		if (f->i->content != NULL || f->i->archive == NULL)
			return 0;
	}
	r = view_get(f->d, f->i, flags, &v);
	if (r == 0)
		view_unref(v);
	return r;
}

int
draft_open(struct draft *d, uint64_t ino, int oflags, unsigned flags,
    struct draft_file **ret)
{
	int how = oflags & O_ACCMODE, r;
	struct draft_file *f;
	struct inode *i;

	i = inode_get(d, ino);
	if (i == NULL)
		return -ESTALE;
	r = inode_load(d, i, flags);
	if (r == 0)
		r = check_type(i);
	f = r == 0 ? calloc(1, sizeof(*f)) : NULL;
	if (f == NULL) {
		inode_put(d, i);
		return r < 0 ? r : -ENOMEM;
	}
	r = -pthread_mutex_init(&f->lock, NULL);
	if (r < 0) {
		free(f);
		inode_put(d, i);
		return r;
	}
	f->refs = 1;
	f->d = d;
	f->i = i;
	f->readable = how != O_WRONLY;
	f->writable = how != O_RDONLY;
	{
		LOCK(&d->lock);
		i->nopen++;
		i->nwrite += f->writable ? 1 : 0;
	}
	if ((oflags & O_TRUNC) && f->writable)
		r = io_truncate(d, i, 0, NULL, flags);
	else if (!f->writable)
		r = open_view(f, flags);
	if (r < 0) {
		draft_close(f);
		return r;
	}
	*ret = f;
	return 0;
}

struct draft_file *
file_ref(struct draft_file *f)
{
	__atomic_add_fetch(&f->refs, 1, __ATOMIC_RELAXED);
	return f;
}

void
draft_close(struct draft_file *f)
{
	struct draft *d;
	struct inode *i;
	int fd = -1;

	if (f == NULL || __atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	d = f->d;
	i = f->i;
	{
		LOCK(&d->lock);
		i->nopen--;
		i->nwrite -= f->writable ? 1 : 0;
		if (i->nopen == 0)
			fd = stage_idle(i);
	}
	if (fd >= 0)
		close(fd);
	if (f->writable)
		spill_wrote(d, i);
	inode_put(d, i);
	view_unref(f->seen);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

/* What went wrong and was not told; lost bytes are told every time. */
static int
take_error(struct draft *d, struct inode *i)
{
	int r;

	LOCK(&d->lock);
	r = i->error;
	i->error = 0;
	if (r == 0 && i->content != NULL && content_lost(i->content) > 0)
		r = -EIO;
	return r;
}

int
draft_flush(struct draft_file *f)
{
	return take_error(f->d, f->i);
}

/* The kernel may have dropped what it could not write, and says so once. */
static void
lose_staged(struct draft *d, struct inode *i, int err)
{
	_cleanup_(str_fini) struct str path = {0};
	struct piece p;
	bool more;

	{
		LOCK(&d->lock);
		inode_path(d, i, &path);
	}
	log_err("%s: what was written to it could not be kept on the local "
	    "disk: %s", str_get(&path), strerror(-err));
	do {
		{
			LOCK(&d->lock);
			more = i->content != NULL &&
			    content_next(i->content, 0, PIECE_STAGED, &p) == 0;
		}
		if (more)
			io_lose(d, i, p.off, p.len, err);
	} while (more);
}

/* Once for each opening: after a crash of the host the bytes are of no use in a
 * file that has lost its name. */
static int
sync_name(struct draft *d, struct inode *i, struct stage_file *f)
{
	int r;

	{
		LOCK(&d->lock);
		if (f->named)
			return 0;
	}
	r = staging_sync_name(d->dir, i->ino);
	if (r < 0)
		return r;
	LOCK(&d->lock);
	f->named = true;
	return 0;
}

static int
sync_staged(struct draft *d, struct inode *i)
{
	struct stage_file *f;
	int r, named;

	{
		LOCK(&d->lock);
		if (i->content == NULL || content_staged(i->content) == 0 ||
		    inode_is_orphan(i))
			return 0;
	}
	pthread_rwlock_rdlock(&i->data);
	r = stage_get(d, i, NULL, &f);
	pthread_rwlock_unlock(&i->data);
	if (r < 0)
		return r == -ENOENT ? 0 : r;	/* given back meanwhile */
	if (fdatasync(f->fd) < 0)
		r = -errno;
	named = sync_name(d, i, f);
	stage_put(d, i, f);
	if (r < 0 && draft_enter(d, 0) == 0) {
		lose_staged(d, i, r);
		draft_leave(d);
	}
	return r < 0 ? r : named;
}

static struct journal *
journal_of(struct draft *d)
{
	LOCK(&d->lock);
	return d->journal;
}

int
draft_fsync(struct draft *d, uint64_t ino)
{
	struct inode *i = inode_get(d, ino);
	struct journal *j;
	int r = 0;

	if (i == NULL)
		return -ESTALE;
	if (S_ISREG(i->mode)) {
		r = sync_staged(d, i);
		if (r == 0 && d->all->opts.fsync_store)
			r = spill_inode(d, i);
		if (r == 0)
			r = take_error(d, i);
		else
			(void)take_error(d, i);
	}
	j = journal_of(d);
	if (r == 0 && j != NULL)
		r = journal_sync(j, 0);
	inode_put(d, i);
	return r;
}
