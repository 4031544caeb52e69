/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/gc_when.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/num.h"
#include "base/str.h"

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int
parse_time(const char *t, struct gc_when *ret)
{
	if (strlen(t) != 5 || !is_digit(t[0]) || !is_digit(t[1]) ||
	    t[2] != ':' || !is_digit(t[3]) || !is_digit(t[4]))
		return -EINVAL;
	ret->hour = (t[0] - '0') * 10 + (t[1] - '0');
	ret->minute = (t[3] - '0') * 10 + (t[4] - '0');
	return ret->hour < 24 && ret->minute < 60 ? 0 : -EINVAL;
}

int
gc_when_parse(const char *text, struct gc_when *ret)
{
	uint64_t ms;

	memset(ret, 0, sizeof(*ret));
	if (streq(text, "daily"))
		return 0;
	if (strchr(text, ':') != NULL)
		return parse_time(text, ret);
	if (num_duration(text, &ms) < 0 || ms < 1000 ||
	    ms / 1000 > (uint64_t)366 * 86400)
		return -EINVAL;
	ret->interval = (int64_t)(ms / 1000);
	return 0;
}

/* The first such time of day after t. */
static int64_t
next_time(const struct gc_when *w, int64_t t)
{
	time_t from = (time_t)t;
	struct tm tm;
	time_t at;

	for (int days = 0; days < 3; days++) {
		if (localtime_r(&from, &tm) == NULL)
			return t + 86400;
		tm.tm_mday += days;
		tm.tm_hour = w->hour;
		tm.tm_min = w->minute;
		tm.tm_sec = 0;
		tm.tm_isdst = -1;
		at = mktime(&tm);
		if (at > from)
			return (int64_t)at;
	}
	return t + 86400;
}

int64_t
gc_when_next(const struct gc_when *w, int64_t last, int64_t now)
{
	/* A clock that was ahead then is no reason never to run. */
	if (last <= 0 || last > now)
		last = now;
	return w->interval > 0 ? last + w->interval : next_time(w, last);
}
