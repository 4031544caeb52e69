/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_EACH_H
#define MAINT_EACH_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "maint/chunk_check.h"

struct index;

/*
 * What is to be done for each chunk of some indices, on several threads at
 * once, in about the order of the streams.  One that is being worked on is
 * passed over when it comes again, as long runs of equal chunks do.
 */
struct each_file {
	const char *name;		/* borrowed */
	struct index *index;		/* borrowed */
	bool encrypted;
	const struct enc_key *key;	/* borrowed; or NULL */
};

struct each_chunk {
	struct chunk_want want;
	uint64_t off;			/* in the stream */
	const struct each_file *file;
};

struct each {
	const struct each_file *files;	/* borrowed */
	size_t n_files;
	unsigned jobs;
	const atomic_bool *stop;	/* set: -ECANCELED; or NULL */
	/* On any thread; what is not 0 ends it and is returned. */
	int (*fn)(void *arg, const struct each_chunk *c);
	void *arg;
};

int each_run(const struct each *e);

#endif
