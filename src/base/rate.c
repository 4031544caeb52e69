/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/rate.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/lock.h"
#include "base/num.h"

struct rate {
	pthread_mutex_t lock;	/* guards tokens and then */
	double per_second;
	double burst;
	double tokens;		/* negative: in debt */
	double then;		/* seconds when tokens was right */
};

static double
now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int
rate_new(double per_second, double burst, struct rate **ret)
{
	struct rate *r;

	/* Written so that a NaN is refused too. */
	if (!(per_second >= 0) || !(burst >= 0))
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return -ENOMEM;
	pthread_mutex_init(&r->lock, NULL);
	r->per_second = per_second;
	r->burst = burst;
	r->tokens = burst;
	r->then = now_s();
	*ret = r;
	return 0;
}

void
rate_free(struct rate *r)
{
	if (r == NULL)
		return;
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static uint64_t
wait_of(const struct rate *r, double tokens)
{
	double wait_ms;

	if (tokens >= 0)
		return 0;
	wait_ms = -tokens / r->per_second * 1000;
	return wait_ms < 1e15 ? (uint64_t)wait_ms + 1 : (uint64_t)1e15;
}

int
rate_take_within(struct rate *r, double tokens, uint64_t most_ms,
    uint64_t *ret_ms)
{
	double now;

	*ret_ms = 0;
	if (r->per_second <= 0)
		return 0;
	LOCK(&r->lock);
	now = now_s();
	r->tokens += (now - r->then) * r->per_second;
	r->tokens = MIN(r->tokens, r->burst);
	r->then = now;
	*ret_ms = wait_of(r, r->tokens - tokens);
	if (*ret_ms > 0 && *ret_ms >= most_ms)
		return -ETIMEDOUT;
	r->tokens -= tokens;
	return 0;
}

uint64_t
rate_take(struct rate *r, double tokens)
{
	uint64_t ms;

	(void)rate_take_within(r, tokens, UINT64_MAX, &ms);
	return ms;
}
