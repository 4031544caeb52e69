/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fixture.h"

#include "../cm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <archive.h>
#include <archive_entry.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/num.h"
#include "base/str.h"
#include "pbs/blob.h"
#include "pbs/enc_key.h"
#include "pbs/index.h"
#include "pbs/keyfile.h"
#include "pbs/keyring.h"
#include "pbs/manifest.h"
#include "pbs/names.h"

struct file {
	char *path;
	struct buf *data;
};

struct fixture {
	struct file *files;	/* sorted by path */
	size_t n;
};

static void
add(struct fixture *f, struct archive *a, struct archive_entry *e)
{
	size_t len = (size_t)archive_entry_size(e);
	struct buf *b = buf_new(len);

	assert_non_null(b);
	assert_int_equal(archive_read_data(a, b->data, len), len);
	f->files = reallocarray(f->files, f->n + 1, sizeof(*f->files));
	assert_non_null(f->files);
	f->files[f->n++] = (struct file){
	    .path = strdup(archive_entry_pathname(e)),
	    .data = b,
	};
}

static int
by_path(const void *pa, const void *pb)
{
	const struct file *a = pa, *b = pb;

	return strcmp(a->path, b->path);
}

struct fixture *
fixture_load(const char *name)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	char path[4096];
	int r;

	assert_non_null(f);
	assert_non_null(a);
	snprintf(path, sizeof(path), "%s/%s.tar.zst", getenv("TEST_DATA"),
	    name);
	assert_int_equal(archive_read_support_filter_zstd(a), ARCHIVE_OK);
	assert_int_equal(archive_read_support_format_tar(a), ARCHIVE_OK);
	if (archive_read_open_filename(a, path, MIB) != ARCHIVE_OK)
		fail_msg("%s: %s", path, archive_error_string(a));
	while ((r = archive_read_next_header(a, &e)) == ARCHIVE_OK)
		if (archive_entry_filetype(e) == AE_IFREG)
			add(f, a, e);
	assert_int_equal(r, ARCHIVE_EOF);
	archive_read_free(a);
	assert_true(f->n > 0);
	qsort(f->files, f->n, sizeof(*f->files), by_path);
	return f;
}

void
fixture_free(struct fixture *f)
{
	while (f->n > 0) {
		free(f->files[--f->n].path);
		buf_unref(f->files[f->n].data);
	}
	free(f->files);
	free(f);
}

const char *
fixture_next(const struct fixture *f, size_t *i, const char *suffix)
{
	while (*i < f->n)
		if (str_ends(f->files[(*i)++].path, suffix))
			return f->files[*i - 1].path;
	return NULL;
}

struct buf *
fixture_file(const struct fixture *f, const char *path)
{
	const struct file key = {.path = (char *)(uintptr_t)path};
	const struct file *found;

	found = bsearch(&key, f->files, f->n, sizeof(*f->files), by_path);
	if (found == NULL)
		fail_msg("%s is not there", path);
	return found->data;
}

static struct keyring *keys;

static void
drop_keys(void)
{
	keyring_unref(keys);
}

static void
add_key(const char *name, const char *pass)
{
	const char *why = "";
	struct keyfile *kf;
	struct enc_key *k;
	char path[4096];
	struct buf *b;

	snprintf(path, sizeof(path), "%s/keys/%s.json", getenv("TEST_DATA"),
	    name);
	assert_int_equal(io_read_file(AT_FDCWD, path, KEYFILE_MAX, &b), 0);
	if (keyfile_parse(b->data, b->len, &kf, &why) < 0)
		fail_msg("%s: %s", path, why);
	assert_int_equal(keyfile_open(kf, pass, strlen(pass), &k), 0);
	assert_int_equal(keyring_add(keys, k), 0);
	enc_key_unref(k);
	keyfile_free(kf);
	buf_unref(b);
}

struct keyring *
fixture_keys(void)
{
	if (keys != NULL)
		return keys;
	assert_int_equal(keyring_new(&keys), 0);
	atexit(drop_keys);
	add_key("key-none", "");
	add_key("key-s3", "");
	add_key("key-scrypt", "scrypt-pass");
	add_key("key-pbkdf2", "pbkdf2-pass");
	return keys;
}

struct manifest *
fixture_manifest(const struct fixture *f, const char *path)
{
	const struct buf *b;
	const char *why = "";
	struct manifest *m;
	char name[4096];

	snprintf(name, sizeof(name), "%.*s/index.json.blob",
	    (int)(strrchr(path, '/') - path), path);
	b = fixture_file(f, name);
	if (manifest_parse(b->data, b->len, &m, &why) < 0)
		fail_msg("%s: %s", name, why);
	assert_int_equal(keyring_check(fixture_keys(), m, &m->key), 0);
	return m;
}

/* A chunk of the index at path, whose keys begin with the same top. */
static struct buf *
chunk_of(const struct fixture *f, const char *path, const struct digest *d)
{
	char name[4096], key[KEY_CHUNK_LEN + 1];
	const char *slash = strchr(path, '/');

	/* "plain/...", or "bucket/s3store/.cnt/...". */
	key_chunk(d, key);
	if (str_starts(path, "bucket/"))
		slash = strchr(slash + 1, '/');
	snprintf(name, sizeof(name), "%.*s/%s", (int)(slash - path), path, key);
	return fixture_file(f, name);
}

static bool
is_encrypted(const struct manifest *m, const char *path)
{
	const struct manifest_file *file;

	file = manifest_find(m, strrchr(path, '/') + 1);
	assert_non_null(file);
	return file->crypt == CRYPT_ENCRYPT;
}

struct buf *
fixture_stream(const struct fixture *f, const char *path)
{
	struct manifest *m = fixture_manifest(f, path);
	const struct enc_key *key;
	struct buf *out, *raw, *b;
	struct index *x;
	const char *why = "";
	size_t i;

	key = is_encrypted(m, path) ? m->key : NULL;
	raw = fixture_file(f, path);
	if (index_open(raw, &x, &why) < 0)
		fail_msg("%s: %s", path, why);
	out = buf_new(index_size(x));
	assert_non_null(out);
	for (i = 0; i < index_count(x); i++) {
		struct index_chunk c = index_chunk(x, i);

		raw = chunk_of(f, path, &c.digest);
		assert_int_equal(chunk_decode_with(raw->data, raw->len,
		    &c.digest, c.end - c.start, key, &b), 0);
		memcpy(out->data + c.start, b->data, b->len);
		buf_unref(b);
	}
	index_unref(x);
	manifest_unref(m);
	return out;
}
