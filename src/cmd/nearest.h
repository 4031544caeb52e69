/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_NEAREST_H
#define CMD_NEAREST_H

#include <stddef.h>

/*
 * What somebody probably meant.  Offer names one after the other; best is the
 * one that needs the fewest inserted, left out, changed or swapped letters, and
 * NULL if none is near enough to be helpful.
 */
struct nearest {
	const char *wanted;
	const char *best;
	unsigned distance;
};

void nearest_init(struct nearest *n, const char *wanted);
void nearest_offer(struct nearest *n, const char *name);

/** nearest_distance(a, b): the number of such changes; capped for long ones. */
unsigned nearest_distance(const char *a, const char *b);

#endif
