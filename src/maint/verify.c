/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/lock.h"
#include "base/str.h"
#include "maint/verify_priv.h"
#include "pbs/index.h"
#include "pbs/siphash.h"
#include "repo/repo.h"
#include "repo/tree.h"

#define THREADS_DEFAULT 16
#define MEMORY_DEFAULT (256 * MIB)
#define TIMEOUT_DEFAULT_MS 60000
#define PROGRESS_MS 200
/* Bytes of indices in one round, which ends when its last chunk has been looked
 * at.  Where chunks are read that should not take too long, as nothing of it is
 * recorded before: 100 GiB in chunks of the usual size. */
#define ROUND_SNAPS 64
#define ROUND_BYTES (64 * MIB)
#define ROUND_BYTES_READ MIB
#define SHARE_ALL 1000000u

const char *
verdict_name(enum verdict v)
{
	switch (v) {
	case VERDICT_GOOD:
		return "good";
	case VERDICT_UNKNOWN:
		return "unknown";
	case VERDICT_MISSING:
		return "missing";
	case VERDICT_DAMAGED:
		break;
	}
	return "damaged";
}

int
verify_ended(struct verify *v)
{
	if (v->o->stop != NULL && atomic_load(v->o->stop))
		return -ECANCELED;
	LOCK(&v->lock);
	return v->fatal;
}

/* With the lock, which is let go while others are told. */
static void
tell_progress(struct verify *v)
{
	uint64_t bytes = v->progress;

	v->progress = 0;
	if (bytes == 0 || v->o->progress == NULL)
		return;
	pthread_mutex_unlock(&v->lock);
	v->o->progress(v->o->arg, bytes);
	pthread_mutex_lock(&v->lock);
}

/* Something to do for each thread when it is done. */
static bool
has_room(const struct verify *v, uint64_t cost)
{
	return v->jobs == 0 || (v->jobs < 2 * v->threads &&
	    v->under_way + cost <= v->memory);
}

int
verify_start(struct verify *v, struct work *w, uint64_t cost)
{
	int r;

	r = verify_ended(v);
	if (r < 0)
		return r;
	{
		LOCK(&v->lock);

		while (!has_room(v, cost)) {
			cond_wait_until(&v->changed, &v->lock,
			    deadline_in(PROGRESS_MS));
			tell_progress(v);
		}
		v->jobs++;
		v->under_way += cost;
	}
	r = workq_add(v->q, w);
	if (r < 0)
		verify_done(v, cost);
	return r;
}

void
verify_done(struct verify *v, uint64_t cost)
{
	LOCK(&v->lock);

	v->jobs--;
	v->under_way -= cost;
	pthread_cond_broadcast(&v->changed);
}

void
verify_wait(struct verify *v)
{
	LOCK(&v->lock);

	while (v->jobs > 0) {
		cond_wait_until(&v->changed, &v->lock,
		    deadline_in(PROGRESS_MS));
		tell_progress(v);
	}
	tell_progress(v);
}

bool
verify_in_pass(const struct verify *v, const struct digest *d)
{
	unsigned prefix = (unsigned)d->b[0] << 8 | d->b[1];

	return prefix >= v->low && prefix < v->high;
}

static uint64_t
index_bytes(const struct tree_snap *s)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < s->n_files; i++)
		if (str_ends(s->files[i].name, "idx"))
			bytes += s->files[i].size;
	return bytes;
}

size_t
verify_round(const struct verify *v, size_t i, size_t end)
{
	uint64_t bytes = 0, max = v->o->level >= VERIFY_SAMPLE ?
	    ROUND_BYTES_READ : ROUND_BYTES;
	size_t n = 0;

	while (i + n < end && n < ROUND_SNAPS) {
		bytes += index_bytes(v->ones[i + n].s);
		if (n > 0 && bytes > max)
			break;
		n++;
	}
	return n;
}

/* The part of all digests that this turn reads moves on by its own size. */
static bool
is_chosen(const struct verify_opts *o, const struct digest *d)
{
	uint64_t at, begin;

	if (o->level != VERIFY_SAMPLE || o->share >= SHARE_ALL)
		return true;
	at = siphash_24(0, 0, d->b, DIGEST_LEN) % SHARE_ALL;
	begin = (o->turn % SHARE_ALL) * o->share % SHARE_ALL;
	return (at + SHARE_ALL - begin) % SHARE_ALL < o->share;
}

static int
dispatch(struct verify *v, const struct verify_obj *obj)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < index_count(obj->x); i++) {
		struct index_chunk c = index_chunk(obj->x, i);
		struct set_key k = verify_chunk_key(v, obj, &c.digest);
		enum set_state st;
		uint32_t value;

		{
			LOCK(&v->lock);

			st = verify_set_get(&v->set, &k, &value);
			if (st == SET_NONE && !is_chosen(v->o, &c.digest))
				r = verify_set_put(&v->set, &k,
				    st = SET_UNREAD, 0);
		}
		if (st == SET_NONE)
			r = verify_chunk_start(v, obj, &c.digest,
			    (uint32_t)(c.end - c.start), true);
	}
	return r;
}

static int
dispatch_all(struct verify *v, struct verify_one *ones, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; r == 0 && j < ones[i].n_objs; j++)
			if (ones[i].objs[j].x != NULL)
				r = dispatch(v, &ones[i].objs[j]);
	verify_wait(v);
	return r < 0 ? r : verify_ended(v);
}

/* Nothing is judged before all of the round has been looked at. */
static int
read_round(struct verify *v, struct verify_one *ones, size_t n)
{
	int r;

	if (verify_set_memory(v->set.n) > v->set_memory) {
		r = verify_set_forget(&v->set);
		if (r < 0)
			return r;
	}
	r = verify_load(v, ones, n);
	if (r == 0)
		r = dispatch_all(v, ones, n);
	for (size_t i = 0; r == 0 && i < n; i++) {
		verify_tell(v, &ones[i]);
		r = verify_judge(v, &ones[i]);
	}
	if (r == 0)
		verify_bad_chunks(v);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = verify_finish(v, &ones[i]);
	for (size_t i = 0; i < n; i++)
		verify_unload(&ones[i]);
	return r;
}

/* Snapshots that were not asked for, but may need what was found bad. */
static int
others_round(struct verify *v, struct verify_one *ones, size_t n)
{
	int r;

	r = verify_load(v, ones, n);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = verify_judge(v, &ones[i]);
	for (size_t i = 0; i < n; i++) {
		if (r == 0 && !ones[i].vanished &&
		    ones[i].verdict >= VERDICT_MISSING)
			v->res->others++;
		verify_unload(&ones[i]);
	}
	return r;
}

static int
read_all(struct verify *v)
{
	size_t n;
	int r = 0;

	for (size_t i = 0; r == 0 && i < v->n_wanted; i += n) {
		n = verify_round(v, i, v->n_wanted);
		r = read_round(v, v->ones + i, n);
	}
	if (r < 0 || (v->res->damaged == 0 && v->res->missing == 0))
		return r;
	for (size_t i = 0; i < v->n_wanted; i++) {
		if (!v->ones[i].skipped)
			v->ones[i].vanished = true;	/* has been done */
		v->ones[i].wanted = v->ones[i].skipped = false;
	}
	for (size_t i = 0; r == 0 && i < v->n_ones; i += n) {
		n = verify_round(v, i, v->n_ones);
		r = others_round(v, v->ones + i, n);
	}
	return r;
}

static int
one_init(struct verify *v, struct verify_one *one, const struct tree_snap *s)
{
	const struct tree_group *g = s->group;
	char key[KEY_MAX + 1];
	size_t skip = strlen(".cnt/");
	int r;

	one->v = v;
	one->s = s;
	one->group.type = g->type;
	r = key_file(key, g->ns->path, g->type, g->id, s->time, "");
	if (r < 0)
		return r;
	snprintf(one->group.ns, sizeof(one->group.ns), "%s", g->ns->path);
	snprintf(one->group.id, sizeof(one->group.id), "%s", g->id);
	snprintf(one->path, sizeof(one->path), "%.*s",
	    (int)(strlen(key) - skip - 1), key + skip);
	return 0;
}

static int
add_group(struct verify *v, const struct tree_group *g, bool wanted)
{
	const struct verify_opts *o = v->o;
	int r = 0;

	for (size_t i = 0; r == 0 && i < g->n_snaps; i++) {
		const struct tree_snap *s = &g->snaps[i];
		bool want = o->want == NULL || o->want(o->arg, s);

		if (want != wanted)
			continue;
		if (!s->finished) {
			v->res->unfinished += wanted;
			continue;
		}
		v->ones[v->n_ones].wanted = wanted;
		r = one_init(v, &v->ones[v->n_ones++], s);
	}
	return r;
}

/* Those that are to be looked at come first, all in the order of the tree. */
static int
list_ones(struct verify *v)
{
	const struct tree *t = v->tree;
	int r = 0;

	v->ones = calloc(t->n_snaps + 1, sizeof(*v->ones));
	if (v->ones == NULL)
		return -ENOMEM;
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; r == 0 && i < t->n_ns; i++)
			for (size_t j = 0; r == 0 && j < t->all_ns[i].n_groups;
			    j++)
				r = add_group(v, &t->all_ns[i].groups[j],
				    pass == 0);
		if (pass == 0)
			v->n_wanted = v->n_ones;
	}
	return r;
}

static int
init(struct verify *v, const struct verify_opts *o, struct verify_result *ret)
{
	int r;

	memset(v, 0, sizeof(*v));
	memset(ret, 0, sizeof(*ret));
	v->o = o;
	v->res = ret;
	v->store = repo_store(o->repo);
	v->threads = o->threads != 0 ? o->threads : THREADS_DEFAULT;
	v->timeout_ms = o->timeout_ms != 0 ? o->timeout_ms :
	    TIMEOUT_DEFAULT_MS;
	v->memory = o->memory != 0 ? o->memory : MEMORY_DEFAULT;
	v->set_memory = o->set_memory != 0 ? o->set_memory : MEMORY_DEFAULT;
	v->high = VERIFY_PREFIXES;
	pthread_mutex_init(&v->lock, NULL);
	pthread_mutex_init(&v->unpack, NULL);
	v->tree = repo_tree(o->repo);
	r = cond_init(&v->changed);
	if (r == 0)
		r = verify_set_init(&v->set);
	if (r == 0)
		r = workq_new("verify", v->threads, &v->q);
	return r;
}

static void
fini(struct verify *v)
{
	workq_free(v->q);
	for (size_t i = 0; i < v->n_ones; i++)
		verify_unload(&v->ones[i]);
	free(v->ones);
	free(v->bad);
	verify_set_fini(&v->set);
	tree_unref(v->tree);
	pthread_cond_destroy(&v->changed);
	pthread_mutex_destroy(&v->lock);
	pthread_mutex_destroy(&v->unpack);
}

int
verify_run(const struct verify_opts *o, struct verify_result *ret)
{
	struct verify *v = malloc(sizeof(*v));
	int r;

	if (v == NULL)
		return -ENOMEM;
	r = init(v, o, ret);
	if (r == 0)
		r = list_ones(v);
	if (r == 0)
		r = o->level < VERIFY_SAMPLE ? verify_listed(v) : read_all(v);
	fini(v);
	free(v);
	return r;
}
