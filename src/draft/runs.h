/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_RUNS_H
#define DRAFT_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/digest.h"

/*
 * Which files of an archive keep the chunks that they are in, and which are
 * written anew.  References into a payload stream increase from file to file,
 * so a chunk is put in once for each run of files that follow each other
 * without anything new in between, with all that nobody needs in it.
 *
 * Two things are kept within bounds.  A chunk of which little is in use would
 * stay in the store for that little: files are written anew where they use
 * less than a RUNS_STORE_PART of the chunks that they and their neighbours lie
 * in.  And the stream would grow: also where a run uses less than a
 * RUNS_STREAM_PART of what it would put in.
 */
#define RUNS_STORE_PART 4
#define RUNS_STREAM_PART 16

struct runs;

/* Where a file's header and content are, as offsets in any stream, and the
 * chunks that they reach into. */
struct run_item {
	struct digest stream;	/* which one */
	uint64_t begin, end;
	uint64_t chunks_begin, chunks_end;
	/* A stream may have a chunk several times, which is one in the store.
	 */
	struct digest first, last;	/* chunk */
	uint64_t first_end;
};

int runs_new(struct runs **ret);
void runs_free(struct runs *r);
/** runs_add(r, it): the next file of the archive; NULL: it is written anew
 * anyhow.  Any number of archives, one after the other. */
int runs_add(struct runs *r, const struct run_item *it);
/** runs_finish(r): no more files; before runs_keeps. */
void runs_finish(struct runs *r);
/** runs_keeps(r, n): the file that came as number n, from 0. */
bool runs_keeps(const struct runs *r, uint64_t n);

#endif
