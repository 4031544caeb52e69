/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_STORE_SCRATCH_H
#define UNIT_STORE_SCRATCH_H

#include <stdint.h>
#include <stddef.h>

/* A directory for one test: setup and teardown for cmocka; *state is its
 * path. */
int scratch_setup(void **state);
int scratch_teardown(void **state);

/** scratch_write(path, text): replaces the file. */
void scratch_write(const char *path, const void *p, size_t len);
/** scratch_text(path, fmt, ...): path of a file in dir; a few at a time. */
const char *scratch_path(const char *dir, const char *name);
/** scratch_blocks(dir): what is below dir and dir itself, in bytes of blocks,
 * everything rounded up to 4 KiB. */
uint64_t scratch_blocks(const char *dir);
/** scratch_files(dir): regular files below dir/sub. */
size_t scratch_files(const char *dir);

#endif
