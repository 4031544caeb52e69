/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef STORE_BACKENDS_H
#define STORE_BACKENDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct s3;
struct store;

/** store_mem_new(ret): in memory; for tests and for trying things out. */
int store_mem_new(struct store **ret);

/**
 * store_dir_new(base, ret):
 * A local datastore directory in Proxmox Backup's layout.  ".cnt/X" is
 * base/X; ".chunks/..." is itself; other keys are below base/.pbs3fs/objects/.
 * Listing descends into directories only, follows no symlink, leaves out
 * temporary files and hidden directories, and answers a zero-size chunk file as
 * absent.  store_stat of ".chunks" is about that directory, so that an empty
 * datastore can be told from none.  Etags are made of inode, size and change
 * time.  Opens with O_NOATIME where that is allowed.
 * -ENOENT, -ENOTDIR with a message.
 */
int store_dir_new(const char *base, struct store **ret);
/** store_dir_base(s): where the directory is that this stack ends in, and a
 * descriptor of it, both borrowed; NULL and -1 if it ends elsewhere. */
const char *store_dir_base(struct store *s, int *ret_fd);

/** store_s3_new(c, prefix, ret): takes c over; prefix is the datastore's name. */
int store_s3_new(struct s3 *c, const char *prefix, struct store **ret);

#endif
