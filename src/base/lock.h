/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include <pthread.h>

#include "base/clock.h"
#include "base/cleanup.h"

/*
 * Scope lock: LOCK(&m); holds m until the end of the block.  Locking a valid
 * mutex cannot fail; cond_init makes a condition on CLOCK_MONOTONIC.
 */
static inline void
lock_unlockp(pthread_mutex_t **m)
{
	if (*m != NULL)
		pthread_mutex_unlock(*m);
}

static inline pthread_mutex_t *
lock_lock(pthread_mutex_t *m)
{
	pthread_mutex_lock(m);
	return m;
}

#define LOCK_CAT_(a, b) a##b
#define LOCK_NAME_(line) LOCK_CAT_(lock_scope_, line)
#define LOCK(m)                                                                \
	_cleanup_(lock_unlockp) __attribute__((unused))                        \
	pthread_mutex_t *LOCK_NAME_(__LINE__) = lock_lock(m)

int cond_init(pthread_cond_t *c);
/** cond_wait_until(c, m, d): 0, or -ETIMEDOUT when the deadline has passed. */
int cond_wait_until(pthread_cond_t *c, pthread_mutex_t *m, deadline_t d);

#endif
