/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/manifest_writer.h"

#include "data.h"
#include "fixture.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/num.h"
#include "base/str.h"
#include "pbs/blob.h"
#include "pbs/enc_key.h"
#include "pbs/keyring.h"

#define UPID                                                                   \
	"UPID:pbsref:0000002F:000618C8:00000014:6B01A9EB:verify:plain:root@pam:"

static struct manifest *
parse(const struct buf *blob)
{
	const char *why = "";
	struct manifest *m;

	if (manifest_parse(blob->data, blob->len, &m, &why) < 0)
		fail_msg("%s", why);
	return m;
}

static void
assert_text(const struct manifest *m, const char *want, size_t len)
{
	assert_int_equal(m->json->len, len);
	assert_memory_equal(m->json->data, want, len);
}

/* The statistics, which a struct manifest does not have; NULL if none. */
static const struct manifest_upload_stats *
stats_of(const struct manifest *m, struct manifest_upload_stats *s)
{
	json_auto_t *root = json_loadb((const char *)m->json->data,
	    m->json->len, 0, NULL);
	const json_t *o = json_object_get(
	    json_object_get(root, "unprotected"), "chunk_upload_stats");

	s->count = (uint64_t)json_integer_value(json_object_get(o, "count"));
	s->size = (uint64_t)json_integer_value(json_object_get(o, "size"));
	s->compressed_size = (uint64_t)json_integer_value(
	    json_object_get(o, "compressed_size"));
	s->duplicates = (uint64_t)json_integer_value(
	    json_object_get(o, "duplicates"));
	return o != NULL ? s : NULL;
}

/* Made of its fields, then given its verify state: the same text. */
static void
remake(const struct manifest *m, const struct enc_key *key)
{
	struct manifest_change c = {
	    .verify_state = m->verify_state,
	    .verify_upid = m->verify_upid,
	};
	struct manifest_upload_stats stats;
	struct buf *made, *edited;
	struct manifest *again;

	assert_int_equal(
	    manifest_make(m, key, stats_of(m, &stats), &made), 0);
	again = parse(made);
	assert_int_equal(manifest_edit(again, &c, &edited), 0);
	manifest_unref(again);
	again = parse(edited);
	assert_text(again, (const char *)m->json->data, m->json->len);
	if (key != NULL)
		assert_int_equal(manifest_verify(again, key), 0);
	manifest_unref(again);
	buf_unref(made);
	buf_unref(edited);
}

static void
remake_all(const char *name, unsigned want_plain, unsigned want_signed)
{
	struct fixture *f = fixture_load(name);
	unsigned plain = 0, with_key = 0;
	struct manifest *m;
	const char *path;
	size_t i;

	for (i = 0; (path = fixture_next(f, &i, "/index.json.blob")) != NULL;) {
		m = fixture_manifest(f, path);
		remake(m, m->signature != NULL ? m->key : NULL);
		if (m->signature != NULL)
			with_key++;
		else
			plain++;
		manifest_unref(m);
	}
	assert_int_equal(plain, want_plain);
	assert_int_equal(with_key, want_signed);
	fixture_free(f);
}

static void
real_plain(void **state)
{
	(void)state;
	remake_all("plain", 19, 0);
}

static void
real_encrypted(void **state)
{
	(void)state;
	remake_all("encrypted", 1, 10);
}

static void
real_bucket(void **state)
{
	(void)state;
	remake_all("s3-bucket", 16, 2);
}

static struct manifest_file two[] = {
    {(char *)(uintptr_t)"test1.img.fidx", CRYPT_ENCRYPT, 200, {{0}}},
    {(char *)(uintptr_t)"abc.blob", CRYPT_NONE, 200, {{0}}},
};

static struct manifest
example(void)
{
	memset(&two[0].csum, 1, DIGEST_LEN);
	memset(&two[1].csum, 2, DIGEST_LEN);
	return (struct manifest){
	    .type = BACKUP_HOST,
	    .id = (char *)(uintptr_t)"elsa",
	    .time = 1593179765,
	    .files = two,
	    .n_files = 2,
	};
}

/* Section 5.1. */
static void
signature(void **state)
{
	struct manifest m = example(), *made;
	uint8_t raw[ENC_KEY_LEN];
	struct enc_key *k;
	struct buf *b;

	(void)state;
	assert_int_equal(hex_decode(raw, sizeof(raw),
	    "28cdb1a3bef39396c3860e00d448fe7a"
	    "0efd8244486ab6feb30457681d31597e"), 0);
	assert_int_equal(enc_key_new(raw, &k), 0);
	assert_int_equal(manifest_make(&m, k, NULL, &b), 0);
	made = parse(b);
	assert_string_equal(made->signature,
	    "d7b446fb7db081662081d4b40fedd858a1d6307a5aff4ecff7d5bf4fd35679e9");
	assert_int_equal(manifest_verify(made, k), 0);
	manifest_unref(made);
	buf_unref(b);
	enc_key_unref(k);
}

static void
smallest(void **state)
{
	static const char text[] = "{\n"
	    "  \"backup-id\": \"x\",\n"
	    "  \"backup-time\": 0,\n"
	    "  \"backup-type\": \"ct\",\n"
	    "  \"files\": [],\n"
	    "  \"signature\": null,\n"
	    "  \"unprotected\": {}\n"
	    "}";
	struct manifest m = {.type = BACKUP_CT, .id = (char *)(uintptr_t)"x"};
	struct manifest *made;
	struct buf *b;

	(void)state;
	assert_int_equal(manifest_make(&m, NULL, NULL, &b), 0);
	made = parse(b);
	assert_text(made, text, strlen(text));
	manifest_unref(made);
	buf_unref(b);
}

/* Escapes as Proxmox Backup writes them. */
static void
notes(void **state)
{
	static const char text[] = "q\" b\\ s/ t\t n\n f\f e\x1b u\xc3\xbc \x7f";
	static const char want[] = "\"notes\": \"q\\\" b\\\\ s/ t\\t n\\n f\\f "
	    "e\\u001b u\xc3\xbc \x7f\"";
	struct manifest m = example(), *made;
	struct buf *b;

	(void)state;
	m.notes = (char *)(uintptr_t)text;
	assert_int_equal(manifest_make(&m, NULL, NULL, &b), 0);
	made = parse(b);
	assert_string_equal(made->notes, text);
	assert_non_null(memmem(made->json->data, made->json->len, want,
	    strlen(want)));
	manifest_unref(made);
	buf_unref(b);
	/* A backslash before a U is none of these. */
	m.notes = (char *)(uintptr_t)"\\uABCD";
	assert_int_equal(manifest_make(&m, NULL, NULL, &b), 0);
	made = parse(b);
	assert_string_equal(made->notes, "\\uABCD");
	manifest_unref(made);
	buf_unref(b);
}

static void
refuse(const struct manifest *m, int want)
{
	struct buf *b;

	assert_int_equal(manifest_make(m, NULL, NULL, &b), want);
}

static void
wrong(void **state)
{
	static const char *const names[] = {"", "a.img", "../a.blob", "a b.blob",
	    "index.json.blob", "a.didx.x"};
	struct manifest_file f[2];
	struct manifest m = example();

	(void)state;
	memcpy(f, two, sizeof(f));
	m.files = f;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		f[1].name = (char *)(uintptr_t)names[i];
		refuse(&m, -EINVAL);
	}
	f[1].name = f[0].name;
	refuse(&m, -EINVAL);
	f[1].name = two[1].name;
	f[1].size = (uint64_t)INT64_MAX + 1;
	refuse(&m, -EINVAL);
	m = example();
	m.notes = (char *)(uintptr_t)"\xff";
	refuse(&m, -EINVAL);
	m = example();
	m.id = (char *)(uintptr_t)"a/b";
	refuse(&m, -EINVAL);
	m = example();
	m.time = -1;
	refuse(&m, -EINVAL);
	m.time = INT64_MAX;
	refuse(&m, -EINVAL);
}

/* As many files as are read again, and no more. */
static void
too_many(void **state)
{
	size_t n = 60000, most = 52427, i;
	struct manifest_file *f = calloc(n, sizeof(*f));
	struct manifest m = example(), *made;
	char *names = calloc(n, 16);
	struct buf *b;

	(void)state;
	assert_non_null(f);
	assert_non_null(names);
	for (i = 0; i < n; i++) {
		snprintf(names + 16 * i, 16, "%zu.blob", i);
		f[i].name = names + 16 * i;
	}
	m.files = f;
	m.n_files = n;
	refuse(&m, -EFBIG);
	m.n_files = most + 1;
	refuse(&m, -EFBIG);
	m.n_files = most;
	assert_int_equal(manifest_make(&m, NULL, NULL, &b), 0);
	made = parse(b);
	assert_int_equal(made->n_files, most);
	manifest_unref(made);
	buf_unref(b);
	free(f);
	free(names);
}

/* What another program might have put there. */
static const char foreign[] = "{\"unprotected\": {\"other\": [1, null, "
    "{\"a\": 1.5}], \"notes\": \"old\"}, \"zzz\": \"kept\", \"backup-id\": "
    "\"a\", \"backup-time\": 5, \"backup-type\": \"vm\", \"files\": [{"
    "\"filename\": \"a.blob\", \"size\": 12, \"csum\": \"000000000000000000000"
    "0000000000000000000000000000000000000000000\", \"more\": true}]}";

static struct manifest *
of_text(const char *text)
{
	struct manifest *m;
	struct buf *b;

	assert_int_equal(blob_encode(text, strlen(text), true, &b), 0);
	m = parse(b);
	buf_unref(b);
	return m;
}

static struct manifest *
edit(const struct manifest *m, const struct manifest_change *c)
{
	struct manifest *changed;
	struct buf *b;

	assert_int_equal(manifest_edit(m, c, &b), 0);
	changed = parse(b);
	buf_unref(b);
	return changed;
}

/* The text, with the notes and the verify state taken out. */
static json_t *
without(const struct manifest *m)
{
	json_t *root = json_loadb((const char *)m->json->data, m->json->len, 0,
	    NULL), *u = json_object_get(root, "unprotected");

	assert_non_null(root);
	json_object_del(u, "notes");
	json_object_del(u, "verify_state");
	return root;
}

static void
unknown_fields(void **state)
{
	struct manifest *m = of_text(foreign), *n, *o;
	json_auto_t *before = without(m), *after = NULL;

	(void)state;
	n = edit(m, &(struct manifest_change){.notes = "new",
	    .verify_state = "failed", .verify_upid = UPID});
	assert_string_equal(n->notes, "new");
	assert_string_equal(n->verify_state, "failed");
	assert_string_equal(n->verify_upid, UPID);
	after = without(n);
	assert_true(json_equal(before, after));
	o = edit(n, &(struct manifest_change){.notes = ""});
	assert_null(o->notes);
	assert_string_equal(o->verify_state, "failed");
	manifest_unref(o);
	o = edit(n, &(struct manifest_change){0});
	assert_text(o, (const char *)n->json->data, n->json->len);
	manifest_unref(o);
	manifest_unref(n);
	manifest_unref(m);
}

/* Changes leave a signature of Proxmox Backup's valid. */
static void
signed_and_edited(void **state)
{
	struct buf *b = data_load("manifest/signed");
	const struct enc_key *k;
	struct manifest *m = parse(b), *n;

	(void)state;
	buf_unref(b);
	assert_int_equal(keyring_check(fixture_keys(), m, &k), 0);
	assert_non_null(k);
	assert_non_null(m->signature);
	n = edit(m, &(struct manifest_change){.notes = "a\nb",
	    .verify_state = "ok", .verify_upid = UPID});
	assert_string_equal(n->signature, m->signature);
	assert_string_equal(n->key_fingerprint, m->key_fingerprint);
	assert_int_equal(manifest_verify(n, k), 0);
	assert_string_equal(n->notes, "a\nb");
	manifest_unref(n);
	manifest_unref(m);
}

/* Without an unprotected part there is one afterwards. */
static void
nothing_unprotected(void **state)
{
	static const char *const start[] = {"{",
	    "{\"unprotected\": null, \"signature\": null, "};
	struct manifest *m, *n;
	char text[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(start); i++) {
		snprintf(text, sizeof(text), "%s\"backup-id\": \"a\", "
		    "\"backup-time\": 5, \"backup-type\": \"vm\", "
		    "\"files\": []}", start[i]);
		m = of_text(text);
		n = edit(m, &(struct manifest_change){.notes = "x"});
		assert_string_equal(n->notes, "x");
		manifest_unref(n);
		n = edit(m, &(struct manifest_change){.notes = ""});
		assert_null(n->notes);
		manifest_unref(n);
		manifest_unref(m);
	}
}

static void
wrong_changes(void **state)
{
	static const char *const bad[] = {"", "UPID", UPID "x",
	    "UPID:a:0000002F:000618C8:00000014:6B01A9EB:verify:plain:root@pam",
	    "UPID::0000002F:000618C8:00000014:6B01A9EB:verify:plain:root@pam:",
	    "UPID:a:000002F:000618C8:00000014:6B01A9EB:verify:plain:root@pam:",
	    "UPID:a:0000002F:000618C8:00000014:6B01A9EB::plain:root@pam:",
	    "UPID:a:0000002F:000618C8:00000014:6B01A9EB:verify:plain::",
	    "UPID:a:0000002F:000618C8AB:00000014:6B01A9EB:verify:a:root@pam:",
	    "UPID:a:0000002G:000618C8:00000014:6B01A9EB:verify:a:root@pam:",
	    "UPID:a:0000002F:000618C8:00000014:6B01A9EB:ver ify:a:root@pam:",
	    "UPID:a:0000002F:000618C8:00000014:6B01A9EB:verify:a:\xff:"};
	struct manifest_change c = {.verify_state = "ok"};
	struct manifest *m = of_text(foreign);
	struct buf *b;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		c.verify_upid = bad[i];
		assert_int_equal(manifest_edit(m, &c, &b), -EINVAL);
	}
	c.verify_upid = NULL;
	assert_int_equal(manifest_edit(m, &c, &b), -EINVAL);
	c.verify_upid = UPID;
	c.verify_state = NULL;
	assert_int_equal(manifest_edit(m, &c, &b), -EINVAL);
	c.verify_state = "OK";
	assert_int_equal(manifest_edit(m, &c, &b), -EINVAL);
	c = (struct manifest_change){.notes = "\xc3"};
	assert_int_equal(manifest_edit(m, &c, &b), -EINVAL);
	manifest_unref(m);
	/* No place for it. */
	m = of_text("{\"unprotected\": [], \"backup-id\": \"a\", "
	    "\"backup-time\": 5, \"backup-type\": \"vm\", \"files\": []}");
	c.notes = "x";
	assert_int_equal(manifest_edit(m, &c, &b), -EINVAL);
	manifest_unref(m);
}

/* An id may be empty. */
static void
upid_without_id(void **state)
{
	struct manifest *m = of_text(foreign), *n;

	(void)state;
	n = edit(m, &(struct manifest_change){.verify_state = "ok",
	    .verify_upid = "UPID:a:0000002f:000618C80:0000000000000014:"
	        "6B01A9EB:verificationjob::root@pam!t:"});
	assert_string_equal(n->verify_state, "ok");
	manifest_unref(n);
	manifest_unref(m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(real_plain),
	    cmocka_unit_test(real_encrypted),
	    cmocka_unit_test(real_bucket),
	    cmocka_unit_test(signature),
	    cmocka_unit_test(smallest),
	    cmocka_unit_test(notes),
	    cmocka_unit_test(wrong),
	    cmocka_unit_test(too_many),
	    cmocka_unit_test(unknown_fields),
	    cmocka_unit_test(signed_and_edited),
	    cmocka_unit_test(nothing_unprotected),
	    cmocka_unit_test(wrong_changes),
	    cmocka_unit_test(upid_without_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
