/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/** clock_mono_ms(), clock_real_s(): never fail. */
uint64_t clock_mono_ms(void);
int64_t clock_real_s(void);

/*
 * A deadline is a point on the monotonic clock in milliseconds; 0 is "never".
 */
typedef uint64_t deadline_t;
deadline_t deadline_in(uint64_t ms);
/** deadline_left(d): milliseconds until then, 0 if past, UINT64_MAX for
 * never. */
uint64_t deadline_left(deadline_t d);
/** deadline_timespec(d, ret): for pthread_cond_timedwait on CLOCK_MONOTONIC. */
void deadline_timespec(deadline_t d, struct timespec *ret);

/* "2020-06-26T13:56:05Z": the form of snapshot names, UTC, 20 characters. */
#define CLOCK_UTC_LEN 20
/** clock_format_utc(buf, t): 0, or -ERANGE outside of the years 0..9999. */
int clock_format_utc(char buf[CLOCK_UTC_LEN + 1], int64_t t);
/** clock_parse_utc(text, ret): that form exactly, a real date; 0 or -EINVAL. */
int clock_parse_utc(const char *text, int64_t *ret);

/** clock_parse_http(text, ret): "Wed, 21 Oct 2015 07:28:00 GMT". */
int clock_parse_http(const char *text, int64_t *ret);
/** clock_parse_iso(text, ret): "2015-10-21T07:28:00[.123]Z", as S3 lists. */
int clock_parse_iso(const char *text, int64_t *ret);

#endif
