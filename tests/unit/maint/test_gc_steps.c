/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Writers, forgetting and garbage collection in the orders that their requests
 * can have: the code itself, stopped before each request, and after it, and
 * where it tells the guard something; every order in which nobody is interrupted
 * more than so many times, and some of the others.  And the same with the
 * protocol (doc/GC.md) broken in each way that there is, to see that it would be
 * noticed.
 */
#include "steps.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "maint/agent.h"
#include "maint/gc.h"
#include "pbs/index.h"
#include "pbs/manifest_writer.h"
#include "repo/guard.h"
#include "repo/known.h"
#include "repo/repo.h"
#include "repo/stream_writer.h"
#include "repo/uploads.h"
#include "store/backends.h"

#include "../cm.h"

#if defined(__has_feature)
#define SANITIZED                                                              \
	(__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#define MANY (SANITIZED ? 1 : 2)	/* interruptions */
#define RANDOM (SANITIZED ? 50 : 300)
#define T0 1700000000
#define TEXT "what all of them have in common"

enum breakage {
	SOUND,
	MARK_LATE,	/* when the chunk is in the store */
	MARK_EARLY,	/* the mark goes when the chunk is in the store */
	BEGIN_LATE,	/* after the references were read */
	KEEP_KNOWN,	/* what is condemned */
	NO_WAIT,	/* for what is condemned */
	NO_SPARE,	/* what is marked is deleted */
	NO_GRACE,	/* for a delete that was not answered */
};

/* Who does what; one bit each. */
enum { WRITER_1 = 1, WRITER_2 = 2, FORGET = 4, COLLECT = 8, LATE = 16 };

struct scene {
	struct steps steps;
	unsigned who;
	enum breakage broken;
	bool after;		/* stops after requests, too */
	bool fresh;		/* the chunk is garbage at first, and unknown */
	int actor[5];		/* by bit; -1 */

	/* Of one run. */
	struct store *mem;	/* owned */
	struct repo *repo, *gc_repo;
	struct known *known;
	struct guard *guard;
	struct agent *agent;
	struct agent slow;	/* stops at each call of the real one */
	bool begun;
	char lost[4][KEY_MAX];	/* deletes that are on their way */
	size_t n_lost;
};

/* That of the snapshot that is there at first, and one for each writer: nobody
 * waits for another one's change of the same group. */
static const struct group_name groups[] = {
    {"", BACKUP_HOST, "web1"},
    {"", BACKUP_HOST, "web2"},
    {"", BACKUP_HOST, "web3"},
};

static int
bit_of(unsigned bit)
{
	int i = 0;

	while ((1U << i) != bit)
		i++;
	return i;
}

/* Requests of the writers' process, by group; a chunk is asked for at a door of
 * the writer's own. */
static int
whose(void *arg, enum store_verb v, const char *key)
{
	static const struct {
		const char *name;
		unsigned bit;
	} names[] = {
	    {"/web1/", FORGET}, {"/web2/", WRITER_1},
	    {"/web3/", WRITER_2},
	};
	const struct scene *c = arg;

	(void)v;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strstr(key, names[i].name) != NULL)
			return c->actor[bit_of(names[i].bit)];
	return -1;
}

static int
of_writer_1(void *arg, enum store_verb v, const char *key)
{
	(void)v, (void)key;
	return ((const struct scene *)arg)->actor[0];
}

static int
of_writer_2(void *arg, enum store_verb v, const char *key)
{
	(void)v, (void)key;
	return ((const struct scene *)arg)->actor[1];
}

/* Indices are read by several threads, and do not change. */
static int
of_collector(void *arg, enum store_verb v, const char *key)
{
	(void)key;
	return v == STORE_GET ? -1 : ((const struct scene *)arg)->actor[3];
}

static void
stop(struct scene *c, unsigned bit, const char *at)
{
	if (c->steps.n > 0)
		steps_stop(&c->steps, c->actor[bit_of(bit)], at);
}

/*
 * Writers.
 */
static int
publish(struct scene *c, const struct group_name *g, struct stream_result *res)
{
	struct snapshot_file f = {.name = "data.didx", .data = res->index,
	    .size = res->size, .csum = res->csum};
	struct snapshot_new s = {.group = *g, .time = T0, .files = &f,
	    .n_files = 1};
	struct manifest_file mf = {.name = f.name, .size = f.size,
	    .csum = f.csum};
	struct manifest m = {.type = g->type, .id = (char *)(uintptr_t)g->id,
	    .time = T0, .files = &mf, .n_files = 1};
	bool unknown;
	int r;

	assert_int_equal(manifest_make(&m, NULL, NULL, &s.manifest), 0);
	r = repo_publish(c->repo, &s, &unknown);
	buf_unref(s.manifest);
	return r;
}

static void
write_snap(struct scene *c, const struct group_name *g, struct uploads *u,
    unsigned bit)
{
	struct digest d = digest_of(TEXT, strlen(TEXT));
	struct stream_result res = {0};
	struct stream_writer *w;
	uint64_t hold;
	int r;

	hold = guard_hold(c->guard);
	assert_int_equal(stream_writer_new(u, STREAM_DYNAMIC, 0, NULL, &w), 0);
	r = stream_write(w, TEXT, strlen(TEXT));
	if (r == 0)
		r = stream_finish(w, T0, &res);
	stream_writer_free(w);
	if (r == 0 && c->broken == MARK_LATE) {
		stop(c, bit, "mark");
		r = guard_mark(c->guard, &d);
	}
	if (c->broken == MARK_EARLY) {
		guard_release(c->guard, hold);
		hold = 0;
	}
	stop(c, bit, "publish");
	if (r == 0)
		r = publish(c, g, &res);
	assert_int_equal(r, 0);
	stop(c, bit, "release");
	guard_release(c->guard, hold);
	stream_result_fini(&res);
}

static void
write_at(struct scene *c, const struct group_name *g, struct store *door,
    unsigned bit)
{
	struct uploads_opts o = {.packers = 1, .putters = 1,
	    .guard = c->broken == MARK_LATE ? NULL : c->guard};
	struct uploads *u;

	assert_int_equal(uploads_new(door, c->known, &o, &u), 0);
	write_snap(c, g, u, bit);
	uploads_free(u);
	store_free(door);
}

static void
run_writer_1(void *arg, struct steps *s, int me)
{
	struct scene *c = arg;

	(void)me;
	write_at(c, &groups[1], steps_door(s, c->mem, of_writer_1, c,
	    c->after), WRITER_1);
}

static void
run_writer_2(void *arg, struct steps *s, int me)
{
	struct scene *c = arg;

	(void)me;
	write_at(c, &groups[2], steps_door(s, c->mem, of_writer_2, c,
	    c->after), WRITER_2);
}

static void
run_forget(void *arg, struct steps *s, int me)
{
	struct scene *c = arg;

	(void)s, (void)me;
	assert_int_equal(repo_forget(c->repo, &groups[0], T0), 0);
}

/*
 * The collector.
 */
static struct scene *
scene_of(struct agent *a)
{
	return (struct scene *)((char *)a - offsetof(struct scene, slow));
}

static int
slow_begin(struct agent *a)
{
	struct scene *c = scene_of(a);

	stop(c, COLLECT, "begin gc");
	c->begun = c->broken != BEGIN_LATE;
	return c->begun ? c->agent->ops->gc_begin(c->agent) : 0;
}

static int
slow_condemn(struct agent *a, const struct digest *d, size_t n, bool *spared)
{
	struct scene *c = scene_of(a);
	int r = 0;

	stop(c, COLLECT, "condemn");
	if (!c->begun)
		r = c->agent->ops->gc_begin(c->agent);
	c->begun = true;
	if (r == 0)
		r = c->agent->ops->gc_condemn(c->agent, d, n, spared);
	if (c->broken == NO_SPARE)
		memset(spared, 0, n * sizeof(*spared));
	if (c->broken == NO_WAIT)
		(void)c->agent->ops->gc_settle(c->agent, true);
	stop(c, COLLECT, "condemned");
	return r;
}

static int
slow_settle(struct agent *a, bool answered)
{
	struct scene *c = scene_of(a);
	int r;

	stop(c, COLLECT, "settle");
	r = c->agent->ops->gc_settle(c->agent,
	    answered || c->broken == NO_GRACE);
	return c->broken == NO_WAIT || c->broken == NO_SPARE ? 0 : r;
}

static void
slow_end(struct agent *a)
{
	struct scene *c = scene_of(a);

	stop(c, COLLECT, "end");
	if (c->begun)
		c->agent->ops->gc_end(c->agent);
}

static const struct agent_ops slow_ops = {
    .gc_begin = slow_begin,
    .gc_condemn = slow_condemn,
    .gc_settle = slow_settle,
    .gc_end = slow_end,
};

static void
collect(struct scene *c)
{
	struct gc_opts o = {.repo = c->gc_repo, .agent = &c->slow};
	struct gc_result res;
	int r = gc_run(&o, &res);

	assert_true(r == 0 || (c->n_lost > 0 && r == -ETIMEDOUT));
}

static void
run_collect(void *arg, struct steps *s, int me)
{
	(void)s, (void)me;
	collect(arg);
}

/* What was sent and never answered is carried out at last, and then nobody need
 * fear it any more. */
static void
run_late(void *arg, struct steps *s, int me)
{
	struct scene *c = arg;
	const char *keys[ARRAY_SIZE(c->lost)];

	for (size_t i = 0; i < c->n_lost; i++)
		keys[i] = c->lost[i];
	if (c->n_lost > 0)
		assert_int_equal(store_delete(c->mem, keys, c->n_lost, NULL,
		    NULL, 0), 0);
	steps_stop(s, me, "grace");
	guard_set_grace(c->guard, 0);
}

/* A door whose deletes are on their way for long. */
struct lossy {
	struct store s;
	struct scene *c;
};

static int
lossy_del(struct store *s, const char *const *keys, size_t n,
    store_delete_fn *fn, void *arg, deadline_t deadline)
{
	struct scene *c = ((struct lossy *)s)->c;

	(void)fn, (void)arg, (void)deadline;
	for (size_t i = 0; i < n && c->n_lost < ARRAY_SIZE(c->lost); i++)
		snprintf(c->lost[c->n_lost++], KEY_MAX, "%s", keys[i]);
	stop(c, COLLECT, "lost");
	return -ETIMEDOUT;
}

static void
lossy_free(struct store *s)
{
	free(s);
}

static struct store *
lossy_new(struct scene *c, struct store *below)
{
	static const struct store_ops ops = {
	    .del = lossy_del,
	    .free = lossy_free,
	};
	struct lossy *l = calloc(1, sizeof(*l));

	assert_non_null(l);
	l->s.ops = &ops;
	l->s.name = "lossy";
	l->s.below = below;
	l->c = c;
	return &l->s;
}

/*
 * One order.
 */
static struct repo *
repo_at(struct store *door)
{
	const struct repo_opts o = {.fetchers = 1, .decoders = 1};
	struct repo *r;

	assert_int_equal(repo_open(door, &o, &r), 0);
	return r;
}

/* With one snapshot of the chunk, before anybody stops; or the chunk alone. */
static void
begin(struct scene *c)
{
	struct agent_local al = {0};
	struct steps *s = &c->steps;
	struct store *door;
	int n = s->n;
	struct digest d = digest_of(TEXT, strlen(TEXT));

	s->n = 0;
	c->begun = false;
	c->n_lost = 0;
	assert_int_equal(store_mem_new(&c->mem), 0);
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		char key[64];

		snprintf(key, sizeof(key), ".cnt/host/%s/owner", groups[i].id);
		assert_int_equal(store_put(c->mem, key, "root@pam\n", 9,
		    &(struct store_put){0}, NULL), 0);
	}
	assert_int_equal(known_new(NULL, "g", 100, &c->known), 0);
	assert_int_equal(guard_new(NULL, c->broken == KEEP_KNOWN ? NULL :
	    c->known, &c->guard), 0);
	c->repo = repo_at(steps_door(s, c->mem, whose, c, c->after));
	write_at(c, &groups[0], steps_door(s, c->mem, of_writer_1, c, false),
	    WRITER_1);
	if (c->fresh) {
		assert_int_equal(repo_forget(c->repo, &groups[0], T0), 0);
		known_remove(c->known, &d);
	}
	door = steps_door(s, c->mem, of_collector, c, true);
	c->gc_repo = repo_at(c->who & LATE ? lossy_new(c, door) : door);
	al.repo = c->repo;
	al.guard = c->guard;
	assert_int_equal(agent_local_new(&al, &c->agent), 0);
	c->slow.ops = &slow_ops;
	s->guard = c->guard;
	s->n = n;
}

struct look {
	struct scene *c;
	unsigned snaps;
};

static int
look_at(void *arg, const char *key, const struct store_object *o)
{
	(void)o;
	((struct look *)arg)->snaps += str_ends(key, "/index.json.blob");
	return 0;
}

/* Whether all that there is refers to what is there. */
static bool
is_whole(struct scene *c, bool *ret_chunk)
{
	struct digest d = digest_of(TEXT, strlen(TEXT));
	char key[KEY_CHUNK_LEN + 1];
	struct look l = {.c = c};
	struct store_object o;

	key_chunk(&d, key);
	*ret_chunk = store_stat(c->mem, key, 0, &o) == 0;
	assert_int_equal(store_list(c->mem, ".cnt/", NULL, look_at, &l), 0);
	return l.snaps == 0 || *ret_chunk;
}

static void
end(struct scene *c)
{
	agent_free(c->agent);
	repo_free(c->gc_repo);
	repo_free(c->repo);
	guard_free(c->guard);
	known_free(c->known);
	store_free(c->mem);
}

static void
add(struct scene *c, unsigned bit, const char *name,
    void (*run)(void *arg, struct steps *s, int me))
{
	struct steps *s = &c->steps;

	c->actor[bit_of(bit)] = -1;
	if ((c->who & bit) == 0)
		return;
	c->actor[bit_of(bit)] = s->n;
	s->actors[s->n++] = (struct steps_actor){.name = name, .run = run};
}

static void
prepare(struct scene *c, unsigned preemptions)
{
	steps_init(&c->steps);
	c->steps.arg = c;
	c->steps.preemptions = preemptions;
	add(c, FORGET, "F", run_forget);
	add(c, COLLECT, "G", run_collect);
	add(c, WRITER_1, "W1", run_writer_1);
	add(c, WRITER_2, "W2", run_writer_2);
	add(c, LATE, "L", run_late);
}

/* One order; whether nothing is lost. */
static bool
one_order(struct scene *c)
{
	bool whole, chunk;

	begin(c);
	if (!steps_run(&c->steps)) {
		print_message("all wait after:%s\n", c->steps.log);
		fail();
	}
	whole = is_whole(c, &chunk);
	end(c);
	return whole;
}

/* Every order; how many, and whether one was wrong. */
static unsigned
all_orders(struct scene *c, unsigned preemptions, bool *ret_lost)
{
	unsigned n = 0;

	*ret_lost = false;
	prepare(c, preemptions);
	do {
		n++;
		if (!one_order(c)) {
			*ret_lost = true;
			if (c->broken == SOUND)
				print_message("lost after:%s\n", c->steps.log);
			break;
		}
	} while (steps_next(&c->steps));
	steps_fini(&c->steps);
	return n;
}

static void
assert_sound(struct scene c, unsigned preemptions)
{
	bool lost;
	unsigned n = all_orders(&c, preemptions, &lost);

	print_message("%u orders\n", n);
	assert_false(lost);
}

static void
assert_found(struct scene c, enum breakage broken, unsigned preemptions)
{
	bool lost;
	unsigned n;

	c.broken = broken;
	n = all_orders(&c, preemptions, &lost);
	print_message("breakage %d: %s with order %u\n", (int)broken,
	    lost ? "found" : "not found", n);
	assert_true(lost);
}

#define ANY 1000

/* One writer, who believes that the chunk of a snapshot that goes is there. */
static const struct scene reuse = {.who = WRITER_1 | FORGET | COLLECT};
/* One who uploads what is garbage. */
static const struct scene revive = {
    .who = WRITER_1 | COLLECT, .after = true, .fresh = true};
static const struct scene both = {
    .who = WRITER_1 | WRITER_2 | FORGET | COLLECT, .after = true};
static const struct scene lossy = {
    .who = WRITER_1 | COLLECT | LATE, .fresh = true};

static void
an_upload_and_a_collection(void **state)
{
	(void)state;
	assert_sound(revive, MANY + 1);
}

static void
a_reference_and_a_forget_and_a_collection(void **state)
{
	(void)state;
	assert_sound(reuse, MANY);
}

static void
a_delete_that_is_carried_out_late(void **state)
{
	(void)state;
	assert_sound(lossy, MANY);
}

static void
two_writers(void **state)
{
	(void)state;
	assert_sound(both, 1);
}

static unsigned
choose(struct steps *s, unsigned n)
{
	s->random = s->random * 1103515245 + 12345;
	return (s->random >> 16) % n;
}

static void
two_writers_in_any_order(void **state)
{
	struct scene c = both;

	(void)state;
	prepare(&c, ANY);
	c.steps.choose = choose;
	for (unsigned i = 0; i < RANDOM; i++) {
		c.steps.random = i;
		if (one_order(&c))
			continue;
		print_message("lost with %u:%s\n", i, c.steps.log);
		fail();
	}
	steps_fini(&c.steps);
}

static void
what_is_broken_is_found(void **state)
{
	(void)state;
	assert_found(revive, MARK_LATE, 2);
	assert_found(reuse, MARK_LATE, 2);
	assert_found(revive, MARK_EARLY, 2);
	assert_found(reuse, BEGIN_LATE, 2);
	assert_found(reuse, KEEP_KNOWN, 2);
	assert_found(revive, NO_WAIT, 2);
	assert_found(revive, NO_SPARE, 2);
	assert_found(lossy, NO_GRACE, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_upload_and_a_collection),
	    cmocka_unit_test(a_reference_and_a_forget_and_a_collection),
	    cmocka_unit_test(a_delete_that_is_carried_out_late),
	    cmocka_unit_test(two_writers),
	    cmocka_unit_test(two_writers_in_any_order),
	    cmocka_unit_test(what_is_broken_is_found),
	};

	log_set_level(LOG_LVL_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
