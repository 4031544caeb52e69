/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include <errno.h>
#include <inttypes.h>
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
#include "cmd/pick_path.h"
#include "cmd/progress.h"
#include "cmd/show.h"
#include "cmd/stopping.h"
#include "cmd/upkeep.h"
#include "maint/agent.h"
#include "maint/copy.h"
#include "maint/pick.h"

/* Both ends, and what is told while it runs. */
struct copying {
	struct options *o;	/* borrowed: of the target, and for output */
	struct options from_o;
	struct stack from;
	struct upkeep to;
	struct progress progress;
	json_t *snapshots;	/* owned; NULL: not asked for */
};

static const char *
word(const struct copying *c, enum copy_event e)
{
	switch (e) {
	case COPY_DONE:
		return c->o->dry_run ? "would be copied" : "copied";
	case COPY_THERE:
		return "there";
	case COPY_GONE:
		return "gone";
	case COPY_FAILED:
		return "failed";
	case COPY_CHUNK:
	case COPY_LEFT:
		break;
	}
	return NULL;
}

static void
print(const struct copying *c, enum copy_event e, const char *path,
    const char *text)
{
	switch (e) {
	case COPY_DONE:
		if (!c->o->quiet && !c->o->json)
			printf("%s: %s\n", path, word(c, e));
		return;
	case COPY_THERE:
		log_debug("%s: is there", path);
		return;
	case COPY_GONE:
		log_info("%s: was forgotten meanwhile", path);
		return;
	case COPY_FAILED:
		log_err("%s: not copied: %s", path, text);
		return;
	case COPY_CHUNK:
		log_err("chunk %s: %s", path, text);
		return;
	case COPY_LEFT:
		log_warn("%s: left out: no manifest knows it", path);
		return;
	}
}

static void
on_event(void *arg, enum copy_event e, const char *path, const char *text)
{
	struct copying *c = arg;

	progress_end(&c->progress);
	print(c, e, path, text);
	if (c->snapshots == NULL || word(c, e) == NULL || e == COPY_THERE)
		return;
	json_array_append_new(c->snapshots, json_pack("{s:s,s:s,s:s}", "path",
	    path, "outcome", word(c, e), "why", text));
}

static void
on_progress(void *arg, uint64_t bytes)
{
	struct copying *c = arg;

	progress_add(&c->progress, bytes);
}

/* The source to read, the target to write. */
static int
open_both(struct copying *c, const char *from, const char *to)
{
	_cleanup_free_ char *a = NULL, *b = NULL;
	int status;

	status = stack_name(&c->from, &c->from_o, from);
	if (status == EXIT_OK)
		status = stack_open_keys(&c->from);
	if (status == EXIT_OK)
		status = stack_open_store(&c->from);
	if (status == EXIT_OK)
		status = stack_open_repo(&c->from, false);
	if (status == EXIT_OK)
		status = upkeep_open(&c->to, c->o, to, !c->o->dry_run);
	if (status != EXIT_OK)
		return status;
	if (stack_identity(&c->from, &a) == 0 &&
	    stack_identity(&c->to.s, &b) == 0 && streq(a, b)) {
		log_err("%s and %s are the same store", c->from.t.name,
		    c->to.s.t.name);
		return EXIT_USAGE;
	}
	if (c->to.agent != NULL && c->to.agent->remote) {
		log_err("%s: is mounted for writing on this host, and one "
		    "program writes at a time\n"
		    "hint: unmount it, or mount it with -o ro, while copying",
		    c->to.s.t.name);
		return EXIT_FAILED;
	}
	return EXIT_OK;
}

/* What a dry run has left out: through here, as it is not known whether the
 * server will copy. */
static void
estimate(const struct copy_result *r, struct store_counts *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->requests[STORE_GET] = r->sent;
	ret->requests[STORE_PUT] = r->sent + r->objects;
	ret->bytes_read = ret->bytes_written = r->sent_bytes;
}

/* Each end at its own prices. */
static void
print_cost(const struct copying *c)
{
	_cleanup_(str_fini) struct str t = {0};

	if (c->o->quiet)
		return;
	str_add(&t, "from ");
	cost_text(&c->from_o, &c->from.cost, &t);
	str_add(&t, "; to ");
	cost_text(c->o, &c->to.s.cost, &t);
	fflush(stdout);
	fprintf(stderr, "cost: %s\n", str_get(&t));
}

static void
print_json(struct copying *c, const struct copy_result *r)
{
	struct store_counts from, to;
	json_t *j;

	stack_counts(&c->from, &from);
	stack_counts(&c->to.s, &to);
	j = json_pack("{s:s,s:s,s:b,s:O}", "from", c->from.t.name, "to",
	    c->to.s.t.name, "dry_run", c->o->dry_run, "snapshots",
	    c->snapshots);
	json_object_update_new(j, json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I}",
	    "copied", (json_int_t)r->copied, "there", (json_int_t)r->there,
	    "gone", (json_int_t)r->gone, "failed", (json_int_t)r->failed,
	    "damaged", (json_int_t)r->damaged,
	    "namespaces", (json_int_t)r->namespaces,
	    "groups", (json_int_t)r->groups));
	json_object_update_new(j, json_pack(
	    "{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}",
	    "chunks", (json_int_t)r->chunks,
	    "chunks_there", (json_int_t)r->chunks_there,
	    "chunks_sent", (json_int_t)r->sent,
	    "bytes_sent", (json_int_t)r->sent_bytes,
	    "chunks_by_server", (json_int_t)r->by_server,
	    "bytes_by_server", (json_int_t)r->by_server_bytes,
	    "chunks_unproven", (json_int_t)r->unproven,
	    "chunks_listed", (json_int_t)r->listed));
	json_object_update_new(j, json_pack("{s:{s:o,s:o}}", "cost",
	    "from", cost_json(&c->from_o, &from), "to",
	    cost_json(c->o, &to)));
	if (c->o->dry_run) {
		estimate(r, &to);
		json_object_set_new(j, "estimate", cost_json(c->o, &to));
	}
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(j);
}

static void
print_text(const struct copying *c, const struct copy_result *r)
{
	char size[NUM_SIZE_MAX];

	if (c->o->quiet)
		return;
	printf("%" PRIu64 " snapshots %s, %" PRIu64 " there already, %" PRIu64
	    " failed\n", r->copied, c->o->dry_run ? "to copy" : "copied",
	    r->there, r->failed);
	if (c->o->dry_run)
		printf("%" PRIu64 " of %" PRIu64 " chunks to send, %s before "
		    "compression\n", r->sent, r->chunks,
		    num_format_size(size, r->sent_bytes));
	else
		printf("%" PRIu64 " chunks: %" PRIu64 " there already, %"
		    PRIu64 " sent (%s), %" PRIu64 " copied by the server\n",
		    r->chunks, r->chunks_there, r->sent,
		    num_format_size(size, r->sent_bytes), r->by_server);
	if (r->unproven > 0)
		log_warn("%" PRIu64 " encrypted chunks were checked by CRC "
		    "alone\nhint: with -o keyfile=FILE their content is "
		    "checked", r->unproven);
}

static int
copy(struct copying *c, const struct pick *p)
{
	const struct copy_opts co = {
	    .from = c->from.repo,
	    .to = c->to.s.repo,
	    .picks = p,
	    .n_picks = 1,
	    .guard = c->to.guard,
	    .known = c->to.known,
	    .claim = c->to.s.claim,
	    .owner = c->o->owner,
	    .dry_run = c->o->dry_run,
	    .read_all = c->o->check,
	    .jobs = (unsigned)c->o->uploads,
	    .timeout_ms = (unsigned)c->o->timeout,
	    .stop = stopping_begin(),
	    .event = on_event,
	    .progress = on_progress,
	    .arg = c,
	};
	struct store_counts would;
	struct copy_result res;
	int r;

	progress_begin(&c->progress, c->o, 0);
	r = copy_run(&co, &res);
	progress_end(&c->progress);
	if (r == -ECANCELED)
		log_err("interrupted\nhint: the next run goes on from here");
	else if (r < 0 && r != -ENOENT)
		log_err("%s: %s", c->to.s.t.name, exits_why(r));
	if (c->o->json)
		print_json(c, &res);
	else
		print_text(c, &res);
	if (c->o->dry_run && r >= 0 && !c->o->json) {
		estimate(&res, &would);
		cost_estimate(c->o, &would);
	}
	if (r == 1)
		return res.damaged == res.failed ? EXIT_DAMAGED : EXIT_FAILED;
	return exits_of(r);
}

int
cmd_copy(struct options *o, char **args, int n)
{
	struct copying c = {.o = o, .to = {.keys = false}};
	struct pick pick;
	int status;

	if (pick_path_parse(n == 3 ? args[2] : "", &pick) < 0)
		return EXIT_USAGE;
	c.snapshots = o->json ? json_array() : NULL;
	if ((o->json && c.snapshots == NULL) ||
	    options_for_source(o, &c.from_o) < 0) {
		json_decref(c.snapshots);
		return show_fail(args[0], -ENOMEM);
	}
	status = open_both(&c, args[0], args[1]);
	if (status == EXIT_OK)
		status = copy(&c, &pick);
	upkeep_close(&c.to);
	stack_close(&c.from);
	print_cost(&c);
	options_fini(&c.from_o);
	json_decref(c.snapshots);
	return status;
}
