/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/gc_report.h"

#include <stddef.h>
#include <string.h>

#include "base/num.h"

void
gc_figures(const struct gc_result *r, struct gc_figures *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->disk_chunks = r->chunks - r->removed - r->pending;
	ret->disk_bytes = r->bytes - r->removed_bytes - r->pending_bytes;
	ret->still_bad = r->bad - r->removed_bad;
	ret->deduplication = 1;
	if (ret->disk_bytes > 0)
		ret->deduplication = (double)r->index_data_bytes /
		    (double)ret->disk_bytes;
	if (ret->disk_chunks > 0)
		ret->average_chunk = ret->disk_bytes / ret->disk_chunks;
}

static void
set(json_t *j, const char *key, uint64_t v)
{
	json_object_set_new(j, key, json_integer((json_int_t)v));
}

json_t *
gc_result_json(const struct gc_result *r, bool dry_run)
{
	const struct {
		const char *key;
		uint64_t v;
	} v[] = {
	    {"indices", r->indices},
	    {"indices_reused", r->indices_reused},
	    {"index_data_bytes", r->index_data_bytes},
	    {"references", r->references},
	    {"referenced", r->referenced},
	    {"chunks", r->chunks},
	    {"bytes", r->bytes},
	    {"removed", r->removed},
	    {"removed_bytes", r->removed_bytes},
	    {"pending", r->pending},
	    {"pending_bytes", r->pending_bytes},
	    {"spared", r->spared},
	    {"missing", r->missing},
	    {"bad", r->bad},
	    {"removed_bad", r->removed_bad},
	    {"removed_bad_bytes", r->removed_bad_bytes},
	    {"strange", r->strange},
	    {"undeleted", r->undeleted},
	    {"cache_removed", r->cache_removed},
	};
	struct gc_figures f;
	json_t *j = json_object();

	gc_figures(r, &f);
	for (size_t i = 0; i < ARRAY_SIZE(v); i++)
		set(j, v[i].key, v[i].v);
	set(j, "disk_chunks", f.disk_chunks);
	set(j, "disk_bytes", f.disk_bytes);
	set(j, "average_chunk", f.average_chunk);
	json_object_set_new(j, "deduplication", json_real(f.deduplication));
	json_object_set_new(j, "dry_run", json_boolean(dry_run));
	json_object_set_new(j, "started", json_integer(r->started));
	json_object_set_new(j, "finished", json_integer(r->finished));
	return j;
}

json_t *
gc_status_json(const struct gc_result *r, const char *upid)
{
	json_t *j = json_object(), *stats;
	struct gc_figures f;

	gc_figures(r, &f);
	json_object_set_new(j, "upid", json_string(upid));
	set(j, "index-file-count", r->indices);
	set(j, "index-data-bytes", r->index_data_bytes);
	set(j, "disk-bytes", f.disk_bytes);
	set(j, "disk-chunks", f.disk_chunks);
	set(j, "removed-bytes", r->removed_bytes + r->removed_bad_bytes);
	set(j, "removed-chunks", r->removed);
	set(j, "pending-bytes", r->pending_bytes);
	set(j, "pending-chunks", r->pending);
	set(j, "removed-bad", r->removed_bad);
	set(j, "still-bad", f.still_bad);
	/* Of references; not known of indices that were not read again. */
	if (r->indices_reused == 0) {
		stats = json_object();
		set(stats, "hits", r->references > r->referenced ?
		    r->references - r->referenced : 0);
		set(stats, "misses", r->referenced);
		json_object_set_new(j, "cache-stats", stats);
	}
	return j;
}
