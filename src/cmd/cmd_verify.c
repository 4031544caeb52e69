/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/cost.h"
#include "cmd/exits.h"
#include "cmd/interrupt.h"
#include "cmd/option.h"
#include "cmd/pick_path.h"
#include "cmd/show.h"
#include "cmd/upkeep.h"
#include "cmd/verify_show.h"
#include "maint/pick.h"
#include "repo/repo.h"
#include "repo/tree.h"

#define SHARE_ALL 1000000u
#define DAY_S 86400

struct job {
	struct verify_show show;
	struct pick *picks;	/* owned */
	size_t n;
};

/* "2.5%" in parts of a million. */
static int
parse_share(const char *text, uint32_t *ret)
{
	char *end;
	double n;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	n = strtod(text, &end);
	if (!streq(end, "%") || !(n > 0 && n <= 100))
		return -EINVAL;
	*ret = MAX((uint32_t)(n * (SHARE_ALL / 100)), 1u);
	return 0;
}

static int
parse_level(const char *text, struct verify_opts *v)
{
	static const char sample[] = "sample=";

	if (streq(text, "exists"))
		v->level = VERIFY_EXISTS;
	else if (streq(text, "size"))
		v->level = VERIFY_SIZE;
	else if (streq(text, "full"))
		v->level = VERIFY_FULL;
	else if (str_starts(text, sample))
		v->level = VERIFY_SAMPLE;
	else
		return -EINVAL;
	return v->level != VERIFY_SAMPLE ? 0 :
	    parse_share(text + strlen(sample), &v->share);
}

/* Each day another part; within so many days all of them come. */
static int
set_within(const struct options *o, struct verify_opts *v)
{
	uint64_t days = o->within / ((uint64_t)DAY_S * 1000);

	if (o->within == 0)
		return 0;
	if (option_is_set(o, "level")) {
		log_err("verify: within and level exclude each other");
		return -EINVAL;
	}
	if (days < 1) {
		log_err("verify: within must be one day or more\n"
			"hint: --within 30d");
		return -EINVAL;
	}
	v->level = days == 1 ? VERIFY_FULL : VERIFY_SAMPLE;
	v->share = (uint32_t)((SHARE_ALL + days - 1) / MIN(days, SHARE_ALL));
	return 0;
}

static int
set_level(const struct options *o, struct verify_opts *v)
{
	_cleanup_(str_fini) struct str shown = {0};

	v->turn = (uint64_t)(clock_real_s() / DAY_S);
	if (parse_level(o->level, v) < 0) {
		str_escape(&shown, o->level, strlen(o->level));
		log_err("verify: level %s: not exists, size, sample=N%% or "
			"full", str_get(&shown));
		return -EINVAL;
	}
	return set_within(o, v);
}

static int
parse_paths(struct job *j, char **paths, int n)
{
	j->picks = calloc((size_t)n + 1, sizeof(*j->picks));
	if (j->picks == NULL)
		return show_fail("verify", -ENOMEM);
	for (int i = 0; i < n; i++)
		if (pick_path_parse(paths[i], &j->picks[j->n++]) < 0)
			return EXIT_USAGE;
	return EXIT_OK;
}

static bool
want(void *arg, const struct tree_snap *s)
{
	/* The first member of a job is what is shown. */
	struct job *j = arg;

	return pick_has_snap(j->picks, j->n, s);
}

static int
find_paths(const struct job *j, struct repo *r, char **paths)
{
	struct tree *t = repo_tree(r);
	int status = EXIT_OK;

	for (size_t i = 0; i < j->n; i++) {
		_cleanup_(str_fini) struct str s = {0};

		if (pick_is_there(&j->picks[i], t))
			continue;
		str_escape(&s, paths[i], strlen(paths[i]));
		log_err("%s: there is nothing of that name", str_get(&s));
		status = EXIT_FAILED;
	}
	tree_unref(t);
	return status;
}

static bool
is_writing(const struct options *o, const struct verify_opts *v)
{
	return o->quarantine || (!o->no_record && !o->cached &&
	    v->level >= VERIFY_SAMPLE);
}

/* Keys that may only read are enough to verify. */
static int
open_store(struct upkeep *u, struct options *o, const char *store, bool write)
{
	int status;

	u->keys = true;
	status = upkeep_open(u, o, store, write);
	if (!write || o->quarantine || status != EXIT_DENIED ||
	    u->s.repo == NULL)
		return status;
	upkeep_close(u);
	log_warn("%s: results will not be recorded", store);
	*u = (struct upkeep){.keys = true};
	return upkeep_open(u, o, store, false);
}

static int
status_of(int r, const struct verify_result *res)
{
	int status = exits_of(r);

	if (res->unrecorded > 0)
		status = show_worst(status, exits_of(res->record_error));
	if (res->unknown > 0)
		status = show_worst(status, EXIT_UNREACHABLE);
	/* That something is damaged is certain, whatever else failed. */
	return res->failed > 0 ? EXIT_DAMAGED : status;
}

static int
verify(struct upkeep *u, struct job *j, struct verify_opts *v)
{
	char upid[VERIFY_UPID_MAX];
	struct store_counts counts;
	struct verify_result res;
	int r, status;

	verify_upid(upid, u->s.t.datastore != NULL ? u->s.t.datastore :
	    u->s.t.name, clock_real_s());
	v->repo = u->s.repo;
	v->agent = u->agent;
	v->upid = upid;
	r = verify_show_begin(&j->show, u->s.o);
	if (r < 0)
		return show_fail(u->s.t.name, r);
	verify_show_opts(&j->show, v);
	v->stop = interrupt_catch();
	r = verify_run(v, &res);
	status = status_of(r, &res);
	if (r == -ECANCELED)
		log_warn("%s: interrupted", u->s.t.name);
	else if (r < 0)
		show_fail(u->s.t.name, r);
	stack_counts(&u->s, &counts);
	r = verify_show_end(&j->show, u->s.t.name, v, r, &res, &counts);
	verify_show_fini(&j->show);
	return r < 0 ? show_fail(u->s.t.name, r) : status;
}

int
cmd_verify(struct options *o, char **args, int n)
{
	struct verify_opts v = {
	    .cached = o->cached,
	    .no_record = o->no_record,
	    .quarantine = o->quarantine,
	    .since = (int64_t)(o->since / 1000),
	    .threads = (unsigned)o->fetchers,
	    .memory = o->memory,
	    .timeout_ms = (unsigned)o->timeout,
	    .want = want,
	};
	struct upkeep u = {0};
	struct job j = {0};
	int status;

	if (set_level(o, &v) < 0)
		return EXIT_USAGE;
	status = parse_paths(&j, args + 1, n - 1);
	if (status == EXIT_OK) {
		status = open_store(&u, o, args[0], is_writing(o, &v));
		if (status == EXIT_OK)
			status = find_paths(&j, u.s.repo, args + 1);
		if (status == EXIT_OK)
			status = verify(&u, &j, &v);
		upkeep_close(&u);
		cost_print(o, &u.s.cost);
	}
	free(j.picks);
	return status;
}
