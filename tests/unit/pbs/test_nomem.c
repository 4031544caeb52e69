/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * Allocations fail one after the other: each call must come back with -ENOMEM
 * and leave nothing behind.  The linker puts these wrappers before malloc and
 * its relatives as our own code calls them.
 */
#include "data.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "crypt/secret.h"
#include "pbs/blob.h"
#include "pbs/catalog.h"
#include "pbs/chunker.h"
#include "pbs/enc_key.h"
#include "pbs/index.h"
#include "pbs/keyfile.h"
#include "pbs/keyring.h"
#include "pbs/manifest.h"
#include "pbs/manifest_writer.h"
#include "pbs/names.h"

static int left = -1;	/* allocations until the failing one; -1: never */

static int
fails(void)
{
	if (left < 0)
		return 0;
	return left-- == 0;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t m);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t m);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);

void *
__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t m)
{
	return fails() ? NULL : __real_calloc(n, m);
}

void *
__wrap_realloc(void *p, size_t n)
{
	/* Whoever gives memory back may do without. */
	if (p != NULL && n <= malloc_usable_size(p))
		return __real_realloc(p, n);
	return fails() ? NULL : __real_realloc(p, n);
}

void *
__wrap_reallocarray(void *p, size_t n, size_t m)
{
	return fails() ? NULL : __real_reallocarray(p, n, m);
}

char *
__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

char *
__wrap_strndup(const char *s, size_t n)
{
	return fails() ? NULL : __real_strndup(s, n);
}

/*
 * Run fn with the first, the second, ... allocation failing until none is left
 * to fail; says how many there were.
 */
static int
fail_each(int (*fn)(void *arg), void *arg)
{
	int n = 0, r;

	for (;;) {
		left = n;
		r = fn(arg);
		if (left >= 0) {
			left = -1;
			assert_int_equal(r, 0);
			return n;
		}
		left = -1;
		assert_int_equal(r, -ENOMEM);
		n++;
	}
}

static int
decode_blob(void *arg)
{
	struct buf *b = arg, *content;
	int r = blob_decode(b->data, b->len, BLOB_CONTENT_MAX, &content);

	if (r == 0)
		buf_unref(content);
	return r;
}

static int
encode_blob(void *arg)
{
	struct buf *b;
	int r = blob_encode(arg, strlen(arg), true, &b);

	if (r == 0)
		buf_unref(b);
	return r;
}

static void
blobs(void **state)
{
	static char text[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	static const char *const names[] = {"blob/zstd-log.blob",
	    "blob/zstd-stream.blob", "blob/plain-random.blob"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct buf *b = data_load(names[i]);

		assert_in_range(fail_each(decode_blob, b), 1, 10);
		buf_unref(b);
	}
	assert_in_range(fail_each(encode_blob, text), 1, 10);
}

static int
parse_manifest(void *arg)
{
	struct buf *b = arg;
	struct manifest *m;
	const char *why;
	int r = manifest_parse(b->data, b->len, &m, &why);

	if (r == 0)
		manifest_unref(m);
	else
		assert_string_equal(why, "out of memory");
	return r;
}

static void
manifests(void **state)
{
	struct buf *b = data_load("manifest/vm100");

	(void)state;
	/* id, five names, notes, verify state, and their containers */
	assert_in_range(fail_each(parse_manifest, b), 12, 30);
	buf_unref(b);
}

static int
open_index(void *arg)
{
	struct index *x;
	const char *why;
	int r = index_open(arg, &x, &why);

	if (r == 0)
		index_unref(x);
	return r;
}

static int
write_index(void *arg)
{
	static const uint8_t uuid[16];
	const struct digest *d = arg;
	struct index_writer *w = NULL;
	struct buf *b;
	int r;

	r = index_writer_dynamic(&w);
	for (int i = 0; r == 0 && i < 1000; i++)
		r = index_writer_add(w, 10, d);
	if (r == 0)
		r = index_writer_finish(w, uuid, 0, &b);
	if (r == 0)
		buf_unref(b);
	index_writer_free(w);
	return r;
}

static void
indices(void **state)
{
	struct buf *b = data_load("index/tiny.img.fidx");
	struct digest d = {{0}};

	(void)state;
	assert_int_equal(fail_each(open_index, b), 1);
	buf_unref(b);
	assert_in_range(fail_each(write_index, &d), 3, 20);
}

static int
write_catalog(void *arg)
{
	static const struct catalog_entry e = {.type = CATALOG_FILE,
	    .name = "a", .name_len = 1};
	struct catalog_writer *w = NULL;
	struct buf *b;
	int r;

	(void)arg;
	r = catalog_writer_new(&w);
	if (r < 0)
		return r;
	r = catalog_writer_open(w, "x", 1);
	for (int i = 0; r == 0 && i < 100; i++) {
		r = catalog_writer_open(w, "y", 1);
		if (r == 0)
			r = catalog_writer_add(w, &e);
		if (r == 0)
			r = catalog_writer_close(w);
	}
	if (r == 0)
		r = catalog_writer_close(w);
	if (r == 0)
		r = catalog_writer_finish(w, &b);
	if (r == 0)
		buf_unref(b);
	catalog_writer_free(w);
	return r;
}

static int
suggest(void *arg)
{
	struct payload_chunker *c = NULL;
	int r;

	(void)arg;
	r = payload_chunker_new(65536, &c);
	for (uint64_t i = 1; r == 0 && i < 1000; i++)
		r = payload_chunker_suggest(c, i);
	payload_chunker_free(c);
	return r;
}

static int
parse_owner(void *arg)
{
	char *owner;
	int r = owner_parse(arg, strlen(arg), &owner);

	if (r == 0)
		free(owner);
	return r;
}

static void
the_rest(void **state)
{
	static char owner[] = "root@pam\n";

	(void)state;
	assert_in_range(fail_each(write_catalog, NULL), 100, 1000);
	assert_in_range(fail_each(suggest, NULL), 3, 20);
	assert_int_equal(fail_each(parse_owner, owner), 1);
}

/* From a file to a ring with its key, and back to a file. */
static int
use_key(void *arg)
{
	struct buf *b = arg;
	struct keyfile *f = NULL, *again = NULL;
	struct keyring *ring = NULL;
	struct secret *text = NULL;
	struct enc_key *k = NULL;
	const char *why;
	int r;

	r = keyfile_parse(b->data, b->len, &f, &why);
	if (r == 0)
		r = keyfile_open(f, NULL, 0, &k);
	if (r == 0)
		r = keyfile_lock(k, KEYFILE_NONE, NULL, 0, "hint", &again);
	if (r == 0)
		r = keyfile_write(again, true, &text);
	if (r == 0)
		r = keyring_new(&ring);
	if (r == 0)
		r = keyring_add(ring, k);
	keyring_unref(ring);
	secret_free(text);
	keyfile_free(again);
	keyfile_free(f);
	enc_key_unref(k);
	return r;
}

struct locked {
	struct buf *raw;
	struct enc_key *key;
};

static int
decrypt(void *arg)
{
	struct locked *l = arg;
	struct buf *b;
	int r = blob_decode_with(l->raw->data, l->raw->len, BLOB_CONTENT_MAX,
	    l->key, &b);

	if (r == 0)
		buf_unref(b);
	return r;
}

static void
keys(void **state)
{
	struct buf *b = data_load("../keys/key-none.json");
	struct locked l;
	struct keyfile *f;
	const char *why;

	(void)state;
	assert_in_range(fail_each(use_key, b), 15, 60);
	assert_int_equal(keyfile_parse(b->data, b->len, &f, &why), 0);
	assert_int_equal(keyfile_open(f, NULL, 0, &l.key), 0);
	l.raw = data_load("blob/enc-zstd-big.blob");
	assert_in_range(fail_each(decrypt, &l), 2, 10);
	buf_unref(l.raw);
	enc_key_unref(l.key);
	keyfile_free(f);
	buf_unref(b);
}

static int
make_manifest(void *arg)
{
	static const struct manifest_upload_stats stats = {1, 2, 3, 4};
	const struct manifest *m = arg;
	struct buf *b;
	int r;

	r = manifest_make(m, m->key, &stats, &b);
	if (r == 0)
		buf_unref(b);
	return r;
}

static int
edit_manifest(void *arg)
{
	static const struct manifest_change change = {
	    .notes = "text",
	    .verify_state = "ok",
	    .verify_upid = "UPID:node:0000002F:000618C8:00000014:6B01A9EB:"
	        "verify:plain:root@pam:",
	};
	struct buf *b;
	int r;

	r = manifest_edit(arg, &change, &b);
	if (r == 0)
		buf_unref(b);
	return r;
}

static void
manifests_written(void **state)
{
	const uint8_t raw[ENC_KEY_LEN] = {1};
	struct buf *b = data_load("manifest/vm100");
	const char *why;
	struct enc_key *k;
	struct manifest *m;

	(void)state;
	assert_int_equal(manifest_parse(b->data, b->len, &m, &why), 0);
	assert_int_equal(enc_key_new(raw, &k), 0);
	m->key = k;
	assert_in_range(fail_each(edit_manifest, m), 2, 20);
	/* Also what the JSON library asks for; its parser passes over that. */
	json_set_alloc_funcs(__wrap_malloc, free);
	assert_in_range(fail_each(make_manifest, m), 60, 400);
	json_set_alloc_funcs(malloc, free);
	manifest_unref(m);
	enc_key_unref(k);
	buf_unref(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(blobs),
	    cmocka_unit_test(manifests),
	    cmocka_unit_test(indices),
	    cmocka_unit_test(keys),
	    cmocka_unit_test(the_rest),
	    cmocka_unit_test(manifests_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
