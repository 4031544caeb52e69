/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "steps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/lock.h"
#include "repo/guard.h"

#include "../cm.h"

/* Nobody waits that long for what will come. */
#define POLLS 20000
#define POLL_NS 50000

void
steps_init(struct steps *s)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	assert_int_equal(cond_init(&s->change), 0);
}

void
steps_fini(struct steps *s)
{
	pthread_cond_destroy(&s->change);
	pthread_mutex_destroy(&s->lock);
}

bool
steps_next(struct steps *s)
{
	while (s->n_chosen > 0) {
		size_t last = s->n_chosen - 1;

		if (s->chosen[last] + 1 < s->of[last]) {
			s->chosen[last]++;
			s->n_given = s->n_chosen;
			return true;
		}
		s->n_chosen--;
	}
	return false;
}

void
steps_stop(struct steps *s, int me, const char *at)
{
	struct steps_actor *a;
	LOCK(&s->lock);

	if (me < 0 || me >= s->n)
		return;
	a = &s->actors[me];
	a->at = at;
	a->state = STEPS_STOPPED;
	pthread_cond_broadcast(&s->change);
	while (!a->go)
		pthread_cond_wait(&s->change, &s->lock);
	a->go = false;
	a->state = STEPS_RUNNING;
}

static void *
actor_run(void *arg)
{
	struct steps_actor *a = arg;
	struct steps *s = a->s;

	steps_stop(s, a->me, "begin");
	a->run(s->arg, s, a->me);
	LOCK(&s->lock);
	a->state = STEPS_DONE;
	pthread_cond_broadcast(&s->change);
	return NULL;
}

static unsigned
count(struct steps *s, int state)
{
	unsigned n = 0;
	LOCK(&s->lock);

	for (int i = 0; i < s->n; i++)
		n += (int)s->actors[i].state == state;
	return n;
}

/* Until all have stopped but those that wait for a delete. */
static void
settle(struct steps *s)
{
	unsigned running, same = 0;

	for (unsigned k = 0; k < POLLS; k++) {
		{
			LOCK(&s->lock);
			running = 0;
			for (int i = 0; i < s->n; i++)
				running += s->actors[i].state == STEPS_RUNNING;
			if (running > 0 && guard_waiting(s->guard) < running)
				cond_wait_until(&s->change, &s->lock,
				    deadline_in(1));
		}
		running = count(s, STEPS_RUNNING);
		if (running == 0)
			return;
		/* Who was told to go on is counted again a moment later. */
		same = guard_waiting(s->guard) == running ? same + 1 : 0;
		if (same == 3)
			return;
		if (same > 0)
			nanosleep(&(struct timespec){0, POLL_NS}, NULL);
	}
}

/* Who may go on: the one who did last comes first, and changing is bounded. */
static unsigned
options(struct steps *s, int last, unsigned preempted, int v[STEPS_ACTORS])
{
	unsigned n = 0;
	LOCK(&s->lock);

	if (last >= 0 && s->actors[last].state == STEPS_STOPPED)
		v[n++] = last;
	if (n == 1 && preempted >= s->preemptions)
		return n;
	for (int i = 0; i < s->n; i++)
		if (i != last && s->actors[i].state == STEPS_STOPPED)
			v[n++] = i;
	return n;
}

static void
let_go(struct steps *s, int i)
{
	size_t len = strlen(s->log);
	LOCK(&s->lock);

	snprintf(s->log + len, sizeof(s->log) - len, " %s:%s",
	    s->actors[i].name, s->actors[i].at);
	s->actors[i].go = true;
	s->actors[i].state = STEPS_RUNNING;
	pthread_cond_broadcast(&s->change);
}

bool
steps_run(struct steps *s)
{
	int v[STEPS_ACTORS], last = -1;
	unsigned preempted = 0, n, k;
	size_t step = 0;

	s->log[0] = '\0';
	for (int i = 0; i < s->n; i++) {
		struct steps_actor *a = &s->actors[i];

		a->s = s;
		a->me = i;
		a->state = STEPS_RUNNING;
		a->go = false;
		assert_int_equal(pthread_create(&a->thread, NULL, actor_run, a),
		    0);
	}
	for (;; step++) {
		settle(s);
		n = options(s, last, preempted, v);
		if (n == 0)
			break;
		assert_true(step < STEPS_MAX);
		if (s->choose != NULL)
			s->chosen[step] = (unsigned char)s->choose(s, n);
		else if (step >= s->n_given)
			s->chosen[step] = 0;
		s->of[step] = (unsigned char)n;
		/* An order that was given is there again. */
		k = s->chosen[step] < n ? s->chosen[step] : 0;
		preempted += k > 0 && v[0] == last;
		last = v[k];
		let_go(s, last);
	}
	s->n_chosen = step;
	if (count(s, STEPS_DONE) < (unsigned)s->n)
		return false;
	for (int i = 0; i < s->n; i++)
		assert_int_equal(pthread_join(s->actors[i].thread, NULL), 0);
	return true;
}

/*
 * The door.
 */
struct door {
	struct store s;
	struct steps *steps;
	struct store *to;	/* borrowed */
	int (*whose)(void *arg, enum store_verb v, const char *key);
	void *arg;
	bool after;
};

static int
enter(struct door *d, enum store_verb v, const char *key)
{
	int me = d->whose(d->arg, v, key);

	steps_stop(d->steps, me, store_verb_name(v));
	return me;
}

static void
leave(struct door *d, int me)
{
	if (d->after)
		steps_stop(d->steps, me, "answer");
}

static int
door_get(struct store *s, const char *key, const struct store_get *how,
    struct buf **ret, struct store_object *o)
{
	struct door *d = (struct door *)s;
	int me = enter(d, STORE_GET, key), r;

	r = store_get(d->to, key, how, ret, o);
	leave(d, me);
	return r;
}

static int
door_put(struct store *s, const char *key, const void *p, size_t len,
    const struct store_put *how, struct store_object *o)
{
	struct door *d = (struct door *)s;
	int me = enter(d, STORE_PUT, key), r;

	r = store_put(d->to, key, p, len, how, o);
	leave(d, me);
	return r;
}

static int
door_stat(struct store *s, const char *key, deadline_t deadline,
    struct store_object *ret)
{
	struct door *d = (struct door *)s;
	int me = enter(d, STORE_STAT, key), r;

	r = store_stat(d->to, key, deadline, ret);
	leave(d, me);
	return r;
}

static int
door_list(struct store *s, const char *prefix, const char *start_after,
    store_list_fn *fn, void *arg)
{
	struct door *d = (struct door *)s;
	int me = enter(d, STORE_LIST, prefix), r;

	r = store_list(d->to, prefix, start_after, fn, arg);
	leave(d, me);
	return r;
}

static int
door_del(struct store *s, const char *const *keys, size_t n,
    store_delete_fn *fn, void *arg, deadline_t deadline)
{
	struct door *d = (struct door *)s;
	int me = enter(d, STORE_DELETE, keys[0]), r;

	r = store_delete(d->to, keys, n, fn, arg, deadline);
	leave(d, me);
	return r;
}

static int
door_copy(struct store *s, const char *from, const char *to,
    deadline_t deadline)
{
	return store_copy(((struct door *)s)->to, from, to, deadline);
}

static int
door_touch(struct store *s, const char *key)
{
	return store_touch(((struct door *)s)->to, key);
}

static void
door_counts(struct store *s, struct store_counts *ret)
{
	(void)s;
	memset(ret, 0, sizeof(*ret));
}

static void
door_free(struct store *s)
{
	free(s);
}

struct store *
steps_door(struct steps *s, struct store *below,
    int (*whose)(void *arg, enum store_verb v, const char *key), void *arg,
    bool after)
{
	static const struct store_ops ops = {
	    .get = door_get,
	    .put = door_put,
	    .stat = door_stat,
	    .list = door_list,
	    .del = door_del,
	    .copy = door_copy,
	    .touch = door_touch,
	    .counts = door_counts,
	    .free = door_free,
	};
	struct door *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	d->s.ops = &ops;
	d->s.name = "door";
	d->steps = s;
	d->to = below;
	d->whose = whose;
	d->arg = arg;
	d->after = after;
	return &d->s;
}
