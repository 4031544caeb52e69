/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_ACL_H
#define PBS_ACL_H

#include <stddef.h>
#include <stdint.h>

struct buf;
struct pxar_entry;

/*
 * POSIX ACLs between pxar records and the kernel's xattr form
 * (system.posix_acl_access and system.posix_acl_default).  Format document
 * section 7.3.
 */

/** acl_access(e, ret), acl_default(e, ret): the xattr value; 1 if the entry
 * (read with PXAR_META) has none; 0; -ENOMEM. */
int acl_access(const struct pxar_entry *e, struct buf **ret);
int acl_default(const struct pxar_entry *e, struct buf **ret);

#endif
