/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/file.h"

#include <errno.h>

#include "base/lock.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/draft_priv.h"
#include "draft/io.h"
#include "draft/journal.h"
#include "draft/staging.h"

#define WAIT_DEFAULT_MS (5 * 60 * 1000)

/* Room for what is not staged yet: before entering, so that who waits for it
 * does not keep a snapshot from being made. */
static int
take_room(struct draft *d, struct inode *i, uint64_t off, size_t len,
    unsigned flags, uint64_t *ret)
{
	const bool wait = (flags & DRAFT_NOWAIT) == 0;
	unsigned ms = d->all->opts.timeout_ms;
	uint64_t need;
	deadline_t until;
	int r;

	{
		LOCK(&d->lock);
		need = content_room_for(i->content, off, len);
		if (!i->staged_file)
			need += STAGING_FILE_COST;
	}
	*ret = need;
	if (need == 0)
		return 0;
	/* A snapshot that is being made keeps its room until it is done,
	 * however long that takes. */
	do {
		until = wait ? deadline_in(ms > 0 ? ms : WAIT_DEFAULT_MS) : 1;
		r = staging_reserve(d->all->staging, need, until, d->all->dir);
	} while (r == -ENOSPC && wait && deadline_left(until) == 0 &&
	    __atomic_load_n(&d->all->publishing, __ATOMIC_RELAXED) > 0);
	return r;
}

/* The bytes are in the staging file: say so.  i->data is held. */
static int
write_note(struct draft *d, struct inode *i, uint64_t off, size_t len,
    uint64_t *room, uint64_t *ret_seq)
{
	_cleanup_(str_fini) struct str txn = {0};
	struct io_change c;
	int r;

	LOCK(&d->lock);
	r = io_begin(d, i, &txn, &c);
	if (r == 0)
		r = io_add_range(&txn, REC_STAGED, i, off, len);
	r = io_log(d, i, &c, r, ret_seq);
	if (r < 0)
		return r;
	r = content_write(i->content, off, len, ++d->seq);
	if (content_chunked(i->content) < c.chunked)
		i->rewrites++;
	(void)io_end(d, i, &c, room);
	i->write_end = off + len;
	i->written_at = clock_mono_ms();
	return r;
}

static int
write_bytes(struct draft *d, struct inode *i, const void *p, size_t len,
    uint64_t off, uint64_t *room)
{
	struct stage_file *f = NULL;
	uint64_t seq = 0;
	int r;

	pthread_rwlock_rdlock(&i->data);
	r = stage_get(d, i, room, &f);
	if (r == 0)
		r = stage_pwrite(f, p, len, off);
	if (r == 0)
		r = write_note(d, i, off, len, room, &seq);
	pthread_rwlock_unlock(&i->data);
	stage_put(d, i, f);
	if (r == 0 && seq > 0)
		r = journal_commit(d->journal, seq);
	return r;
}

/* Inside. */
static int
write_inside(struct draft *d, struct inode *i, const void *p, size_t len,
    uint64_t off, unsigned flags, int err, uint64_t *room)
{
	int r = err;

	if (r == 0)
		r = attr_kill_priv(d, i, flags);
	if (r == 0)
		r = write_bytes(d, i, p, len, off, room);
	if (r < 0 && r != -EAGAIN)
		io_lose(d, i, off, len, r);
	return r;
}

int
draft_write(struct draft_file *f, const void *p, size_t len, uint64_t off,
    unsigned flags)
{
	struct draft *d = f->d;
	struct inode *i = f->i;
	uint64_t room = 0;
	int r, err;

	if (!f->writable)
		return -EBADF;
	if (len == 0)
		return 0;
	if (off > INT64_MAX || len > INT64_MAX - off)
		return -EFBIG;
	err = take_room(d, i, off, len, flags, &room);
	if (err < 0)
		room = 0;
	if (err == -EAGAIN)
		return err;
	r = draft_enter(d, flags);
	if (r == 0) {
		r = write_inside(d, i, p, len, off, flags, err, &room);
		draft_leave(d);
	}
	if (room > 0)
		staging_release(d->all->staging, room);
	if (r == 0)
		spill_wrote(d, i);
	return r;
}
