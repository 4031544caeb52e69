/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "pbs/blob.h"
#include "pbs/index.h"
#include "pbs/names.h"
#include "repo/repo.h"
#include "repo/tree.h"
#include "slow_store.h"

#include "../cm.h"

void
sample_bytes(void *p, size_t len, uint32_t seed)
{
	uint32_t x = seed * 2654435761u + 1;
	uint8_t *out = p;
	size_t i;

	for (i = 0; i < len; i++) {
		x = x * 1664525u + 1013904223u;
		out[i] = (uint8_t)((x >> 24) & 0x0f);
	}
}

static struct digest
put_chunk(struct slow_store *s, const void *p, size_t len)
{
	struct digest d = digest_of(p, len);
	char key[KEY_CHUNK_LEN + 1];
	struct buf *b;

	assert_int_equal(blob_encode(p, len, true, &b), 0);
	key_chunk(&d, key);
	slow_store_put(s, key, b->data, b->len);
	buf_unref(b);
	return d;
}

struct chunk_id
sample_chunk(struct slow_store *s, size_t len, uint32_t seed)
{
	uint8_t *p = malloc(len);
	struct chunk_id id = {0};

	assert_non_null(p);
	sample_bytes(p, len, seed);
	id.digest = put_chunk(s, p, len);
	id.size = (uint32_t)len;
	free(p);
	return id;
}

static void
put(struct slow_store *s, int64_t time, const char *name, const void *p,
    size_t len)
{
	char key[KEY_MAX + 1];

	assert_int_equal(key_file(key, "", BACKUP_HOST, "h1", time, name), 0);
	slow_store_put(s, key, p, len);
}

static struct buf *
fixed_index(struct slow_store *s, unsigned n, uint64_t *ret_size)
{
	uint64_t size = (uint64_t)n * SAMPLE_CHUNK - SAMPLE_CHUNK / 2;
	const uint8_t uuid[16] = {1};
	struct index_writer *w;
	struct chunk_id id;
	struct buf *b;
	unsigned i;

	assert_int_equal(index_writer_fixed(size, SAMPLE_CHUNK, &w), 0);
	for (i = 0; i < n; i++) {
		id = sample_chunk(s, i + 1 < n ? SAMPLE_CHUNK :
		    SAMPLE_CHUNK / 2, 100 + i);
		assert_int_equal(index_writer_add(w, id.size, &id.digest), 0);
	}
	assert_int_equal(index_writer_finish(w, uuid, 1, &b), 0);
	index_writer_free(w);
	*ret_size = size;
	return b;
}

void
sample_snapshot(struct slow_store *s, int64_t time, unsigned n_chunks)
{
	struct buf *index, *blob, *manifest;
	char a[DIGEST_HEX_LEN + 1], b[DIGEST_HEX_LEN + 1];
	struct str json = {0};
	struct digest csum, sum;
	uint64_t size;

	index = fixed_index(s, n_chunks, &size);
	put(s, time, "disk.img.fidx", index->data, index->len);
	csum = digest_of(index->data + INDEX_HEADER_LEN,
	    index->len - INDEX_HEADER_LEN);
	assert_int_equal(blob_encode("conf\n", 5, true, &blob), 0);
	put(s, time, "a.conf.blob", blob->data, blob->len);
	sum = digest_of(blob->data, blob->len);
	str_addf(&json, "{\"backup-type\":\"host\",\"backup-id\":\"h1\","
	    "\"backup-time\":%lld,\"files\":["
	    "{\"filename\":\"disk.img.fidx\",\"size\":%llu,\"csum\":\"%s\","
	    "\"crypt-mode\":\"none\"},"
	    "{\"filename\":\"a.conf.blob\",\"size\":%zu,\"csum\":\"%s\","
	    "\"crypt-mode\":\"none\"}],\"unprotected\":{},"
	    "\"signature\":null}", (long long)time, (unsigned long long)size,
	    digest_hex(&csum, a), blob->len, digest_hex(&sum, b));
	assert_int_equal(blob_encode(json.s, json.len, true, &manifest), 0);
	put(s, time, "index.json.blob", manifest->data, manifest->len);
	slow_store_put(s, ".cnt/host/h1/owner", "root@pam\n", 9);
	str_fini(&json);
	buf_unref(index);
	buf_unref(blob);
	buf_unref(manifest);
}

struct index *
sample_index(struct slow_store *s, const uint32_t *sizes, size_t n)
{
	const uint8_t uuid[16] = {2};
	const char *why;
	struct index_writer *w;
	struct chunk_id id;
	struct index *x;
	struct buf *b;
	size_t i;

	assert_int_equal(index_writer_dynamic(&w), 0);
	for (i = 0; i < n; i++) {
		id = sample_chunk(s, sizes[i], (uint32_t)i);
		assert_int_equal(index_writer_add(w, id.size, &id.digest), 0);
	}
	assert_int_equal(index_writer_finish(w, uuid, 1, &b), 0);
	index_writer_free(w);
	assert_int_equal(index_open(b, &x, &why), 0);
	buf_unref(b);
	return x;
}

struct slow_store *
sample_store(void)
{
	struct slow_store *s = slow_store_new();

	sample_snapshot(s, SAMPLE_T1, 4);
	return s;
}

int
sample_open(struct slow_store *s, const char *keep, struct repo **ret)
{
	const struct repo_opts o = {.listing = keep, .timeout_ms = 5000};

	return repo_open(&s->s, &o, ret);
}

const struct tree_snap *
sample_snap(struct tree *t)
{
	const struct tree_group *g;

	g = tree_find_group(t->root, BACKUP_HOST, "h1");
	assert_non_null(g);
	assert_non_null(tree_find_snap(g, SAMPLE_T1));
	return tree_find_snap(g, SAMPLE_T1);
}

const struct tree_file *
sample_file(struct tree *t, const char *name)
{
	const struct tree_file *f = tree_find_file(sample_snap(t), name);

	assert_non_null(f);
	return f;
}
