/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_ACL_FORMAT_H
#define PBS_ACL_FORMAT_H

#include <stdint.h>

/*
 * The kernel's form of an ACL: a version u32, then tag u16, perm u16, id u32
 * for each entry, ordered by tag.
 */
#define ACL_VERSION 2
#define ACL_HEADER_SIZE 4
#define ACL_ENTRY_SIZE 8
#define ACL_NO_ID UINT32_MAX
#define ACL_PERM_MAX 7
/* No xattr is larger. */
#define ACL_VALUE_MAX 65536

enum acl_tag {
	ACL_TAG_USER_OBJ = 0x01,
	ACL_TAG_USER = 0x02,
	ACL_TAG_GROUP_OBJ = 0x04,
	ACL_TAG_GROUP = 0x08,
	ACL_TAG_MASK = 0x10,
	ACL_TAG_OTHER = 0x20,
};

#endif
