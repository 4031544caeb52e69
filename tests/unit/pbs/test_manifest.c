/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/manifest.h"

#include "data.h"

#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "base/str.h"
#include "pbs/blob.h"

#define CSUM "7152b24e0780023fefc92fadff4c90bf7954ecd78527d557e3b22309d6732287"

static struct manifest *
load(const char *name)
{
	struct buf *b = data_load(name);
	const char *why = "not set";
	struct manifest *m;

	if (manifest_parse(b->data, b->len, &m, &why) != 0)
		fail_msg("%s: %s", name, why);
	buf_unref(b);
	return m;
}

static int
parse(const char *json, size_t len, struct manifest **ret, const char **why)
{
	struct buf *b;
	int r;

	assert_int_equal(blob_encode(json, len, true, &b), 0);
	r = manifest_parse(b->data, b->len, ret, why);
	buf_unref(b);
	return r;
}

static void
assert_file(const struct manifest *m, size_t i, const char *name,
    enum crypt_mode mode, uint64_t size, const char *csum)
{
	struct digest want = data_digest(csum);

	assert_true(i < m->n_files);
	assert_string_equal(m->files[i].name, name);
	assert_int_equal(m->files[i].crypt, mode);
	assert_int_equal(m->files[i].size, size);
	assert_true(digest_eq(&m->files[i].csum, &want));
	assert_ptr_equal(manifest_find(m, name), &m->files[i]);
}

static void
real_plain(void **state)
{
	struct manifest *m = load("manifest/vm100");

	(void)state;
	assert_int_equal(m->type, BACKUP_VM);
	assert_string_equal(m->id, "100");
	assert_int_equal(m->time, 1704240000);
	assert_int_equal(m->n_files, 5);
	assert_file(m, 0, "drive-scsi0.img.fidx", CRYPT_NONE, 27263488, CSUM);
	assert_file(m, 1, "drive-scsi1.img.fidx", CRYPT_NONE, 67108864,
	    "7b1cbc29ff8fd7a7fd6975bdc764c6892f8f0741233bb44dcd097ae18dd97f59");
	assert_file(m, 4, "fw.conf.blob", CRYPT_NONE, 32,
	    "6b21f4c0875928f57e2a30637c4cb744816d90b0b29700713d454da24cee9f6c");
	assert_string_equal(m->notes, "first line\nzweite Zeile: Gr\xc3\xbc\xc3"
	    "\x9f" "e \"quoted\" \\ \xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e");
	assert_string_equal(m->verify_state, "ok");
	assert_string_equal(m->verify_upid, "UPID:pbsref:0000002F:000618C8:"
	    "00000014:6B01A9EB:verify:plain:root@pam:");
	assert_null(m->signature);
	assert_null(m->key_fingerprint);
	assert_null(manifest_find(m, "drive-scsi2.img.fidx"));
	assert_null(manifest_find(m, "index.json.blob"));
	/* The text as stored, pretty-printed by the server. */
	assert_memory_equal(m->json->data, "{\n  \"backup-id\": \"100\",", 23);
	assert_ptr_equal(manifest_ref(m), m);
	manifest_unref(m);
	assert_string_equal(m->id, "100");
	manifest_unref(m);
}

static void
real_encrypted_and_signed(void **state)
{
	struct manifest *m = load("manifest/enc-ct200");

	(void)state;
	assert_int_equal(m->type, BACKUP_CT);
	assert_file(m, 0, "root.pxar.didx", CRYPT_ENCRYPT, 11555145,
	    "a9502c9f88359725b80148791478eafc8ac495acd8323d6248def48a4587d6e9");
	assert_file(m, 3, "rsa-encrypted.key.blob", CRYPT_ENCRYPT, 524,
	    "00fe1da8115b3dff68b8acb338ee70aa2cca4a26617252f003957630055c5204");
	assert_string_equal(m->signature, "017b1308ff5720d3d9b39d91d78101d0f53d"
	    "b0e9fae7f077f56abda652ea4ce1");
	assert_string_equal(m->key_fingerprint, "9c:cf:29:60:aa:5e:06:38:c8:fa:"
	    "4f:44:1f:52:b1:e6:e4:87:bc:e8:4d:ee:4a:52:69:31:c1:44:54:be:22:"
	    "d6");
	assert_null(m->notes);
	manifest_unref(m);

	m = load("manifest/signed");
	assert_int_equal(m->type, BACKUP_HOST);
	assert_int_equal(m->files[0].crypt, CRYPT_SIGN);
	assert_string_equal(crypt_mode_name(m->files[0].crypt), "sign-only");
	assert_string_equal(crypt_mode_name(CRYPT_NONE), "none");
	assert_string_equal(crypt_mode_name(CRYPT_ENCRYPT), "encrypt");
	manifest_unref(m);
}

static void
real_oddities(void **state)
{
	static const char *const good[] = {"manifest/manifest-unknown-keys",
	    "manifest/manifest-extra-entry", "manifest/manifest-wrong-csum",
	    "manifest/manifest-wrong-size", "manifest/manifest-other-snapshot",
	    "manifest/enc-signature", "manifest/enc-fingerprint",
	    "manifest/enc-ok"};
	static const char *const bad[][2] = {
	    {"manifest/manifest-crc", "damaged blob"},
	    {"manifest/manifest-empty-file", "damaged blob"},
	    {"manifest/manifest-not-json", "not valid JSON"},
	    {"blob/enc-random.blob", "encrypted"},
	};
	struct manifest *m;
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		print_message("# %s\n", good[i]);
		m = load(good[i]);
		assert_true(m->n_files > 0);
		manifest_unref(m);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct buf *b = data_load(bad[i][0]);

		why = NULL;
		assert_int_equal(manifest_parse(b->data, b->len, &m, &why),
		    -EBADMSG);
		assert_string_equal(why, bad[i][1]);
		buf_unref(b);
	}
}

/* A manifest where the parts between @ can be replaced. */
#define FILE1 "{\"filename\":\"a.img.fidx\",\"size\":5,\"csum\":\"" CSUM "\"}"
#define DOC(type, id, time, files, rest)                                       \
	"{\"backup-type\":" type ",\"backup-id\":" id ",\"backup-time\":" time \
	",\"files\":" files rest "}"
#define FILES(f) DOC("\"vm\"", "\"1\"", "1", "[" f "]", "")
#define ONE(name, size, csum, rest)                                            \
	FILES("{\"filename\":" name ",\"size\":" size ",\"csum\":" csum rest   \
	    "}")
#define REST(rest) DOC("\"vm\"", "\"1\"", "1", "[" FILE1 "]", rest)
#define C "\"" CSUM "\""

static void
what_is_allowed(void **state)
{
	static const char *const cases[] = {
	    FILES(FILE1),
	    FILES(""),
	    ONE("\"a.blob\"", "0", C, ",\"crypt-mode\":null"),
	    ONE("\"a.didx\"", "9223372036854775807", C,
	        ",\"crypt-mode\":\"encrypt\",\"x\":[{}]"),
	    REST(",\"unprotected\":null,\"signature\":null"),
	    REST(",\"unprotected\":{},\"signature\":\"\""),
	    /* free-form, so nothing in it can be wrong */
	    REST(",\"unprotected\":{\"notes\":5,\"key-fingerprint\":[],"
	         "\"verify_state\":{\"state\":\"perhaps\",\"upid\":\"x\"}}"),
	    REST(",\"unprotected\":{\"notes\":\"a\\u0000b\","
	         "\"verify_state\":\"ok\"}"),
	    REST(",\"unprotected\":[1,2.5,1e3]"),
	    REST(",\"x\":{\"y\":[null,true,\"z\"]}"),
	    DOC("\"ct\"", "\"a.b-c_D\"", "253402300799", "[]", ""),
	    DOC("\"host\"", "\"1\"", "0", "[]", ""),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *why = "not set";
		struct manifest *m;

		if (parse(cases[i], strlen(cases[i]), &m, &why) != 0)
			fail_msg("%s: %s", why, cases[i]);
		assert_null(m->notes);
		assert_null(m->verify_state);
		assert_null(m->verify_upid);
		assert_null(m->key_fingerprint);
		assert_int_equal(m->json->len, strlen(cases[i]));
		assert_memory_equal(m->json->data, cases[i], m->json->len);
		manifest_unref(m);
	}
}

static void
what_is_not(void **state)
{
	static const char not_json[] = "not valid JSON";
	static const char bad_name[] =
	    "name of a file is not that of an archive";
	static const char bad_size[] = "size of a file is none";
	static const char bad_csum[] = "checksum of a file is none";
	static const char bad_id[] = "backup-id is none";
	static const char bad_type[] = "backup-type is none";
	static const char bad_time[] = "backup-time is no integer";
	static const char late[] = "backup-time is out of range";
	static const struct {
		const char *json, *why;
	} cases[] = {
	    {"", not_json},
	    {"[]", "not a JSON object"},
	    {"5", not_json},
	    {"{}", bad_type},
	    {"{", not_json},
	    {FILES(FILE1) "x", not_json},
	    {FILES("\"\xff\""), not_json},
	    {FILES("\"\xc0\xaf\""), not_json},
	    {DOC("\"vm\"", "\"1\"", "1", "[],\"files\":[]", ""), not_json},
	    {DOC("\"VM\"", "\"1\"", "1", "[]", ""), bad_type},
	    {DOC("5", "\"1\"", "1", "[]", ""), bad_type},
	    {DOC("\"vm\\u0000\"", "\"1\"", "1", "[]", ""), bad_type},
	    {DOC("\"vm\"", "1", "1", "[]", ""), bad_id},
	    {DOC("\"vm\"", "\"../1\"", "1", "[]", ""), bad_id},
	    {DOC("\"vm\"", "\"\"", "1", "[]", ""), bad_id},
	    {DOC("\"vm\"", "\"1\\u0000\"", "1", "[]", ""), bad_id},
	    {DOC("\"vm\"", "\"1\"", "\"1\"", "[]", ""), bad_time},
	    {DOC("\"vm\"", "\"1\"", "1.0", "[]", ""), bad_time},
	    {DOC("\"vm\"", "\"1\"", "1e3", "[]", ""), bad_time},
	    {DOC("\"vm\"", "\"1\"", "null", "[]", ""), bad_time},
	    {DOC("\"vm\"", "\"1\"", "-1", "[]", ""), late},
	    {DOC("\"vm\"", "\"1\"", "253402300800", "[]", ""), late},
	    {DOC("\"vm\"", "\"1\"", "9223372036854775808", "[]", ""), not_json},
	    {DOC("\"vm\"", "\"1\"", "1", "{}", ""),
	     "there is no list of files"},
	    {DOC("\"vm\"", "\"1\"", "1", "null", ""),
	     "there is no list of files"},
	    {FILES("5"), "a file has no name"},
	    {FILES("null"), "a file has no name"},
	    {FILES("{}"), "a file has no name"},
	    {ONE("5", "5", C, ""), "a file has no name"},
	    {ONE("\"a.blob\\u0000\"", "5", C, ""), "a file has no name"},
	    {ONE("\"../a.blob\"", "5", C, ""), bad_name},
	    {ONE("\"/a.blob\"", "5", C, ""), bad_name},
	    {ONE("\".blob\"", "5", C, ""), bad_name},
	    {ONE("\"a.txt\"", "5", C, ""), bad_name},
	    {ONE("\"\"", "5", C, ""), bad_name},
	    {ONE("\"index.json.blob\"", "5", C, ""), bad_name},
	    {ONE("\"a.blob\"", "-1", C, ""), bad_size},
	    {ONE("\"a.blob\"", "\"5\"", C, ""), bad_size},
	    {ONE("\"a.blob\"", "5.0", C, ""), bad_size},
	    {ONE("\"a.blob\"", "null", C, ""), bad_size},
	    {ONE("\"a.blob\"", "true", C, ""), bad_size},
	    {ONE("\"a.blob\"", "9223372036854775808", C, ""), not_json},
	    {ONE("\"a.blob\"", "18446744073709551616", C, ""), not_json},
	    {ONE("\"a.blob\"", "5", "\"abc\"", ""), bad_csum},
	    {ONE("\"a.blob\"", "5", "null", ""), bad_csum},
	    {ONE("\"a.blob\"", "5", "5", ""), bad_csum},
	    {ONE("\"a.blob\"", "5", C, ",\"crypt-mode\":\"rot13\""),
	     "crypt-mode of a file is unknown"},
	    {ONE("\"a.blob\"", "5", C, ",\"crypt-mode\":0"),
	     "crypt-mode of a file is unknown"},
	    {ONE("\"a.blob\"", "5", C, ",\"size\":5"), not_json},
	    {FILES(FILE1 "," FILE1), "two files have the same name"},
	    {REST(",\"signature\":5"), "signature is no text"},
	    {REST(",\"signature\":\"\\u0000\""), "signature is no text"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *why = NULL;
		struct manifest *m;
		int r;

		r = parse(cases[i].json, strlen(cases[i].json), &m, &why);
		if (r != -EBADMSG)
			fail_msg("%d for %s", r, cases[i].json);
		assert_string_equal(why, cases[i].why);
	}
}

static void
every_truncation_is_damage(void **state)
{
	struct manifest *whole = load("manifest/enc-ct200"), *m;
	const char *why;

	(void)state;
	/* The last byte but one closes the object. */
	for (size_t n = 0; n + 1 < whole->json->len; n++)
		assert_int_equal(parse((const char *)whole->json->data, n, &m,
		    &why), -EBADMSG);
	manifest_unref(whole);
}

static void
size_and_depth_are_bounded(void **state)
{
	const size_t len = MANIFEST_CONTENT_MAX + 1;
	char *text = malloc(len);
	const char *why;
	struct manifest *m;

	(void)state;
	assert_non_null(text);
	memset(text, ' ', len);
	memcpy(text, FILES(FILE1), strlen(FILES(FILE1)));
	assert_int_equal(parse(text, len, &m, &why), -EBADMSG);
	assert_string_equal(why, "damaged blob");
	assert_int_equal(parse(text, len - 1, &m, &why), 0);
	manifest_unref(m);
	memset(text, '[', 1 << 17);
	assert_int_equal(parse(text, 1 << 17, &m, &why), -EBADMSG);
	assert_string_equal(why, "not valid JSON");
	free(text);
}

/* A blob of two kilobytes that would take more than a gigabyte. */
static void
values_are_bounded(void **state)
{
	const char head[] = "{\"notes\":\"", tail[] = "\",\"x\":[";
	const char *why;
	struct str s = {0};
	struct manifest *m;

	(void)state;
	str_add(&s, "{\"x\":[");
	while (s.len < MANIFEST_CONTENT_MAX - 16)
		str_add(&s, "{},");
	str_add(&s, "{}]}");
	assert_int_equal(parse(s.s, s.len, &m, &why), -EBADMSG);
	assert_string_equal(why, "too many values");
	/* Text is no value, whatever is in it. */
	str_reset(&s);
	str_add(&s, head);
	while (s.len < MIB)
		str_add(&s, "\\\",[{");
	str_add(&s, tail);
	str_add(&s, "]}");
	assert_int_equal(parse(s.s, s.len, &m, &why), -EBADMSG);
	assert_string_equal(why, "backup-type is none");
	str_fini(&s);
}

static void
many_files(void **state)
{
	const size_t n = 20000;
	struct str s = {0};
	const char *why;
	struct manifest *m;
	char name[32];

	(void)state;
	str_add(&s, "{\"backup-type\":\"vm\",\"backup-id\":\"1\","
	    "\"backup-time\":1,\"files\":[");
	for (size_t i = 0; i < n; i++)
		str_addf(&s, "%s{\"filename\":\"f%zu.blob\",\"size\":%zu,"
		    "\"csum\":\"" CSUM "\"}", i == 0 ? "" : ",", i, i);
	str_add(&s, "]}");
	assert_int_equal(parse(s.s, s.len, &m, &why), 0);
	assert_int_equal(m->n_files, n);
	for (size_t i = 0; i < n; i += 997) {
		snprintf(name, sizeof(name), "f%zu.blob", i);
		assert_int_equal(manifest_find(m, name)->size, i);
	}
	manifest_unref(m);
	str_fini(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(real_plain),
	    cmocka_unit_test(real_encrypted_and_signed),
	    cmocka_unit_test(real_oddities),
	    cmocka_unit_test(what_is_allowed),
	    cmocka_unit_test(what_is_not),
	    cmocka_unit_test(every_truncation_is_damage),
	    cmocka_unit_test(size_and_depth_are_bounded),
	    cmocka_unit_test(values_are_bounded),
	    cmocka_unit_test(many_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
