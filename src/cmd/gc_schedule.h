/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_GC_SCHEDULE_H
#define CMD_GC_SCHEDULE_H

#include <jansson.h>
#include <stdint.h>

struct stack;

/*
 * Garbage collection of a mount: at its times a process "pbs3fs gc", nice and
 * idle in its I/O, which asks the mount as any other command would.  One at a
 * time.  What came of the last one is kept in the state directory.
 */
struct gc_schedule;

/** gc_schedule_start(s, dir, ret): by the option gc-schedule; NULL in *ret
 * without one.  s and dir, the store's state directory, are borrowed. */
int gc_schedule_start(const struct stack *s, const char *dir,
    struct gc_schedule **ret);
/** gc_schedule_stop(g): ends one that is running; NULL is allowed. */
void gc_schedule_stop(struct gc_schedule *g);

struct gc_schedule_stats {
	int64_t next;		/* epoch seconds */
	int64_t started;	/* of the last one that has ended; 0: none */
	int status;		/* of that: its exit status, or 128 + signal */
	uint64_t runs, failed;	/* of this mount */
};
void gc_schedule_stats(struct gc_schedule *g, struct gc_schedule_stats *ret);
/** gc_schedule_json(g): for status.json; NULL: no memory. */
json_t *gc_schedule_json(struct gc_schedule *g);

#endif
