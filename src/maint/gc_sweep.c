/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/gc_priv.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "maint/digest_merge.h"
#include "maint/marks.h"
#include "pbs/names.h"
#include "store/store.h"

#define PROGRESS_EACH 1000
/* The sorted listing beside the sorted marks. */
struct sweep {
	struct gc *g;		/* borrowed */
	struct gc_batch *batch;	/* borrowed */
	struct gc_missing *missing;	/* borrowed */
	struct digest zero;
	struct digest mark;	/* the next one, if has_mark */
	bool has_mark;
	struct digest chunk;	/* the last one that was listed */
	bool has_chunk;
	uint64_t listed;
};

static void
add_missing(struct sweep *s)
{
	struct gc_missing *m = s->missing;

	s->g->res->missing++;
	if (m->n < GC_MISSING_NAMED)
		m->v[m->n++] = s->mark;
}

static bool
is_chunk(const struct sweep *s, const struct digest *d)
{
	return s->has_chunk && digest_eq(&s->chunk, d);
}

/* The mark was passed: was its chunk? */
static int
next_mark(struct sweep *s)
{
	int r;

	if (s->has_mark && !is_chunk(s, &s->mark))
		add_missing(s);
	r = marks_next(s->g->marks, &s->mark);
	s->has_mark = r == 0;
	if (s->has_mark)
		s->g->res->referenced++;
	return r < 0 ? r : 0;
}

/* Marks up to d; whether it is marked. */
static int
reach(struct sweep *s, const struct digest *d, bool *ret)
{
	int r = 0;

	while (r == 0 && s->has_mark && digest_cmp(&s->mark, d) < 0)
		r = next_mark(s);
	*ret = s->has_mark && digest_eq(&s->mark, d);
	return r;
}

static bool
is_old(const struct sweep *s, const struct store_object *o)
{
	return (o->atime != 0 ? o->atime : o->mtime) < s->g->before;
}

/* A server knows from it that something refers to the chunk; and when nothing
 * does any more it has its time. */
static int
touch(struct sweep *s, const char *key, const struct store_object *o)
{
	struct gc *g = s->g;
	int r;

	if (g->base == NULL || g->o->dry_run || o->atime >= g->res->started)
		return 0;
	r = store_touch(g->store, key);
	return r == 1 ? 0 : r;
}

static int
on_chunk(struct sweep *s, const char *key, const struct digest *d,
    const struct store_object *o)
{
	struct gc_result *res = s->g->res;
	bool marked;
	int r;

	if (s->has_chunk && digest_cmp(&s->chunk, d) >= 0) {
		log_err("%s: listed in the wrong order; nothing more is "
		    "deleted", key);
		return -EPROTO;
	}
	r = reach(s, d, &marked);
	if (r < 0)
		return r;
	s->chunk = *d;
	s->has_chunk = true;
	res->chunks++;
	res->bytes += o->size;
	if (marked || digest_eq(d, &s->zero))
		return touch(s, key, o);
	if (is_old(s, o))
		return gc_batch_add(s->batch, key, d, o->size);
	res->pending++;
	res->pending_bytes += o->size;
	return 0;
}

/* One that was set aside may be all that is left of what is referred to. */
static int
on_bad(struct sweep *s, const char *key, const struct digest *d,
    const struct store_object *o)
{
	bool marked;
	int r;

	s->g->res->bad++;
	r = reach(s, d, &marked);
	if (r < 0)
		return r;
	if (marked && !is_chunk(s, d))
		return touch(s, key, o);
	return is_old(s, o) ? gc_batch_add(s->batch, key, NULL, o->size) : 0;
}

static int
on_object(void *arg, const char *key, const struct store_object *o)
{
	struct sweep *s = arg;
	struct key_parts k;
	int r = gc_stopped(s->g);

	if (r < 0)
		return r;
	if (++s->listed % PROGRESS_EACH == 0)
		gc_progress(s->g, 2, s->listed, 0);
	key_parse(key, &k);
	if (k.kind == KEY_CHUNK)
		return on_chunk(s, key, &k.digest, o);
	if (k.kind == KEY_BAD_CHUNK)
		return on_bad(s, key, &k.digest, o);
	s->g->res->strange++;
	gc_event(s->g, GC_STRANGE, key, "no name of a chunk");
	return 0;
}

int
gc_sweep(struct gc *g, struct gc_missing *missing)
{
	struct sweep s = {.g = g, .missing = missing};
	int r;

	r = digest_parse(GC_ZERO_CHUNK, &s.zero);
	if (r == 0)
		r = gc_batch_new(g, &s.batch);
	if (r < 0)
		return r;
	r = next_mark(&s);
	if (r == 0)
		r = store_list(g->store, ".chunks/", NULL, on_object, &s);
	if (r == 0)
		r = gc_batch_flush(s.batch);
	while (r == 0 && s.has_mark)
		r = next_mark(&s);
	gc_progress(g, 2, s.listed, s.listed);
	gc_batch_free(s.batch);
	return r;
}
