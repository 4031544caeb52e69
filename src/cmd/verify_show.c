/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/verify_show.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/cost.h"
#include "cmd/exits.h"
#include "cmd/option.h"
#include "cmd/show.h"
#include "pbs/names.h"

static const char *
part_name(enum verify_part part)
{
	switch (part) {
	case VERIFY_CONTENT:
		return "content";
	case VERIFY_ENTRY:
		return "attributes";
	case VERIFY_LIST:
		break;
	}
	return "entries";
}

static const char *
level_name(enum verify_level level)
{
	switch (level) {
	case VERIFY_EXISTS:
		return "exists";
	case VERIFY_SIZE:
		return "size";
	case VERIFY_SAMPLE:
		return "sample";
	case VERIFY_FULL:
		break;
	}
	return "full";
}

/* Where it goes; NULL: no more is kept. */
static json_t *
add_object(struct verify_show *s, json_t *array)
{
	json_t *j;

	if (json_array_size(array) >= VERIFY_SHOW_MAX) {
		s->left_out++;
		return NULL;
	}
	j = json_object();
	if (json_array_append_new(array, j) < 0) {
		s->failed = true;
		return NULL;
	}
	return j;
}

static void
set(struct verify_show *s, json_t *j, const char *key, json_t *value)
{
	if (json_object_set_new(j, key, value) < 0)
		s->failed = true;
}

static json_t *
num(uint64_t n)
{
	return json_integer((json_int_t)n);
}

/* The path that the tree shows; offsets in the stream of a file archive are
 * not those of a file there. */
static void
add_file(struct str *out, const char *snap, const char *file)
{
	char shown[NAME_LEN_MAX + 1];

	switch (archive_kind(file)) {
	case ARCHIVE_PXAR:
	case ARCHIVE_MPXAR:
	case ARCHIVE_PPXAR:
		str_addf(out, "%s/%s", snap, file);
		return;
	case ARCHIVE_FIXED:
	case ARCHIVE_DYNAMIC:
	case ARCHIVE_BLOB:
	case ARCHIVE_MANIFEST:
	case ARCHIVE_OTHER:
		break;
	}
	archive_shown_name(file, shown);
	str_addf(out, "%s/%s", snap, shown);
}

/* What is in an archive is shown by its metadata's name. */
static void
add_tree(struct str *out, const char *snap, const char *file)
{
	char shown[NAME_LEN_MAX + 1];
	static const char payload[] = ".ppxar";

	archive_shown_name(file, shown);
	if (str_ends(shown, payload))
		shown[strlen(shown) - strlen(payload)] = '\0';
	str_addf(out, "%s/%s", snap, shown);
}

static void
on_finding(void *arg, const struct verify_finding *f)
{
	_cleanup_(str_fini) struct str path = {0};
	struct verify_show *s = arg;
	char hex[DIGEST_HEX_LEN + 1];
	json_t *j;

	if (s->findings != NULL) {
		j = add_object(s, s->findings);
		if (j == NULL)
			return;
		set(s, j, "snapshot", json_string(f->snap));
		set(s, j, "file", json_string(f->file));
		set(s, j, "state", json_string(verdict_name(f->verdict)));
		set(s, j, "why", json_string(f->why));
		if (f->chunk == NULL)
			return;
		set(s, j, "chunk", json_string(digest_hex(f->chunk, hex)));
		set(s, j, "offset", num(f->off));
		set(s, j, "length", num(f->len));
		return;
	}
	progress_end(&s->progress);
	add_file(&path, f->snap, f->file);
	printf("%s: ", verdict_name(f->verdict));
	if (f->chunk == NULL)
		printf("%s/%s: %s\n", f->snap, f->file, f->why);
	else
		printf("%s bytes %" PRIu64 "-%" PRIu64 ": chunk %s %s\n",
		    str_get(&path), f->off, f->off + f->len,
		    digest_hex(f->chunk, hex), f->why);
}

static void
on_path(void *arg, const struct verify_path *p)
{
	_cleanup_(str_fini) struct str path = {0};
	struct verify_show *s = arg;
	json_t *j;

	if (s->paths != NULL) {
		j = add_object(s, s->paths);
		if (j == NULL)
			return;
		set(s, j, "snapshot", json_string(p->snap));
		set(s, j, "file", json_string(p->file));
		if (show_json_name(j, "path", p->path) < 0)
			s->failed = true;
		set(s, j, "part", json_string(part_name(p->part)));
		if (p->part != VERIFY_CONTENT)
			return;
		set(s, j, "offset", num(p->off));
		set(s, j, "length", num(p->len));
		return;
	}
	add_tree(&path, p->snap, p->file);
	if (p->path[0] != '\0')
		str_addf(&path, "/%s", p->path);
	fputs("    ", stdout);
	show_line(stdout, str_get(&path));
	if (p->part == VERIFY_CONTENT)
		printf(" bytes %" PRIu64 "-%" PRIu64 "\n", p->off,
		    p->off + p->len);
	else
		printf(" %s\n", part_name(p->part));
}

static void
on_snap(void *arg, const struct verify_snap *r)
{
	struct verify_show *s = arg;
	const char *state = r->skipped ? "skipped" :
	    r->verdict == VERDICT_GOOD ? "ok" : verdict_name(r->verdict);
	json_t *j;

	if (s->snaps != NULL) {
		j = json_object();
		if (json_array_append_new(s->snaps, j) < 0) {
			s->failed = true;
			return;
		}
		set(s, j, "snapshot", json_string(r->snap));
		set(s, j, "state", json_string(state));
		set(s, j, "recorded", json_boolean(r->recorded));
		set(s, j, "unknown", num(r->unknown));
		set(s, j, "more_findings", num(r->more_findings));
		set(s, j, "more_paths", num(r->more_paths));
		return;
	}
	if (s->o->quiet && r->verdict == VERDICT_GOOD)
		return;
	progress_end(&s->progress);
	printf("%s: %s", r->snap, state);
	if (r->more_findings > 0)
		printf(", and %" PRIu64 " more", r->more_findings);
	if (r->more_paths > 0)
		printf(", not all paths are known");
	putchar('\n');
	fflush(stdout);
}

static void
on_progress(void *arg, uint64_t bytes)
{
	struct verify_show *s = arg;

	progress_add(&s->progress, bytes);
}

int
verify_show_begin(struct verify_show *s, const struct options *o)
{
	memset(s, 0, sizeof(*s));
	s->o = o;
	if (o->json) {
		s->snaps = json_array();
		s->findings = json_array();
		s->paths = json_array();
		if (s->snaps == NULL || s->findings == NULL ||
		    s->paths == NULL) {
			verify_show_fini(s);
			return -ENOMEM;
		}
	}
	progress_begin(&s->progress, o, 0);
	return 0;
}

void
verify_show_opts(struct verify_show *s, struct verify_opts *v)
{
	v->finding = on_finding;
	v->path = on_path;
	v->snap = on_snap;
	v->progress = on_progress;
	v->arg = s;
}

void
verify_show_fini(struct verify_show *s)
{
	json_decref(s->snaps);
	json_decref(s->findings);
	json_decref(s->paths);
	s->snaps = s->findings = s->paths = NULL;
}

static int
print_json(struct verify_show *s, const char *store,
    const struct verify_opts *v, int err, const struct verify_result *r,
    const struct store_counts *cost)
{
	const struct {
		const char *key;
		uint64_t n;
	} numbers[] = {
	    {"ok", r->ok}, {"failed", r->failed}, {"unknown", r->unknown},
	    {"skipped", r->skipped}, {"unfinished", r->unfinished},
	    {"forgotten", r->vanished}, {"others", r->others},
	    {"objects", r->objects}, {"bad_objects", r->bad_objects},
	    {"unknown_objects", r->unknown_objects}, {"chunks", r->chunks},
	    {"bytes", r->bytes}, {"damaged", r->damaged},
	    {"missing", r->missing}, {"unknown_chunks", r->unknown_chunks},
	    {"quarantined", r->quarantined}, {"recorded", r->recorded},
	    {"unrecorded", r->unrecorded}, {"left_out", s->left_out},
	};
	json_t *j = json_object();

	set(s, j, "store", json_string(store));
	set(s, j, "level", json_string(level_name(v->level)));
	set(s, j, "complete", json_boolean(err == 0));
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		set(s, j, numbers[i].key, num(numbers[i].n));
	set(s, j, "snapshots", json_incref(s->snaps));
	set(s, j, "findings", json_incref(s->findings));
	set(s, j, "paths", json_incref(s->paths));
	set(s, j, "cost", cost_json(s->o, cost));
	if (!s->failed) {
		json_dumpf(j, stdout, JSON_COMPACT);
		putchar('\n');
	}
	json_decref(j);
	return s->failed ? -ENOMEM : 0;
}

static void
add_count(struct str *out, uint64_t n, const char *what)
{
	if (n > 0)
		str_addf(out, ", %" PRIu64 " %s", n, what);
}

int
verify_show_end(struct verify_show *s, const char *store,
    const struct verify_opts *v, int err, const struct verify_result *r,
    const struct store_counts *cost)
{
	_cleanup_(str_fini) struct str out = {0};
	char size[NUM_SIZE_MAX];

	progress_end(&s->progress);
	if (s->findings != NULL)
		return print_json(s, store, v, err, r, cost);
	str_addf(&out, "%" PRIu64 " snapshots: %" PRIu64 " ok",
	    r->snaps + r->skipped, r->ok);
	add_count(&out, r->failed, "failed");
	add_count(&out, r->unknown, "unknown");
	add_count(&out, r->skipped, "verified lately");
	add_count(&out, r->unfinished, "unfinished left out");
	add_count(&out, r->others, "others need what is bad");
	str_addf(&out, "\n%" PRIu64 " chunks", r->chunks);
	if (v->level >= VERIFY_SAMPLE)
		str_addf(&out, ", %s", num_format_size(size, r->bytes));
	add_count(&out, r->damaged, "damaged");
	add_count(&out, r->missing, "missing");
	add_count(&out, r->unknown_chunks, "unknown");
	add_count(&out, r->quarantined, "in quarantine");
	if (!s->o->quiet || r->failed > 0 || r->unknown > 0)
		printf("%s\n", str_get(&out));
	return str_error(&out);
}
