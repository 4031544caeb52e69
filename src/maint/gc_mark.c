/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/gc_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "draft/scan.h"
#include "maint/agent.h"
#include "maint/marks.h"
#include "pbs/index.h"

static int
mark_chunk(void *arg, const struct group_name *name, const struct digest *d)
{
	struct gc *g = arg;

	(void)name;
	return marks_add(g->marks, d);
}

static int
ignore_base(void *arg, const struct group_name *g, int64_t time, bool changed)
{
	(void)arg;
	(void)g;
	(void)time;
	(void)changed;
	return 0;
}

/* Before the indices: what is published moves from here to there. */
static int
mark_drafts(struct gc *g)
{
	const struct draft_scan fns = {
	    .chunk = mark_chunk, .base = ignore_base, .arg = g};
	const struct gc_opts *o = g->o;
	const char *state = o->state, *identity = o->identity;

	if (o->agent != NULL && state == NULL) {
		state = o->agent->state;
		identity = o->agent->identity;
	}
	return state == NULL ? 0 : draft_scan(state, identity, &fns);
}

/* What was marked in an earlier run need not be read again. */
static int
take_over(struct gc *g)
{
	_cleanup_free_ struct digest *sources = NULL;
	size_t n = 0;
	int r;

	sources = calloc(g->n + 1, sizeof(*sources));
	if (sources == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < g->n; i++)
		if (g->v[i]->lasts)
			sources[n++] = g->v[i]->source;
	r = marks_keep(g->marks, sources, n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < g->n; i++) {
		struct gc_index *x = g->v[i];

		x->done = x->lasts &&
		    marks_has_source(g->marks, &x->source, &x->bytes);
		g->res->indices_reused += x->done;
	}
	return 0;
}

static bool
is_new(void *arg, const struct gc_index *i)
{
	(void)arg;
	return !i->done && i->same == NULL;
}

/* The one that it is a copy of has vanished, or was not what was listed. */
static bool
is_left(void *arg, const struct gc_index *i)
{
	(void)arg;
	return !i->done && i->same != NULL &&
	    (!i->same->done || !i->same->lasts);
}

static int
mark_index(void *arg, struct gc_index *i, const struct index *x)
{
	struct gc *g = arg;
	size_t n = index_count(x);
	struct digest last;
	int r;

	r = marks_source(g->marks, i->lasts ? &i->source : NULL, index_size(x));
	for (size_t k = 0; k < n && r == 0; k++) {
		struct digest d = index_chunk(x, k).digest;

		/* Images have long runs of nothing. */
		if (k == 0 || !digest_eq(&d, &last))
			r = marks_add(g->marks, &d);
		last = d;
	}
	if (r < 0)
		return r;
	g->res->references += n;
	i->bytes = index_size(x);
	i->done = true;
	g->res->indices++;
	gc_progress(g, 1, g->res->indices + g->res->indices_reused, g->n);
	return 0;
}

/* Those that have vanished are none. */
static void
count_indices(struct gc *g)
{
	g->res->indices = 0;
	for (size_t k = 0; k < g->n; k++) {
		struct gc_index *i = g->v[k];

		if (!i->done && i->same != NULL && i->same->done) {
			i->done = true;
			i->bytes = i->same->bytes;
		}
		g->res->indices += i->done;
		if (i->done)
			g->res->index_data_bytes += i->bytes;
	}
}

int
gc_mark(struct gc *g)
{
	int r;

	r = mark_drafts(g);
	if (r == 0)
		r = gc_list(g);
	if (r == 0)
		r = take_over(g);
	if (r == 0)
		r = gc_read(g, is_new, mark_index, g);
	if (r == 0)
		r = gc_read(g, is_left, mark_index, g);
	if (r == -ECANCELED) {
		/* So that the next run has less to do. */
		(void)marks_source(g->marks, NULL, 0);
		return r;
	}
	if (r < 0)
		return r;
	count_indices(g);
	return marks_finish(g->marks);
}
