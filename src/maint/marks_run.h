/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_MARKS_RUN_H
#define MAINT_MARKS_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/digest.h"
#include "maint/digest_merge.h"

/*
 * A run: sorted distinct digests in a file, with the sorted sources that they
 * are of.  A header, then the sources, then the digests, in blocks of
 * MARKS_BLOCK of them with a checksum each, that depends on which file it is
 * and which block.  What is read is checked, and that it ascends.
 *
 *      0  8  magic
 *      8  8  id: seed of all checksums
 *     16  8  number of sources
 *     24  8  number of digests
 *     32 16  checksum of the above
 */
#define MARKS_BLOCK 2047
#define MARKS_RUN_HEADER 48

struct marks_run {
	int fd;			/* owned; -1: none */
	uint64_t id;
	uint64_t n_sources, n;
};

/** marks_run_open(fd, ret): takes fd over.  -EBADMSG if its header or size is
 * not that of a run. */
int marks_run_open(int fd, struct marks_run *ret);
void marks_run_close(struct marks_run *r);
uint64_t marks_run_size(const struct marks_run *r);

enum marks_part { MARKS_SOURCES, MARKS_DIGESTS };

/* Reads one of the two lists from its beginning. */
struct marks_reader {
	struct digest_list l;		/* first */
	const struct marks_run *run;	/* borrowed */
	uint64_t left, block, off;
	struct digest last;
	bool has_last;
	uint8_t *b;			/* owned: a block */
};
int marks_reader_init(struct marks_reader *x, const struct marks_run *run,
    enum marks_part part);
void marks_reader_fini(struct marks_reader *x);	/* zero is allowed */

/* Writes one: all sources, then all digests, each ascending. */
struct marks_writer {
	struct marks_run run;
	bool digests;		/* past the sources */
	uint64_t block;
	size_t n;		/* in b */
	struct digest *b;	/* owned */
};
/** marks_writer_init(w, id, fd): of an empty file; takes fd over.  id is
 * random. */
int marks_writer_init(struct marks_writer *w, uint64_t id, int fd);
int marks_writer_source(struct marks_writer *w, const struct digest *d);
int marks_writer_add(struct marks_writer *w, const struct digest *d);
/** marks_writer_finish(w, ret): the complete run, which has the file now. */
int marks_writer_finish(struct marks_writer *w, struct marks_run *ret);
void marks_writer_fini(struct marks_writer *w);

#endif
