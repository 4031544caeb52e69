/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/num.h"
#include "cmd/cost.h"
#include "cmd/exits.h"
#include "cmd/gc_text.h"
#include "cmd/interrupt.h"
#include "cmd/option.h"
#include "cmd/progress.h"
#include "cmd/show.h"
#include "cmd/upkeep.h"
#include "maint/gc.h"
#include "maint/gc_report.h"

/* Of each kind so many are named to people; and to programs. */
#define NAMED 20
#define NAMED_JSON 1000

struct kind {
	const char *json;	/* NULL: its number is enough */
	const char *says;
	enum log_level level;
};

static const struct kind kinds[] = {
	[GC_MISSING] = {"missing_chunks", "missing", LOG_LVL_ERR},
	[GC_STRANGE] = {"strange_objects", "left alone", LOG_LVL_WARN},
	[GC_UNDELETED] = {"undeleted_objects", "cannot be deleted",
	    LOG_LVL_ERR},
	[GC_STRAY_INDEX] = {"stray_indices", "counts all the same",
	    LOG_LVL_WARN},
	[GC_WOULD] = {"would_remove", "would go", LOG_LVL_INFO},
};

struct run {
	const struct options *o;
	struct progress progress;
	int phase;
	uint64_t done;
	uint64_t n[ARRAY_SIZE(kinds)];
	json_t *lists[ARRAY_SIZE(kinds)];	/* owned */
};

static void
say(const struct run *x, enum gc_event e, const char *key, const char *text)
{
	const struct kind *k = &kinds[e];

	if (x->n[e] > NAMED && !(x->o->verbose && e == GC_WOULD))
		return;
	if (x->n[e] == NAMED && e != GC_WOULD)
		log_msg(k->level, "more that is %s is counted, but not named "
		    "here\nhint: --json names up to %d", k->says, NAMED_JSON);
	else if (text[0] == '\0')
		log_msg(k->level, "%s: %s", key, k->says);
	else
		log_msg(k->level, "%s: %s: %s", key, k->says, text);
}

static void
on_event(void *arg, enum gc_event e, const char *key, const char *text)
{
	struct run *x = arg;
	json_t *j;

	x->n[e]++;
	progress_end(&x->progress);
	say(x, e, key, text);
	if (!x->o->json || x->n[e] > NAMED_JSON)
		return;
	j = json_object();
	show_json_name(j, "key", key);
	if (text[0] != '\0')
		show_json_name(j, e == GC_MISSING ? "in" : "why", text);
	json_array_append_new(x->lists[e], j);
}

static void
on_progress(void *arg, int phase, uint64_t done, uint64_t total)
{
	struct run *x = arg;

	if (phase != x->phase) {
		progress_end(&x->progress);
		progress_begin(&x->progress, x->o, total);
		x->progress.unit = phase == 1 ? "indices" : "chunks";
		x->phase = phase;
		x->done = 0;
	}
	if (done > x->done)
		progress_add(&x->progress, done - x->done);
	x->done = done;
}

static void
print_json(struct run *x, const struct upkeep *u, const struct gc_result *res,
    bool complete, const struct store_counts *would)
{
	json_t *j = gc_result_json(res, x->o->dry_run);
	struct store_counts c;

	stack_counts(&u->s, &c);
	json_object_set_new(j, "store", json_string(u->s.t.name));
	json_object_set_new(j, "complete", json_boolean(complete));
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (i != GC_WOULD || x->o->dry_run)
			json_object_set(j, kinds[i].json, x->lists[i]);
	if (x->o->dry_run)
		json_object_set_new(j, "estimate", cost_json(x->o, would));
	json_object_set_new(j, "cost", cost_json(x->o, &c));
	json_dumpf(j, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(j);
}

static int
status_of(int r, const struct gc_result *res, const char *name)
{
	if (r == -ECANCELED)
		log_err("%s: interrupted; what was done so far stays done, and "
		    "the next run goes on from there", name);
	else if (r == -EBUSY)
		log_err("%s: somebody else collects garbage or writes\n"
		    "hint: try again when it has ended", name);
	if (r == 1)
		return EXIT_FAILED;
	if (r < 0)
		return exits_of(r);
	return res->missing > 0 ? EXIT_DAMAGED : EXIT_OK;
}

static int
collect(struct options *o, struct upkeep *u, struct store_counts *would)
{
	struct run x = {.o = o};
	struct gc_result res;
	struct gc_opts go = {
	    .repo = u->s.repo,
	    .agent = u->agent,
	    /* Those of a mount may be elsewhere: that says where. */
	    .state = u->agent == NULL ? u->drafts : NULL,
	    .identity = u->agent == NULL ? u->identity : NULL,
	    .work = u->work,
	    .cutoff = (int64_t)((o->cutoff + 999) / 1000),
	    .dry_run = o->dry_run,
	    .single_deletes = o->no_multi_delete,
	    .stop = interrupt_catch(),
	    .event = on_event,
	    .progress = on_progress,
	    .arg = &x,
	};
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		x.lists[i] = json_array();
	progress_begin(&x.progress, o, 0);
	r = gc_run(&go, &res);
	progress_end(&x.progress);
	if (o->dry_run)
		would->requests[STORE_DELETE] = cost_deletes(o,
		    res.removed + res.removed_bad);
	if (o->json)
		print_json(&x, u, &res, r >= 0, would);
	else if (!o->quiet)
		gc_text_print(&res, o->dry_run, r >= 0);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		json_decref(x.lists[i]);
	return status_of(r, &res, u->s.t.name);
}

int
cmd_gc(struct options *o, char **args, int n)
{
	struct upkeep u = {.kept = true};
	struct store_counts would = {0};
	int status;

	(void)n;
	status = upkeep_open(&u, o, args[0], !o->dry_run);
	if (status == EXIT_OK)
		status = collect(o, &u, &would);
	upkeep_close(&u);
	if (o->dry_run && !o->json)
		cost_estimate(o, &would);
	cost_print(o, &u.s.cost);
	return status;
}
