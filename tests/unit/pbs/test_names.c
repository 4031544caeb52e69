/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/names.h"

#include "data.h"

#include <errno.h>
#include <string.h>

#include "base/num.h"

static void
types(void **state)
{
	static const char *const bad[] = {"", "v", "vms", "VM", "ns", "ct\n"};
	enum backup_type t;

	(void)state;
	for (int i = 0; i < BACKUP_TYPES; i++) {
		const char *name = backup_type_name((enum backup_type)i);

		assert_int_equal(backup_type_parse(name, strlen(name), &t), 0);
		assert_int_equal(t, i);
	}
	/* Their order is that of lists. */
	assert_string_equal(backup_type_name(BACKUP_CT), "ct");
	assert_string_equal(backup_type_name(BACKUP_HOST), "host");
	assert_string_equal(backup_type_name(BACKUP_VM), "vm");
	assert_int_equal(backup_type_parse("vm/100", 2, &t), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(backup_type_parse(bad[i], strlen(bad[i]), &t),
		    -EINVAL);
}

static void
safe_names(void **state)
{
	static const char *const good[] = {"a", "0", "_", "web1", "A.b-c_D",
	    "100", "id.with_chars-1", "a..", "_--"};
	static const char *const bad[] = {"", ".", "..", ".a", "-a", "a/b",
	    "a b", "a\n", "\xc3\xa4", "a\xff", "a:b", "a\\"};
	char name[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(name_is_safe(good[i], strlen(good[i])));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(name_is_safe(bad[i], strlen(bad[i])));
	assert_false(name_is_safe("a\0b", 3));
	memset(name, 'x', sizeof(name));
	assert_true(name_is_safe(name, 255));
	assert_false(name_is_safe(name, 256));
	for (int c = 0; c < 256; c++) {
		char s[2] = {'a', (char)c};
		bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';

		assert_int_equal(name_is_safe(s, 2), ok);
		assert_int_equal(name_is_safe(s + 1, 1),
		    ok && c != '.' && c != '-');
	}
}

static void
namespaces(void **state)
{
	static const char *const good[] = {"", "a", "a/b", "a/b/c/d/e/f/g",
	    "ns/ns"};
	static const char *const bad[] = {"/", "a/", "/a", "a//b", "a/../b",
	    "a/./b", "a/b/c/d/e/f/g/h", "a b"};
	char s[NS_LEN_MAX + 2];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(ns_is_valid(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(ns_is_valid(bad[i]));
	memset(s, 'a', sizeof(s));
	s[1] = '/';
	s[NS_LEN_MAX + 1] = '\0';
	assert_false(ns_is_valid(s));
	s[NS_LEN_MAX] = '\0';
	assert_true(ns_is_valid(s));
}

static void
archives(void **state)
{
	static const struct {
		const char *server, *shown;
		enum archive_kind kind;
	} cases[] = {
	    {"drive-scsi0.img.fidx", "drive-scsi0.img", ARCHIVE_FIXED},
	    {"root.pxar.didx", "root", ARCHIVE_PXAR},
	    {"root.mpxar.didx", "root", ARCHIVE_MPXAR},
	    {"root.ppxar.didx", "root.ppxar", ARCHIVE_PPXAR},
	    {"catalog.pcat1.didx", "catalog.pcat1", ARCHIVE_DYNAMIC},
	    {"qemu-server.conf.blob", "qemu-server.conf", ARCHIVE_BLOB},
	    {"client.log.blob", "client.log", ARCHIVE_BLOB},
	    {"index.json.blob", "index.json", ARCHIVE_MANIFEST},
	    {"index.json", "index.json", ARCHIVE_OTHER},
	    {"pxar.didx", "pxar", ARCHIVE_DYNAMIC},
	    {"xpxar.didx", "xpxar", ARCHIVE_DYNAMIC},
	    {"a.pxar.fidx", "a.pxar", ARCHIVE_FIXED},
	    {"a.pxar.blob", "a.pxar", ARCHIVE_BLOB},
	    {"a.blob.didx", "a.blob", ARCHIVE_DYNAMIC},
	    {".pxar.didx", ".pxar.didx", ARCHIVE_OTHER},
	    {".blob", ".blob", ARCHIVE_OTHER},
	    {"blob", "blob", ARCHIVE_OTHER},
	    {"didx", "didx", ARCHIVE_OTHER},
	    {"root.pxar.tmp_didx", "root.pxar.tmp_didx", ARCHIVE_OTHER},
	    {"index.json.blob.tmp_abcdef", "index.json.blob.tmp_abcdef",
	     ARCHIVE_OTHER},
	    {"../x.blob", "../x.blob", ARCHIVE_OTHER},
	    {"a/x.blob", "a/x.blob", ARCHIVE_OTHER},
	    {"a b.blob", "a b.blob", ARCHIVE_OTHER},
	    {"x.BLOB", "x.BLOB", ARCHIVE_OTHER},
	    {".protected", ".protected", ARCHIVE_OTHER},
	    {"", "", ARCHIVE_OTHER},
	};
	char shown[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("# '%s'\n", cases[i].server);
		assert_int_equal(archive_kind(cases[i].server), cases[i].kind);
		archive_shown_name(cases[i].server, shown);
		assert_string_equal(shown, cases[i].shown);
	}
}

static void
ids_sort_as_in_lists(void **state)
{
	/* In order; 2^64 is no number any more. */
	static const char *const ids[] = {"0", "007", "7", "99", "100", "0200",
	    "18446744073709551615", "18446744073709551616", "1a", "A", "a",
	    "a1", "a10", "a2"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		for (size_t k = 0; k < ARRAY_SIZE(ids); k++) {
			int c = group_id_cmp(ids[i], ids[k]);

			assert_int_equal((c > 0) - (c < 0),
			    (i > k) - (i < k));
		}
}

static void
owners(void **state)
{
	static const struct {
		const char *text, *owner;
	} cases[] = {
	    {"root@pam\n", "root@pam"},
	    {"root@pam", "root@pam"},
	    {"alice@pbs!backup-1\n", "alice@pbs!backup-1"},
	    {"  alice@pbs \r\nsecond line\n", "alice@pbs"},
	    {"a@b@ldap\n", "a@b@ldap"},
	    {"dom\\us!er@ad\n", "dom\\us!er@ad"},
	    {"j\xc3\xbcrgen@pam\n", "j\xc3\xbcrgen@pam"},
	    {"", NULL}, {"\n", NULL}, {"\nroot@pam\n", NULL}, {"root\n", NULL},
	    {"@pam\n", NULL}, {"root@\n", NULL}, {"root@pam!\n", NULL},
	    {"root@!token\n", NULL}, {"root@pam!a!b\n", NULL},
	    {"ro ot@pam\n", NULL}, {"ro:ot@pam\n", NULL}, {"ro/ot@pam\n", NULL},
	    {"ro\tot@pam\n", NULL}, {"root@pa m\n", NULL},
	    {"root@-pam\n", NULL}, {"root@pam!.x\n", NULL},
	    {"ro\x7fot@pam\n", NULL}, {"ro\xffot@pam\n", NULL},
	    {"ro\xc0\xafot@pam\n", NULL}, {"r\xe0\x80\xaf@pam\n", NULL},
	    {"r\xf0\x80\x80\xaf@pam\n", NULL}, {"\xf4\x90\x80\x80@pam\n", NULL},
	    {"ro\xed\xa0\x80t@pam\n", NULL},
	    {"r\xc3@pam\n", NULL}, {"!!! rubbish ???", NULL},
	};
	char *owner;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len = strlen(cases[i].text);
		/* Not terminated. */
		struct buf *b = buf_copy(cases[i].text, len);
		int r = owner_parse((const char *)b->data, len, &owner);

		print_message("# %zu\n", i);
		if (cases[i].owner == NULL) {
			assert_int_equal(r, -EBADMSG);
		} else {
			assert_int_equal(r, 0);
			assert_string_equal(owner, cases[i].owner);
			free(owner);
		}
		buf_unref(b);
	}
	assert_int_equal(owner_parse("ro\0ot@pam\n", 10, &owner), -EBADMSG);
	assert_int_equal(owner_parse("root@pam\0x", 10, &owner), -EBADMSG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(types),
	    cmocka_unit_test(safe_names),
	    cmocka_unit_test(namespaces),
	    cmocka_unit_test(archives),
	    cmocka_unit_test(ids_sort_as_in_lists),
	    cmocka_unit_test(owners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
