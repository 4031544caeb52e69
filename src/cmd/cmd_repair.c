/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/cache_dir.h"
#include "cmd/cost.h"
#include "cmd/exits.h"
#include "cmd/option.h"
#include "cmd/pick_path.h"
#include "cmd/progress.h"
#include "cmd/show.h"
#include "cmd/stopping.h"
#include "cmd/upkeep.h"
#include "maint/pick.h"
#include "maint/repair.h"
#include "store/backends.h"

#define FROM_CACHE "cache"

/* Somebody who may have good copies. */
struct source {
	struct options o;
	struct stack s;		/* of a store */
	struct store *dir;	/* owned: of a directory; or NULL */
};

struct repairing {
	struct options *o;	/* borrowed */
	struct upkeep u;
	struct source *sources;	/* owned */
	struct repair_source *from;	/* owned */
	size_t n_sources;
	struct pick *picks;	/* owned */
	size_t n_picks;
	struct digest *chunks;	/* owned, ascending */
	size_t n_chunks;
	struct progress progress;
	json_t *found;		/* owned; NULL: not asked for */
	struct store_counts cost;	/* of all stores that were closed */
};

static const char *
word(const struct repairing *p, enum repair_event e)
{
	switch (e) {
	case REPAIR_HEALED:
	case REPAIR_OBJECT_HEALED:
		return p->o->dry_run ? "would be healed" : "healed";
	case REPAIR_UNPROVEN:
		return p->o->dry_run ? "would be healed, unproven" :
		    "healed, unproven";
	case REPAIR_LOST:
	case REPAIR_OBJECT_LOST:
		return "lost";
	case REPAIR_UNKNOWN:
		return "unknown";
	case REPAIR_NOT_USED:
		break;
	}
	return "not used";
}

static void
on_event(void *arg, enum repair_event e, const char *what, const char *path,
    const char *text)
{
	struct repairing *p = arg;
	bool good = e == REPAIR_HEALED || e == REPAIR_UNPROVEN ||
	    e == REPAIR_OBJECT_HEALED;

	progress_end(&p->progress);
	if (p->found != NULL)
		json_array_append_new(p->found, json_pack(
		    "{s:s,s:s,s:s,s:s}", "what", what, "path", path,
		    "outcome", word(p, e), "text", text));
	else if (good && !p->o->quiet)
		printf("%s: %s from %s: %s\n", what, word(p, e), text, path);
	else if (e == REPAIR_NOT_USED)
		log_info("%s: no index refers to it", what);
	else if (!good)
		log_err("%s: %s (%s): %s", what, word(p, e), text, path);
}

static void
on_progress(void *arg, uint64_t bytes)
{
	struct repairing *p = arg;

	progress_add(&p->progress, bytes);
}

static int
compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct digest));
}

static int
parse_args(struct repairing *p, char **args, int n)
{
	p->picks = calloc((size_t)n + 1, sizeof(*p->picks));
	p->chunks = calloc((size_t)n + 1, sizeof(*p->chunks));
	if (p->picks == NULL || p->chunks == NULL)
		return show_fail("repair", -ENOMEM);
	for (int i = 0; i < n; i++)
		if (digest_parse(args[i], &p->chunks[p->n_chunks]) == 0)
			p->n_chunks++;
		else if (pick_path_parse(args[i], &p->picks[p->n_picks]) == 0)
			p->n_picks++;
		else
			return EXIT_USAGE;
	qsort(p->chunks, p->n_chunks, sizeof(*p->chunks), compare);
	return EXIT_OK;
}

/* Chunks right in dir, or in what is a cache of ours: ".chunks" is where. */
static int
open_dir(struct source *s, const char *dir)
{
	char path[PATH_MAX];
	bool cache;

	if (snprintf(path, sizeof(path), "%s/" CACHE_DIR_DATA "/.chunks",
	    dir) >= PATH_MAX)
		return show_fail(dir, -ENAMETOOLONG);
	cache = access(path, F_OK) == 0;
	snprintf(path, sizeof(path), cache ? "%s/" CACHE_DIR_DATA "/.chunks" :
	    "%s/.chunks", dir);
	if (access(path, F_OK) < 0) {
		log_err("%s: cannot look into .chunks there: %s", dir,
		    strerror(errno));
		return exits_of(-errno);
	}
	*strrchr(path, '/') = '\0';
	return exits_of(store_dir_new(path, &s->dir));
}

static int
open_cache(struct repairing *p, struct source *s)
{
	if (p->u.s.cache_dir != NULL)
		return open_dir(s, p->u.s.cache_dir);
	log_err("%s: has no cache here\nhint: -o cache=DIR says where it is, "
	    "or --from DIR", p->u.s.t.name);
	return EXIT_USAGE;
}

static int
open_source(struct repairing *p, const char *name)
{
	struct source *s = &p->sources[p->n_sources];
	int status;

	if (options_for_source(p->o, &s->o) < 0)
		return show_fail(name, -ENOMEM);
	p->from[p->n_sources].name = name;
	p->n_sources++;
	if (streq(name, FROM_CACHE)) {
		status = open_cache(p, s);
	} else if (*name == '/') {
		status = open_dir(s, name);
	} else {
		status = stack_name(&s->s, &s->o, name);
		if (status == EXIT_OK)
			status = stack_open_store(&s->s);
	}
	p->from[p->n_sources - 1].store = s->dir != NULL ? s->dir :
	    s->s.store;
	return status;
}

static int
open_sources(struct repairing *p, char *names)
{
	size_t n = 1;
	int status = EXIT_OK;

	for (const char *c = names; *c != '\0'; c++)
		n += *c == '\n';
	p->sources = calloc(n, sizeof(*p->sources));
	p->from = calloc(n, sizeof(*p->from));
	if (p->sources == NULL || p->from == NULL)
		return show_fail("repair", -ENOMEM);
	for (char *name = names, *end; status == EXIT_OK && name != NULL;
	    name = end) {
		end = strchr(name, '\n');
		if (end != NULL)
			*end++ = '\0';
		status = open_source(p, name);
	}
	return status;
}

static void
print_json(struct repairing *p, const struct repair_result *r)
{
	struct store_counts counts, more;
	json_t *j;

	stack_counts(&p->u.s, &counts);
	for (size_t i = 0; i < p->n_sources; i++)
		if (p->sources[i].s.o != NULL) {
			stack_counts(&p->sources[i].s, &more);
			cost_add(&counts, &more);
		}
	j = json_pack("{s:s,s:b,s:O}", "store", p->u.s.t.name, "dry_run",
	    p->o->dry_run, "found", p->found);
	json_object_update_new(j, json_pack(
	    "{s:I,s:I,s:I,s:I,s:I,s:I}",
	    "snapshots", (json_int_t)r->snapshots,
	    "listed", (json_int_t)r->listed,
	    "read", (json_int_t)r->read,
	    "good", (json_int_t)r->good,
	    "missing", (json_int_t)r->missing,
	    "damaged", (json_int_t)r->damaged));
	json_object_update_new(j, json_pack(
	    "{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o}",
	    "healed", (json_int_t)r->healed,
	    "healed_bytes", (json_int_t)r->healed_bytes,
	    "made", (json_int_t)r->made,
	    "unproven", (json_int_t)r->unproven,
	    "lost", (json_int_t)r->lost,
	    "unknown", (json_int_t)r->unknown,
	    "objects_healed", (json_int_t)r->objects_healed,
	    "objects_lost", (json_int_t)r->objects_lost,
	    "cost", cost_json(p->o, &counts)));
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(j);
}

static void
print_text(const struct repairing *p, const struct repair_result *r)
{
	if (p->o->quiet)
		return;
	printf("%" PRIu64 " snapshots, %" PRIu64 " chunks looked at: %" PRIu64
	    " missing, %" PRIu64 " damaged\n", r->snapshots, r->read,
	    r->missing, r->damaged);
	printf("%" PRIu64 " %s, %" PRIu64 " lost, %" PRIu64 " unknown\n",
	    r->healed, p->o->dry_run ? "would be healed" : "healed", r->lost,
	    r->unknown);
	if (r->objects_healed + r->objects_lost > 0)
		printf("indices and other files: %" PRIu64 " healed, %" PRIu64
		    " lost\n", r->objects_healed, r->objects_lost);
	if (r->unproven > 0)
		log_warn("of %" PRIu64 " encrypted chunks only CRC and length "
		    "are known to be right\nhint: with -o keyfile=FILE their "
		    "content is checked", r->unproven);
}

static int
repair(struct repairing *p)
{
	const struct repair_opts ro = {
	    .repo = p->u.s.repo,
	    .sources = p->from,
	    .n_sources = p->n_sources,
	    .picks = p->picks,
	    .n_picks = p->n_picks,
	    .chunks = p->chunks,
	    .n_chunks = p->n_chunks,
	    .guard = p->u.guard,
	    .known = p->u.known,
	    .dry_run = p->o->dry_run,
	    .jobs = (unsigned)p->o->uploads,
	    .timeout_ms = (unsigned)p->o->timeout,
	    .stop = stopping_begin(),
	    .event = on_event,
	    .progress = on_progress,
	    .arg = p,
	};
	struct repair_result res;
	int r;

	progress_begin(&p->progress, p->o, 0);
	r = repair_run(&ro, &res);
	progress_end(&p->progress);
	if (r == -ECANCELED)
		log_err("interrupted\nhint: what was healed stays healed");
	else if (r < 0 && r != -ENOENT)
		log_err("%s: %s", p->u.s.t.name, exits_why(r));
	if (p->found != NULL)
		print_json(p, &res);
	else
		print_text(p, &res);
	if (r == 1)
		return res.lost + res.objects_lost > 0 ? EXIT_DAMAGED :
		    EXIT_FAILED;
	return exits_of(r);
}

static void
close_all(struct repairing *p)
{
	for (size_t i = 0; i < p->n_sources; i++) {
		store_free(p->sources[i].dir);
		if (p->sources[i].s.o != NULL) {
			stack_close(&p->sources[i].s);
			cost_add(&p->cost, &p->sources[i].s.cost);
		}
		options_fini(&p->sources[i].o);
	}
	upkeep_close(&p->u);
	cost_add(&p->cost, &p->u.s.cost);
	free(p->sources);
	free(p->from);
	free(p->picks);
	free(p->chunks);
	json_decref(p->found);
}

int
cmd_repair(struct options *o, char **args, int n)
{
	struct repairing p = {.o = o, .u = {.keys = true}};
	int status;

	if (o->from == NULL) {
		log_err("repair: where good copies are is missing\n"
			"hint: --from STORE, --from DIR or --from cache");
		return EXIT_USAGE;
	}
	status = parse_args(&p, args + 1, n - 1);
	p.found = o->json ? json_array() : NULL;
	if (status == EXIT_OK)
		status = upkeep_open(&p.u, o, args[0], !o->dry_run);
	if (status == EXIT_OK)
		status = open_sources(&p, o->from);
	if (status == EXIT_OK)
		status = repair(&p);
	close_all(&p);
	cost_print(o, &p.cost);
	return status;
}
