/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_MAINT_STEPS_H
#define UNIT_MAINT_STEPS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "store/store.h"

/*
 * Actors, each a thread, one of which goes on at a time, from one stop to the
 * next, in an order that is given: all orders there are can be gone through.
 */
#define STEPS_ACTORS 6
#define STEPS_MAX 200

struct guard;
struct steps;

struct steps_actor {
	const char *name;
	void (*run)(void *arg, struct steps *s, int me);
	pthread_t thread;
	struct steps *s;
	int me;
	enum { STEPS_RUNNING, STEPS_STOPPED, STEPS_DONE } state;
	bool go;
	const char *at;
};

struct steps {
	pthread_mutex_t lock;	/* guards states, go, at */
	pthread_cond_t change;
	struct steps_actor actors[STEPS_ACTORS];
	int n;
	void *arg;
	struct guard *guard;	/* who waits in there does not run */
	unsigned preemptions;	/* at most so many */
	unsigned (*choose)(struct steps *s, unsigned n);	/* or by order */
	unsigned random;	/* state of choose */
	/* The order: which of so many was chosen. */
	unsigned char chosen[STEPS_MAX], of[STEPS_MAX];
	size_t n_chosen, n_given;
	char log[STEPS_MAX * 32];
};

void steps_init(struct steps *s);
void steps_fini(struct steps *s);
/** steps_next(s): the next order; false: that were all. */
bool steps_next(struct steps *s);
/** steps_run(s): until all are done; false: all wait for each other. */
bool steps_run(struct steps *s);
/** steps_stop(s, me, at): on any thread of that actor. */
void steps_stop(struct steps *s, int me, const char *at);

/** steps_door(s, below, whose, arg, after): a store that stops before each
 * call, and after if so; whose says the actor of a key, -1: none. */
struct store *steps_door(struct steps *s, struct store *below,
    int (*whose)(void *arg, enum store_verb v, const char *key), void *arg,
    bool after);

#endif
