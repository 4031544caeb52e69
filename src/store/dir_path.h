/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef STORE_DIR_PATH_H
#define STORE_DIR_PATH_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Opening below a directory without ever following a symlink: what lies in a
 * datastore is not trusted to stay in it.  Paths are relative, without "..".
 */

/** dir_path_open(base, path, flags): a descriptor or -errno; -ELOOP or
 * -ENOTDIR if there is a symlink in the way. */
int dir_path_open(int base, const char *path, int flags);

/* Who is to own new directories. */
struct dir_owner {
	bool set; /* we may give files away, and shall */
	uid_t uid;
	gid_t gid;
};

/** dir_path_make(base, path, mode, owner, sync): opens the directory, after
 * making what is missing of it: with exactly that mode and owner, unless owner
 * is NULL, and durably if sync. */
int dir_path_make(int base, const char *path, mode_t mode,
    const struct dir_owner *owner, bool sync);

/** dir_path_split(path, ret_dir, ret_name): ret_dir has strlen(path) + 2
 * bytes and gets "." if there is no directory. */
void dir_path_split(const char *path, char *ret_dir, const char **ret_name);

/** dir_path_unlink(base, path, flags): as unlinkat; gone before is as good. */
int dir_path_unlink(int base, const char *path, int flags);

/** dir_path_is_absent(err): no such object, rather than a failure to look. */
bool dir_path_is_absent(int err);

#endif
