/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/pxar_priv.h"

#include <errno.h>

#include "base/num.h"

/* A table of no entries: the header and the tail. */
#define GOODBYE_MIN (PXAR_HEADER_SIZE + PXAR_ITEM_SIZE)

static bool
size_is_valid(uint64_t full)
{
	return full >= GOODBYE_MIN &&
	    (full - PXAR_HEADER_SIZE) % PXAR_ITEM_SIZE == 0;
}

/* The tail closes [g->pos, g->end), which lies in the stream. */
static int
check_tail(const uint8_t *tail, struct pxar_goodbye *g)
{
	uint64_t offset = get_le64(tail + 8), full = g->end - g->pos;

	if (get_le64(tail) != PXAR_TAIL_HASH || get_le64(tail + 16) != full ||
	    !size_is_valid(full) || offset > g->pos)
		return -EBADMSG;
	g->count = (full - PXAR_HEADER_SIZE) / PXAR_ITEM_SIZE - 1;
	g->entry = g->pos - offset;
	return 0;
}

int
pxar_goodbye_at(const struct pxar *a, struct pxar_win *w,
    struct pxar_goodbye *ret)
{
	uint64_t pos = w->pos;
	struct pxar_rec rec;
	const uint8_t *b;
	int r;

	if (pos <= a->entry || pos > a->root)
		return -ENOENT;
	r = pxar_win_record(w, &rec);
	if (r < 0)
		return r;
	if (rec.type != PXAR_GOODBYE || !size_is_valid(rec.end - pos))
		return -EBADMSG;
	pxar_win_move(w, rec.end - PXAR_ITEM_SIZE, rec.end);
	r = pxar_win_peek(w, PXAR_ITEM_SIZE, &b);
	if (r < 0)
		return r;
	ret->pos = pos;
	ret->end = rec.end;
	r = check_tail(b, ret);
	if (r < 0)
		return r;
	/* What lies before the root's ENTRY is no directory. */
	if (pos == a->root)
		ret->entry = a->entry;
	return ret->entry >= a->entry ? 0 : -EBADMSG;
}

int
pxar_goodbye_before(struct pxar_win *w, uint64_t floor, uint64_t end,
    struct pxar_goodbye *ret)
{
	struct pxar_rec rec;
	const uint8_t *b;
	uint64_t full;
	int r;

	if (end < floor || end - floor < GOODBYE_MIN)
		return -EBADMSG;
	/* Start early, so that one read brings a small table whole. */
	pxar_win_move(w, end - MIN(end - floor, PXAR_WIN_SIZE / 8), end);
	r = pxar_win_peek(w, end - w->pos, &b);
	if (r < 0)
		return r;
	b += end - w->pos - PXAR_ITEM_SIZE;
	full = get_le64(b + 16);
	if (full > end - floor)
		return -EBADMSG;
	ret->pos = end - full;
	ret->end = end;
	r = check_tail(b, ret);
	if (r < 0)
		return r;

	pxar_win_move(w, ret->pos, end);
	r = pxar_win_record(w, &rec);
	if (r < 0)
		return r;
	if (rec.type != PXAR_GOODBYE || rec.end != end)
		return -EBADMSG;
	return 0;
}
