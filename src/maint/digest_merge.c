/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/digest_merge.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void
sink(struct digest_merge *m, size_t i)
{
	struct merge_head h = m->heap[i];

	for (;;) {
		size_t c = 2 * i + 1;

		if (c >= m->n)
			break;
		if (c + 1 < m->n &&
		    digest_cmp(m->heap[c + 1].p, m->heap[c].p) < 0)
			c++;
		if (digest_cmp(h.p, m->heap[c].p) <= 0)
			break;
		m->heap[i] = m->heap[c];
		i = c;
	}
	m->heap[i] = h;
}

static int
load(struct merge_head *h)
{
	size_t n = 0;
	int r;

	do {
		r = h->list->next(h->list, &h->p, &n);
	} while (r == 0 && n == 0);
	if (r == 0)
		h->end = h->p + n;
	return r;
}

int
digest_merge_init(struct digest_merge *m, struct digest_list *const *lists,
    size_t n)
{
	memset(m, 0, sizeof(*m));
	m->heap = calloc(n + 1, sizeof(m->heap[0]));
	if (m->heap == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct merge_head *h = &m->heap[m->n];
		int r;

		h->list = lists[i];
		r = load(h);
		if (r < 0) {
			digest_merge_fini(m);
			return r;
		}
		m->n += r == 0;
	}
	for (size_t i = m->n / 2; i > 0; i--)
		sink(m, i - 1);
	return 0;
}

void
digest_merge_fini(struct digest_merge *m)
{
	free(m->heap);
	memset(m, 0, sizeof(*m));
}

/* The list at the top, past its first. */
static int
advance(struct digest_merge *m)
{
	struct merge_head *h = &m->heap[0];
	int r = ++h->p == h->end ? load(h) : 0;

	if (r < 0)
		return r;
	if (r == 1)
		*h = m->heap[--m->n];
	if (m->n > 1)
		sink(m, 0);
	return 0;
}

int
digest_merge_next(struct digest_merge *m, struct digest *ret)
{
	int r = 0;

	if (m->n == 0)
		return 1;
	*ret = *m->heap[0].p;
	while (r == 0 && m->n > 0 && digest_eq(m->heap[0].p, ret))
		r = advance(m);
	return r;
}

static int
piece_next(struct digest_list *l, const struct digest **ret, size_t *n)
{
	struct digest_piece *p = (struct digest_piece *)l;

	if (p->n == 0)
		return 1;
	*ret = p->v;
	*n = p->n;
	p->n = 0;
	return 0;
}

void
digest_piece_init(struct digest_piece *p, const struct digest *v, size_t n)
{
	p->l.next = piece_next;
	p->v = v;
	p->n = n;
}
