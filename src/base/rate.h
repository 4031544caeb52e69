/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_RATE_H
#define BASE_RATE_H

#include <stdint.h>

/*
 * Token bucket: rate tokens per second, burst at once.  A rate of 0 is no
 * limit.  Any thread.
 */
struct rate;

int rate_new(double per_second, double burst, struct rate **ret);
void rate_free(struct rate *r);

/**
 * rate_take(r, tokens): takes them now, going into debt if need be, and
 * returns for how many milliseconds the caller has to wait before it acts.
 */
uint64_t rate_take(struct rate *r, double tokens);

/** rate_take_within(r, tokens, most_ms, ret_ms): takes them only if the wait is
 * shorter than that: 0, -ETIMEDOUT.  Who cannot wait leaves no debt to those
 * who come later. */
int rate_take_within(struct rate *r, double tokens, uint64_t most_ms,
    uint64_t *ret_ms);

#endif
