/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/clock.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

uint64_t
clock_mono_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int64_t
clock_real_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec;
}

deadline_t
deadline_in(uint64_t ms)
{
	deadline_t d;

	if (__builtin_add_overflow(clock_mono_ms(), ms, &d))
		return 0;	/* past the end of time is never */
	return d == 0 ? 1 : d;
}

uint64_t
deadline_left(deadline_t d)
{
	uint64_t now;

	if (d == 0)
		return UINT64_MAX;
	now = clock_mono_ms();
	return d > now ? d - now : 0;
}

void
deadline_timespec(deadline_t d, struct timespec *ret)
{
	/* "Never" is far away, but where no kernel overflows. */
	uint64_t ms = d == 0 || d > INT32_MAX * UINT64_C(1000) ?
	    INT32_MAX * UINT64_C(1000) : d;

	ret->tv_sec = (time_t)(ms / 1000);
	ret->tv_nsec = (long)(ms % 1000 * 1000000);
}

int
clock_format_utc(char buf[CLOCK_UTC_LEN + 1], int64_t t)
{
	time_t tt = t;
	struct tm tm;

	if (gmtime_r(&tt, &tm) == NULL || tm.tm_year < -1900 ||
	    tm.tm_year > 9999 - 1900)
		return -ERANGE;
	/* The remainders tell the compiler how long it can get. */
	snprintf(buf, CLOCK_UTC_LEN + 1, "%04u-%02u-%02uT%02u:%02u:%02uZ",
	    (unsigned)(tm.tm_year + 1900) % 10000,
	    (unsigned)(tm.tm_mon + 1) % 100, (unsigned)tm.tm_mday % 100,
	    (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100,
	    (unsigned)tm.tm_sec % 100);
	return 0;
}

/* Reads exactly n digits. */
static bool
fixed(const char **p, unsigned n, int *ret)
{
	int v = 0;

	for (; n > 0; n--, (*p)++) {
		if (**p < '0' || **p > '9')
			return false;
		v = v * 10 + (**p - '0');
	}
	*ret = v;
	return true;
}

static bool
literal(const char **p, const char *text)
{
	size_t n = strlen(text);

	if (strncmp(*p, text, n) != 0)
		return false;
	*p += n;
	return true;
}

/* Only dates that exist: timegm would quietly correct the others. */
static int
to_epoch(const struct tm *tm, int64_t *ret)
{
	struct tm in = *tm, out;
	time_t t = timegm(&in);

	if (gmtime_r(&t, &out) == NULL || out.tm_year != tm->tm_year ||
	    out.tm_mon != tm->tm_mon || out.tm_mday != tm->tm_mday ||
	    out.tm_hour != tm->tm_hour || out.tm_min != tm->tm_min ||
	    out.tm_sec != tm->tm_sec)
		return -EINVAL;
	*ret = t;
	return 0;
}

static bool
iso_seconds(const char **p, struct tm *tm)
{
	memset(tm, 0, sizeof(*tm));
	if (!fixed(p, 4, &tm->tm_year) || !literal(p, "-") ||
	    !fixed(p, 2, &tm->tm_mon) || !literal(p, "-") ||
	    !fixed(p, 2, &tm->tm_mday) || !literal(p, "T") ||
	    !fixed(p, 2, &tm->tm_hour) || !literal(p, ":") ||
	    !fixed(p, 2, &tm->tm_min) || !literal(p, ":") ||
	    !fixed(p, 2, &tm->tm_sec))
		return false;
	tm->tm_year -= 1900;
	tm->tm_mon -= 1;
	return true;
}

int
clock_parse_utc(const char *text, int64_t *ret)
{
	struct tm tm;

	if (!iso_seconds(&text, &tm) || !literal(&text, "Z") || *text != '\0')
		return -EINVAL;
	return to_epoch(&tm, ret);
}

int
clock_parse_iso(const char *text, int64_t *ret)
{
	struct tm tm;

	if (!iso_seconds(&text, &tm))
		return -EINVAL;
	if (literal(&text, ".")) {
		size_t n = strspn(text, "0123456789");

		if (n == 0)
			return -EINVAL;
		text += n;
	}
	if (!literal(&text, "Z") || *text != '\0')
		return -EINVAL;
	return to_epoch(&tm, ret);
}

/* One of the n three-letter names. */
static bool
name3(const char **p, const char *names, int n, int *ret)
{
	for (int i = 0; i < n; i++)
		if (strncmp(*p, names + 3 * i, 3) == 0) {
			*p += 3;
			*ret = i;
			return true;
		}
	return false;
}

int
clock_parse_http(const char *text, int64_t *ret)
{
	struct tm tm;
	int weekday;

	memset(&tm, 0, sizeof(tm));
	if (!name3(&text, "SunMonTueWedThuFriSat", 7, &weekday) ||
	    !literal(&text, ", ") || !fixed(&text, 2, &tm.tm_mday) ||
	    !literal(&text, " ") ||
	    !name3(&text, "JanFebMarAprMayJunJulAugSepOctNovDec", 12,
		&tm.tm_mon) ||
	    !literal(&text, " ") || !fixed(&text, 4, &tm.tm_year) ||
	    !literal(&text, " ") || !fixed(&text, 2, &tm.tm_hour) ||
	    !literal(&text, ":") || !fixed(&text, 2, &tm.tm_min) ||
	    !literal(&text, ":") || !fixed(&text, 2, &tm.tm_sec) ||
	    !literal(&text, " GMT") || *text != '\0')
		return -EINVAL;
	tm.tm_year -= 1900;
	return to_epoch(&tm, ret);
}
