/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_MARKS_H
#define MAINT_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/digest.h"

/*
 * The digests that something refers to, however many, in bounded memory: they
 * are collected in memory, sorted, and written as runs of sorted distinct
 * digests to files of a directory; reading merges the runs.  One thread.
 *
 * A run remembers which sources (indices, each by a digest that tells it from
 * all others, of which the first MARKS_SOURCE_LEN bytes count) it was made of.
 * A later collection takes over, without reading the sources again, every run
 * whose sources are all still there; others are removed.  A file proves itself
 * by checksums; one that does not is removed and made anew.
 */
struct marks;

#define MARKS_SOURCE_LEN 24	/* the rest of a digest is for its value */

struct marks_opts {
	const char *dir;	/* made if missing; NULL: memory alone, without
				 * bound */
	size_t memory;		/* bytes; 0: 64 MiB, at least 256 KiB.  Not
				 * counted: 64 KiB for each of at most 64 runs
				 * that are merged, 64 bytes for a source */
};

/** marks_new(o, ret): -EBUSY if another process uses dir. */
int marks_new(const struct marks_opts *o, struct marks **ret);
void marks_free(struct marks *m);	/* finished runs stay */

/** marks_keep(m, sources, n): before the first source: all that there are.
 * Runs with another one are removed. */
int marks_keep(struct marks *m, const struct digest *sources, size_t n);
/** marks_has_source(m, source, ret_value): whether a run that was kept covers
 * it, and what was said of it then. */
bool marks_has_source(const struct marks *m, const struct digest *source,
    uint64_t *ret_value);
/** marks_source(m, source, value): what is added from now on is of that; NULL,
 * as it is in the beginning: of nothing that lasts (a journal): no later
 * collection takes it over.  A source is complete when the next one begins,
 * which can be NULL: then what was added so far is kept even if this collection
 * is given up. */
int marks_source(struct marks *m, const struct digest *source, uint64_t value);
int marks_add(struct marks *m, const struct digest *d);
int marks_add_n(struct marks *m, const struct digest *d, size_t n);
/** marks_finish(m): no more are added. */
int marks_finish(struct marks *m);

struct marks_stats {
	uint64_t added;		/* calls */
	uint64_t distinct;	/* after the merge was read to its end */
	uint64_t runs, runs_kept;
	uint64_t bytes;		/* on disk */
};
void marks_stats(const struct marks *m, struct marks_stats *ret);

/** marks_next(m, ret): after marks_finish: the distinct digests, ascending; 1
 * at the end; -errno. */
int marks_next(struct marks *m, struct digest *ret);
/** marks_rewind(m): from the beginning again. */
int marks_rewind(struct marks *m);

#endif
