/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/io.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/lock.h"
#include "base/num.h"
#include "base/str.h"
#include "base/workq.h"
#include "draft/draft_priv.h"
#include "draft/journal.h"
#include "draft/staging.h"

/* Each may wait for a store. */
#define READERS 32

struct io {
	struct workq *readers;	/* owned */
};

int
io_start(struct drafts *ds, struct io **ret)
{
	struct io *io = calloc(1, sizeof(*io));
	int r;

	(void)ds;
	if (io == NULL)
		return -ENOMEM;
	r = workq_new("draft-read", READERS, &io->readers);
	if (r < 0) {
		free(io);
		return r;
	}
	*ret = io;
	return 0;
}

void
io_stop(struct io *io)
{
	if (io != NULL)
		workq_stop(io->readers);
}

void
io_free(struct io *io)
{
	if (io == NULL)
		return;
	workq_free(io->readers);
	free(io);
}

int
io_queue(struct draft *d, struct work *w)
{
	return workq_add(d->all->io->readers, w);
}

bool
inode_is_orphan(const struct inode *i)
{
	return i->nlink_known && i->nlink == 0;
}

uint64_t
inode_size_now(const struct inode *i)
{
	return i->content != NULL ? content_size(i->content) : i->size;
}

void
io_now(struct timespec *ret)
{
	clock_gettime(CLOCK_REALTIME, ret);
}

int
io_add_range(struct str *txn, enum record_kind kind, const struct inode *i,
    uint64_t off, uint64_t len)
{
	struct record rec = {
	    .kind = kind,
	    .ino = i->ino,
	    .off = off,
	    .len = len,
	    .mtime_sec = i->mtime.tv_sec,
	    .mtime_nsec = (uint32_t)i->mtime.tv_nsec,
	};

	if (inode_is_orphan(i))
		return 0;
	return record_add(txn, &rec);
}

static int
own(struct inode *i)
{
	struct content *c;
	int r;

	r = content_new(&c);
	if (r < 0)
		return r;
	r = content_set_base(c, i->archive != NULL ? i->size : 0);
	if (r < 0) {
		content_free(c);
		return r;
	}
	i->content = c;
	i->summed = true;
	return 0;
}

int
inode_own(struct draft *d, struct inode *i, struct str *txn)
{
	struct record rec = {
	    .kind = REC_OWN,
	    .ino = i->ino,
	    .len = i->archive != NULL ? i->size : 0,
	};
	int r = 0;

	(void)d;
	if (!inode_is_orphan(i))
		r = record_add(txn, &rec);
	return r < 0 ? r : own(i);
}

int
io_begin(struct draft *d, struct inode *i, struct str *txn,
    struct io_change *c)
{
	bool fresh = !i->logged || !i->own_attr;
	int r = 0;

	*c = (struct io_change){
	    .txn = txn,
	    .own_attr = i->own_attr,
	    .mtime = i->mtime,
	    .ctime = i->ctime,
	};
	i->own_attr = true;
	io_now(&i->mtime);
	i->ctime = i->mtime;
	if (fresh && !inode_is_orphan(i))
		r = i->logged ? log_attr(d, i, txn) : log_inode(d, i, txn);
	if (r == 0 && i->content == NULL) {
		r = inode_own(d, i, txn);
		c->made = r == 0;
	}
	/* What the journal was told must come true. */
	if (r == 0)
		r = content_reserve(i->content);
	if (i->content != NULL) {
		c->staged = content_staged(i->content);
		c->room = content_room(i->content);
		c->chunked = content_chunked(i->content);
	}
	return r;
}

int
io_log(struct draft *d, struct inode *i, struct io_change *c, int err,
    uint64_t *ret_seq)
{
	int r = err < 0 ? err : str_error(c->txn);

	if (r == 0)
		r = draft_log(d, c->txn, ret_seq);
	if (r == 0) {
		if (!i->logged && !inode_is_orphan(i))
			inode_keep(d, i);
		return 0;
	}
	if (c->made) {
		content_free(i->content);
		i->content = NULL;
	}
	i->own_attr = c->own_attr;
	i->mtime = c->mtime;
	i->ctime = c->ctime;
	return r;
}

uint64_t
io_end(struct draft *d, struct inode *i, const struct io_change *c,
    uint64_t *room)
{
	uint64_t now = content_room(i->content), more, have;

	d->staged += content_staged(i->content) - c->staged;
	d->chunked += content_chunked(i->content) - c->chunked;
	i->size = content_size(i->content);
	/* Who writes anew what was lost has made good for it. */
	if (content_lost(i->content) == 0)
		i->error = 0;
	if (now <= c->room)
		return c->room - now;
	more = now - c->room;
	have = room != NULL ? MIN(*room, more) : 0;
	if (room != NULL)
		*room -= have;
	staging_charge(d->all->staging, more - have);
	return 0;
}

void
io_lose(struct draft *d, struct inode *i, uint64_t off, uint64_t len, int err)
{
	_cleanup_(str_fini) struct str txn = {0};
	struct io_change c;
	uint64_t seq = 0, dead = 0;
	int r;

	{
		LOCK(&d->lock);
		r = io_begin(d, i, &txn, &c);
		if (r == 0)
			r = io_add_range(&txn, REC_LOST, i, off, len);
		r = io_log(d, i, &c, r, &seq);
		/* If even that cannot be recorded, this mount knows. */
		if (r < 0 && i->content == NULL)
			(void)own(i);
		if (i->content != NULL) {
			(void)content_lose(i->content, off, len, ++d->seq);
			dead = io_end(d, i, &c, NULL);
		}
		i->error = err;
	}
	if (r == 0 && seq > 0)
		(void)journal_commit(d->journal, seq);
	spill_garbage(d, i->ino, off, len, dead);
}

bool
inode_disown(struct draft *d, struct inode *i, uint64_t *ret_room)
{
	bool exists = i->staged_file;

	*ret_room = 0;
	if (i->content != NULL && i->summed) {
		*ret_room = content_room(i->content);
		d->staged -= content_staged(i->content);
		d->chunked -= content_chunked(i->content);
	}
	content_free(i->content);
	i->content = NULL;
	i->summed = false;
	stage_forget(i);
	view_unref(i->view);
	i->view = NULL;
	i->rewrites = 0;
	i->write_end = 0;
	return exists;
}
