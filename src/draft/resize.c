/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/io.h"

#include <errno.h>
#include <fcntl.h>

#include "base/lock.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/draft_priv.h"
#include "draft/file.h"
#include "draft/journal.h"

/* What a file was before attributes were applied to it. */
struct before {
	uint32_t mode, uid, gid;
};

/* The size, and after it the attributes, which know better about times. */
static int
resize_log(struct draft *d, struct inode *i, uint64_t size,
    const struct draft_change *c, struct io_change *change, uint64_t *ret_seq)
{
	struct before b = {i->mode, i->uid, i->gid};
	int r;

	r = io_begin(d, i, change->txn, change);
	if (r == 0)
		r = io_add_range(change->txn, REC_SIZE, i, 0, size);
	if (r == 0 && c != NULL) {
		attr_apply(i, c);
		r = inode_is_orphan(i) ? 0 : log_attr(d, i, change->txn);
	}
	r = io_log(d, i, change, r, ret_seq);
	if (r < 0) {
		i->mode = b.mode;
		i->uid = b.uid;
		i->gid = b.gid;
	}
	return r;
}

static int
resize(struct draft *d, struct inode *i, uint64_t size,
    const struct draft_change *c)
{
	_cleanup_(str_fini) struct str txn = {0};
	struct io_change change = {.txn = &txn};
	uint64_t seq = 0, dead = 0, old;
	int r;

	{
		LOCK(&d->lock);
		old = inode_size_now(i);
		r = resize_log(d, i, size, c, &change, &seq);
		if (r < 0)
			return r;
		r = content_truncate(i->content, size, ++d->seq);
		dead = io_end(d, i, &change, NULL);
	}
	if (dead > 0)
		spill_garbage(d, i->ino, size, old - size, dead);
	if (r == 0 && seq > 0)
		r = journal_commit(d->journal, seq);
	return r;
}

int
io_truncate(struct draft *d, struct inode *i, uint64_t size,
    const struct draft_change *c, unsigned flags)
{
	int r;

	if (size > INT64_MAX)
		return -EFBIG;
	r = inode_load(d, i, flags);
	if (r == 0)
		r = draft_enter(d, flags);
	if (r < 0)
		return r;
	r = attr_kill_priv(d, i, flags);
	if (r == 0)
		r = resize(d, i, size, c);
	draft_leave(d);
	return r;
}

/* [off, off + len) becomes a hole; the file ends at size, which it is at
 * least. */
static int
punch(struct draft *d, struct inode *i, uint64_t off, uint64_t len,
    uint64_t end)
{
	_cleanup_(str_fini) struct str txn = {0};
	struct io_change change;
	uint64_t seq = 0, dead = 0, size;
	int r;

	{
		LOCK(&d->lock);
		size = MAX(inode_size_now(i), end);
		r = io_begin(d, i, &txn, &change);
		if (r == 0 && len > 0)
			r = io_add_range(&txn, REC_PUNCH, i, off, len);
		if (r == 0 && size > content_size(i->content))
			r = io_add_range(&txn, REC_SIZE, i, 0, size);
		r = io_log(d, i, &change, r, &seq);
		if (r < 0)
			return r;
		r = content_punch(i->content, off, len, ++d->seq);
		if (r == 0)
			r = content_truncate(i->content, size, ++d->seq);
		dead = io_end(d, i, &change, NULL);
	}
	if (dead > 0)
		spill_garbage(d, i->ino, off, len, dead);
	if (r == 0 && seq > 0)
		r = journal_commit(d->journal, seq);
	return r;
}

/* How much of the file becomes a hole, and where it ends at least. */
static int
fallocate_plan(int mode, uint64_t off, uint64_t len, uint64_t *ret_hole,
    uint64_t *ret_end)
{
	*ret_hole = 0;
	*ret_end = off + len;
	switch (mode) {
	case 0:
		return 0;
	case FALLOC_FL_KEEP_SIZE:
		*ret_end = 0;
		return 0;
	case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
	case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
		*ret_hole = len;
		*ret_end = 0;
		return 0;
	case FALLOC_FL_ZERO_RANGE:
		*ret_hole = len;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

/* Nothing to do: what is beyond the end is no hole, room is not set aside. */
static bool
changes_nothing(struct draft *d, struct inode *i, uint64_t off, uint64_t hole,
    uint64_t end)
{
	LOCK(&d->lock);
	return end <= inode_size_now(i) &&
	    (hole == 0 || off >= inode_size_now(i));
}

int
draft_fallocate(struct draft_file *f, int mode, uint64_t off, uint64_t len,
    unsigned flags)
{
	struct draft *d = f->d;
	struct inode *i = f->i;
	uint64_t hole, end;
	int r;

	if (!f->writable)
		return -EBADF;
	if (len == 0)
		return -EINVAL;
	if (off > INT64_MAX || len > INT64_MAX - off)
		return -EFBIG;
	r = fallocate_plan(mode, off, len, &hole, &end);
	if (r < 0 || changes_nothing(d, i, off, hole, end))
		return r;
	r = draft_enter(d, flags);
	if (r < 0)
		return r;
	r = attr_kill_priv(d, i, flags);
	if (r == 0)
		r = punch(d, i, off, hole, end);
	draft_leave(d);
	return r;
}
