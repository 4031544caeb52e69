/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_READER_IMPL_H
#define REPO_READER_IMPL_H

#include "pbs/index.h"
#include "repo/chunks.h"
#include "repo/reader.h"

/* What readahead needs of a reader. */
struct reader {
	unsigned refs;		/* atomic */
	struct chunks *chunks;	/* borrowed */
	struct index *index;	/* shared: one reference */
	const struct enc_key *key;	/* borrowed; NULL: not encrypted */
	uint64_t size;
	uint64_t ahead_max;	/* bytes of one file to have ahead at most */
};


#endif
