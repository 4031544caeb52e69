/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Writers, forgetting, garbage collection and sudden death in random order, and
 * in the midst of each other: whatever has a request under way may see any of
 * the others begin and end before it is answered.
 *
 * A run follows from its number, but for what threads do side by side.
 * GC_RANDOM_RUNS says how many there are, GC_RANDOM_SEED which one is first.
 */
#include "maint/gc.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/lock.h"
#include "base/num.h"
#include "draft/draft.h"
#include "maint/agent.h"
#include "moody.h"
#include "mortal.h"
#include "pbs/index.h"
#include "pbs/manifest_writer.h"
#include "repo/guard.h"
#include "repo/repo.h"
#include "repo/uploads.h"

#include "../cm.h"

#if defined(__has_feature)
#define SANITIZED                                                              \
	(__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#define RUNS (SANITIZED ? 200 : 10000)
/* Each so many runs one has open snapshots, which take their time. */
#define DRAFT_EVERY 50

#define WRITERS 2
#define CONTENTS 12	/* chunks that there can be */
#define ITEMS 4		/* in a snapshot */
#define SNAPS 64
#define GROUPS 3
#define T0 1700000000

struct writer;

/* A chunk on its way. */
struct item {
	struct upload up;	/* first */
	struct writer *w;
	unsigned content;
	bool active;		/* lock of the run */
	int err;
};

/* Somebody who makes a snapshot of chunks: as copying does. */
struct writer {
	struct run *run;
	uint64_t hold;		/* 0: nothing is begun */
	struct item items[ITEMS];
	unsigned n, want;
};

struct snap {
	struct group_name g;
	int64_t time;
	bool sure;		/* it is there */
};

/* What all runs came to: that they are worth something. */
struct tally {
	uint64_t deaths, snapshots, forgotten, collections, stopped, removed,
	    spared;
};

struct run {
	struct mortal m;
	struct tally *tally;
	pthread_mutex_t lock;	/* guards active and err of items, tally,
				 * collecting, collector */
	struct writer writers[WRITERS];
	struct snap snaps[SNAPS];
	unsigned n_snaps, files;
	bool drafts;		/* of this run */
	bool collecting;
	pthread_t collector;	/* then */
	bool careless;		/* collects what is marked, too */
	int64_t clock;
	int (*condemn)(struct agent *a, const struct digest *d, size_t n,
	    bool *spared);
};

static struct chance *
luck(struct run *r)
{
	return &r->m.luck;
}

static void
content_of(unsigned content, char out[64])
{
	snprintf(out, 64, "this is the content of chunk %u", content);
}

static struct digest
digest_of_content(unsigned content)
{
	char text[64];

	content_of(content, text);
	return digest_of(text, strlen(text));
}

static bool
is_doomed(unsigned content, const char *const *doomed, size_t n)
{
	struct digest d = digest_of_content(content);
	char key[KEY_CHUNK_LEN + 1];

	key_chunk(&d, key);
	for (size_t i = 0; i < n; i++)
		if (strcmp(key, doomed[i]) == 0)
			return true;
	return false;
}

static unsigned
joined(struct mortal *m)
{
	struct run *r = m->arg;
	bool seen[CONTENTS] = {false};
	unsigned n = 0;
	LOCK(&r->lock);

	for (unsigned i = 0; i < WRITERS; i++)
		for (unsigned k = 0; k < r->writers[i].n; k++) {
			const struct item *it = &r->writers[i].items[k];

			n += it->active && seen[it->content];
			seen[it->content] |= it->active;
		}
	return n;
}

static void
on_uploaded(struct upload *up, int err)
{
	struct item *it = (struct item *)up;
	LOCK(&it->w->run->lock);

	it->active = false;
	it->err = err;
}

static bool
is_active(struct writer *w)
{
	bool active = false;
	LOCK(&w->run->lock);

	for (unsigned i = 0; i < w->n; i++)
		active |= w->items[i].active;
	return active;
}

static void
give_up(struct writer *w)
{
	guard_release(w->run->m.guard, w->hold);
	w->hold = 0;
	w->n = 0;
}

/* What is being deleted cannot be brought by who keeps its delete waiting. */
static void
bring(struct writer *w, const char *const *doomed, size_t n_doomed)
{
	struct run *r = w->run;
	struct item *it = &w->items[w->n];
	struct buf *b;
	char text[64];

	memset(it, 0, sizeof(*it));
	it->content = chance_below(luck(r), CONTENTS);
	if (is_doomed(it->content, doomed, n_doomed))
		return;
	content_of(it->content, text);
	it->w = w;
	it->active = true;
	it->up.done = on_uploaded;
	b = buf_new(strlen(text));
	assert_non_null(b);
	memcpy(b->data, text, strlen(text));
	b->len = strlen(text);
	w->n++;
	/* One putter has to be free. */
	if (mortal_waiting(&r->m) >= MORTAL_PUTTERS - 1)
		mortal_let(&r->m, 1);
	mortal_quiet(&r->m);
	if (uploads_add(r->m.uploads, b, NULL, &it->up) < 0) {
		it->active = false;
		it->err = -EIO;
	}
	buf_unref(b);
	mortal_quiet(&r->m);
}

static struct buf *
index_of(const struct writer *w)
{
	const uint8_t uuid[16] = {1};
	struct index_writer *x;
	struct buf *b;

	assert_int_equal(index_writer_dynamic(&x), 0);
	for (unsigned i = 0; i < w->n; i++) {
		char text[64];

		content_of(w->items[i].content, text);
		assert_int_equal(index_writer_add(x, strlen(text),
		    &w->items[i].up.digest), 0);
	}
	assert_int_equal(index_writer_finish(x, uuid, T0, &b), 0);
	index_writer_free(x);
	return b;
}

static struct buf *
manifest_of(struct snap *s, struct snapshot_file *f)
{
	struct manifest_file mf = {.name = f->name, .size = f->size,
	    .csum = f->csum};
	struct manifest m = {.type = s->g.type, .id = s->g.id,
	    .time = s->time, .files = &mf, .n_files = 1};
	struct buf *b;

	assert_int_equal(manifest_make(&m, NULL, NULL, &b), 0);
	return b;
}

static struct snap *
new_snap(struct run *r, const char *id)
{
	struct snap *s;

	if (r->n_snaps == SNAPS)
		return NULL;
	s = &r->snaps[r->n_snaps++];
	memset(s, 0, sizeof(*s));
	s->g.type = BACKUP_HOST;
	snprintf(s->g.id, sizeof(s->g.id), "%s", id);
	s->time = ++r->clock;
	return s;
}

static void
publish(struct writer *w)
{
	struct run *r = w->run;
	struct snapshot_file f = {.name = "data.didx"};
	struct snapshot_new s = {.files = &f, .n_files = 1};
	bool unknown = false;
	struct snap *snap;
	char id[8];

	for (unsigned i = 0; i < w->n; i++)
		if (w->items[i].err != 0) {
			give_up(w);
			return;
		}
	snprintf(id, sizeof(id), "g%u", chance_below(luck(r), GROUPS));
	snap = new_snap(r, id);
	if (snap != NULL) {
		f.data = index_of(w);
		f.size = f.data->len;
		f.csum = digest_of(f.data->data + INDEX_HEADER_LEN,
		    f.data->len - INDEX_HEADER_LEN);
		s.group = snap->g;
		s.time = snap->time;
		s.manifest = manifest_of(snap, &f);
		snap->sure = repo_publish(r->m.repo, &s, &unknown) == 0;
		r->tally->snapshots += snap->sure;
		buf_unref(f.data);
		buf_unref(s.manifest);
	}
	give_up(w);
}

static void
write_step(struct writer *w, const char *const *doomed, size_t n_doomed)
{
	struct run *r = w->run;

	if (w->hold == 0) {
		w->hold = guard_hold(r->m.guard);
		w->want = 1 + chance_below(luck(r), ITEMS);
	} else if (w->n < w->want) {
		bring(w, doomed, n_doomed);
	} else if (is_active(w)) {
		mortal_let(&r->m, 1);
		mortal_quiet(&r->m);
	} else {
		publish(w);
	}
}

static void
forget_step(struct run *r)
{
	struct snap *s;
	int e;

	if (r->n_snaps == 0)
		return;
	s = &r->snaps[chance_below(luck(r), r->n_snaps)];
	e = r->m.agent->ops->forget(r->m.agent, &s->g, s->time);
	if (e != -EBUSY)
		s->sure = false;
	r->tally->forgotten += e == 0;
}

static int
condemn_all(struct agent *a, const struct digest *d, size_t n, bool *spared)
{
	int r = ((struct run *)a->state)->condemn(a, d, n, spared);

	memset(spared, 0, n * sizeof(*spared));
	return r;
}

/* Whether one may begin. */
static bool
begin_collecting(struct run *r)
{
	LOCK(&r->lock);

	if (r->collecting)
		return false;
	r->collecting = true;
	r->collector = pthread_self();
	return true;
}

static void
end_collecting(struct run *r, int err, const struct gc_result *res)
{
	LOCK(&r->lock);

	r->collecting = false;
	r->tally->collections++;
	r->tally->stopped += err < 0;
	r->tally->removed += res->removed;
	r->tally->spared += res->spared;
}

static void
collect(struct run *r, int64_t cutoff)
{
	struct gc_opts o = {.repo = r->m.repo, .agent = r->m.agent,
	    .cutoff = cutoff};
	struct agent_ops careless = *r->m.agent->ops;
	const struct agent_ops *ops = r->m.agent->ops;
	char *state = r->m.agent->state;
	struct gc_result res;
	int e;

	if (!begin_collecting(r))
		return;
	if (r->careless) {
		r->condemn = ops->gc_condemn;
		careless.gc_condemn = condemn_all;
		r->m.agent->ops = &careless;
		r->m.agent->state = (char *)r;
		o.state = state;
		o.identity = MORTAL_IDENTITY;
	}
	e = gc_run(&o, &res);
	if (r->careless) {
		r->m.agent->ops = ops;
		r->m.agent->state = state;
	}
	end_collecting(r, e, &res);
}

static void
collect_step(struct run *r)
{
	static const int64_t cutoffs[] = {0, 0, 3600, 24 * 3600};

	collect(r, cutoffs[chance_below(luck(r), ARRAY_SIZE(cutoffs))]);
}

/* Pieces in the files of an open snapshot; with fsync they are in the store,
 * and the journal alone refers to them. */
static void
draft_step(struct run *r)
{
	const struct group_name g = {.type = BACKUP_HOST, .id = "d"};
	const struct draft_new n = {.mode = S_IFREG | 0644};
	struct draft_file *f;
	char name[16], text[64];
	struct snap *snap;
	struct draft *d;
	struct stat st;
	int e;

	e = drafts_get(r->m.drafts, &g, &d);
	if (e < 0)
		return;
	if (chance_is(luck(r), 25)) {
		snap = new_snap(r, g.id);
		if (snap != NULL)
			snap->sure = draft_publish(d, snap->time) == 0;
		return;
	}
	snprintf(name, sizeof(name), "f%u", chance_below(luck(r), 3));
	e = draft_lookup(d, draft_root(d), name, 0, &st);
	if (e == -ENOENT)
		e = draft_make(d, draft_root(d), name, &n, 0, &st);
	if (e < 0)
		return;
	e = draft_open(d, st.st_ino, O_WRONLY, 0, &f);
	if (e == 0) {
		content_of(chance_below(luck(r), CONTENTS), text);
		(void)draft_write(f, text, strlen(text),
		    chance_below(luck(r), 4) * 20, 0);
		if (chance_is(luck(r), 50))
			(void)draft_fsync(d, st.st_ino);
		draft_close(f);
	}
	draft_forget(d, st.st_ino, 1);
}

static void
any_step(struct run *r, const char *const *doomed, size_t n)
{
	unsigned what = chance_below(luck(r), 100);

	if (what < 70)
		write_step(&r->writers[chance_below(luck(r), WRITERS)],
		    doomed, n);
	else if (what < 80)
		forget_step(r);
	else if (what < 90)
		collect_step(r);
	else if (r->m.drafts != NULL && n == 0 && !r->m.m->busy)
		draft_step(r);
}

static void
between(struct mortal *m, const char *const *doomed, size_t n)
{
	struct run *r = m->arg;
	bool collecting, by_us;

	{
		LOCK(&r->lock);
		collecting = r->collecting;
		by_us = collecting &&
		    pthread_equal(r->collector, pthread_self());
	}
	/* A request of a draft or of publishing: what is allowed in between is
	 * a collection, which waits for nobody of us. */
	if (!collecting)
		collect_step(r);
	if (!by_us)
		return;
	/* Who waits for this delete can only go on when this has returned. */
	for (unsigned i = chance_below(luck(r), 6);
	    i > 0 && guard_waiting(m->guard) == 0; i--)
		any_step(r, doomed, n);
}

static void
make_groups(struct run *r)
{
	static const char *const ids[] = {"g0", "g1", "g2", "d"};
	const struct store_put how = {0};

	for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
		char key[KEY_MAX + 1];

		assert_int_equal(key_group(key, "", BACKUP_HOST, ids[i],
		    "owner"), 0);
		assert_int_equal(store_put(r->m.mem, key, "root@pam\n", 9,
		    &how, NULL), 0);
	}
}

static void
begin_life(struct run *r)
{
	mortal_live(&r->m, r->drafts);
	LOCK(&r->m.m->lock);
	r->m.m->between = between;
	r->m.m->how_often = chance_below(luck(r), 30);
	r->m.m->moods = chance_is(luck(r), 50) ? 0 : chance_below(luck(r), 8);
	r->m.m->die_at = chance_is(luck(r), 70) ?
	    1 + chance_below(luck(r), 60) : 0;
	r->m.m->pausing = !r->drafts;
}

static void
end_life(struct run *r)
{
	bool at_once = chance_is(luck(r), 50);

	r->tally->deaths += at_once || mortal_is_dead(&r->m);
	if (at_once && !mortal_is_dead(&r->m)) {
		LOCK(&r->m.m->lock);
		r->m.m->dead = true;
		pthread_cond_broadcast(&r->m.m->change);
		mortal_save(&r->m);
	}
	mortal_let_all(&r->m);
	for (unsigned i = 0; i < WRITERS; i++) {
		while (is_active(&r->writers[i]))
			sched_yield();
		if (r->writers[i].hold != 0)
			give_up(&r->writers[i]);
	}
	mortal_die(&r->m);
}

static char *
missing_snap(struct run *r)
{
	char *text;

	for (unsigned i = 0; i < r->n_snaps; i++) {
		const struct snap *s = &r->snaps[i];

		if (!s->sure || mortal_has_snap(&r->m, &s->g, s->time))
			continue;
		assert_true(asprintf(&text, "snapshot %s/%lld is gone", s->g.id,
		    (long long)s->time) >= 0);
		return text;
	}
	return NULL;
}

/* At the end, undisturbed: nothing is left that nothing refers to. */
static char *
last_collection(struct run *r)
{
	mortal_live(&r->m, r->drafts);
	collect(r, 0);
	mortal_die(&r->m);
	return mortal_check(&r->m, true);
}

/* NULL, or what was wrong. */
static char *
one_run(uint64_t seed, bool careless, struct tally *tally)
{
	struct run *r = calloc(1, sizeof(*r));
	char *wrong = NULL;
	unsigned lives;

	assert_non_null(r);
	mortal_open(&r->m, seed);
	pthread_mutex_init(&r->lock, NULL);
	r->m.arg = r;
	r->m.joined = joined;
	r->clock = T0;
	r->careless = careless;
	r->tally = tally;
	r->drafts = seed % DRAFT_EVERY == 0;
	for (unsigned i = 0; i < WRITERS; i++)
		r->writers[i].run = r;
	make_groups(r);
	lives = 1 + chance_below(luck(r), 2);
	while (wrong == NULL && lives-- > 0) {
		unsigned steps = 5 + chance_below(luck(r), 25);

		begin_life(r);
		while (steps-- > 0 && !mortal_is_dead(&r->m))
			any_step(r, NULL, 0);
		end_life(r);
		wrong = missing_snap(r);
		if (wrong == NULL)
			wrong = mortal_check(&r->m, false);
	}
	if (wrong == NULL)
		wrong = last_collection(r);
	if (wrong == NULL)
		wrong = missing_snap(r);
	mortal_close(&r->m);
	pthread_mutex_destroy(&r->lock);
	free(r);
	return wrong;
}

static uint64_t
number_of(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);
	uint64_t v;

	return text != NULL && num_u64(text, &v) == 0 ? v : otherwise;
}

/* What fails on purpose is not worth reading, but a sanitizer's words are. */
static int
hush(void)
{
	int saved, null;

	if (SANITIZED || getenv("VERBOSE") != NULL)
		return -1;
	saved = dup(STDERR_FILENO);
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	assert_true(saved >= 0 && null >= 0);
	assert_true(dup2(null, STDERR_FILENO) >= 0);
	close(null);
	return saved;
}

static void
speak(int saved)
{
	if (saved < 0)
		return;
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
}

static void
nothing_is_lost_and_nothing_left(void **state)
{
	uint64_t seed = number_of("GC_RANDOM_SEED", 0);
	uint64_t n = number_of("GC_RANDOM_RUNS", RUNS);
	struct tally t = {0};
	int saved = hush();

	(void)state;
	for (uint64_t i = 0; i < n; i++) {
		char *wrong = one_run(seed + i, false, &t);

		if (wrong != NULL) {
			speak(saved);
			fail_msg("GC_RANDOM_SEED=%llu GC_RANDOM_RUNS=1: %s",
			    (unsigned long long)(seed + i), wrong);
		}
	}
	speak(saved);
	print_message("%llu runs: %llu snapshots, %llu forgotten, %llu deaths, "
	    "%llu collections, %llu of them stopped, %llu chunks removed, "
	    "%llu spared\n", (unsigned long long)n,
	    (unsigned long long)t.snapshots, (unsigned long long)t.forgotten,
	    (unsigned long long)t.deaths, (unsigned long long)t.collections,
	    (unsigned long long)t.stopped, (unsigned long long)t.removed,
	    (unsigned long long)t.spared);
	if (n < 100)
		return;
	assert_true(t.snapshots > n && t.forgotten > n / 4 &&
	    t.deaths > n / 4 && t.collections > n && t.stopped > n / 10 &&
	    t.removed > n && t.spared > n);
}

/* That the runs above would find it: here marks keep nothing. */
static void
a_collector_that_does_not_care_is_found(void **state)
{
	struct tally t = {0};
	char *wrong = NULL;
	int saved = hush();

	(void)state;
	for (uint64_t i = 1; i < 300 && wrong == NULL; i++)
		wrong = one_run(i, true, &t);
	speak(saved);
	assert_non_null(wrong);
	free(wrong);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_is_lost_and_nothing_left),
	    cmocka_unit_test(a_collector_that_does_not_care_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
