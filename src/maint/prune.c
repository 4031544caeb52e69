/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/prune.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/num.h"

/*
 * Snapshots of one period (an hour, a week) are a class; a rule keeps the
 * newest one of each class until it has had as many classes as it may.
 */
struct pick {
	int64_t period;
	size_t at;	/* in the list */
};

struct work {
	struct prune_snap *v;	/* borrowed: newest first */
	size_t n;
	struct pick *picks;	/* owned: to find equal periods */
	size_t *class;		/* owned: of each snapshot, in this rule */
	bool *decided;		/* owned: by an earlier rule */
	bool *had;		/* owned: classes that earlier rules keep one
				 * of */
	bool *seen;		/* owned: classes that this rule keeps one of */
};

static bool
is_leap(int64_t year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* ISO 8601: a week is of the year that its Thursday is in. */
static int64_t
iso_week(const struct tm *tm)
{
	int64_t year = (int64_t)tm->tm_year + 1900;
	int thursday = tm->tm_yday - (tm->tm_wday + 6) % 7 + 3;

	if (thursday < 0) {
		year--;
		thursday += is_leap(year) ? 366 : 365;
	} else if (thursday >= (is_leap(year) ? 366 : 365)) {
		thursday -= is_leap(year) ? 366 : 365;
		year++;
	}
	return year * 100 + thursday / 7;
}

enum period { LAST, HOURLY, DAILY, WEEKLY, MONTHLY, YEARLY, PERIODS };

static int
period_of(enum period p, int64_t time, int64_t *ret)
{
	time_t t = (time_t)time;
	struct tm tm;
	int64_t day;

	if (p == LAST) {
		*ret = time;
		return 0;
	}
	if ((int64_t)t != time || localtime_r(&t, &tm) == NULL)
		return -EOVERFLOW;
	day = (int64_t)tm.tm_year * 1000 + tm.tm_yday;
	switch (p) {
	case HOURLY:
		*ret = day * 100 + tm.tm_hour;
		return 0;
	case DAILY:
		*ret = day;
		return 0;
	case WEEKLY:
		*ret = iso_week(&tm);
		return 0;
	case MONTHLY:
		*ret = (int64_t)tm.tm_year * 100 + tm.tm_mon;
		return 0;
	case YEARLY:
		*ret = tm.tm_year;
		return 0;
	case LAST:
	case PERIODS:
		break;
	}
	assert(!"a period");
	return -EINVAL;
}

static int
by_period(const void *pa, const void *pb)
{
	const struct pick *a = pa, *b = pb;

	return (a->period > b->period) - (a->period < b->period);
}

/* Where clocks are put back a period comes again, so equal ones need not be
 * side by side. */
static int
classify(struct work *w, enum period p)
{
	size_t class = 0;
	int r;

	for (size_t i = 0; i < w->n; i++) {
		r = period_of(p, w->v[i].time, &w->picks[i].period);
		if (r < 0)
			return r;
		w->picks[i].at = i;
	}
	qsort(w->picks, w->n, sizeof(*w->picks), by_period);
	for (size_t i = 0; i < w->n; i++) {
		if (i > 0 && w->picks[i].period != w->picks[i - 1].period)
			class++;
		w->class[w->picks[i].at] = class;
	}
	return 0;
}

static void
decide(struct work *w, size_t i, enum prune_mark mark, const char *rule)
{
	w->decided[i] = true;
	w->v[i].mark = mark;
	w->v[i].rule = rule;
}

/*
 * A class of which an earlier rule keeps one takes nothing of this rule's
 * number, and what else is in it waits for later rules.  Protected ones take
 * no part at all.
 */
static int
apply_rule(struct work *w, enum period p, uint64_t keep, const char *rule)
{
	uint64_t kept = 0;
	int r;

	r = classify(w, p);
	if (r < 0)
		return r;
	memset(w->had, 0, w->n * sizeof(*w->had));
	memset(w->seen, 0, w->n * sizeof(*w->seen));
	for (size_t i = 0; i < w->n; i++)
		if (w->decided[i] && w->v[i].mark == PRUNE_KEEP)
			w->had[w->class[i]] = true;
	for (size_t i = 0; i < w->n; i++) {
		size_t c = w->class[i];

		if (w->decided[i] || w->had[c])
			continue;
		if (w->seen[c]) {
			decide(w, i, PRUNE_REMOVE, "");
			continue;
		}
		if (kept++ == keep)
			break;
		w->seen[c] = true;
		decide(w, i, PRUNE_KEEP, rule);
	}
	return 0;
}

/* An unfinished one stays only if it is newer than all others: then somebody
 * may still be writing it. */
static void
decide_partial(struct work *w)
{
	for (size_t i = 0; i < w->n; i++)
		if (!w->v[i].finished)
			decide(w, i, i == 0 ? PRUNE_KEEP_PARTIAL :
			    PRUNE_REMOVE_PARTIAL, "");
}

static void
keep_all(struct prune_snap *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		v[i].mark = v[i].protected ? PRUNE_PROTECTED :
		    v[i].finished ? PRUNE_KEEP : PRUNE_KEEP_PARTIAL;
}

static int
newest_first(const void *pa, const void *pb)
{
	const struct prune_snap *a = pa, *b = pb;

	return (a->time < b->time) - (a->time > b->time);
}

int
prune_compute(struct prune_snap *v, size_t n, const struct prune_keep *k)
{
	const struct {
		const char *rule;
		uint64_t keep;
	} rules[PERIODS] = {
	    [LAST] = {"keep-last", k->last},
	    [HOURLY] = {"keep-hourly", k->hourly},
	    [DAILY] = {"keep-daily", k->daily},
	    [WEEKLY] = {"keep-weekly", k->weekly},
	    [MONTHLY] = {"keep-monthly", k->monthly},
	    [YEARLY] = {"keep-yearly", k->yearly},
	};
	_cleanup_free_ struct pick *picks = calloc(n + 1, sizeof(*picks));
	_cleanup_free_ size_t *class = calloc(n + 1, sizeof(*class));
	_cleanup_free_ bool *flags = calloc(n + 1, 3 * sizeof(*flags));
	struct work w = {.v = v, .n = n};
	bool any = false;
	int r = 0;

	if (picks == NULL || class == NULL || flags == NULL)
		return -ENOMEM;
	if (n > 1)
		qsort(v, n, sizeof(*v), newest_first);
	w.picks = picks;
	w.class = class;
	w.decided = flags;
	w.had = flags + n;
	w.seen = w.had + n;
	for (size_t i = 0; i < n; i++) {
		v[i].mark = PRUNE_REMOVE;
		v[i].rule = "";
	}
	for (size_t i = 0; i < PERIODS; i++)
		any = any || rules[i].keep > 0;
	if (!any) {
		keep_all(v, n);
		return 0;
	}
	tzset();
	decide_partial(&w);
	for (size_t i = 0; i < n; i++)
		if (v[i].protected)
			decide(&w, i, PRUNE_PROTECTED, "");
	for (enum period p = LAST; r == 0 && p < PERIODS; p++)
		if (rules[p].keep > 0)
			r = apply_rule(&w, p, rules[p].keep, rules[p].rule);
	return r;
}
