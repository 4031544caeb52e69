/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/file.h"

#include <errno.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/num.h"
#include "draft/chunk_keys.h"
#include "draft/draft_priv.h"
#include "draft/io.h"
#include "repo/chunks.h"

/* What is at off, and where that ends: within what one look tells. */
static int
hole_in_base(struct draft *d, struct inode *i, uint64_t off, uint64_t end,
    bool *ret_hole, uint64_t *ret_end)
{
	struct base_view *v;
	int r;

	r = view_get(d, i, 0, &v);
	if (r < 0)
		return r;
	*ret_hole = false;
	*ret_end = end;
	if (v->c.stream != NULL && off < v->c.size) {
		uint64_t stop;

		r = reader_hole(v->c.stream, v->c.off + off, &stop);
		if (r >= 0) {
			*ret_hole = r == 1;
			*ret_end = MIN(end, stop - v->c.off);
			r = 0;
		}
	}
	view_unref(v);
	return r;
}

static int
hole_at(struct draft *d, struct inode *i, uint64_t off, bool *ret_hole,
    uint64_t *ret_end)
{
	struct piece p = {.kind = PIECE_BASE};

	{
		LOCK(&d->lock);
		p.len = inode_size_now(i);
		if (off >= p.len)
			return -ENXIO;
		if (i->content != NULL)
			(void)content_at(i->content, off, &p);
	}
	*ret_hole = p.kind == PIECE_HOLE;
	*ret_end = p.off + p.len;
	if (p.kind == PIECE_CHUNK) {
		struct chunk_id id = {
		    .digest = p.digest,
		    .size = p.chunk_size,
		};

		*ret_hole = chunk_keys_get(d->all->keys, p.key, &id.key) == 0 &&
		    chunk_is_zero(&id);
	}
	if (p.kind == PIECE_BASE)
		return hole_in_base(d, i, off, *ret_end, ret_hole, ret_end);
	return 0;
}

int
draft_seek(struct draft_file *f, uint64_t off, int whence, uint64_t *ret)
{
	uint64_t pos = off, end;
	bool hole;
	int r;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	while ((r = hole_at(f->d, f->i, pos, &hole, &end)) == 0 &&
	    hole != (whence == SEEK_HOLE))
		pos = end;
	/* There is a hole after the end of every file. */
	if (r == -ENXIO && whence == SEEK_HOLE && pos > off)
		r = 0;
	*ret = pos;
	return r;
}
