/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/lock.h"

int
cond_init(pthread_cond_t *c)
{
	pthread_condattr_t attr;
	int r;

	r = pthread_condattr_init(&attr);
	if (r != 0)
		return -r;
	r = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	if (r == 0)
		r = pthread_cond_init(c, &attr);
	pthread_condattr_destroy(&attr);
	return -r;
}

int
cond_wait_until(pthread_cond_t *c, pthread_mutex_t *m, deadline_t d)
{
	struct timespec ts;

	if (d == 0)
		return -pthread_cond_wait(c, m);
	deadline_timespec(d, &ts);
	return -pthread_cond_timedwait(c, m, &ts);
}
