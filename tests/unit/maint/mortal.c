/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mortal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/draft.h"
#include "draft/scan.h"
#include "maint/agent.h"
#include "moody.h"
#include "pbs/blob.h"
#include "pbs/index.h"
#include "repo/guard.h"
#include "repo/known.h"
#include "repo/repo.h"
#include "repo/uploads.h"
#include "store/backends.h"

#include "../cm.h"

/* Of a delete that was not answered, in tests: until its grace is over. */
#define GRACE_MS 2

/* Nothing here has to survive the host. */
static const char *
scratch(void)
{
	return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
}

void
mortal_open(struct mortal *w, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	pthread_mutex_init(&w->luck.lock, NULL);
	/* Neighbours are to have nothing in common, and 0 stays 0. */
	w->luck.x = (seed + 1) * 0x9e3779b97f4a7c15ULL | 1;
	for (int i = 0; i < 8; i++)
		chance_below(&w->luck, 2);
	assert_int_equal(store_mem_new(&w->mem), 0);
	snprintf(w->top, sizeof(w->top), "%s/test-gc-XXXXXX", scratch());
	assert_non_null(mkdtemp(w->top));
	snprintf(w->dir, sizeof(w->dir), "%s/0", w->top);
	assert_int_equal(mkdir(w->dir, 0700), 0);
}

void
mortal_close(struct mortal *w)
{
	mortal_die(w);
	store_free(w->mem);
	assert_int_equal(io_remove_tree(AT_FDCWD, w->top), 0);
	pthread_mutex_destroy(&w->luck.lock);
}

static const char *
file(const struct mortal *w, const char *name, char out[128])
{
	snprintf(out, 128, "%s/%s", w->dir, name);
	return out;
}

static void
copy_file(const struct mortal *w, const char *from, const char *name)
{
	char a[128], b[128];
	struct buf *data;
	struct iovec iov;

	snprintf(a, sizeof(a), "%s/%s", from, name);
	if (io_read_file(AT_FDCWD, a, MIB, &data) < 0)
		return;
	iov = (struct iovec){data->data, data->len};
	assert_int_equal(io_replace(AT_FDCWD, file(w, name, b), &iov, 1, 0600,
	    0), 0);
	buf_unref(data);
}

void
mortal_save(struct mortal *w)
{
	char old[sizeof(w->dir)], cmd[256];

	snprintf(old, sizeof(old), "%s", w->dir);
	snprintf(w->dir, sizeof(w->dir), "%s/%u", w->top, ++w->lives);
	assert_int_equal(mkdir(w->dir, 0700), 0);
	copy_file(w, old, "known");
	copy_file(w, old, "guard");
	if (w->drafts == NULL && access(file(w, "state", cmd), F_OK) != 0)
		return;
	snprintf(cmd, sizeof(cmd), "cp -a %s/state %s/", old, w->dir);
	assert_int_equal(system(cmd), 0);
}

static void
open_drafts(struct mortal *w)
{
	char state[128];
	const struct drafts_opts o = {
	    .state = file(w, "state", state),
	    .identity = MORTAL_IDENTITY,
	    .uploads = w->uploads,
	    .staging = 64 * MIB,
	    .timeout_ms = 2000,
	    .fsync_store = true,
	};

	assert_int_equal(drafts_open(w->repo, &o, &w->drafts), 0);
}

void
mortal_live(struct mortal *w, bool with_drafts)
{
	const struct repo_opts ro = {
	    .memory = MIB, .fetchers = 1, .decoders = 1, .timeout_ms = 5000,
	};
	struct uploads_opts uo = {
	    .memory = MIB, .packers = 1, .putters = MORTAL_PUTTERS, .no_compress = true,
	};
	struct agent_local ao = {.identity = MORTAL_IDENTITY};
	char path[128];

	w->m = moody_new(w);
	assert_int_equal(repo_open(&w->m->s, &ro, &w->repo), 0);
	assert_int_equal(known_new(file(w, "known", path), "1", 1000,
	    &w->known), 0);
	assert_int_equal(guard_new(file(w, "guard", path), w->known,
	    &w->guard), 0);
	guard_set_grace(w->guard, GRACE_MS);
	uo.guard = w->guard;
	assert_int_equal(uploads_new(repo_store(w->repo), w->known, &uo,
	    &w->uploads), 0);
	if (with_drafts)
		open_drafts(w);
	ao.repo = w->repo;
	ao.guard = w->guard;
	ao.known = w->known;
	ao.drafts = w->drafts;
	ao.state = file(w, "state", path);
	assert_int_equal(agent_local_new(&ao, &w->agent), 0);
}

void
mortal_die(struct mortal *w)
{
	if (w->repo == NULL)
		return;
	{
		LOCK(&w->m->lock);
		w->m->dead = true;
		pthread_cond_broadcast(&w->m->change);
	}
	repo_shutdown(w->repo);
	guard_shutdown(w->guard);
	uploads_shutdown(w->uploads);
	if (w->drafts != NULL)
		drafts_shutdown(w->drafts);
	drafts_free(w->drafts);
	agent_free(w->agent);
	uploads_free(w->uploads);
	guard_free(w->guard);
	known_free(w->known);
	repo_free(w->repo);
	w->m = NULL;
	w->repo = NULL;
	w->drafts = NULL;
}

bool
mortal_is_dead(struct mortal *w)
{
	LOCK(&w->m->lock);
	return w->m->dead;
}

unsigned
mortal_waiting(struct mortal *w)
{
	LOCK(&w->m->lock);
	return w->m->let < w->m->came && !w->m->dead ?
	    w->m->came - w->m->let : 0;
}

void
mortal_let(struct mortal *w, unsigned n)
{
	LOCK(&w->m->lock);
	w->m->let = MIN(w->m->let + n, w->m->came);
	pthread_cond_broadcast(&w->m->change);
}

void
mortal_let_all(struct mortal *w)
{
	LOCK(&w->m->lock);
	w->m->pausing = false;
	pthread_cond_broadcast(&w->m->change);
}

void
mortal_quiet(struct mortal *w)
{
	struct uploads_stats s;
	unsigned waiting;

	for (;;) {
		uploads_stats(w->uploads, &s);
		waiting = mortal_waiting(w);
		/* Others can only queue behind those. */
		if (waiting == MORTAL_PUTTERS)
			return;
		if (s.in_flight <= waiting + w->joined(w) +
		    guard_waiting(w->guard))
			return;
		usleep(20);
	}
}

/* Digests, sorted, each once. */
struct set {
	struct digest *v;
	size_t n, room;
};

static int
compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct digest));
}

static void
set_add(struct set *s, const struct digest *d)
{
	if (s->n == s->room) {
		s->room = s->room == 0 ? 64 : 2 * s->room;
		s->v = realloc(s->v, s->room * sizeof(*s->v));
		assert_non_null(s->v);
	}
	s->v[s->n++] = *d;
}

static void
set_sort(struct set *s)
{
	size_t n = 0;

	if (s->n > 0)
		qsort(s->v, s->n, sizeof(*s->v), compare);
	for (size_t i = 0; i < s->n; i++)
		if (n == 0 || compare(&s->v[n - 1], &s->v[i]) != 0)
			s->v[n++] = s->v[i];
	s->n = n;
}

struct referring {
	struct mortal *w;
	struct set set;
};

static int
add_index(void *arg, const char *key, const struct store_object *o)
{
	const struct store_get how = {.max = SIZE_MAX};
	struct referring *ref = arg;
	struct index *x;
	const char *why;
	struct buf *b;

	(void)o;
	if (!str_ends(key, ".didx") && !str_ends(key, ".fidx"))
		return 0;
	assert_int_equal(store_get(ref->w->mem, key, &how, &b, NULL), 0);
	assert_int_equal(index_open(b, &x, &why), 0);
	buf_unref(b);
	for (size_t i = 0; i < index_count(x); i++) {
		struct index_chunk c = index_chunk(x, i);

		set_add(&ref->set, &c.digest);
	}
	index_unref(x);
	return 0;
}

static int
add_chunk(void *arg, const struct group_name *g, const struct digest *d)
{
	struct referring *ref = arg;

	(void)g;
	set_add(&ref->set, d);
	return 0;
}

static const char *
fault_of(struct mortal *w, const struct digest *d)
{
	const struct store_get how = {.max = MIB};
	char key[KEY_CHUNK_LEN + 1];
	struct buf *b, *plain;
	struct digest has;

	key_chunk(d, key);
	if (store_get(w->mem, key, &how, &b, NULL) != 0)
		return "is missing";
	if (blob_decode(b->data, b->len, MIB * 16, &plain) != 0) {
		buf_unref(b);
		return "is damaged";
	}
	has = digest_of(plain->data, plain->len);
	buf_unref(plain);
	buf_unref(b);
	return digest_eq(&has, d) ? NULL : "is another one";
}

static int
count(void *arg, const char *key, const struct store_object *o)
{
	(void)key, (void)o;
	++*(size_t *)arg;
	return 0;
}

char *
mortal_check(struct mortal *w, bool exact)
{
	struct referring ref = {.w = w};
	const struct draft_scan fns = {.chunk = add_chunk, .arg = &ref};
	struct str out = {0};
	char state[128];
	size_t there = 0;

	assert_int_equal(store_list(w->mem, ".cnt/", NULL, add_index, &ref),
	    0);
	assert_int_equal(draft_scan(file(w, "state", state), MORTAL_IDENTITY,
	    &fns), 0);
	set_sort(&ref.set);
	for (size_t i = 0; i < ref.set.n; i++) {
		const char *why = fault_of(w, &ref.set.v[i]);
		char key[KEY_CHUNK_LEN + 1];

		key_chunk(&ref.set.v[i], key);
		if (why != NULL)
			str_addf(&out, "%s %s; ", key, why);
	}
	assert_int_equal(store_list(w->mem, ".chunks/", NULL, count, &there),
	    0);
	if (exact && there != ref.set.n)
		str_addf(&out, "%zu chunks, and %zu are referred to; ", there,
		    ref.set.n);
	free(ref.set.v);
	if (out.len == 0)
		return NULL;
	return str_take(&out);
}

bool
mortal_has_snap(struct mortal *w, const struct group_name *g, int64_t time)
{
	struct store_object o;
	char key[KEY_MAX + 1];

	assert_int_equal(key_file(key, g->ns, g->type, g->id, time,
	    "index.json.blob"), 0);
	return store_stat(w->mem, key, 0, &o) == 0;
}
