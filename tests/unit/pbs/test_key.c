/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/names.h"

#include "data.h"

#include <errno.h>
#include <string.h>

#include "base/num.h"

#define HEX "bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8"
#define A100                                                                   \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"                   \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void
chunks(void **state)
{
	struct digest want = data_digest(HEX);
	char key[KEY_CHUNK_LEN + 1];
	struct key_parts k;

	(void)state;
	key_chunk(&want, key);
	assert_string_equal(key, ".chunks/bb9f/" HEX);
	assert_int_equal(strlen(key), KEY_CHUNK_LEN);
	key_parse(key, &k);
	assert_int_equal(k.kind, KEY_CHUNK);
	assert_true(digest_eq(&k.digest, &want));
	key_parse(".chunks/bb9f/" HEX ".0.bad", &k);
	assert_int_equal(k.kind, KEY_BAD_CHUNK);
	assert_true(digest_eq(&k.digest, &want));
}

static void
content(void **state)
{
	static const struct {
		const char *key, *ns, *id, *file;
		enum key_kind kind;
		enum backup_type type;
		int64_t time;
	} cases[] = {
	    {".cnt/host/web1/owner", "", "web1", NULL, KEY_OWNER, BACKUP_HOST,
	     0},
	    {".cnt/vm/100/notes", "", "100", NULL, KEY_NOTES, BACKUP_VM, 0},
	    {".cnt/ns/a/ns/b/ct/201/owner", "a/b", "201", NULL, KEY_OWNER,
	     BACKUP_CT, 0},
	    {".cnt/vm/100/2020-06-26T13:56:05Z/index.json.blob", "", "100",
	     "index.json.blob", KEY_FILE, BACKUP_VM, 1593179765},
	    {".cnt/ns/ns/vm/ns/1970-01-01T00:00:01Z/.protected", "ns", "ns",
	     ".protected", KEY_FILE, BACKUP_VM, 1},
	    {".cnt/ns/host/host/host/2024-02-29T23:59:59Z/a.didx", "host",
	     "host", "a.didx", KEY_FILE, BACKUP_HOST, 1709251199},
	};
	char out[KEY_MAX + 1], id[64];
	struct key_parts k;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("# %s\n", cases[i].key);
		key_parse(cases[i].key, &k);
		assert_int_equal(k.kind, cases[i].kind);
		assert_string_equal(k.ns, cases[i].ns);
		assert_int_equal(k.type, cases[i].type);
		assert_int_equal(k.time, cases[i].time);
		snprintf(id, sizeof(id), "%.*s", (int)k.id_len, k.id);
		assert_string_equal(id, cases[i].id);
		if (k.kind == KEY_FILE) {
			assert_int_equal(k.file_len, strlen(cases[i].file));
			assert_memory_equal(k.file, cases[i].file, k.file_len);
			assert_int_equal(key_file(out, k.ns, k.type, id, k.time,
			    cases[i].file), 0);
		} else {
			assert_int_equal(key_group(out, k.ns, k.type, id,
			    k.kind == KEY_OWNER ? "owner" : "notes"), 0);
		}
		assert_string_equal(out, cases[i].key);
	}
}

static void
markers(void **state)
{
	struct key_parts k;

	(void)state;
	key_parse(".in-use", &k);
	assert_int_equal(k.kind, KEY_IN_USE);
	key_parse(".cnt/ns/a/.namespace", &k);
	assert_int_equal(k.kind, KEY_NAMESPACE);
	assert_string_equal(k.ns, "a");
	key_parse(".cnt/ns/a/ns/b/ns/c/ns/d/ns/e/ns/f/ns/g/.namespace", &k);
	assert_int_equal(k.kind, KEY_NAMESPACE);
	assert_string_equal(k.ns, "a/b/c/d/e/f/g");
}

static void
what_is_not_ours(void **state)
{
	static const char *const keys[] = {
	    "", "/", ".", "..", ".in-use/", ".in-use2", "in-use", ".cnt",
	    ".cnt/", ".cnt//", ".chunks", ".chunks/", ".chunks/bb9f",
	    ".chunks/bb9f/", ".gc-status", ".lock", "lost+found",
	    /* chunks */
	    ".chunks/bb9e/" HEX, ".chunks/BB9F/" HEX, ".chunks/" HEX,
	    ".chunks//bb9f/" HEX, ".chunks/bb9f/" HEX "/", ".chunks/bb9f/" HEX
	    "0", ".chunks/bb9f/" HEX ".bad", ".chunks/bb9f/" HEX ".a.bad",
	    ".chunks/bb9f/" HEX ".10.bad", ".chunks/bb9f/" HEX ".0.bad.0.bad",
	    ".chunks/bb9f/" HEX ".using", ".chunks/bb9f/" HEX ".tmp_abcdef",
	    ".chunks/bb9f/bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821c"
	    "c0de3d3af",
	    ".chunks/bb9f/bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821c"
	    "c0de3d3aF8",
	    ".chunks/bb9f/bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821c"
	    "c0de3d3ag8",
	    "x.chunks/bb9f/" HEX,
	    /* groups */
	    ".cnt/host", ".cnt/host/", ".cnt/host/web1", ".cnt/host/web1/",
	    ".cnt/host//owner", ".cnt/host/../owner", ".cnt/host/./owner",
	    ".cnt/host/.a/owner", ".cnt/host/a b/owner", ".cnt/host/a\n/owner",
	    ".cnt/host/\xff/owner", ".cnt/lxc/100/owner", ".cnt/HOST/a/owner",
	    ".cnt/host/web1/owner/", ".cnt/host/web1/owner2",
	    ".cnt/host/web1/Owner", ".cnt/host/web1/owner.tmp_abcdef",
	    "cnt/host/web1/owner", "/.cnt/host/web1/owner",
	    ".cnt/../.cnt/host/web1/owner",
	    /* snapshots */
	    ".cnt/host/a/2024-01-01T00:00:00Z",
	    ".cnt/host/a/2024-01-01T00:00:00Z/",
	    ".cnt/host/a/2024-13-01T00:00:00Z/a.blob",
	    ".cnt/host/a/2024-00-01T00:00:00Z/a.blob",
	    ".cnt/host/a/2024-02-30T00:00:00Z/a.blob",
	    ".cnt/host/a/2023-02-29T00:00:00Z/a.blob",
	    ".cnt/host/a/2024-01-01T24:00:00Z/a.blob",
	    ".cnt/host/a/2024-01-01T00:60:00Z/a.blob",
	    ".cnt/host/a/2024-01-01T00:00:60Z/a.blob",
	    ".cnt/host/a/2024-01-01T00:00:00/a.blob",
	    ".cnt/host/a/2024-01-01T00:00:00z/a.blob",
	    ".cnt/host/a/2024-01-01 00:00:00Z/a.blob",
	    ".cnt/host/a/2024-1-01T00:00:00Z/aa.blob",
	    ".cnt/host/a/+024-01-01T00:00:00Z/a.blob",
	    ".cnt/host/a/2024-01-01T00:00:00Z0/a.blob",
	    ".cnt/host/a/2024-01-01T00:00:00Z/x",
	    ".cnt/host/a/2024-01-01T00:00:00Z/.blob",
	    ".cnt/host/a/2024-01-01T00:00:00Z/../a.blob",
	    ".cnt/host/a/2024-01-01T00:00:00Z/b/a.blob",
	    ".cnt/host/a/2024-01-01T00:00:00Z/a.blob/",
	    ".cnt/host/a/2024-01-01T00:00:00Z//a.blob",
	    ".cnt/host/a/2024-01-01T00:00:00Z/a.tmp_didx",
	    ".cnt/host/a/2024-01-01T00:00:00Z/index.json.blob.tmp_abcdef",
	    ".cnt/host/a/2024-01-01T00:00:00Z/.index.json.lck",
	    /* namespaces */
	    ".cnt/ns", ".cnt/ns/", ".cnt/.namespace", ".cnt/ns/.namespace",
	    ".cnt/ns//.namespace", ".cnt/ns/a/.namespace/", ".cnt/ns/a",
	    ".cnt/ns/a/ns/.namespace", ".cnt/ns/../.namespace",
	    ".cnt/ns/a/b/.namespace", ".cnt/ns/a//host/b/owner",
	    ".cnt/ns/a/ns/b/ns/c/ns/d/ns/e/ns/f/ns/g/ns/h/.namespace",
	    ".cnt/ns/" A100 "/ns/" A100 "/ns/" A100 "/.namespace",
	};
	struct key_parts k;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		print_message("# %zu\n", i);
		key_parse(keys[i], &k);
		assert_int_equal(k.kind, KEY_OTHER);
	}
}

/* Every prefix of a key is none of ours, or another valid key. */
static void
every_truncation(void **state)
{
	const char *full = ".cnt/ns/a/vm/100/2020-06-26T13:56:05Z/x.img.fidx";
	char key[KEY_MAX + 1];
	struct key_parts k;

	(void)state;
	for (size_t n = 0; n < strlen(full); n++) {
		memcpy(key, full, n);
		key[n] = '\0';
		key_parse(key, &k);
		assert_int_equal(k.kind, KEY_OTHER);
	}
	key_parse(full, &k);
	assert_int_equal(k.kind, KEY_FILE);
}

static void
limits(void **state)
{
	char long_id[KEY_MAX + 1], out[KEY_MAX + 1], key[2 * KEY_MAX];
	const char *at = ".cnt/vm//owner";
	struct key_parts k;
	size_t n = KEY_MAX - strlen(at);

	(void)state;
	memset(long_id, 'a', sizeof(long_id));
	long_id[n] = '\0';
	assert_int_equal(key_group(out, "", BACKUP_VM, long_id, "owner"), 0);
	assert_int_equal(strlen(out), KEY_MAX);
	/* A key may be so long, an id not longer than a file's name. */
	key_parse(out, &k);
	assert_int_equal(k.kind, KEY_OTHER);
	snprintf(key, sizeof(key), ".cnt/vm/%.*s/owner", NAME_LEN_MAX,
	    long_id);
	key_parse(key, &k);
	assert_int_equal(k.kind, KEY_OWNER);
	assert_int_equal(k.id_len, NAME_LEN_MAX);
	long_id[n] = 'a';
	long_id[n + 1] = '\0';
	assert_int_equal(key_group(out, "", BACKUP_VM, long_id, "owner"),
	    -ENAMETOOLONG);
	assert_int_equal(key_file(out, "a/b", BACKUP_VM, long_id, 0, "a.blob"),
	    -ENAMETOOLONG);
	assert_int_equal(key_file(out, long_id, BACKUP_VM, "1", 0, "a.blob"),
	    -ENAMETOOLONG);
	assert_int_equal(key_file(out, "", BACKUP_VM, "1", INT64_MAX,
	    "a.blob"), -ERANGE);
	/* The longest namespace. */
	memset(long_id, 'a', NS_LEN_MAX);
	long_id[1] = '/';
	long_id[NS_LEN_MAX] = '\0';
	assert_int_equal(key_group(out, long_id, BACKUP_VM, "1", "owner"), 0);
	key_parse(out, &k);
	assert_int_equal(k.kind, KEY_OWNER);
	assert_string_equal(k.ns, long_id);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(chunks),
	    cmocka_unit_test(content),
	    cmocka_unit_test(markers),
	    cmocka_unit_test(what_is_not_ours),
	    cmocka_unit_test(every_truncation),
	    cmocka_unit_test(limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
