/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_PRUNE_H
#define MAINT_PRUNE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Which snapshots of a group to keep: exactly what Proxmox Backup's prune does
 * with the same list, in the local time zone (TZ).  Pure: no I/O.
 */
struct prune_keep {
	/* 0: the rule is not there.  All 0: everything is kept. */
	uint64_t last, hourly, daily, weekly, monthly, yearly;
};

enum prune_mark {
	PRUNE_REMOVE,
	PRUNE_KEEP,
	PRUNE_KEEP_PARTIAL,	/* unfinished, and newer than all others */
	PRUNE_REMOVE_PARTIAL,
	PRUNE_PROTECTED,
};

struct prune_snap {
	int64_t time;
	bool finished, protected;
	enum prune_mark mark;	/* out */
	const char *rule;	/* out: which one keeps it: "keep-last"; or "" */
};

/** prune_compute(v, n, k): any order in; sorted by time, newest first, out.
 * -EOVERFLOW for a time that has no calendar. */
int prune_compute(struct prune_snap *v, size_t n, const struct prune_keep *k);

#endif
