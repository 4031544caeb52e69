/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pub_rig.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "draft/draft_priv.h"
#include "repo/guard.h"
#include "repo/known.h"

#include "../cm.h"

static bool
is_unsettled(struct rig *g)
{
	LOCK(&g->d->lock);
	return g->d->unsettled;
}

/* A draft whose publishing ended without an outcome: the store has been away
 * since the manifest was sent. */
static void
begin_unsettled(struct rig *g)
{
	uint8_t *p = malloc(MIB);
	uint64_t n;

	assert_non_null(p);
	rig_noise(p, MIB, 5);
	for (n = 1; n < 100; n++) {
		rig_begin(g, false);
		rig_open(g);
		fs_mkdir(g, "root");
		fs_write(g, "root/a", p, MIB);
		gate_reset(g->gate);
		g->gate->mode = GATE_DEAD;
		g->gate->fail_at = n;
		assert_int_not_equal(draft_publish(g->d, RIG_T), 0);
		if (is_unsettled(g))
			break;
		rig_end(g);
	}
	assert_true(n < 100);
	free(p);
}

/* It is asked for though nobody changes anything, and until then its bytes are
 * not uploaded: they would be in the way of others'. */
static void
test_outcome_is_asked_for(void **state)
{
	unsigned ms = 0;
	struct rig g;

	(void)state;
	begin_unsettled(&g);
	gate_reset(g.gate);
	assert_true(is_unsettled(&g));
	while (is_unsettled(&g) && ms < 30000) {
		usleep(100000);
		ms += 100;
	}
	assert_false(is_unsettled(&g));
	assert_int_equal(g.gate->chunk_puts, 0);
	assert_int_equal(draft_publish(g.d, RIG_T), 0);
	rig_end(&g);
}

static void *
run_finish(void *arg)
{
	struct rig *g = arg;

	return (void *)(intptr_t)drafts_finish(g->ds);
}

static unsigned
waiting(struct rig *g)
{
	LOCK(&g->gate->lock);
	return g->gate->waiting;
}

/* What is being published of itself when a mount ends is brought to its end. */
static void
test_end_waits_for_the_idle_one(void **state)
{
	uint8_t *p = malloc(MIB);
	struct rig g;
	pthread_t t;
	void *r;

	(void)state;
	assert_non_null(p);
	rig_noise(p, MIB, 6);
	rig_begin(&g, false);
	g.o.idle_s = 1;
	rig_open(&g);
	gate_block(g.gate, true);
	fs_mkdir(&g, "root");
	fs_write(&g, "root/a", p, MIB);
	while (waiting(&g) == 0)
		usleep(10000);
	assert_int_equal(pthread_create(&t, NULL, run_finish, &g), 0);
	usleep(100000);
	gate_block(g.gate, false);
	assert_int_equal(pthread_join(t, &r), 0);
	assert_int_equal((intptr_t)r, 0);
	assert_int_equal(g.published, 1);
	/* And once. */
	assert_int_equal(drafts_finish(g.ds), 0);
	assert_int_equal(g.published, 1);
	rig_end(&g);
	free(p);
}

static uint64_t
staged(struct rig *g)
{
	struct drafts_stats st;

	drafts_stats(g->ds, &st);
	return st.staged;
}

/* A group goes while what its snapshot left behind is being cleaned up, and
 * its room comes back. */
static void
test_group_goes_at_once(void **state)
{
	uint8_t *p = malloc(MIB);
	unsigned k, n, ms;
	char path[32];
	struct rig g;

	(void)state;
	assert_non_null(p);
	rig_noise(p, MIB, 7);
	rig_begin(&g, false);
	rig_open(&g);
	for (k = 0; k < 8; k++) {
		fs_mkdir(&g, "root");
		for (n = 0; n < 50; n++) {
			snprintf(path, sizeof(path), "root/f%u", n);
			fs_write(&g, path, p + n, 10000);
		}
		assert_int_equal(draft_publish(g.d, RIG_T + k), 0);
		usleep(490000 + 5000 * k);
		assert_int_equal(drafts_remove(g.ds, &g.group), 0);
		for (ms = 0; staged(&g) > 0 && ms < 10000; ms += 10)
			usleep(10000);
		assert_int_equal(staged(&g), 0);
		/* The store still has it: it is a view of that again. */
		assert_int_equal(drafts_get(g.ds, &g.group, &g.d), 0);
		for (n = 0; n < 50; n++) {
			snprintf(path, sizeof(path), "root/f%u", n);
			fs_unlink(&g, path);
		}
		fs_rmdir(&g, "root");
	}
	rig_end(&g);
	free(p);
}

static void *
run_publish(void *arg)
{
	struct rig *g = arg;

	return (void *)(intptr_t)draft_publish(g->d, RIG_T + 1);
}

/* A chunk that a snapshot has is being deleted, of all things, when the next one
 * is made of it. */
static void
begin_deleting(struct rig *g, struct digest *ret, pthread_t *t)
{
	struct index *x;
	uint8_t p[4096];
	bool spared;

	rig_noise(p, sizeof(p), 8);
	rig_begin(g, false);
	rig_open(g);
	fs_write(g, "a.img", p, sizeof(p));
	assert_int_equal(draft_publish(g->d, RIG_T), 0);
	x = rig_index(g, RIG_T, "a.img.fidx");
	*ret = index_chunk(x, 0).digest;
	index_unref(x);
	assert_true(known_has(g->known, ret));
	assert_false(guard_is_marked(g->guard, ret));
	assert_int_equal(guard_begin(g->guard), 0);
	assert_int_equal(guard_condemn(g->guard, ret, 1, &spared), 0);
	assert_false(spared || known_has(g->known, ret));
	fs_text(g, "b.conf", "more");
	assert_int_equal(pthread_create(t, NULL, run_publish, g), 0);
	while (guard_waiting(g->guard) == 0)
		usleep(10000);
}

static void
test_publish_waits_for_a_delete(void **state)
{
	struct digest d;
	struct rig g;
	pthread_t t;
	uint64_t puts;
	void *r;

	(void)state;
	begin_deleting(&g, &d, &t);
	puts = g.gate->chunk_puts;
	assert_int_equal(guard_settle(g.guard, true), 0);
	assert_int_equal(pthread_join(t, &r), 0);
	assert_int_equal((intptr_t)r, 0);
	/* It was brought again, and the collector still keeps its mark. */
	assert_int_equal(g.gate->chunk_puts, puts + 1);
	assert_true(known_has(g.known, &d));
	assert_true(guard_is_marked(g.guard, &d));
	guard_end(g.guard);
	assert_false(guard_is_marked(g.guard, &d));
	rig_end(&g);
}

static void
test_shutdown_ends_that(void **state)
{
	struct digest d;
	struct rig g;
	pthread_t t;
	void *r;

	(void)state;
	begin_deleting(&g, &d, &t);
	guard_shutdown(g.guard);
	assert_int_equal(pthread_join(t, &r), 0);
	assert_int_equal((intptr_t)r, -ESHUTDOWN);
	guard_end(g.guard);
	rig_end(&g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_outcome_is_asked_for),
		cmocka_unit_test(test_end_waits_for_the_idle_one),
		cmocka_unit_test(test_group_goes_at_once),
		cmocka_unit_test(test_publish_waits_for_a_delete),
		cmocka_unit_test(test_shutdown_ends_that),
	};

	log_set_level(LOG_LVL_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
