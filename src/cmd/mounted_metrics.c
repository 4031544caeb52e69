/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/mounted.h"

#include <inttypes.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cmd/cost.h"
#include "cmd/gc_schedule.h"
#include "cmd/option.h"
#include "cmd/price.h"
#include "draft/draft.h"
#include "repo/chunks.h"
#include "repo/damage.h"
#include "repo/repo.h"
#include "repo/tree.h"
#include "repo/uploads.h"
#include "store/filters.h"
#include "vfs/vfs.h"

/* Prometheus' text format, with the mount as a label of every value. */
struct metrics {
	struct str *out;
	struct str labels;	/* mount="...",store="..." */
};

static void
add_label(struct str *s, const char *name, const char *value)
{
	str_addf(s, "%s=\"", name);
	for (; *value != '\0'; value++) {
		if (*value == '\n') {
			str_add(s, "\\n");
			continue;
		}
		if (*value == '"' || *value == '\\')
			str_addc(s, '\\');
		str_addc(s, *value);
	}
	str_addc(s, '"');
}

static void
head(struct metrics *m, const char *name, const char *type, const char *help)
{
	str_addf(m->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
	    type);
}

static void
value(struct metrics *m, const char *name, const char *more, uint64_t v)
{
	str_addf(m->out, "%s{%s%s} %" PRIu64 "\n", name,
	    str_get(&m->labels), more, v);
}

static void
counter(struct metrics *m, const char *name, const char *help, uint64_t v)
{
	head(m, name, "counter", help);
	value(m, name, "", v);
}

static void
gauge(struct metrics *m, const char *name, const char *help, uint64_t v)
{
	head(m, name, "gauge", help);
	value(m, name, "", v);
}

static void
requests(struct metrics *m, const struct store_counts *c)
{
	static const char name[] = "pbs3fs_requests_total";
	_cleanup_(str_fini) struct str more = {0};

	head(m, name, "counter", "Requests to the store by verb and outcome.");
	for (int v = 0; v < STORE_VERBS; v++) {
		const char *verb = store_verb_name((enum store_verb)v);

		str_reset(&more);
		str_addf(&more, ",verb=\"%s\",outcome=\"ok\"", verb);
		value(m, name, str_get(&more), c->requests[v] - c->failed[v]);
		str_reset(&more);
		str_addf(&more, ",verb=\"%s\",outcome=\"failed\"", verb);
		value(m, name, str_get(&more), c->failed[v]);
	}
	counter(m, "pbs3fs_retries_total", "Requests made again.", c->retries);
	counter(m, "pbs3fs_read_bytes_total", "Bytes received from the store.",
	    c->bytes_read);
	counter(m, "pbs3fs_written_bytes_total", "Bytes sent to the store.",
	    c->bytes_written);
}

static void
collections(struct metrics *m, struct gc_schedule *g)
{
	struct gc_schedule_stats s;

	gc_schedule_stats(g, &s);
	counter(m, "pbs3fs_gc_runs_total", "Scheduled garbage collections.",
	    s.runs);
	counter(m, "pbs3fs_gc_failed_total", "Those that failed.", s.failed);
	if (s.started == 0)
		return;
	gauge(m, "pbs3fs_gc_last_timestamp_seconds",
	    "When the last one began.", (uint64_t)s.started);
	gauge(m, "pbs3fs_gc_last_status", "Its exit status.",
	    (uint64_t)s.status);
}

static void
price(struct metrics *m, const struct options *o,
    const struct store_counts *c)
{
	static const char name[] = "pbs3fs_cost_total";
	char amount[PRICE_TEXT_MAX];

	if (!cost_has_prices(o))
		return;
	head(m, name, "counter", "What requests and traffic cost.");
	str_addf(m->out, "%s{%s", name, str_get(&m->labels));
	if (o->currency != NULL) {
		str_addc(m->out, ',');
		add_label(m->out, "currency", o->currency);
	}
	str_addf(m->out, "} %s\n",
	    price_exact(amount, price_of(&o->price, c)));
}

static void
cache(struct metrics *m, const struct store_cache_stats *c)
{
	gauge(m, "pbs3fs_cache_limit_bytes", "Size that the cache may have.",
	    c->limit);
	gauge(m, "pbs3fs_cache_used_bytes", "Size that it has.", c->used);
	gauge(m, "pbs3fs_cache_chunks", "Chunks in it.", c->chunks);
	gauge(m, "pbs3fs_cache_objects", "Metadata objects in it.",
	    c->objects);
	counter(m, "pbs3fs_cache_hits_total", "Reads that it answered.",
	    c->hits);
	counter(m, "pbs3fs_cache_misses_total", "Reads that it did not.",
	    c->misses);
	counter(m, "pbs3fs_cache_evictions_total", "Files it had to drop.",
	    c->evictions);
	gauge(m, "pbs3fs_cache_degraded", "1 if it cannot be written.",
	    c->degraded);
}

static void
memory(struct metrics *m, const struct chunks_stats *c)
{
	gauge(m, "pbs3fs_memory_used_bytes", "Decoded chunks in memory.",
	    c->memory);
	gauge(m, "pbs3fs_memory_limit_bytes", "Limit of them.",
	    c->memory_limit);
	counter(m, "pbs3fs_chunk_hits_total", "Chunks found in memory.",
	    c->hits);
	counter(m, "pbs3fs_chunk_fetches_total", "Chunks asked of the store.",
	    c->fetched);
	counter(m, "pbs3fs_chunk_decodes_total", "Chunks decoded.",
	    c->decoded);
	gauge(m, "pbs3fs_chunks_in_flight", "Chunks on their way.",
	    c->in_flight);
}

static void
writing(struct metrics *m, const struct writing *w)
{
	struct uploads_stats u;
	struct drafts_stats d;

	drafts_stats(w->drafts, &d);
	uploads_stats(w->uploads, &u);
	gauge(m, "pbs3fs_staged_bytes", "Bytes in the state directory.",
	    d.staged);
	gauge(m, "pbs3fs_staging_limit_bytes", "Bytes that it may hold.",
	    d.staged_limit);
	gauge(m, "pbs3fs_unsent_bytes", "Written bytes that are not in the "
	    "store.", d.unsent);
	gauge(m, "pbs3fs_unpublished_groups", "Groups with changes that are in "
	    "no snapshot.", d.changed);
	gauge(m, "pbs3fs_unpublished_timestamp_seconds",
	    "When the oldest such change was made; 0: there is none.",
	    d.oldest > 0 ? (uint64_t)d.oldest : 0);
	gauge(m, "pbs3fs_writers_waiting", "Writers that wait for room.",
	    d.waiting);
	counter(m, "pbs3fs_chunks_written_total", "Chunks to be stored.",
	    u.chunks);
	counter(m, "pbs3fs_chunks_known_total",
	    "Of them: already in the store.", u.duplicates);
	counter(m, "pbs3fs_chunks_failed_total",
	    "Of them: could not be stored.", u.failed);
}

void
mounted_metrics(void *arg, struct str *out)
{
	struct mounted *mt = arg;
	struct metrics m = {.out = out};
	struct tree *t = repo_tree(mt->s.repo);
	struct store_cache_stats cs;
	struct vfs_refreshes r;
	struct chunks_stats ch;
	struct store_counts c;

	add_label(&m.labels, "mount", mt->where);
	str_addc(&m.labels, ',');
	add_label(&m.labels, "store", mt->s.t.name);
	stack_counts(&mt->s, &c);
	requests(&m, &c);
	price(&m, mt->s.o, &c);
	if (store_cache_stats(repo_store(mt->s.repo), &cs) == 0)
		cache(&m, &cs);
	chunks_stats(repo_chunks(mt->s.repo), &ch);
	memory(&m, &ch);
	if (mt->w.s != NULL)
		writing(&m, &mt->w);
	if (mt->w.gc != NULL)
		collections(&m, mt->w.gc);
	vfs_refreshes(mt->s.vfs, &r);
	counter(&m, "pbs3fs_refreshes_total", "Refreshes done.", r.done);
	counter(&m, "pbs3fs_refreshes_failed_total", "Refreshes that failed.",
	    r.failed);
	gauge(&m, "pbs3fs_offline", "1 if the store was away when listed.",
	    repo_is_offline(mt->s.repo));
	gauge(&m, "pbs3fs_damaged", "Chunks and objects found damaged.",
	    damage_count(repo_damage(mt->s.repo)));
	gauge(&m, "pbs3fs_snapshots", "Snapshots in the datastore.",
	    t->n_snaps);
	gauge(&m, "pbs3fs_listed_timestamp_seconds",
	    "When the datastore was last listed.", (uint64_t)t->listed_at);
	gauge(&m, "pbs3fs_start_timestamp_seconds", "When it was mounted.",
	    (uint64_t)mt->since);
	tree_unref(t);
	if (str_error(&m.labels) < 0)
		out->failed = true;
	str_fini(&m.labels);
}
