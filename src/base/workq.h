/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_WORKQ_H
#define BASE_WORKQ_H

#include <sys/queue.h>

/*
 * A pool of threads that run jobs in the order they came.  Threads start when
 * there is work and none is idle, up to a maximum; none is detached.
 */
struct workq;

/*
 * A job, inside of the caller's own object, which the queue never frees.  It
 * must stay valid until fn is called; fn may free it.
 */
struct work {
	void (*fn)(struct work *w);
	TAILQ_ENTRY(work) link;	/* private */
};

int workq_new(const char *name, unsigned max_threads, struct workq **ret);

/** workq_add(q, w): never blocks.  -ESHUTDOWN after workq_stop. */
int workq_add(struct workq *q, struct work *w);

/** workq_waiting(q): jobs that have not been started. */
unsigned workq_waiting(struct workq *q);

/** workq_stop(q): all jobs that were accepted are run, then threads end. */
void workq_stop(struct workq *q);

/** workq_free(q): stops it too.  NULL is allowed. */
void workq_free(struct workq *q);

#endif
