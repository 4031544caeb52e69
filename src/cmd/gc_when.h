/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_GC_WHEN_H
#define CMD_GC_WHEN_H

#include <stdint.h>

/*
 * When a mount collects garbage: option gc-schedule.  Pure but for the local
 * time zone.
 */
struct gc_when {
	int64_t interval;	/* seconds; 0: at a time of day */
	int hour, minute;
};

/** gc_when_parse(text, ret): "daily", "HH:MM", or a duration of at least a
 * second; -EINVAL. */
int gc_when_parse(const char *text, struct gc_when *ret);
/** gc_when_next(w, last, now): when it is to run, which may be past: then it
 * was missed and is made up for once.  last: when it last began, 0: never;
 * without one nothing was missed.  Epoch seconds. */
int64_t gc_when_next(const struct gc_when *w, int64_t last, int64_t now);

#endif
