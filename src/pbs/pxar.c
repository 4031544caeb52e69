/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/pxar.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "pbs/pxar_priv.h"

/* FORMAT_VERSION and PRELUDE, which version 1 does not have, and then the
 * root's ENTRY. */
static int
read_head(struct pxar *a)
{
	struct pxar_win w;
	struct pxar_rec rec;
	uint8_t number[8];
	int r;

	pxar_win_init(&w, &a->src, 0, a->root);
	r = pxar_win_record(&w, &rec);
	if (r < 0)
		return r;
	a->version = 1;
	if (rec.type == PXAR_FORMAT_VERSION) {
		if (rec.len != sizeof(number))
			return -EBADMSG;
		r = pxar_win_read(&w, number, sizeof(number));
		if (r < 0)
			return r;
		if (get_le64(number) != 2)
			return -EBADMSG;
		a->version = 2;
		r = pxar_win_record(&w, &rec);
		if (r < 0)
			return r;
		if (rec.type == PXAR_PRELUDE) {
			a->prelude_off = w.pos;
			a->prelude_len = rec.len;
			pxar_win_move(&w, rec.end, a->root);
			r = pxar_win_record(&w, &rec);
			if (r < 0)
				return r;
		}
	}
	if (rec.type != PXAR_ENTRY && rec.type != PXAR_ENTRY_V1)
		return -EBADMSG;
	a->entry = rec.begin;
	return 0;
}

int
pxar_open(const struct pxar_source *src, struct pxar **ret)
{
	_cleanup_free_ struct pxar *a = NULL;
	struct pxar_goodbye g;
	struct pxar_win w;
	int r;

	a = calloc(1, sizeof(*a));
	if (a == NULL)
		return -ENOMEM;
	a->src = *src;
	pxar_win_init(&w, &a->src, 0, src->size);
	r = pxar_goodbye_before(&w, 0, src->size, &g);
	if (r < 0)
		return r;
	/* The root's offset goes to the start of the stream, also where other
	 * records stand before its ENTRY. */
	if (g.entry != 0)
		return -EBADMSG;
	a->root = g.pos;
	r = read_head(a);
	if (r < 0)
		return r;
	*ret = steal(&a);
	return 0;
}

void
pxar_close(struct pxar *a)
{
	free(a);
}

int
pxar_with_source(const struct pxar *a, const struct pxar_source *src,
    struct pxar **ret)
{
	struct pxar *b;

	if (src->size != a->src.size)
		return -EINVAL;
	b = malloc(sizeof(*b));
	if (b == NULL)
		return -ENOMEM;
	*b = *a;
	b->src = *src;
	*ret = b;
	return 0;
}

int
pxar_version(const struct pxar *a)
{
	return a->version;
}

uint64_t
pxar_root(const struct pxar *a)
{
	return a->root;
}

void
pxar_prelude(const struct pxar *a, uint64_t *ret_off, uint64_t *ret_len)
{
	*ret_off = a->prelude_off;
	*ret_len = a->prelude_len;
}
