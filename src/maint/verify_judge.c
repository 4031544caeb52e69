/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/verify_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "maint/agent.h"
#include "pbs/index.h"
#include "repo/repo.h"
#include "store/store.h"

/* More of one archive are cut off: what is in them counts as not named. */
#define RANGES_MAX ((size_t)1 << 16)

struct ranges {
	struct verify_range *v;	/* owned */
	size_t n, size;
	bool cut;
};

static void
worsen(struct verify_one *one, enum verdict verdict)
{
	one->verdict = MAX(one->verdict, verdict);
	if (verdict == VERDICT_UNKNOWN)
		one->unknown++;
}

static void
tell_finding(struct verify_one *one, const struct verify_finding *f)
{
	const struct verify_opts *o = one->v->o;

	if (o->finding != NULL)
		o->finding(o->arg, f);
}

/* Whether it has been forgotten since it was listed; asked once it lacks
 * something. */
static bool
is_gone(struct verify_one *one)
{
	char key[KEY_MAX + 1];
	int err;

	if (one->vanished || one->present)
		return one->vanished;
	if (one->objs[0].f == NULL || tree_file_key(one->objs[0].f, key) < 0)
		return false;
	one->vanished = verify_exists(one->v, key, &err) == VERDICT_MISSING;
	one->present = !one->vanished;
	return one->vanished;
}

void
verify_tell(struct verify *v, struct verify_one *one)
{
	struct verify_result *res = v->res;

	if (one->told || one->skipped)
		return;
	one->told = true;
	for (size_t i = 0; i < one->n_objs; i++)
		if (one->objs[i].verdict == VERDICT_MISSING && is_gone(one))
			return;
	for (size_t i = 0; i < one->n_objs; i++) {
		const struct verify_obj *obj = &one->objs[i];

		res->objects++;
		if (obj->verdict == VERDICT_GOOD)
			continue;
		if (obj->verdict == VERDICT_UNKNOWN)
			res->unknown_objects++;
		else
			res->bad_objects++;
		worsen(one, obj->verdict);
		tell_finding(one, &(struct verify_finding){
		    .verdict = obj->verdict,
		    .snap = one->path,
		    .file = obj->name,
		    .why = obj->why,
		});
	}
}

/* Neighbours become one. */
static int
add_range(struct ranges *rs, uint64_t begin, uint64_t end)
{
	struct verify_range *p;
	size_t size;

	if (rs->n > 0 && rs->v[rs->n - 1].end == begin) {
		rs->v[rs->n - 1].end = end;
		return 0;
	}
	if (rs->n == RANGES_MAX) {
		rs->cut = true;
		return 0;
	}
	if (rs->n == rs->size) {
		size = rs->size == 0 ? 16 : 2 * rs->size;
		p = reallocarray(rs->v, size, sizeof(*p));
		if (p == NULL)
			return -ENOMEM;
		rs->v = p;
		rs->size = size;
	}
	rs->v[rs->n++] = (struct verify_range){begin, end};
	return 0;
}

/* What is wrong with the chunk at c; false: nothing, or it was not asked. */
static bool
is_wrong(const struct verify_one *one, const struct verify_obj *obj,
    const struct index_chunk *c, struct verify_finding *f)
{
	struct verify *v = one->v;
	struct set_key k = verify_chunk_key(v, obj, &c->digest);
	uint32_t value;

	f->off = c->start;
	f->len = c->end - c->start;
	f->chunk = &c->digest;
	switch (verify_set_get(&v->set, &k, &value)) {
	case SET_GOOD:
		if (value == 0 || value == f->len)
			return false;
		f->verdict = VERDICT_DAMAGED;
		f->why = "is good, but not as long as the index says";
		return true;
	case SET_UNKNOWN:
		f->verdict = VERDICT_UNKNOWN;
		f->why = verify_error_text(-(int)value);
		return true;
	case SET_MISSING:
		f->verdict = VERDICT_MISSING;
		f->why = "is not in the store";
		return true;
	case SET_DAMAGED:
		f->verdict = VERDICT_DAMAGED;
		f->why = chunk_fault_text((enum chunk_fault)value);
		return true;
	case SET_PENDING:	/* never: all have been waited for */
		f->verdict = VERDICT_UNKNOWN;
		f->why = verify_error_text(-ECANCELED);
		return true;
	case SET_NONE:
	case SET_WANTED:
	case SET_LISTED:
	case SET_SUSPECT:
	case SET_UNREAD:
		break;
	}
	return false;
}

static bool
is_unread(struct verify *v, const struct verify_obj *obj,
    const struct digest *d)
{
	struct set_key k = verify_chunk_key(v, obj, d);
	uint32_t value;

	return verify_set_get(&v->set, &k, &value) == SET_UNREAD;
}

static int
judge_index(struct verify_one *one, const struct verify_obj *obj)
{
	struct verify_finding f = {.snap = one->path, .file = obj->name};
	struct verify *v = one->v;
	struct ranges rs = {0};
	unsigned told = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < index_count(obj->x); i++) {
		struct index_chunk c = index_chunk(obj->x, i);

		if (!verify_in_pass(v, &c.digest))
			continue;
		if (!is_wrong(one, obj, &c, &f)) {
			if (v->o->level == VERIFY_SAMPLE &&
			    is_unread(v, obj, &c.digest))
				v->res->unread++;
			continue;
		}
		/* Of those not asked for only what is certain counts. */
		if (!one->wanted && f.verdict == VERDICT_UNKNOWN)
			continue;
		if (f.verdict == VERDICT_MISSING && is_gone(one))
			break;
		worsen(one, f.verdict);
		if (told++ < VERIFY_FINDINGS_MAX)
			tell_finding(one, &f);
		else
			one->more_findings++;
		if (f.verdict != VERDICT_UNKNOWN)
			r = add_range(&rs, c.start, c.end);
	}
	if (r == 0 && rs.n > 0 && !one->vanished && v->o->path != NULL)
		r = verify_paths(v, one, obj, rs.v, rs.n);
	one->more_paths += rs.cut;
	free(rs.v);
	return r;
}

int
verify_judge(struct verify *v, struct verify_one *one)
{
	int r = 0;

	(void)v;
	for (size_t i = 0; r == 0 && i < one->n_objs; i++)
		if (one->objs[i].x != NULL && !one->vanished)
			r = judge_index(one, &one->objs[i]);
	return r;
}

/* Only what was read proves something for good. */
static bool
is_to_record(const struct verify_one *one, enum verify_verdict *ret)
{
	const struct verify_opts *o = one->v->o;

	if (o->agent == NULL || o->no_record || o->upid == NULL ||
	    o->level < VERIFY_SAMPLE)
		return false;
	*ret = one->verdict >= VERDICT_MISSING ? VERIFY_FAILED : VERIFY_OK;
	if (*ret == VERIFY_FAILED)
		return one->objs != NULL &&
		    one->objs[0].verdict == VERDICT_GOOD;
	return one->verdict == VERDICT_GOOD && o->level == VERIFY_FULL &&
	    !o->cached;
}

/* -EDQUOT: nothing more can be asked of the store. */
static int
record(struct verify *v, struct verify_one *one)
{
	struct agent *a = v->o->agent;
	enum verify_verdict what;
	int r;

	if (!is_to_record(one, &what))
		return 0;
	r = a->ops->record_verify(a, &one->group, one->s->time, what,
	    v->o->upid);
	one->recorded = r == 0;
	if (r == 0) {
		v->res->recorded++;
	} else if (r == -ENOENT) {
		one->vanished = true;
	} else {
		v->res->unrecorded++;
		v->res->record_error = r;
		log_warn("%s: the result cannot be recorded: %s", one->path,
		    r == -EDQUOT ? "a limit was reached" : strerror(-r));
	}
	return r == -EDQUOT ? r : 0;
}

static void
count(struct verify_result *res, const struct verify_one *one)
{
	if (one->vanished) {
		res->vanished++;
		return;
	}
	if (one->skipped) {
		res->skipped++;
		return;
	}
	res->snaps++;
	switch (one->verdict) {
	case VERDICT_GOOD:
		res->ok++;
		break;
	case VERDICT_UNKNOWN:
		res->unknown++;
		break;
	case VERDICT_MISSING:
	case VERDICT_DAMAGED:
		res->failed++;
		break;
	}
}

int
verify_finish(struct verify *v, struct verify_one *one)
{
	const struct verify_opts *o = v->o;
	int r = 0;

	if (!one->vanished && !one->skipped)
		r = record(v, one);
	count(v->res, one);
	if (one->vanished || o->snap == NULL)
		return r;
	o->snap(o->arg, &(struct verify_snap){
	    .snap = one->path,
	    .verdict = one->verdict,
	    .skipped = one->skipped,
	    .recorded = one->recorded,
	    .unknown = one->unknown,
	    .more_findings = one->more_findings,
	    .more_paths = one->more_paths,
	});
	return r;
}
