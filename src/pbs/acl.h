/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_ACL_H
#define PBS_ACL_H

#include <stddef.h>
#include <stdint.h>

struct buf;
struct pxar_entry;
struct pxar_meta;

/*
 * POSIX ACLs between pxar records and the kernel's xattr form
 * (system.posix_acl_access and system.posix_acl_default).  Format document
 * section 7.3.
 */

/** acl_access(e, ret), acl_default(e, ret): the xattr value; 1 if the entry
 * (read with PXAR_META) has none; 0; -ENOMEM. */
int acl_access(const struct pxar_entry *e, struct buf **ret);
int acl_default(const struct pxar_entry *e, struct buf **ret);

/*
 * The other way.  A value is checked as the kernel checks it: the version,
 * entries in their order, each with permissions of three bits, a mask where
 * there are named ones; and no id twice.  -EINVAL otherwise.  NULL, or a value
 * without entries, is no ACL.
 */

/** acl_set_access(m, mode, value, len, ret_mode): replaces the access ACL of m
 * by the value; *ret_mode is mode with the permission bits that go with it, and
 * mode itself for no ACL.  An ACL that says no more than the mode leaves none
 * in m.  m keeps its other fields, and all of them on error; its lists are
 * malloc'ed.  0, -EINVAL, -ENOMEM. */
int acl_set_access(struct pxar_meta *m, uint32_t mode, const void *value,
    size_t len, uint32_t *ret_mode);
/** acl_set_default(m, value, len): the same for the default ACL of a
 * directory, which no mode goes with. */
int acl_set_default(struct pxar_meta *m, const void *value, size_t len);

/**
 * acl_inherit(def, len, mode, ret_mode, ret_access):
 * What a new file or directory gets from the default ACL of the directory that
 * it is made in: the mode asked for (without the umask taken off), limited by
 * the ACL, and an access ACL, NULL if that mode says it all.  A directory gets
 * def as its own default ACL as well; a symlink gets nothing of this.
 * 0; 1 if def is no ACL: then the umask counts; -EINVAL, -ENOMEM.
 */
int acl_inherit(const void *def, size_t len, uint32_t mode,
    uint32_t *ret_mode, struct buf **ret_access);

#endif
