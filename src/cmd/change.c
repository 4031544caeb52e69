/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/change.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/cost.h"
#include "cmd/exits.h"
#include "cmd/option.h"
#include "cmd/show.h"
#include "cmd/snap_path.h"
#include "cmd/upkeep.h"
#include "maint/agent.h"
#include "repo/repo.h"

static const char *const kinds[] = {
    [SNAP_PATH_NS] = "namespace",
    [SNAP_PATH_GROUP] = "group",
    [SNAP_PATH_SNAP] = "snapshot",
};

struct run {
	struct options *o;
	const struct change *c;
	struct upkeep u;
	json_t *done;		/* owned; NULL: for people */
	bool listed;		/* the tree is as new as the command */
	int status;
};

static int
check(const struct options *o, const char *path, const struct snap_path *p)
{
	_cleanup_(str_fini) struct str s = {0};

	str_escape(&s, path, strlen(path));
	if (p == NULL)
		log_err("%s: not the path of a snapshot, a group or a "
			"namespace\nhint: as host/web1/2026-01-31T12:00:00Z, "
			"host/web1 or ns/name",
		    str_get(&s));
	else if (p->kind == SNAP_PATH_NS && p->group.ns[0] == '\0')
		log_err("%s: that is the whole store\n"
			"hint: name what is in it", str_get(&s));
	else if (p->kind != SNAP_PATH_SNAP && !o->recursive)
		log_err("%s: that is a whole %s\n"
			"hint: --recursive if all of it is meant, or a "
			"snapshot as host/web1/2026-01-31T12:00:00Z",
		    str_get(&s), kinds[p->kind]);
	else
		return EXIT_OK;
	return EXIT_USAGE;
}

/* All of them before anything is changed. */
static int
parse_all(const struct options *o, char **paths, int n, struct snap_path *out)
{
	int status = EXIT_OK;

	for (int i = 0; status == EXIT_OK && i < n; i++)
		status = check(o, paths[i],
		    snap_path_any(paths[i], &out[i]) == 0 ? &out[i] : NULL);
	return status;
}

/* Who did it has said why, also if that is a daemon. */
static int
failed(const char *path, enum snap_path_kind kind, int err)
{
	if (err == -ENOENT)
		log_err("%s: there is no such %s", path, kinds[kind]);
	else if (err != -EPERM && err != -EBUSY && err != -ENOTEMPTY &&
	    err != -ECONNRESET)
		return show_fail(path, err);
	return exits_of(err);
}

static int
apply(struct run *r, const struct snap_path *p)
{
	const struct change *c = r->c;
	struct agent *a = r->u.agent;

	switch (p->kind) {
	case SNAP_PATH_SNAP:
		return c->snap(a, &p->group, p->time);
	case SNAP_PATH_GROUP:
		return c->group(a, &p->group);
	case SNAP_PATH_NS:
		return c->ns(a, p->group.ns);
	}
	return -EINVAL;
}

/* As somebody asked for, or in one of those: then it may be gone already. */
static int
one(struct run *r, const struct snap_path *p, bool asked)
{
	_cleanup_(str_fini) struct str path = {0};
	int err;

	err = snap_path_text(p, &path);
	if (err == 0)
		err = apply(r, p);
	/* What was listed by an earlier command may be too old to know it. */
	if (err == -ENOENT && asked && !r->listed && !r->u.agent->remote) {
		r->listed = true;
		err = repo_refresh(r->u.s.repo, NULL);
		if (err == 0)
			err = apply(r, p);
	}
	if (err == -ENOENT && !asked)
		return 0;
	if (err < 0) {
		r->status = show_worst(r->status,
		    failed(str_get(&path), p->kind, err));
		return err;
	}
	if (r->done != NULL)
		json_array_append_new(r->done, json_string(str_get(&path)));
	else if (!r->o->quiet)
		printf("%s: %s\n", str_get(&path), r->c->done);
	return 0;
}

static void
name_group(const struct tree_group *g, struct snap_path *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->kind = SNAP_PATH_GROUP;
	memcpy(ret->group.ns, g->ns->path, strlen(g->ns->path) + 1);
	ret->group.type = g->type;
	memcpy(ret->group.id, g->id, strlen(g->id) + 1);
}

/* 0, or the first error of several. */
static int
group(struct run *r, const struct tree_group *g, bool asked)
{
	struct snap_path p;
	int err = 0, e;

	name_group(g, &p);
	if (r->c->group != NULL)
		return one(r, &p, asked);
	p.kind = SNAP_PATH_SNAP;
	for (size_t i = 0; i < g->n_snaps; i++) {
		p.time = g->snaps[i].time;
		e = one(r, &p, false);
		err = err < 0 ? err : e;
	}
	return err;
}

/* Those inside before those around them, which must be empty to go. */
static int
namespace(struct run *r, const struct tree *t, const char *path)
{
	struct snap_path p = {.kind = SNAP_PATH_NS};
	int err = 0, e;

	for (size_t i = t->n_ns; i > 0; i--) {
		const struct tree_ns *ns = &t->all_ns[i - 1];

		if (!snap_path_is_below(ns->path, path))
			continue;
		e = 0;
		for (size_t k = 0; k < ns->n_groups; k++) {
			int x = group(r, &ns->groups[k], false);

			e = e < 0 ? e : x;
		}
		err = err < 0 ? err : e;
		if (err < 0 || r->c->ns == NULL)
			continue;
		memcpy(p.group.ns, ns->path, strlen(ns->path) + 1);
		err = one(r, &p, false);
	}
	return err;
}

static void
target(struct run *r, const struct tree *t, const struct snap_path *p)
{
	const struct tree_group *g;
	int err = 0;

	switch (p->kind) {
	case SNAP_PATH_SNAP:
		(void)one(r, p, true);
		return;
	case SNAP_PATH_GROUP:
		g = edit_find_group(t, &p->group);
		if (g != NULL)
			(void)group(r, g, true);
		else if (r->c->group != NULL)
			(void)one(r, p, true);
		else
			err = -ENOENT;
		break;
	case SNAP_PATH_NS:
		if (tree_find_ns(t, p->group.ns) != NULL)
			(void)namespace(r, t, p->group.ns);
		else
			err = -ENOENT;
		break;
	}
	if (err < 0) {
		_cleanup_(str_fini) struct str s = {0};

		(void)snap_path_text(p, &s);
		r->status = show_worst(r->status,
		    failed(str_get(&s), p->kind, err));
	}
}

static void
print_json(struct run *r)
{
	struct store_counts counts;
	json_t *j;

	stack_counts(&r->u.s, &counts);
	j = json_pack("{s:s,s:o,s:o}", "store", r->u.s.t.name, r->c->done,
	    steal(&r->done), "cost", cost_json(r->o, &counts));
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(j);
}

static bool
is_any_recursive(const struct snap_path *v, int n)
{
	for (int i = 0; i < n; i++)
		if (v[i].kind != SNAP_PATH_SNAP)
			return true;
	return false;
}

static void
run(struct run *r, const char *store, const struct snap_path *v, int n)
{
	struct store_counts counts;
	struct tree *t;

	r->u.kept = !is_any_recursive(v, n);
	r->status = upkeep_open(&r->u, r->o, store, true);
	if (r->status != EXIT_OK)
		return;
	stack_counts(&r->u.s, &counts);
	r->listed = counts.requests[STORE_LIST] > 0;
	t = repo_tree(r->u.s.repo);
	for (int i = 0; i < n && r->status != EXIT_LIMIT; i++)
		target(r, t, &v[i]);
	tree_unref(t);
	if (r->done != NULL)
		print_json(r);
}

int
change_run(struct options *o, const struct change *c, const char *store,
    char **paths, int n)
{
	_cleanup_free_ struct snap_path *v = calloc((size_t)n, sizeof(*v));
	struct run r = {
	    .o = o,
	    .c = c,
	    .done = o->json ? json_array() : NULL,
	};

	if (v == NULL || (o->json && r.done == NULL))
		r.status = show_fail(store, -ENOMEM);
	else
		r.status = parse_all(o, paths, n, v);
	if (r.status == EXIT_OK) {
		run(&r, store, v, n);
		upkeep_close(&r.u);
		cost_print(o, &r.u.s.cost);
	}
	json_decref(r.done);
	return r.status;
}
