/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_FILE_H
#define DRAFT_FILE_H

#include <pthread.h>
#include <stdbool.h>

#include "repo/reader.h"

struct base_view;
struct draft;
struct inode;

struct draft_file {
	unsigned refs;		/* atomic: the opener, and reads under way */
	struct draft *d;	/* borrowed */
	struct inode *i;	/* counted */
	bool writable, readable;
	pthread_mutex_t lock;	/* guards what follows */
	struct base_view *seen;	/* owned reference: whom ahead is about */
	struct readahead ahead;
};

struct draft_file *file_ref(struct draft_file *f);

#endif
