/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "draft/draft.h"
#include "draft/scan.h"
#include "repo/claim.h"
#include "repo/guard.h"
#include "repo/known.h"
#include "repo/repo.h"

/* Who changes the store is this process. */
struct local {
	struct agent a;
	struct agent_local o;	/* strings are those of a */
};

static struct local *
local_of(struct agent *a)
{
	return (struct local *)a;
}

/* What was done also if the rest of it failed is to be seen. */
static int
changed(struct local *l, int r)
{
	if (l->o.changed != NULL)
		l->o.changed(l->o.arg);
	return r;
}

/* What must stay because an open snapshot was made of it. */
struct wanted {
	const struct group_name *g;
	int64_t time;		/* 0: any of the group */
};

static int
check_base(void *arg, const struct group_name *g, int64_t time, bool changed)
{
	const struct wanted *w = arg;

	if (!changed || g->type != w->g->type || !streq(g->id, w->g->id) ||
	    !streq(g->ns, w->g->ns) || (w->time != 0 && time != w->time))
		return 0;
	draft_say_busy(g, w->time, true);
	return -EBUSY;
}

/* Nobody of this host has them open: this process has claimed the store. */
static int
check_open(struct local *l, const struct group_name *g, int64_t time)
{
	struct wanted w = {.g = g, .time = time};
	const struct draft_scan fns = {.base = check_base, .arg = &w};

	if (l->o.state == NULL || l->o.identity == NULL)
		return 0;
	return draft_scan(l->o.state, l->o.identity, &fns);
}

static int
local_forget(struct agent *a, const struct group_name *g, int64_t time)
{
	struct local *l = local_of(a);
	int r;

	if (l->o.drafts != NULL)
		return changed(l, drafts_forget(l->o.drafts, g, time));
	r = check_open(l, g, time);
	return r < 0 ? r : changed(l, repo_forget(l->o.repo, g, time));
}

static int
local_forget_group(struct agent *a, const struct group_name *g)
{
	struct local *l = local_of(a);
	int r;

	if (l->o.drafts != NULL)
		return changed(l, drafts_forget_group(l->o.drafts, g));
	r = check_open(l, g, 0);
	return r < 0 ? r : changed(l, repo_forget_group(l->o.repo, g));
}

static int
local_remove_ns(struct agent *a, const char *path)
{
	struct local *l = local_of(a);

	return changed(l, repo_remove_ns(l->o.repo, path));
}

static int
local_protect(struct agent *a, const struct group_name *g, int64_t time,
    bool on)
{
	struct local *l = local_of(a);

	return changed(l, repo_protect(l->o.repo, g, time, on));
}

static int
local_notes(struct agent *a, const struct group_name *g, int64_t time,
    const char *text)
{
	struct local *l = local_of(a);

	return changed(l, time == 0 ?
	    repo_set_notes(l->o.repo, g, text, strlen(text)) :
	    repo_set_snap_notes(l->o.repo, g, time, text));
}

static int
local_record_verify(struct agent *a, const struct group_name *g, int64_t time,
    enum verify_verdict v, const char *upid)
{
	struct local *l = local_of(a);

	return changed(l, repo_set_verify(l->o.repo, g, time, upid,
	    v == VERIFY_OK ? "ok" : "failed"));
}

static int
local_doubt(struct agent *a, const struct digest *d, size_t n)
{
	struct local *l = local_of(a);

	for (size_t i = 0; l->o.known != NULL && i < n; i++)
		known_doubt(l->o.known, &d[i]);
	return 0;
}

static int
local_gc_begin(struct agent *a)
{
	struct local *l = local_of(a);
	int r;

	if (l->o.guard == NULL)
		return -EOPNOTSUPP;
	r = guard_begin(l->o.guard);
	if (r < 0 || l->o.claim == NULL)
		return r;
	r = claim_collect(l->o.claim);
	if (r < 0)
		guard_end(l->o.guard);
	return r == -EAGAIN ? -EBUSY : r;
}

static int
local_gc_condemn(struct agent *a, const struct digest *d, size_t n,
    bool *spared)
{
	struct local *l = local_of(a);

	return l->o.guard == NULL ? -EOPNOTSUPP :
	    guard_condemn(l->o.guard, d, n, spared);
}

static int
local_gc_settle(struct agent *a, bool answered)
{
	struct local *l = local_of(a);

	return l->o.guard == NULL ? -EOPNOTSUPP :
	    guard_settle(l->o.guard, answered);
}

static void
local_gc_end(struct agent *a)
{
	struct local *l = local_of(a);

	if (l->o.guard == NULL)
		return;
	if (l->o.claim != NULL)
		claim_collected(l->o.claim);
	guard_end(l->o.guard);
}

static void
local_free(struct agent *a)
{
	free(local_of(a));
}

int
agent_local_new(const struct agent_local *o, struct agent **ret)
{
	static const struct agent_ops ops = {
	    .forget = local_forget,
	    .forget_group = local_forget_group,
	    .remove_ns = local_remove_ns,
	    .protect = local_protect,
	    .notes = local_notes,
	    .record_verify = local_record_verify,
	    .doubt = local_doubt,
	    .gc_begin = local_gc_begin,
	    .gc_condemn = local_gc_condemn,
	    .gc_settle = local_gc_settle,
	    .gc_end = local_gc_end,
	    .free = local_free,
	};
	struct local *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return -ENOMEM;
	l->a.ops = &ops;
	l->o = *o;
	if ((o->state != NULL && (l->a.state = strdup(o->state)) == NULL) ||
	    (o->identity != NULL &&
		(l->a.identity = strdup(o->identity)) == NULL)) {
		agent_free(&l->a);
		return -ENOMEM;
	}
	l->o.state = l->a.state;
	l->o.identity = l->a.identity;
	*ret = &l->a;
	return 0;
}
