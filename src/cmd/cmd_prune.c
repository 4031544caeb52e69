/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/cost.h"
#include "cmd/exits.h"
#include "cmd/option.h"
#include "cmd/show.h"
#include "cmd/snap_path.h"
#include "cmd/upkeep.h"
#include "maint/agent.h"
#include "maint/prune.h"
#include "repo/repo.h"
#include "repo/tree.h"

struct run {
	const struct options *o;
	struct prune_keep keep;
	struct upkeep u;
	json_t *list;		/* owned; NULL: for people */
	bool headed;		/* the table has its heading */
	size_t kept, removed, failed;
	int status;
};

static const char *
action(enum prune_mark m)
{
	switch (m) {
	case PRUNE_REMOVE:
	case PRUNE_REMOVE_PARTIAL:
		return "remove";
	case PRUNE_KEEP:
	case PRUNE_KEEP_PARTIAL:
		return "keep";
	case PRUNE_PROTECTED:
		return "protected";
	}
	return "?";
}

static const char *
reason(const struct prune_snap *s)
{
	if (s->mark == PRUNE_KEEP_PARTIAL)
		return "unfinished, may still be written";
	if (s->mark == PRUNE_REMOVE_PARTIAL)
		return "unfinished";
	return s->rule;
}

static bool
is_kept(const struct prune_snap *s)
{
	return s->mark != PRUNE_REMOVE && s->mark != PRUNE_REMOVE_PARTIAL;
}

static void
print_line(struct run *r, const char *path, const struct prune_snap *s,
    const char *did)
{
	char when[SHOW_TIME_MAX];
	const char *why = reason(s);

	if (r->o->quiet)
		return;
	if (!r->headed)
		printf("%-40s  %-19s  %-9s  %s\n", "snapshot", "date",
		    "action", "why");
	r->headed = true;
	printf("%-40s  %s  %s", path, show_time(s->time, when), did);
	if (*why != '\0')
		printf("%*s  %s", (int)(9 - MIN(strlen(did), 9U)), "", why);
	putchar('\n');
}

static void
add_json(struct run *r, const struct snap_path *p, const char *path,
    const struct prune_snap *s, bool failed)
{
	json_array_append_new(r->list, json_pack(
	    "{s:s,s:s,s:s,s:s,s:I,s:b,s:b,s:b,s:s,s:s,s:b}", "path", path,
	    "ns", p->group.ns, "backup-type", backup_type_name(p->group.type),
	    "backup-id", p->group.id, "backup-time", (json_int_t)s->time,
	    "keep", (int)is_kept(s), "protected",
	    (int)(s->mark == PRUNE_PROTECTED), "finished", (int)s->finished,
	    "action", action(s->mark), "rule", s->rule, "failed",
	    (int)failed));
}

/* Of some who did it has said why, also in a daemon. */
static void
say_failed(struct run *r, const char *path, int err)
{
	if (err != -EPERM && err != -EBUSY)
		(void)show_fail(path, err);
	r->status = show_worst(r->status, exits_of(err));
}

static bool
ends_all(int err)
{
	return repo_is_outage(err) || err == -EDQUOT;
}

static int
snapshot(struct run *r, struct snap_path *p, const struct prune_snap *s)
{
	_cleanup_(str_fini) struct str path = {0};
	int err;

	p->kind = SNAP_PATH_SNAP;
	p->time = s->time;
	err = snap_path_text(p, &path);
	if (err < 0)
		return err;
	if (!is_kept(s) && !r->o->dry_run) {
		err = r->u.agent->ops->forget(r->u.agent, &p->group, p->time);
		if (err == -ENOENT)
			err = 0;	/* somebody was faster */
	}
	if (err < 0) {
		r->failed++;
		say_failed(r, str_get(&path), err);
	} else if (is_kept(s)) {
		r->kept++;
	} else {
		r->removed++;
	}
	if (r->list != NULL)
		add_json(r, p, str_get(&path), s, err < 0);
	else
		print_line(r, str_get(&path), s,
		    err < 0 ? "failed" : action(s->mark));
	/* One that cannot be removed does not keep the others. */
	return ends_all(err) ? err : 0;
}

/* The oldest go first, so that what is left after an interruption is what is
 * worth most. */
static int
group(struct run *r, const struct tree_group *g)
{
	_cleanup_free_ struct prune_snap *v = calloc(g->n_snaps + 1,
	    sizeof(*v));
	struct snap_path p = {.group.type = g->type};
	int err;

	if (v == NULL)
		return -ENOMEM;
	memcpy(p.group.ns, g->ns->path, strlen(g->ns->path) + 1);
	memcpy(p.group.id, g->id, strlen(g->id) + 1);
	for (size_t i = 0; i < g->n_snaps; i++) {
		v[i].time = g->snaps[i].time;
		v[i].finished = g->snaps[i].finished;
		v[i].protected = g->snaps[i].protected;
	}
	err = prune_compute(v, g->n_snaps, &r->keep);
	for (size_t i = g->n_snaps; err == 0 && i > 0; i--)
		err = snapshot(r, &p, &v[i - 1]);
	return err;
}

static int
namespaces(struct run *r, const struct tree *t, const char *path)
{
	int err = 0;

	if (tree_find_ns(t, path) == NULL)
		return -ENOENT;
	for (size_t i = 0; err == 0 && i < t->n_ns; i++) {
		const struct tree_ns *ns = &t->all_ns[i];

		if (!streq(ns->path, path) && (!r->o->recursive ||
		    !snap_path_is_below(ns->path, path)))
			continue;
		for (size_t k = 0; err == 0 && k < ns->n_groups; k++)
			err = group(r, &ns->groups[k]);
	}
	return err;
}

static int
apply(struct run *r, const struct snap_path *p)
{
	struct tree *t = repo_tree(r->u.s.repo);
	const struct tree_group *g;
	int err;

	if (p->kind == SNAP_PATH_NS) {
		err = namespaces(r, t, p->group.ns);
	} else {
		g = edit_find_group(t, &p->group);
		err = g != NULL ? group(r, g) : -ENOENT;
	}
	tree_unref(t);
	return err;
}

static json_t *
keep_json(const struct prune_keep *k)
{
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I}", "keep-last",
	    (json_int_t)k->last, "keep-hourly", (json_int_t)k->hourly,
	    "keep-daily", (json_int_t)k->daily, "keep-weekly",
	    (json_int_t)k->weekly, "keep-monthly", (json_int_t)k->monthly,
	    "keep-yearly", (json_int_t)k->yearly);
}

/* Each takes a listing, its manifest's delete and that of the rest. */
static struct store_counts
would_cost(const struct run *r)
{
	const struct store_counts c = {
	    .requests[STORE_LIST] = r->removed,
	    .requests[STORE_DELETE] = 2 * r->removed,
	};

	return c;
}

static void
report(struct run *r)
{
	const struct store_counts would = would_cost(r);
	struct store_counts c;
	json_t *j;

	if (r->list == NULL) {
		if (!r->o->quiet)
			printf("%zu kept, %zu %s%s", r->kept, r->removed,
			    r->o->dry_run ? "would be " : "", "removed");
		if (!r->o->quiet && r->failed > 0)
			printf(", %zu could not be removed", r->failed);
		if (!r->o->quiet)
			putchar('\n');
		if (r->o->dry_run)
			cost_estimate(r->o, &would);
		return;
	}
	stack_counts(&r->u.s, &c);
	j = json_pack("{s:s,s:b,s:o,s:o,s:I,s:I,s:I,s:o}", "store",
	    r->u.s.t.name, "dry_run", (int)r->o->dry_run, "keep",
	    keep_json(&r->keep), "snapshots", steal(&r->list), "kept",
	    (json_int_t)r->kept, "removed", (json_int_t)r->removed, "failed",
	    (json_int_t)r->failed, "cost", cost_json(r->o, &c));
	if (r->o->dry_run)
		json_object_set_new(j, "estimate", cost_json(r->o, &would));
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(j);
}

/*
 * The configuration may have rules of this store.  Without one Proxmox Backup
 * keeps all; who asks for that has forgotten something.
 */
static int
find_rules(struct options *o, const char *store, struct prune_keep *k)
{
	struct stack s;
	int status;

	status = stack_name(&s, o, store);
	stack_close(&s);
	if (status != EXIT_OK)
		return status;
	*k = (struct prune_keep){
	    .last = o->keep_last,
	    .hourly = o->keep_hourly,
	    .daily = o->keep_daily,
	    .weekly = o->keep_weekly,
	    .monthly = o->keep_monthly,
	    .yearly = o->keep_yearly,
	};
	if (k->last != 0 || k->hourly != 0 || k->daily != 0 ||
	    k->weekly != 0 || k->monthly != 0 || k->yearly != 0)
		return EXIT_OK;
	log_err("prune: nothing says what to keep\n"
		"hint: as --keep-daily=7 --keep-weekly=4, here or in the "
		"configuration; see pbs3fs-prune(8)");
	return EXIT_USAGE;
}

static int
check_path(const char *path, struct snap_path *ret)
{
	_cleanup_(str_fini) struct str s = {0};

	if (snap_path_any(path, ret) == 0 && ret->kind != SNAP_PATH_SNAP)
		return EXIT_OK;
	str_escape(&s, path, strlen(path));
	log_err("%s: not the path of a group or a namespace\n"
		"hint: as host/web1 or ns/name", str_get(&s));
	return EXIT_USAGE;
}

static void
run(struct run *r, const char *path, const struct snap_path *p)
{
	_cleanup_(str_fini) struct str s = {0};
	int err;

	err = apply(r, p);
	if (err == -ENOENT) {
		str_escape(&s, path, strlen(path));
		log_err("%s: there is no such %s", str_get(&s),
		    p->kind == SNAP_PATH_NS ? "namespace" : "group");
		r->status = EXIT_FAILED;
	} else if (err < 0) {
		r->status = show_worst(r->status,
		    ends_all(err) ? exits_of(err) : show_fail(path, err));
	}
	report(r);
}

int
cmd_prune(struct options *o, char **args, int n)
{
	const char *path = n > 1 ? args[1] : "/";
	struct run r = {.o = o};
	struct snap_path p;

	r.status = check_path(path, &p);
	if (r.status == EXIT_OK)
		r.status = find_rules(o, args[0], &r.keep);
	if (r.status == EXIT_OK && o->json) {
		r.list = json_array();
		if (r.list == NULL)
			r.status = show_fail(args[0], -ENOMEM);
	}
	if (r.status == EXIT_OK) {
		r.status = upkeep_open(&r.u, o, args[0], !o->dry_run);
		if (r.status == EXIT_OK)
			run(&r, path, &p);
		upkeep_close(&r.u);
		cost_print(o, &r.u.s.cost);
	}
	json_decref(r.list);
	return r.status;
}
