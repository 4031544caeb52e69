/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "scratch.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/num.h"

#include "../cm.h"

int
scratch_setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	char path[256];

	snprintf(
	    path, sizeof(path), "%s/store-XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(path) == NULL)
		return -1;
	*state = strdup(path);
	return 0;
}

int
scratch_teardown(void **state)
{
	int r = io_remove_tree(AT_FDCWD, *state);

	free(*state);
	return r;
}

void
scratch_write(const char *path, const void *p, size_t len)
{
	const struct iovec v = {(void *)(uintptr_t)p, len};

	assert_int_equal(io_replace(AT_FDCWD, path, &v, 1, 0644, IO_MKDIRS), 0);
}

const char *
scratch_path(const char *dir, const char *name)
{
	static __thread char paths[4][512];
	static __thread unsigned next;
	char *path = paths[next++ % ARRAY_SIZE(paths)];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static __thread uint64_t sum;
static __thread size_t files;

static int
add(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	uint64_t blocks = (uint64_t)st->st_blocks * 512;
	uint64_t bytes = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 4096;

	(void)path;
	(void)ftw;
	/* A file that is gone by now takes no room. */
	if (type == FTW_NS)
		return 0;
	bytes = (bytes + 4095) / 4096 * 4096;
	sum += MAX(bytes, (blocks + 4095) / 4096 * 4096);
	files += type == FTW_F;
	return 0;
}

uint64_t
scratch_blocks(const char *dir)
{
	sum = 0;
	(void)nftw(dir, add, 16, FTW_PHYS);
	return sum;
}

size_t
scratch_files(const char *dir)
{
	files = 0;
	(void)nftw(dir, add, 16, FTW_PHYS);
	return files;
}
