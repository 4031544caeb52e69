/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/tar_acl.h"

#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>

#include "../cm.h"

#define ACCESS "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

static const unsigned char acl[] = {
    2, 0, 0, 0,
    0x01, 0, 6, 0, 0xff, 0xff, 0xff, 0xff,	/* user::rw- */
    0x02, 0, 7, 0, 0xe8, 0x03, 0, 0,		/* user:1000:rwx */
    0x04, 0, 4, 0, 0xff, 0xff, 0xff, 0xff,	/* group::r-- */
    0x08, 0, 5, 0, 0x02, 0, 0, 0,		/* group:2:r-x */
    0x10, 0, 7, 0, 0xff, 0xff, 0xff, 0xff,	/* mask::rwx */
    0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,	/* other::--- */
};

static void
converts(void **state)
{
	struct archive_entry *e = archive_entry_new();
	char *text;

	(void)state;
	assert_true(tar_acl_is_name(ACCESS));
	assert_true(tar_acl_is_name(DEFAULT));
	assert_false(tar_acl_is_name("user.x"));
	archive_entry_set_mode(e, 0100670);
	assert_int_equal(tar_acl_add(e, ACCESS, acl, sizeof(acl)), 0);
	text = archive_entry_acl_to_text(e, NULL,
	    ARCHIVE_ENTRY_ACL_TYPE_ACCESS |
	    ARCHIVE_ENTRY_ACL_STYLE_SEPARATOR_COMMA);
	assert_string_equal(text, "user::rw-,group::r--,other::---,"
	    "user:1000:rwx,group:2:r-x,mask::rwx");
	free(text);
	archive_entry_free(e);
}

static void
refuses(void **state)
{
	struct archive_entry *e = archive_entry_new();
	unsigned char bad[sizeof(acl)];

	(void)state;
	for (size_t n = 0; n < sizeof(acl); n++)
		if (n < 4 || (n - 4) % 8 != 0)
			assert_int_equal(tar_acl_add(e, ACCESS, acl, n),
			    -EINVAL);
	for (size_t i = 0; i < sizeof(acl); i++)
		bad[i] = acl[i];
	bad[0] = 3;
	assert_int_equal(tar_acl_add(e, ACCESS, bad, sizeof(bad)), -EINVAL);
	bad[0] = 2;
	bad[4] = 0x40;
	assert_int_equal(tar_acl_add(e, ACCESS, bad, sizeof(bad)), -EINVAL);
	archive_entry_free(e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(converts),
	    cmocka_unit_test(refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
