/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/mounted.h"

#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/cost.h"
#include "cmd/changes.h"
#include "cmd/option.h"
#include "config.h"
#include "fuse/fuse_mount.h"
#include "repo/change_list.h"
#include "repo/chunks.h"
#include "repo/damage.h"
#include "repo/repo.h"
#include "repo/tree.h"
#include "store/filters.h"
#include "vfs/vfs.h"

static json_t *
time_json(int64_t t)
{
	char text[CLOCK_UTC_LEN + 1];

	return clock_format_utc(text, t) < 0 ? json_null() : json_string(text);
}

static json_t *
store_json(const struct mounted *m)
{
	const struct target *t = &m->s.t;

	if (!t->is_s3)
		return json_pack("{s:s,s:s}", "backend", "dir", "path",
		    t->path);
	return json_pack("{s:s,s:s,s:s,s:s?}", "backend", "s3", "bucket",
	    t->bucket, "datastore", t->datastore, "endpoint",
	    m->s.o->endpoint);
}

static json_t *
tree_json(struct mounted *m)
{
	struct tree *t = repo_tree(m->s.repo);
	json_t *j = json_pack("{s:I,s:I,s:I,s:I,s:o,s:o}", "groups",
	    (json_int_t)t->n_groups, "snapshots", (json_int_t)t->n_snaps,
	    "objects", (json_int_t)t->n_files, "ignored",
	    (json_int_t)t->n_ignored, "ignored_keys",
	    changes_ignored_json(t), "listed", time_json(t->listed_at));

	tree_unref(t);
	return j;
}

static json_t *
cache_json(struct mounted *m)
{
	struct store_cache_stats c;

	if (store_cache_stats(repo_store(m->s.repo), &c) != 0)
		return json_null();
	return json_pack("{s:s?,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b}", "dir",
	    m->s.cache_dir, "limit", (json_int_t)c.limit, "used",
	    (json_int_t)c.used, "chunks", (json_int_t)c.chunks, "objects",
	    (json_int_t)c.objects, "hits", (json_int_t)c.hits, "misses",
	    (json_int_t)c.misses, "evictions", (json_int_t)c.evictions,
	    "rejected", (json_int_t)c.rejected, "degraded", c.degraded);
}

static json_t *
memory_json(struct mounted *m)
{
	struct chunks_stats c;

	chunks_stats(repo_chunks(m->s.repo), &c);
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "used",
	    (json_int_t)c.memory, "limit", (json_int_t)c.memory_limit, "hits",
	    (json_int_t)c.hits, "fetched", (json_int_t)c.fetched, "decoded",
	    (json_int_t)c.decoded, "waits", (json_int_t)c.waits, "damaged",
	    (json_int_t)c.damaged, "in_flight", (json_int_t)c.in_flight);
}

static void
add_message(void *arg, int64_t when, enum log_level lvl, const char *text)
{
	/* A message may be cut inside of a character. */
	_cleanup_(str_fini) struct str s = {0};
	json_t *t = json_string(text);

	if (t == NULL) {
		str_escape(&s, text, strlen(text));
		t = json_string(str_get(&s));
	}
	json_array_append_new(arg, json_pack("{s:o,s:s,s:o}", "time",
	    time_json(when), "level",
	    lvl == LOG_LVL_ERR ? "error" : "warning", "text", t));
}

static json_t *
messages_json(void)
{
	json_t *list = json_array();

	log_recent(add_message, list);
	return list;
}

/* The mount is there before anybody can read this. */
static json_t *
fuse_json(struct mounted *m)
{
	struct fuse_mount_stats s;

	fuse_mount_stats(m->fuse, &s);
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I}", "requests",
	    (json_int_t)s.requests, "waited", (json_int_t)s.waited, "reads",
	    (json_int_t)s.reads, "writes", (json_int_t)s.writes, "open",
	    (json_int_t)s.open, "reading", (json_int_t)s.reading);
}

static json_t *
counted(const uint64_t by_verb[STORE_VERBS])
{
	json_t *j = json_object();

	for (int v = 0; v < STORE_VERBS; v++)
		json_object_set_new(j, store_verb_name((enum store_verb)v),
		    json_integer((json_int_t)by_verb[v]));
	return j;
}

static json_t *
changes(struct mounted *m, json_int_t *ret_left_out)
{
	struct change_list l;
	json_t *j;

	if (vfs_last_changes(m->s.vfs, &l) < 0)
		return NULL;
	*ret_left_out = (json_int_t)l.left_out;
	j = changes_json(&l);
	change_list_fini(&l);
	return j;
}

/* Fails as a whole if memory is short: jansson passes NULL on. */
static json_t *
status_json(struct mounted *m)
{
	json_int_t left_out = 0;
	struct vfs_refreshes r;
	struct store_counts c;
	json_t *list;

	stack_counts(&m->s, &c);
	/* The count first: who waits for another one sees its changes. */
	vfs_refreshes(m->s.vfs, &r);
	list = changes(m, &left_out);
	return json_pack("{s:s,s:i,s:s,s:s,s:o,s:o,s:b,s:o,s:I,s:I,s:I,s:I,s:I,"
	    "s:o,s:I,s:o,s:o,s:I,s:I,s:I,s:o,s:o,s:o,s:o,s:o,s:I,s:o}",
	    "version", PACKAGE_VERSION, "pid", (int)getpid(), "store",
	    m->s.t.name, "mountpoint", m->where, "target", store_json(m),
	    "mounted", time_json(m->since), "offline",
	    (int)repo_is_offline(m->s.repo), "tree", tree_json(m),
	    "refreshes", (json_int_t)r.done, "failed_refreshes",
	    (json_int_t)r.failed, "snapshots_added",
	    (json_int_t)r.snaps_added, "snapshots_removed",
	    (json_int_t)r.snaps_removed, "changed", (json_int_t)r.changed,
	    "changes", list, "changes_left_out", left_out,
	    "requests", counted(c.requests),
	    "failed", counted(c.failed), "retries", (json_int_t)c.retries,
	    "bytes_read", (json_int_t)c.bytes_read, "bytes_written",
	    (json_int_t)c.bytes_written, "cost", cost_json(m->s.o, &c),
	    "cache", cache_json(m), "memory",
	    memory_json(m), "writing",
	    m->w.s != NULL ? writing_json(&m->w) : json_null(), "fuse",
	    fuse_json(m), "damaged",
	    (json_int_t)damage_count(repo_damage(m->s.repo)), "messages",
	    messages_json());
}

static void
write_status(void *arg, struct str *out)
{
	_cleanup_free_ char *text = NULL;
	json_t *j = status_json(arg);

	if (j != NULL)
		text = json_dumps(j, JSON_INDENT(2));
	json_decref(j);
	if (text == NULL) {
		out->failed = true;
		return;
	}
	str_add(out, text);
	str_addc(out, '\n');
}

int
mounted_generate(struct mounted *m)
{
	int r;

	r = vfs_generate(m->s.vfs, "status.json", write_status, m);
	if (r == 0)
		r = vfs_generate(m->s.vfs, "metrics", mounted_metrics, m);
	return r;
}
