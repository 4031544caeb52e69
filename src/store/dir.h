/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef STORE_DIR_H
#define STORE_DIR_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/dir_names.h"
#include "store/dir_path.h"
#include "store/store.h"

struct stat;

/* Shared by the files of the directory backend.  Never changes once made, but
 * for what sync_lock guards. */
struct store_dir {
	struct store s;
	int fd;     /* owned: base */
	char *base; /* owned; for messages */
	struct dir_owner owner;
	pthread_mutex_t sync_lock; /* guards sync_error */
	int sync_error; /* of the first sync that failed */
};

/** dir_object(ret, st): what a file's stat says of it as an object. */
void dir_object(struct store_object *ret, const struct stat *st);
/** dir_object_mark(ret): of the ".namespace" of a namespace directory. */
void dir_object_mark(struct store_object *ret);

/** dir_failed(d, what, path, err): logs it; returns err. */
int dir_failed(
    const struct store_dir *d, const char *what, const char *path, int err);

/** dir_open_file(d, n, ret_st): a regular file that is an object, for reading;
 * -ENOENT if it is none; *ret_st is of what was found then, or zero. */
int dir_open_file(
    const struct store_dir *d, const struct dir_name *n, struct stat *ret_st);

/** dir_write(d, n, p, len, how, ret): store_put for all but marks. */
int dir_write(const struct store_dir *d, const struct dir_name *n,
    const void *p, size_t len, const struct store_put *how,
    struct store_object *ret);
/** dir_touch(d, n): store_touch for all but marks. */
int dir_touch(const struct store_dir *d, const struct dir_name *n);

/** dir_prune(d, n): n is gone: removes directories that have become empty,
 * upwards; of a snapshot also one with nothing but what was being written. */
void dir_prune(const struct store_dir *d, const struct dir_name *n);
/** dir_check_owner(d, n): -ENOTEMPTY if n is the owner of a group that has
 * snapshots, if only empty ones: without it they would be nobody's. */
int dir_check_owner(const struct store_dir *d, const struct dir_name *n);

/** dir_list(d, prefix, start_after, fn, arg): store_list. */
int dir_list(struct store_dir *d, const char *prefix, const char *start_after,
    store_list_fn *fn, void *arg);

#endif
