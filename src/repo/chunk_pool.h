/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_CHUNK_POOL_H
#define REPO_CHUNK_POOL_H

#include <pthread.h>

#include "repo/chunk_entry.h"

struct workq;

/*
 * Threads, and the flights that wait for one of them: those that somebody
 * waits for before those that are only prefetched.  The pool shares its
 * owner's lock: it is held by callers of all but init and fini.
 */
struct chunk_pool {
	pthread_mutex_t *lock;		/* borrowed; guards the queues */
	struct workq *q;		/* owned */
	struct chunk_entries wanted, ahead;
	/* Called without the lock; e is RUNNING and belongs to the call. */
	void (*run)(void *arg, struct chunk_entry *e, deadline_t deadline);
	void *arg;
};

int chunk_pool_init(struct chunk_pool *p, const char *name, unsigned threads,
    pthread_mutex_t *lock);
/** chunk_pool_fini(p): waits for calls of run; the queues are empty. */
void chunk_pool_fini(struct chunk_pool *p);

/** chunk_pool_add(p, e): queues it.  0, -ENOMEM, -ESHUTDOWN. */
int chunk_pool_add(struct chunk_pool *p, struct chunk_entry *e);
/** chunk_pool_remove(e): e is QUEUED, and no thread will see it. */
void chunk_pool_remove(struct chunk_entry *e);
/** chunk_pool_promote(e): somebody waits now for what was prefetched. */
void chunk_pool_promote(struct chunk_entry *e);

#endif
