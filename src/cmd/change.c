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
#include "cmd/stack.h"
#include "repo/repo.h"

struct target_snap {
	struct group_name group;
	int64_t time;
};

/* All of them before anything is changed. */
static int
parse_all(char **paths, int n, struct target_snap *out)
{
	for (int i = 0; i < n; i++) {
		_cleanup_(str_fini) struct str s = {0};

		if (snap_path_snap(paths[i], &out[i].group, &out[i].time) == 0)
			continue;
		str_escape(&s, paths[i], strlen(paths[i]));
		log_err("%s: not the path of a snapshot\n"
			"hint: as host/web1/2026-01-31T12:00:00Z",
		    str_get(&s));
		return EXIT_USAGE;
	}
	return EXIT_OK;
}

static int
open_all(struct stack *s, const struct change *c, const char *path)
{
	int r, status;

	s->write = true;
	status = stack_open_store(s);
	if (status == EXIT_OK)
		status = stack_open_repo(s, true);
	if (status != EXIT_OK)
		return status;
	r = stack_claim(s);
	if (r == -EBUSY)
		log_info("if it is mounted here, the mount can do it: "
		    "%s MOUNTPOINT/%s", c->in_mount, path);
	return exits_of(r);
}

/* What was listed by an earlier command may be too old to know it. */
static int
apply(struct stack *s, const struct change *c, const struct target_snap *t,
    bool *listed)
{
	int r = c->fn(s->repo, &t->group, t->time);

	if (r != -ENOENT || *listed)
		return r;
	*listed = true;
	r = repo_refresh(s->repo, NULL);
	return r < 0 ? r : c->fn(s->repo, &t->group, t->time);
}

static int
failed(const char *path, int err)
{
	_cleanup_(str_fini) struct str s = {0};

	if (err == -EPERM)
		return exits_of(err);	/* it was said to be protected */
	if (err != -ENOENT)
		return show_fail(path, err);
	str_escape(&s, path, strlen(path));
	log_err("%s: there is no such snapshot", str_get(&s));
	return EXIT_FAILED;
}

static int
apply_all(struct stack *s, const struct change *c,
    const struct target_snap *targets, char **paths, int n, json_t *done)
{
	struct store_counts counts;
	int r, status = EXIT_OK;
	bool listed;

	stack_counts(s, &counts);
	listed = counts.requests[STORE_LIST] > 0;
	for (int i = 0; i < n && status != EXIT_LIMIT; i++) {
		r = apply(s, c, &targets[i], &listed);
		if (r < 0) {
			status = show_worst(status, failed(paths[i], r));
		} else if (done != NULL) {
			json_array_append_new(done, json_string(paths[i]));
		} else if (!s->o->quiet) {
			printf("%s: %s\n", paths[i], c->done);
		}
	}
	return status;
}

static void
print_json(const struct stack *s, const struct change *c, json_t *done)
{
	struct store_counts counts;
	json_t *j;

	stack_counts(s, &counts);
	j = json_pack("{s:s,s:o,s:o}", "store", s->t.name, c->done, done,
	    "cost", cost_json(s->o, &counts));
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(j);
}

int
change_run(struct options *o, const struct change *c, const char *store,
    char **paths, int n)
{
	_cleanup_free_ struct target_snap *targets =
	    calloc((size_t)n, sizeof(*targets));
	json_t *done = o->json ? json_array() : NULL;
	struct stack s;
	int status;

	if (targets == NULL || (o->json && done == NULL)) {
		json_decref(done);
		return show_fail(store, -ENOMEM);
	}
	status = parse_all(paths, n, targets);
	if (status != EXIT_OK) {
		json_decref(done);
		return status;
	}
	status = stack_name(&s, o, store);
	if (status == EXIT_OK)
		status = open_all(&s, c, paths[0]);
	if (status == EXIT_OK) {
		status = apply_all(&s, c, targets, paths, n, done);
		if (done != NULL)
			print_json(&s, c, steal(&done));
	}
	json_decref(done);
	stack_close(&s);
	cost_print(o, &s.cost);
	return status;
}
