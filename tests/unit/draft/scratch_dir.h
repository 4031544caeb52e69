/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_SCRATCH_DIR_H
#define UNIT_SCRATCH_DIR_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/io.h"

#include "../cm.h"

/* A directory of its own for a test; goes with scratch_end. */
struct scratch_dir {
	char path[64];
	int fd;
};

static inline void
scratch_begin(struct scratch_dir *s)
{
	snprintf(s->path, sizeof(s->path), "/tmp/test-draft-XXXXXX");
	assert_non_null(mkdtemp(s->path));
	s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(s->fd >= 0);
}

static inline void
scratch_end(struct scratch_dir *s)
{
	close(s->fd);
	assert_int_equal(io_remove_tree(AT_FDCWD, s->path), 0);
}

#endif
