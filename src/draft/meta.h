/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_META_H
#define DRAFT_META_H

#include <stddef.h>
#include <stdint.h>

struct buf;

/** meta_acl_chmod(acl, len, mode, ret): the access ACL after chmod; 1 if it is
 * none. */
int meta_acl_chmod(const void *acl, size_t len, uint32_t mode,
    struct buf **ret);

#endif
