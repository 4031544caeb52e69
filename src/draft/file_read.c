/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/file.h"

#include <errno.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/lock.h"
#include "base/num.h"
#include "base/workq.h"
#include "draft/draft_priv.h"
#include "draft/io.h"

/* A read under way; keeps its file open. */
struct read {
	struct work work;
	struct draft_file *f;	/* counted */
	struct base_view *v;	/* owned, or NULL */
	uint64_t off;
	size_t len;
	draft_read_fn *fn;
	void *arg;
	uint8_t *p;		/* owned, or NULL */
};

/* Whoever is told may end the mount at once: of the draft nothing is touched
 * after that. */
static void
read_end(struct read *rd, int err, const struct iovec *iov, int n)
{
	struct buf *blob = NULL;

	if (rd->v != NULL && rd->v->c.blob != NULL)
		blob = buf_ref(rd->v->c.blob);
	view_unref(rd->v);
	draft_close(rd->f);
	rd->fn(rd->arg, err, iov, n);
	buf_unref(blob);
	free(rd->p);
	free(rd);
}

static void
read_filled(struct read *rd, int err, size_t len)
{
	struct iovec iov = {.iov_base = rd->p, .iov_len = len};

	read_end(rd, err, &iov, err == 0 && len > 0 ? 1 : 0);
}

static void
read_slow(struct work *w)
{
	struct read *rd = (struct read *)w;
	size_t n = 0;
	int r;

	r = io_fill(rd->f->d, rd->f->i, rd->p, rd->len, rd->off, 0, &n);
	read_filled(rd, r, n);
}

/* Of pieces: what is at hand now, the rest on a thread that may wait. */
static void
read_pieces(struct read *rd)
{
	size_t n = 0;
	int r;

	rd->p = malloc(rd->len);
	if (rd->p == NULL) {
		read_end(rd, -ENOMEM, NULL, 0);
		return;
	}
	r = io_fill(rd->f->d, rd->f->i, rd->p, rd->len, rd->off, DRAFT_NOWAIT,
	    &n);
	if (r == -EAGAIN) {
		rd->work.fn = read_slow;
		r = io_queue(rd->f->d, &rd->work);
		if (r == 0)
			return;
	}
	read_filled(rd, r, n);
}

static void
stream_done(void *arg, int err, const struct iovec *iov, int n)
{
	read_end(arg, err, iov, n);
}

/* Of a file that is as the base has it: its chunks themselves. */
static void
read_base(struct read *rd)
{
	struct base_content *c = &rd->v->c;
	struct draft_file *f = rd->f;
	struct base_view *old = NULL;

	if (c->stream == NULL) {
		struct iovec iov = {
		    .iov_base = c->blob->data + c->off + rd->off,
		    .iov_len = rd->len,
		};

		read_end(rd, 0, &iov, 1);
		return;
	}
	{
		LOCK(&f->lock);
		if (f->seen != rd->v) {
			old = f->seen;
			f->seen = view_ref(rd->v);
			readahead_init(&f->ahead, c->off, c->off + c->size);
		}
		readahead_update(&f->ahead, c->stream, c->off + rd->off,
		    rd->len);
	}
	view_unref(old);
	reader_read(c->stream, c->off + rd->off, rd->len, stream_done, rd);
}

/* Whether it is all the base's, which is in *ret if it was asked for. */
static size_t
read_aim(struct draft_file *f, uint64_t off, size_t len,
    struct base_view **ret)
{
	struct inode *i = f->i;
	uint64_t size;

	LOCK(&f->d->lock);
	*ret = NULL;
	size = inode_size_now(i);
	if (i->content == NULL && i->archive != NULL)
		*ret = view_now(i);
	if (off >= size)
		return 0;
	return (size_t)MIN((uint64_t)len, size - off);
}

void
draft_read(struct draft_file *f, uint64_t off, size_t len, draft_read_fn *fn,
    void *arg)
{
	struct base_view *v;
	struct read *rd;

	if (!f->readable) {
		fn(arg, -EBADF, NULL, 0);
		return;
	}
	len = read_aim(f, off, len, &v);
	rd = len > 0 ? calloc(1, sizeof(*rd)) : NULL;
	if (rd == NULL) {
		view_unref(v);
		fn(arg, len > 0 ? -ENOMEM : 0, NULL, 0);
		return;
	}
	rd->f = file_ref(f);
	rd->v = v;
	rd->off = off;
	rd->len = len;
	rd->fn = fn;
	rd->arg = arg;
	/* A stream that is shorter than its entry says is damage. */
	if (v != NULL && (off > v->c.size || len > v->c.size - off))
		read_end(rd, -EBADMSG, NULL, 0);
	else if (v != NULL)
		read_base(rd);
	else
		read_pieces(rd);
}
