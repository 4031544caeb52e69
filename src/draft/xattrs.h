/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_XATTRS_H
#define DRAFT_XATTRS_H

#include <stddef.h>

struct inode;
struct inode_xattr;

/*
 * The set of an inode, sorted by name; ACLs are in it as the kernel has them.
 * With the draft's lock.
 */
#define XATTR_ACL_ACCESS "system.posix_acl_access"
#define XATTR_ACL_DEFAULT "system.posix_acl_default"
#define XATTR_CAPABILITY "security.capability"

const struct inode_xattr *xattrs_find(const struct inode *i,
    const char *name);
/** xattrs_set(i, name, value, len): 0 or -ENOMEM. */
int xattrs_set(struct inode *i, const char *name, const void *value,
    size_t len);
/** xattrs_drop(i, name): fine if there is none. */
void xattrs_drop(struct inode *i, const char *name);
void xattrs_clear(struct inode *i);
/** xattrs_size(i): bytes in a journal. */
size_t xattrs_size(const struct inode *i);
/** xattrs_copy(from, to): to has none yet. */
int xattrs_copy(const struct inode *from, struct inode *to);

#endif
