/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/tar_acl.h"

#include <archive_entry.h>
#include <endian.h>
#include <errno.h>
#include <stdint.h>

#include "base/num.h"
#include "base/str.h"

#define ACCESS "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"
#define VERSION 2
#define HEAD_LEN 4
#define ENTRY_LEN 8

bool
tar_acl_is_name(const char *name)
{
	return streq(name, ACCESS) || streq(name, DEFAULT);
}

static int
tag_of(uint16_t tag)
{
	switch (tag) {
	case 0x01:
		return ARCHIVE_ENTRY_ACL_USER_OBJ;
	case 0x02:
		return ARCHIVE_ENTRY_ACL_USER;
	case 0x04:
		return ARCHIVE_ENTRY_ACL_GROUP_OBJ;
	case 0x08:
		return ARCHIVE_ENTRY_ACL_GROUP;
	case 0x10:
		return ARCHIVE_ENTRY_ACL_MASK;
	case 0x20:
		return ARCHIVE_ENTRY_ACL_OTHER;
	default:
		return -1;
	}
}

static uint16_t
get_le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

int
tar_acl_add(struct archive_entry *e, const char *name, const void *value,
    size_t len)
{
	int type = streq(name, ACCESS) ? ARCHIVE_ENTRY_ACL_TYPE_ACCESS :
					 ARCHIVE_ENTRY_ACL_TYPE_DEFAULT;
	const uint8_t *p = value;

	if (len < HEAD_LEN || (len - HEAD_LEN) % ENTRY_LEN != 0 ||
	    get_le32(p) != VERSION)
		return -EINVAL;
	for (p += HEAD_LEN, len -= HEAD_LEN; len > 0;
	     p += ENTRY_LEN, len -= ENTRY_LEN) {
		uint16_t perm = get_le16(p + 2);
		int tag = tag_of(get_le16(p)), set = 0;
		uint32_t id = get_le32(p + 4);

		if (tag < 0)
			return -EINVAL;
		set |= perm & 4 ? ARCHIVE_ENTRY_ACL_READ : 0;
		set |= perm & 2 ? ARCHIVE_ENTRY_ACL_WRITE : 0;
		set |= perm & 1 ? ARCHIVE_ENTRY_ACL_EXECUTE : 0;
		if (tag != ARCHIVE_ENTRY_ACL_USER &&
		    tag != ARCHIVE_ENTRY_ACL_GROUP)
			id = (uint32_t)-1;
		if (archive_entry_acl_add_entry(e, type, set, tag, (int)id,
			NULL) != 0)
			return -ENOMEM;
	}
	return 0;
}
