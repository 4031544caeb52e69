/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/pxar_priv.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/num.h"

/* One entry seldom takes more; a longer first read would now and then reach
 * into a chunk that nobody needs. */
#define FIRST_READ 512

void
pxar_win_init(struct pxar_win *w, const struct pxar_source *src, uint64_t pos,
    uint64_t limit)
{
	w->src = src;
	w->pos = pos;
	w->stop = MIN(limit, src->size);
	w->limit = w->stop;
	w->off = 0;
	w->len = 0;
	w->ahead = FIRST_READ;
}

void
pxar_win_move(struct pxar_win *w, uint64_t pos, uint64_t limit)
{
	w->pos = pos;
	w->limit = MIN(limit, w->stop);
}

static int
fill(struct pxar_win *w, size_t n)
{
	size_t want = MAX(n, w->ahead);
	int r;

	want = MIN(want, w->stop - w->pos);
	w->len = 0;
	r = w->src->pread(w->src->arg, w->buf, want, w->pos);
	if (r < 0)
		return r;
	w->off = w->pos;
	w->len = want;
	w->ahead = PXAR_WIN_SIZE;
	return 0;
}

int
pxar_win_peek(struct pxar_win *w, size_t n, const uint8_t **ret)
{
	int r;

	assert(n <= sizeof(w->buf));
	if (w->pos > w->limit || n > w->limit - w->pos)
		return -EBADMSG;
	if (w->pos < w->off || w->pos + n > w->off + w->len) {
		r = fill(w, n);
		if (r < 0)
			return r;
	}
	*ret = w->buf + (w->pos - w->off);
	return 0;
}

int
pxar_win_read(struct pxar_win *w, void *p, size_t len)
{
	const uint8_t *b;
	int r;

	if (len > sizeof(w->buf)) {
		if (w->pos > w->limit || len > w->limit - w->pos)
			return -EBADMSG;
		r = w->src->pread(w->src->arg, p, len, w->pos);
	} else {
		r = pxar_win_peek(w, len, &b);
		if (r == 0)
			memcpy(p, b, len);
	}
	if (r < 0)
		return r;
	w->pos += len;
	return 0;
}

int
pxar_win_record(struct pxar_win *w, struct pxar_rec *ret)
{
	const uint8_t *b;
	uint64_t full;
	int r;

	r = pxar_win_peek(w, PXAR_HEADER_SIZE, &b);
	if (r < 0)
		return r;
	full = get_le64(b + 8);
	if (full < PXAR_HEADER_SIZE || full > w->limit - w->pos)
		return -EBADMSG;
	ret->type = get_le64(b);
	ret->begin = w->pos;
	ret->len = full - PXAR_HEADER_SIZE;
	ret->end = w->pos + full;
	w->pos += PXAR_HEADER_SIZE;
	return 0;
}
