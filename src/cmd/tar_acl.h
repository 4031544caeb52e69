/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_TAR_ACL_H
#define CMD_TAR_ACL_H

#include <stdbool.h>
#include <stddef.h>

struct archive_entry;

/** tar_acl_is_name(name): whether the xattr is an ACL. */
bool tar_acl_is_name(const char *name);

/** tar_acl_add(e, name, value, len): from the form that the kernel has in
 * such an xattr; -EINVAL if it is not that. */
int tar_acl_add(struct archive_entry *e, const char *name, const void *value,
    size_t len);

#endif
