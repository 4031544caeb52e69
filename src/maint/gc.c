/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/gc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "maint/agent.h"
#include "maint/gc_priv.h"
#include "maint/marks.h"
#include "repo/repo.h"
#include "store/backends.h"
#include "store/store.h"

/* Of the clocks of two hosts, so much is nothing to speak of. */
#define SKEW_WARN_S 300

int
gc_stopped(const struct gc *g)
{
	return g->o->stop != NULL && atomic_load(g->o->stop) ? -ECANCELED : 0;
}

void
gc_event(const struct gc *g, enum gc_event e, const char *key, const char *text)
{
	if (g->o->event != NULL)
		g->o->event(g->o->arg, e, key, text);
}

void
gc_progress(const struct gc *g, int phase, uint64_t done, uint64_t total)
{
	if (g->o->progress != NULL)
		g->o->progress(g->o->arg, phase, done, total);
}

/*
 * What was put or touched before that is old enough, by the store's clock and
 * by ours, whichever is behind.  A cutoff of 0 is for who wants no age at all:
 * clocks do not matter then.
 */
static void
set_age(struct gc *g)
{
	int64_t cutoff = g->o->cutoff >= 0 ? g->o->cutoff : GC_CUTOFF_DEFAULT;
	int64_t skew = 0;

	if (cutoff == 0) {
		g->before = INT64_MAX;
		return;
	}
	if (store_skew(g->store, &skew) != 0)
		skew = 0;
	if (skew > SKEW_WARN_S || skew < -SKEW_WARN_S)
		log_warn("the store's clock is %lld s %s ours\n"
		    "hint: what is old enough to be deleted is judged by the "
		    "one that is behind", (long long)(skew < 0 ? -skew : skew),
		    skew < 0 ? "behind" : "ahead of");
	if (__builtin_sub_overflow(g->res->started + (skew < 0 ? skew : 0),
	    cutoff, &g->before))
		g->before = INT64_MIN;
}

static int
run(struct gc *g)
{
	struct gc_missing *missing;
	int r;

	r = gc_mark(g);
	if (r < 0)
		return r;
	if (g->base != NULL && !g->o->dry_run) {
		r = gc_dir_check_atime(g);
		if (r < 0)
			return r;
	}
	/* The store was heard of by now. */
	set_age(g);
	missing = calloc(1, sizeof(*missing));
	if (missing == NULL)
		return -ENOMEM;
	r = gc_sweep(g, missing);
	if (r == 0 && g->base != NULL && !g->o->dry_run)
		r = gc_dir_tidy(g);
	if (r == 0 && missing->n > 0)
		r = gc_name_missing(g, missing);
	free(missing);
	return r;
}

static int
collect(struct gc *g)
{
	struct agent *a = g->o->agent;
	int r;

	if (g->o->dry_run)
		return run(g);
	r = a->ops->gc_begin(a);
	if (r < 0)
		return r;
	r = run(g);
	a->ops->gc_end(a);
	return r;
}

int
gc_run(const struct gc_opts *o, struct gc_result *ret)
{
	const struct marks_opts mo = {.dir = o->work};
	struct gc g = {.o = o, .res = ret, .store = repo_store(o->repo)};
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->started = clock_real_s();
	g.base = store_dir_base(g.store, &g.base_fd);
	r = marks_new(&mo, &g.marks);
	if (r == 0)
		r = collect(&g);
	marks_free(g.marks);
	for (size_t i = 0; i < g.n; i++)
		free(g.v[i]);
	free(g.v);
	ret->finished = clock_real_s();
	if (r == 0 && g.base != NULL && !o->dry_run)
		r = gc_dir_status(&g);
	return r == 0 && ret->undeleted > 0 ? 1 : r;
}
