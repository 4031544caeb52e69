/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "verify_rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../repo/slow_store.h"
#include "base/buf.h"
#include "base/io.h"
#include "maint/agent.h"
#include "repo/repo.h"
#include "store/filters.h"
#include "store/store.h"

#include "../cm.h"

static void
on_finding(void *arg, const struct verify_finding *f)
{
	struct rig *g = arg;

	str_addf(&g->text, "%s %s/%s", verdict_name(f->verdict), f->snap,
	    f->file);
	if (f->chunk != NULL)
		str_addf(&g->text, " %" PRIu64 "+%" PRIu64, f->off, f->len);
	str_addf(&g->text, ": %s\n", f->why);
}

static void
on_path(void *arg, const struct verify_path *p)
{
	static const char *const parts[] = {"content", "entry", "list"};
	struct rig *g = arg;

	str_addf(&g->text, "  %s /%s %s", p->file, p->path, parts[p->part]);
	if (p->part == VERIFY_CONTENT)
		str_addf(&g->text, " %" PRIu64 "+%" PRIu64, p->off, p->len);
	str_addc(&g->text, '\n');
}

static void
on_snap(void *arg, const struct verify_snap *s)
{
	struct rig *g = arg;

	str_addf(&g->text, "%s is %s%s\n", s->snap, s->skipped ? "skipped" :
	    verdict_name(s->verdict), s->recorded ? ", recorded" : "");
}

static void
on_progress(void *arg, uint64_t bytes)
{
	struct rig *g = arg;

	g->progress += bytes;
}

void
rig_rules(struct rig *g, const char *rules)
{
	char path[300];
	FILE *f;

	snprintf(path, sizeof(path), "%s/rules", g->dir.path);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(rules, f);
	assert_int_equal(fclose(f), 0);
}

void
rig_open(struct rig *g, struct slow_store *s, const char *rules)
{
	const struct repo_opts ro = {.timeout_ms = 5000};
	struct agent_local al = {0};
	struct store *top = &s->s;
	char path[300];

	memset(g, 0, sizeof(*g));
	scratch_begin(&g->dir);
	g->s = s;
	if (rules != NULL) {
		rig_rules(g, "");
		snprintf(path, sizeof(path), "%s/rules", g->dir.path);
		assert_int_equal(store_fault_new(top, path, &top), 0);
	}
	assert_int_equal(repo_open(top, &ro, &g->repo), 0);
	if (rules != NULL)
		rig_rules(g, rules);
	al.repo = g->repo;
	assert_int_equal(agent_local_new(&al, &g->agent), 0);
	verify_upid(g->upid, "store", clock_real_s());
	g->o = (struct verify_opts){
	    .repo = g->repo,
	    .agent = g->agent,
	    .upid = g->upid,
	    .threads = 4,
	    .finding = on_finding,
	    .path = on_path,
	    .snap = on_snap,
	    .progress = on_progress,
	    .arg = g,
	};
}

void
rig_close(struct rig *g)
{
	agent_free(g->agent);
	repo_free(g->repo);
	str_fini(&g->text);
	scratch_end(&g->dir);
}

const char *
rig_run(struct rig *g, enum verify_level level)
{
	assert_int_equal(repo_refresh(g->repo, NULL), 0);
	g->o.level = level;
	str_reset(&g->text);
	g->progress = 0;
	assert_int_equal(verify_run(&g->o, &g->res), 0);
	return str_get(&g->text);
}

void
rig_is(struct rig *g, enum verify_level level, const char *text)
{
	assert_string_equal(rig_run(g, level), text);
}

void
rig_flip(struct slow_store *s, const char *key, long off)
{
	const struct store_get how = {.max = SIZE_MAX};
	struct buf *b, *c;

	assert_int_equal(store_get(s->s.below, key, &how, &b, NULL), 0);
	c = buf_copy(b->data, b->len);
	assert_non_null(c);
	c->data[off < 0 ? (long)c->len + off : off] ^= 0x10;
	assert_int_equal(store_put(s->s.below, key, c->data, c->len, NULL,
	    NULL), 0);
	buf_unref(b);
	buf_unref(c);
}

void
rig_remove(struct slow_store *s, const char *key)
{
	assert_int_equal(store_delete(s->s.below, &key, 1, NULL, NULL, 0), 0);
}

bool
rig_has(struct slow_store *s, const char *key)
{
	struct store_object o;

	return store_stat(s->s.below, key, 0, &o) == 0;
}

static int
count(void *arg, const char *key, const struct store_object *o)
{
	(void)key;
	(void)o;
	++*(size_t *)arg;
	return 0;
}

size_t
rig_chunks(struct slow_store *s)
{
	size_t n = 0;

	assert_int_equal(store_list(s->s.below, ".chunks/", NULL, count, &n),
	    0);
	return n;
}
