/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/workq.h"

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/lock.h"
#include "base/num.h"

#include "../cm.h"

struct box {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool open;		/* gate jobs may go on */
	unsigned at_gate;	/* gate jobs under way */
	unsigned done;
	unsigned order[64];
};

struct job {
	struct work w;
	struct box *box;
	unsigned number;
};

static void
box_init(struct box *b)
{
	*b = (struct box){.lock = PTHREAD_MUTEX_INITIALIZER};
	assert_int_equal(cond_init(&b->wake), 0);
}

static void
note(struct work *w)
{
	struct job *j = (struct job *)w;

	LOCK(&j->box->lock);
	if (j->box->done < ARRAY_SIZE(j->box->order))
		j->box->order[j->box->done] = j->number;
	j->box->done++;
}

static void
wait_at_gate(struct work *w)
{
	struct box *b = ((struct job *)w)->box;

	LOCK(&b->lock);
	b->at_gate++;
	pthread_cond_broadcast(&b->wake);
	while (!b->open)
		cond_wait_until(&b->wake, &b->lock, 0);
	b->done++;
}

static void
await_at_gate(struct box *b, unsigned n)
{
	deadline_t d = deadline_in(30000);

	LOCK(&b->lock);
	while (b->at_gate < n)
		assert_int_equal(cond_wait_until(&b->wake, &b->lock, d), 0);
}

static void
open_gate(struct box *b)
{
	LOCK(&b->lock);
	b->open = true;
	pthread_cond_broadcast(&b->wake);
}

static void
runs_in_order(void **state)
{
	struct job gate, jobs[10];
	struct workq *q = NULL;
	struct box b;

	(void)state;
	box_init(&b);
	assert_int_equal(workq_new("order", 1, &q), 0);
	gate = (struct job){.w.fn = wait_at_gate, .box = &b};
	assert_int_equal(workq_add(q, &gate.w), 0);
	await_at_gate(&b, 1);
	for (unsigned i = 0; i < 10; i++) {
		jobs[i] = (struct job){.w.fn = note, .box = &b, .number = i};
		assert_int_equal(workq_add(q, &jobs[i].w), 0);
	}
	assert_int_equal(workq_waiting(q), 10);
	open_gate(&b);
	workq_free(q);
	assert_int_equal(b.done, 11);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(b.order[1 + i], i);
}

/* All threads are needed at once; one job more has to wait. */
static void
uses_as_many_threads_as_allowed(void **state)
{
	struct job jobs[5];
	struct workq *q = NULL;
	struct box b;

	(void)state;
	box_init(&b);
	assert_int_equal(workq_new("many", 4, &q), 0);
	for (unsigned i = 0; i < 5; i++) {
		jobs[i] = (struct job){.w.fn = wait_at_gate, .box = &b};
		assert_int_equal(workq_add(q, &jobs[i].w), 0);
	}
	await_at_gate(&b, 4);
	assert_int_equal(workq_waiting(q), 1);
	open_gate(&b);
	workq_free(q);
	assert_int_equal(b.done, 5);
}

static void
finishes_what_was_accepted(void **state)
{
	struct job jobs[100], late;
	struct workq *q = NULL;
	struct box b;

	(void)state;
	box_init(&b);
	assert_int_equal(workq_new("stop", 2, &q), 0);
	for (unsigned i = 0; i < 100; i++) {
		jobs[i] = (struct job){.w.fn = note, .box = &b};
		assert_int_equal(workq_add(q, &jobs[i].w), 0);
	}
	workq_stop(q);
	assert_int_equal(b.done, 100);
	late = (struct job){.w.fn = note, .box = &b};
	assert_int_equal(workq_add(q, &late.w), -ESHUTDOWN);
	workq_stop(q);
	workq_free(q);
	assert_int_equal(b.done, 100);
}

static void
never_used(void **state)
{
	struct workq *q = NULL;

	(void)state;
	assert_int_equal(workq_new("a name that is much too long", 3, &q), 0);
	assert_int_equal(workq_waiting(q), 0);
	workq_free(q);
	workq_free(NULL);
	q = NULL;
	assert_int_equal(workq_new("none", 0, &q), -EINVAL);
	assert_null(q);
}

/* Each frees itself and adds two more, down to the bottom. */
struct seed {
	struct work w;
	struct workq *q;
	unsigned *count;
	unsigned depth;
};

static void
sow(struct workq *q, unsigned *total, unsigned depth);

static void
grow(struct work *w)
{
	struct seed s = *(struct seed *)w;

	free(w);
	__atomic_add_fetch(s.count, 1, __ATOMIC_RELAXED);
	if (s.depth > 0) {
		sow(s.q, s.count, s.depth - 1);
		sow(s.q, s.count, s.depth - 1);
	}
}

static void
sow(struct workq *q, unsigned *total, unsigned depth)
{
	struct seed *s = malloc(sizeof(*s));

	assert_non_null(s);
	*s = (struct seed){
	    .w.fn = grow, .q = q, .count = total, .depth = depth};
	assert_int_equal(workq_add(q, &s->w), 0);
}

static void
jobs_may_add_jobs(void **state)
{
	struct workq *q = NULL;
	unsigned total = 0;

	(void)state;
	assert_int_equal(workq_new("tree", 8, &q), 0);
	sow(q, &total, 11);
	while (__atomic_load_n(&total, __ATOMIC_RELAXED) < 4095)
		usleep(1000);
	workq_free(q);
	assert_int_equal(total, 4095);
}

struct feeder {
	pthread_t thread;
	struct workq *q;
	struct box *box;
	struct job jobs[500];
	unsigned refused;
};

static void *
feed(void *arg)
{
	struct feeder *f = arg;

	for (unsigned i = 0; i < ARRAY_SIZE(f->jobs); i++) {
		f->jobs[i] = (struct job){.w.fn = note, .box = f->box};
		if (workq_add(f->q, &f->jobs[i].w) < 0)
			f->refused++;
	}
	return NULL;
}

/* Every job is either refused or run, whenever stop comes, also from two. */
static void
stop_races_with_add(void **state)
{
	static struct feeder f[4];

	(void)state;
	for (unsigned round = 0; round < 20; round++) {
		struct workq *q = NULL;
		unsigned refused = 0;
		struct box b;

		box_init(&b);
		assert_int_equal(workq_new("race", 3, &q), 0);
		for (unsigned i = 0; i < 4; i++) {
			f[i].q = q;
			f[i].box = &b;
			f[i].refused = 0;
			assert_int_equal(pthread_create(&f[i].thread, NULL,
			    feed, &f[i]), 0);
		}
		usleep(round * 50);
		workq_stop(q);
		for (unsigned i = 0; i < 4; i++) {
			pthread_join(f[i].thread, NULL);
			refused += f[i].refused;
		}
		workq_free(q);
		assert_int_equal(b.done + refused, 2000);
	}
}

static void
look_at_mask(struct work *w)
{
	struct job *j = (struct job *)w;
	sigset_t mask;

	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	LOCK(&j->box->lock);
	j->box->order[0] = (unsigned)sigismember(&mask, SIGTERM);
}

static void
workers_take_no_signals(void **state)
{
	struct workq *q = NULL;
	struct job j;
	struct box b;
	sigset_t mask;

	(void)state;
	box_init(&b);
	j = (struct job){.w.fn = look_at_mask, .box = &b};
	assert_int_equal(workq_new("signals", 1, &q), 0);
	assert_int_equal(workq_add(q, &j.w), 0);
	workq_free(q);
	assert_int_equal(b.order[0], 1);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	assert_int_equal(sigismember(&mask, SIGTERM), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(runs_in_order),
	    cmocka_unit_test(uses_as_many_threads_as_allowed),
	    cmocka_unit_test(finishes_what_was_accepted),
	    cmocka_unit_test(never_used),
	    cmocka_unit_test(jobs_may_add_jobs),
	    cmocka_unit_test(stop_races_with_add),
	    cmocka_unit_test(workers_take_no_signals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
