/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_PROGRESS_H
#define CMD_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct options;

/*
 * A line on standard error that says how far long work has come; only on a
 * terminal, not with --quiet, and only after a second.  One thread.
 */
struct progress {
	const char *unit;	/* what is counted, if not bytes: for the
				 * caller to set after progress_begin */
	bool on;
	bool shown;
	uint64_t total;		/* 0: not known */
	uint64_t done;
	uint64_t begin, last;	/* ms */
};

void progress_begin(struct progress *p, const struct options *o,
    uint64_t total);
void progress_add(struct progress *p, uint64_t bytes);
/** progress_end(p): takes the line away. */
void progress_end(struct progress *p);

#endif
