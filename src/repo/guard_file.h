/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_GUARD_FILE_H
#define REPO_GUARD_FILE_H

#include <stddef.h>

#include "crypt/digest.h"

/*
 * The file of digests whose delete may be under way: a magic number, the
 * digests, and a SHA-256 of all of that.  Replaced as a whole.
 */

/** guard_file_write(path, v, n): durable on return. */
int guard_file_write(const char *path, const struct digest *v, size_t n);
/** guard_file_read(path, max, ret, ret_n): malloc'ed.  1 if there is none;
 * -EBADMSG if it is no such file, or has more than max. */
int guard_file_read(const char *path, size_t max, struct digest **ret,
    size_t *ret_n);

#endif
