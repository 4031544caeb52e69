/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/stream_writer.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/num.h"
#include "base/str.h"
#include "pbs/blob.h"
#include "pbs/chunker.h"
#include "pbs/enc_key.h"
#include "pbs/index.h"
#include "pbs/names.h"
#include "repo/known.h"
#include "repo/uploads.h"
#include "samples.h"
#include "slow_store.h"
#include "store/backends.h"

#include "../cm.h"

#define CHUNK STREAM_FIXED_CHUNK
#define ZERO_CHUNK                                                             \
	"bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8"

struct rig {
	struct slow_store *s;
	struct known *known;
	struct uploads *u;
};

static void
rig_open(struct rig *g)
{
	const struct uploads_opts o = {
	    .memory = 48 * MIB, .packers = 3, .putters = 3};

	g->s = slow_store_new();
	assert_int_equal(known_new(NULL, "g", 100000, &g->known), 0);
	assert_int_equal(uploads_new(&g->s->s, g->known, &o, &g->u), 0);
}

static void
rig_close(struct rig *g)
{
	uploads_free(g->u);
	known_free(g->known);
	store_free(&g->s->s);
}

static struct stream_writer *
writer(struct rig *g, enum stream_kind kind, uint64_t size)
{
	struct stream_writer *w;

	assert_int_equal(stream_writer_new(g->u, kind, size, NULL, &w), 0);
	return w;
}

static struct stream_result
finish(struct stream_writer *w)
{
	struct stream_result res;

	assert_int_equal(stream_finish(w, 1000, &res), 0);
	stream_writer_free(w);
	return res;
}

static struct index *
index_of(const struct stream_result *res)
{
	const char *why = "";
	struct digest csum;
	struct index *x;

	if (index_open(res->index, &x, &why) != 0)
		fail_msg("index: %s", why);
	assert_true(index_is_intact(x));
	assert_int_equal(index_size(x), res->size);
	assert_int_equal(index_count(x), res->chunks);
	assert_int_equal(index_ctime(x), 1000);
	csum = index_csum(x);
	assert_true(digest_eq(&csum, &res->csum));
	/* Version 4 of the variant that everybody uses. */
	assert_int_equal(index_uuid(x)[6] >> 4, 4);
	assert_int_equal(index_uuid(x)[8] >> 6, 2);
	return x;
}

static struct digest
chunk_name(const struct stream_result *res, size_t i)
{
	struct index *x = index_of(res);
	struct digest d = index_chunk(x, i).digest;

	index_unref(x);
	return d;
}

static void
assert_digest_is(const struct index *x, size_t i, const struct digest *d)
{
	struct index_chunk c = index_chunk(x, i);

	assert_true(digest_eq(&c.digest, d));
}

static void
assert_table(const struct stream_result *res, const struct buf *golden)
{
	assert_int_equal(res->index->len, golden->len);
	assert_memory_equal(res->index->data + INDEX_HEADER_LEN,
	    golden->data + INDEX_HEADER_LEN, golden->len - INDEX_HEADER_LEN);
	/* The header too, but for uuid and time. */
	assert_memory_equal(res->index->data, golden->data, 8);
	assert_memory_equal(res->index->data + 32, golden->data + 32,
	    INDEX_HEADER_LEN - 32);
}

/* Bytes that do not compress, and have places to cut at. */
static uint8_t *
noise(size_t len, uint64_t seed)
{
	uint8_t *p = malloc(len + 8);

	assert_non_null(p);
	for (size_t i = 0; i < len; i += 8) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		put_le64(p + i, seed ^ seed >> 29);
	}
	return p;
}

/* In pieces of all sizes. */
static void
write_pieces(struct stream_writer *w, const uint8_t *p, size_t len,
    size_t most)
{
	uint32_t x = (uint32_t)most;

	for (size_t n; len > 0; p += n, len -= n) {
		x = x * 1664525u + 1013904223u;
		n = MIN(len, 1 + (size_t)(x >> 4) % most);
		assert_int_equal(stream_write(w, p, n), 0);
	}
}

/* The bucket that Proxmox Backup wrote. */
static struct store *
golden_store(void)
{
	static const char top[] = "bucket/s3store/";
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	char path[4096];
	struct store *s;

	assert_non_null(getenv("TEST_DATA"));
	snprintf(path, sizeof(path), "%s/s3-bucket.tar.zst",
	    getenv("TEST_DATA"));
	assert_int_equal(store_mem_new(&s), 0);
	archive_read_support_filter_all(a);
	archive_read_support_format_tar(a);
	assert_int_equal(archive_read_open_filename(a, path, 65536),
	    ARCHIVE_OK);
	while (archive_read_next_header(a, &e) == ARCHIVE_OK) {
		const char *name = archive_entry_pathname(e);
		struct buf *b;

		if (archive_entry_filetype(e) != AE_IFREG ||
		    !str_starts(name, top))
			continue;
		b = buf_new((size_t)archive_entry_size(e));
		assert_int_equal(archive_read_data(a, b->data, b->len),
		    b->len);
		assert_int_equal(store_put(s, name + strlen(top), b->data,
		    b->len, NULL, NULL), 0);
		buf_unref(b);
	}
	archive_read_free(a);
	return s;
}

static struct buf *
object(struct store *s, const char *key)
{
	const struct store_get how = {.max = CHUNK_STORED_MAX};
	struct buf *b;

	if (store_get(s, key, &how, &b, NULL) != 0)
		fail_msg("no %s", key);
	return b;
}

static struct buf *
chunk_object(struct store *s, const struct digest *d)
{
	char key[KEY_CHUNK_LEN + 1];

	key_chunk(d, key);
	return object(s, key);
}

static struct buf *
stream_of(struct store *s, const struct index *x)
{
	struct buf *b = buf_new((size_t)index_size(x));

	for (size_t i = 0; i < index_count(x); i++) {
		struct index_chunk c = index_chunk(x, i);
		struct buf *raw = chunk_object(s, &c.digest), *plain;

		assert_int_equal(chunk_decode(raw->data, raw->len, &c.digest,
		    c.end - c.start, &plain), 0);
		memcpy(b->data + c.start, plain->data, plain->len);
		buf_unref(plain);
		buf_unref(raw);
	}
	return b;
}

/* The server was built with libzstd 1.5.7, which makes its bytes; what another
 * version makes must be of the same kind and come back. */
static void
assert_same_chunk(const struct buf *gold, const struct buf *ours,
    const struct index_chunk *c)
{
	struct buf *b;

	assert_memory_equal(gold->data, ours->data, 8);
	if (ZSTD_versionNumber() == 10507) {
		assert_int_equal(gold->len, ours->len);
		assert_memory_equal(gold->data, ours->data, gold->len);
	}
	assert_int_equal(chunk_decode(ours->data, ours->len, &c->digest,
	    c->end - c->start, &b), 0);
	buf_unref(b);
}

/* Cut and store a stream of Proxmox Backup again. */
static void
again(struct store *gold, const char *key, size_t most)
{
	struct buf *file = object(gold, key), *content;
	enum stream_kind kind = STREAM_DYNAMIC;
	struct stream_result res;
	struct stream_writer *w;
	const char *why;
	struct index *x;
	struct rig g;

	print_message("# %s\n", key);
	assert_int_equal(index_open(file, &x, &why), 0);
	content = stream_of(gold, x);
	if (index_kind(x) == INDEX_FIXED)
		kind = STREAM_FIXED;
	else if (strstr(key, "catalog") != NULL)
		kind = STREAM_CATALOG;
	rig_open(&g);
	w = writer(&g, kind, content->len);
	write_pieces(w, content->data, content->len, most);
	res = finish(w);
	assert_table(&res, file);
	index_unref(index_of(&res));
	for (size_t i = 0; i < index_count(x); i++) {
		struct index_chunk c = index_chunk(x, i);
		struct buf *a = chunk_object(gold, &c.digest);
		struct buf *b = chunk_object(&g.s->s, &c.digest);

		assert_same_chunk(a, b, &c);
		buf_unref(a);
		buf_unref(b);
	}
	stream_result_fini(&res);
	rig_close(&g);
	index_unref(x);
	buf_unref(content);
	buf_unref(file);
}

static void
the_servers_indices_and_chunks_come_out(void **state)
{
	static const char *const keys[] = {
	    ".cnt/vm/100/2024-01-01T00:00:00Z/drive-scsi0.img.fidx",
	    ".cnt/vm/100/2024-01-01T00:00:00Z/drive-efidisk0.img.fidx",
	    ".cnt/ns/a/vm/102/2024-01-01T00:00:20Z/drive-scsi0.img.fidx",
	    ".cnt/host/myhost/2024-01-01T00:00:07Z/root.pxar.didx",
	    ".cnt/host/myhost/2024-01-01T00:00:07Z/etc.pxar.didx",
	    ".cnt/host/myhost/2024-01-01T00:00:07Z/catalog.pcat1.didx",
	    ".cnt/ct/200/2024-01-01T01:00:00Z/root.pxar.didx",
	    ".cnt/ct/200/2024-01-01T01:00:00Z/catalog.pcat1.didx",
	    ".cnt/host/myhost/2024-01-02T00:00:07Z/root.mpxar.didx",
	};
	struct store *gold = golden_store();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		again(gold, keys[i], i % 2 == 0 ? 3 * MIB : 200000);
	store_free(gold);
}

/* A longer stream than the fixtures have, against the chunker alone. */
static void
cuts_are_the_chunkers(void **state)
{
	static const struct {
		enum stream_kind kind;
		size_t avg, len;
	} cases[] = {
	    {STREAM_DYNAMIC, CHUNKER_AVG_DATA, 40 * MIB},
	    {STREAM_CATALOG, CHUNKER_AVG_CATALOG, 9 * MIB},
	};
	struct rig g;

	(void)state;
	rig_open(&g);
	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		uint8_t *p = noise(cases[c].len, c);
		struct stream_writer *w = writer(&g, cases[c].kind, 0);
		struct stream_result res;
		uint64_t pos = 0;
		struct chunker ch;
		struct index *x;

		write_pieces(w, p, cases[c].len, MIB);
		assert_int_equal(stream_offset(w), cases[c].len);
		res = finish(w);
		x = index_of(&res);
		assert_true(index_count(x) > 3);
		chunker_init(&ch, cases[c].avg);
		for (size_t i = 0; i < index_count(x); i++) {
			struct index_chunk e = index_chunk(x, i);
			struct digest d = digest_of(p + pos, e.end - pos);
			size_t cut = chunker_scan(&ch, p + pos,
			    cases[c].len - pos);

			assert_int_equal(e.end, cut != 0 ? pos + cut :
			    cases[c].len);
			assert_true(digest_eq(&d, &e.digest));
			pos = e.end;
		}
		assert_int_equal(res.new_chunks, res.chunks);
		assert_int_equal(res.new_bytes, cases[c].len);
		assert_true(res.stored_bytes >= cases[c].len);
		index_unref(x);
		stream_result_fini(&res);
		free(p);
	}
	rig_close(&g);
}

static void
what_is_known_is_not_sent_again(void **state)
{
	const size_t len = 20 * MIB;
	uint8_t *p = noise(len, 1);
	struct stream_result a, b;
	struct stream_writer *w;
	struct rig g;
	unsigned puts;

	(void)state;
	rig_open(&g);
	w = writer(&g, STREAM_DYNAMIC, 0);
	assert_int_equal(stream_write(w, p, len), 0);
	a = finish(w);
	puts = g.s->puts;
	assert_int_equal(puts, a.chunks);
	assert_int_equal(g.s->put_bytes, a.stored_bytes);
	w = writer(&g, STREAM_DYNAMIC, 0);
	write_pieces(w, p, len, 5 * MIB);
	b = finish(w);
	assert_table(&b, a.index);
	assert_int_equal(b.new_chunks, 0);
	assert_int_equal(b.new_bytes, 0);
	assert_int_equal(b.stored_bytes, 0);
	assert_int_equal(g.s->puts, puts);
	/* Another one has another name. */
	assert_memory_not_equal(a.index->data + 8, b.index->data + 8, 16);
	stream_result_fini(&a);
	stream_result_fini(&b);
	free(p);
	rig_close(&g);
}

static void
zeros_are_sent_once(void **state)
{
	const uint64_t size = 10 * CHUNK + 1000;
	struct stream_result a, b;
	struct stream_writer *w;
	uint8_t *zeros = calloc(1, 3 * MIB);
	struct uploads_stats st;
	struct digest d;
	char hex[DIGEST_HEX_LEN + 1];
	struct rig g;

	(void)state;
	rig_open(&g);
	w = writer(&g, STREAM_FIXED, size);
	assert_int_equal(stream_write_zeros(w, size), 0);
	assert_int_equal(stream_offset(w), size);
	assert_int_equal(stream_fill(w), 0);
	a = finish(w);
	uploads_stats(g.u, &st);
	/* One of them and the short one at the end. */
	assert_int_equal(st.chunks, 2);
	assert_int_equal(g.s->puts, 2);
	assert_int_equal(a.chunks, 11);
	assert_int_equal(a.new_chunks, 2);
	assert_int_equal(a.new_bytes, CHUNK + 1000);
	for (size_t i = 0; i < 10; i++) {
		d = chunk_name(&a, i);
		assert_string_equal(digest_hex(&d, hex), ZERO_CHUNK);
	}
	/* Written as bytes they are found out. */
	w = writer(&g, STREAM_FIXED, size);
	for (uint64_t left = size, n; left > 0; left -= n) {
		n = MIN(left, 3 * MIB);
		assert_int_equal(stream_write(w, zeros, (size_t)n), 0);
	}
	b = finish(w);
	assert_table(&b, a.index);
	uploads_stats(g.u, &st);
	assert_int_equal(st.chunks, 4);
	assert_int_equal(g.s->puts, 2);
	stream_result_fini(&b);
	/* Both, and not at the boundaries of chunks. */
	w = writer(&g, STREAM_FIXED, size);
	assert_int_equal(stream_write(w, zeros, 1000), 0);
	assert_int_equal(stream_write_zeros(w, 2 * CHUNK), 0);
	assert_int_equal(stream_fill(w), 1000);
	assert_int_equal(stream_write(w, zeros, 5000), 0);
	assert_int_equal(stream_write_zeros(w, size - 2 * CHUNK - 6000), 0);
	b = finish(w);
	assert_table(&b, a.index);
	stream_result_fini(&a);
	stream_result_fini(&b);
	/* By content: chunks of 16 MiB. */
	w = writer(&g, STREAM_DYNAMIC, 0);
	assert_int_equal(stream_write_zeros(w, 40 * MIB), 0);
	a = finish(w);
	assert_int_equal(a.chunks, 3);
	stream_result_fini(&a);
	free(zeros);
	rig_close(&g);
}

static void
zeros_with_a_key(void **state)
{
	const uint8_t raw[ENC_KEY_LEN] = {7};
	struct stream_writer *w;
	struct stream_result a;
	struct enc_key *key;
	struct index *x;
	struct rig g;

	(void)state;
	rig_open(&g);
	assert_int_equal(enc_key_new(raw, &key), 0);
	assert_int_equal(enc_key_learn_zeros(key), 0);
	assert_int_equal(stream_writer_new(g.u, STREAM_FIXED, 5 * CHUNK, key,
	    &w), 0);
	assert_int_equal(stream_write_zeros(w, 5 * CHUNK), 0);
	a = finish(w);
	x = index_of(&a);
	for (size_t i = 0; i < 5; i++) {
		struct digest d = index_chunk(x, i).digest;
		struct buf *b = chunk_object(&g.s->s, &d), *plain;

		assert_true(enc_key_is_zeros(key, &d));
		assert_int_equal(chunk_decode_with(b->data, b->len, &d, CHUNK,
		    key, &plain), 0);
		buf_unref(plain);
		buf_unref(b);
	}
	assert_int_equal(g.s->puts, 1);
	index_unref(x);
	stream_result_fini(&a);
	rig_close(&g);
	enc_key_unref(key);
}

/* More chunks than the writer keeps waiting behind one that is under way. */
static void *
release_soon(void *arg)
{
	struct slow_store *s = arg;

	slow_store_await(s, &s->puts, 1);
	usleep(100000);
	slow_store_set(s, &s->hold_put, false);
	return NULL;
}

static void
a_large_hole(void **state)
{
	const uint64_t size = 80 * GIB;
	struct stream_writer *w;
	struct stream_result a;
	struct rig g;
	pthread_t t;

	(void)state;
	rig_open(&g);
	slow_store_set(g.s, &g.s->hold_put, true);
	assert_int_equal(pthread_create(&t, NULL, release_soon, g.s), 0);
	w = writer(&g, STREAM_FIXED, size);
	assert_int_equal(stream_write_zeros(w, size), 0);
	/* It had to wait for that. */
	assert_int_equal(g.s->put_done, 1);
	a = finish(w);
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_int_equal(a.chunks, 80 * 256);
	assert_int_equal(a.new_chunks, 1);
	assert_int_equal(g.s->puts, 1);
	stream_result_fini(&a);
	rig_close(&g);
}

static void
sizes_must_add_up(void **state)
{
	struct stream_result res;
	struct stream_writer *w;
	struct rig g;

	(void)state;
	rig_open(&g);
	/* Too much: nothing of it is taken, and it is over. */
	w = writer(&g, STREAM_FIXED, 10);
	assert_int_equal(stream_write(w, "12345", 5), 0);
	assert_int_equal(stream_write(w, "123456", 6), -EINVAL);
	assert_int_equal(stream_write(w, "12345", 5), -EINVAL);
	assert_int_equal(stream_finish(w, 0, &res), -EINVAL);
	stream_writer_free(w);
	w = writer(&g, STREAM_FIXED, 10);
	assert_int_equal(stream_write_zeros(w, 11), -EINVAL);
	stream_writer_free(w);
	/* Too little. */
	w = writer(&g, STREAM_FIXED, CHUNK + 10);
	assert_int_equal(stream_write_zeros(w, CHUNK + 9), 0);
	assert_int_equal(stream_finish(w, 0, &res), -EINVAL);
	stream_writer_free(w);
	/* Nothing. */
	w = writer(&g, STREAM_FIXED, 0);
	assert_int_equal(stream_write(w, "", 0), 0);
	assert_int_equal(stream_finish(w, 0, &res), -EINVAL);
	stream_writer_free(w);
	w = writer(&g, STREAM_DYNAMIC, 0);
	assert_int_equal(stream_finish(w, 0, &res), -EINVAL);
	stream_writer_free(w);
	assert_int_equal(stream_writer_new(g.u, STREAM_FIXED, UINT64_MAX, NULL,
	    &w), -EINVAL);
	/* One byte will do. */
	w = writer(&g, STREAM_CATALOG, 0);
	assert_int_equal(stream_write(w, "x", 1), 0);
	assert_int_equal(stream_fill(w), 1);
	res = finish(w);
	assert_int_equal(res.size, 1);
	assert_int_equal(res.chunks, 1);
	stream_result_fini(&res);
	rig_close(&g);
}

static void
cutting_on_order(void **state)
{
	const size_t len = 12 * MIB;
	uint8_t *p = noise(len, 3);
	struct stream_writer *w;
	struct stream_result a;
	struct chunker ch;
	struct index *x;
	struct digest d;
	size_t cut;
	struct rig g;

	(void)state;
	rig_open(&g);
	w = writer(&g, STREAM_DYNAMIC, 0);
	assert_int_equal(stream_cut(w), 0);
	assert_int_equal(stream_write(w, p, 1000), 0);
	assert_int_equal(stream_fill(w), 1000);
	assert_int_equal(stream_cut(w), 0);
	assert_int_equal(stream_fill(w), 0);
	assert_int_equal(stream_cut(w), 0);
	assert_int_equal(stream_write(w, p, len), 0);
	a = finish(w);
	x = index_of(&a);
	assert_int_equal(index_chunk(x, 0).end, 1000);
	d = digest_of(p, 1000);
	assert_digest_is(x, 0, &d);
	/* What follows is cut as if it stood alone. */
	chunker_init(&ch, CHUNKER_AVG_DATA);
	cut = chunker_scan(&ch, p, len);
	assert_int_equal(index_chunk(x, 1).end, 1000 + cut);
	index_unref(x);
	stream_result_fini(&a);
	w = writer(&g, STREAM_FIXED, 10);
	assert_int_equal(stream_cut(w), -EINVAL);
	assert_int_equal(stream_write(w, "0123456789", 10), 0);
	a = finish(w);
	stream_result_fini(&a);
	free(p);
	rig_close(&g);
}

static void
whole_chunks_are_put_in(void **state)
{
	const struct digest unknown = {{1, 2, 3}};
	struct stream_result a, b;
	struct stream_writer *w;
	struct digest d;
	struct index *x;
	struct rig g;
	unsigned puts;

	(void)state;
	rig_open(&g);
	g.s->touchable = true;
	w = writer(&g, STREAM_DYNAMIC, 0);
	assert_int_equal(stream_write(w, "12345", 5), 0);
	a = finish(w);
	d = chunk_name(&a, 0);
	puts = g.s->puts;

	w = writer(&g, STREAM_DYNAMIC, 0);
	assert_int_equal(stream_inject(w, &d, 5), 0);
	assert_int_equal(g.s->touches, 1);
	assert_int_equal(stream_offset(w), 5);
	/* It is gone: then it is written, and all goes on. */
	assert_int_equal(stream_inject(w, &unknown, 7), -ENOENT);
	assert_int_equal(stream_offset(w), 5);
	assert_int_equal(stream_write(w, "abcdefg", 7), 0);
	/* Not within a chunk. */
	assert_int_equal(stream_inject(w, &d, 5), -EINVAL);
	assert_int_equal(stream_cut(w), 0);
	assert_int_equal(stream_inject(w, &d, 0), -EINVAL);
	assert_int_equal(stream_inject(w, &d, CHUNK_CONTENT_MAX + 1), -EINVAL);
	assert_int_equal(stream_inject(w, &d, 5), 0);
	b = finish(w);
	x = index_of(&b);
	assert_int_equal(index_count(x), 3);
	assert_int_equal(index_chunk(x, 0).end, 5);
	assert_int_equal(index_chunk(x, 1).end, 12);
	assert_int_equal(index_chunk(x, 2).end, 17);
	assert_digest_is(x, 2, &d);
	assert_int_equal(b.injected, 2);
	assert_int_equal(b.new_chunks, 1);
	assert_int_equal(b.new_bytes, 7);
	assert_int_equal(g.s->puts, puts + 1);
	index_unref(x);
	stream_result_fini(&a);
	stream_result_fini(&b);
	rig_close(&g);
}

static void
images_take_chunks_of_their_size(void **state)
{
	uint8_t *p = noise(CHUNK, 5);
	struct digest whole, end;
	struct stream_result a, b;
	struct stream_writer *w;
	struct rig g;

	(void)state;
	rig_open(&g);
	w = writer(&g, STREAM_FIXED, CHUNK + 100);
	assert_int_equal(stream_write(w, p, CHUNK), 0);
	assert_int_equal(stream_write(w, p, 100), 0);
	a = finish(w);
	whole = chunk_name(&a, 0);
	end = chunk_name(&a, 1);
	w = writer(&g, STREAM_FIXED, CHUNK + 100);
	assert_int_equal(stream_inject(w, &end, 100), -EINVAL);
	assert_int_equal(stream_inject(w, &whole, CHUNK), 0);
	assert_int_equal(stream_inject(w, &whole, CHUNK), -EINVAL);
	assert_int_equal(stream_inject(w, &end, 99), -EINVAL);
	/* In a store where nothing is touched what is known will do. */
	known_remove(g.known, &end);
	assert_int_equal(stream_inject(w, &end, 100), -ENOENT);
	known_add(g.known, &end);
	assert_int_equal(stream_inject(w, &end, 100), 0);
	assert_int_equal(stream_inject(w, &end, 100), -EINVAL);
	b = finish(w);
	assert_table(&b, a.index);
	assert_int_equal(b.injected, 2);
	stream_result_fini(&a);
	stream_result_fini(&b);
	free(p);
	rig_close(&g);
}

static void
a_failed_upload_is_told(void **state)
{
	uint8_t *p = noise(CHUNK, 6);
	struct stream_result res;
	struct stream_writer *w;
	struct rig g;

	(void)state;
	rig_open(&g);
	g.s->put_error = -ENOSPC;
	g.s->put_error_count = 1;
	w = writer(&g, STREAM_FIXED, 2 * CHUNK);
	assert_int_equal(stream_write(w, p, CHUNK), 0);
	slow_store_await(g.s, &g.s->puts, 1);
	for (;;) {
		struct uploads_stats st;

		uploads_stats(g.u, &st);
		if (st.in_flight == 0)
			break;
		usleep(1000);
	}
	p[0]++;
	/* The callback may still be on its way, but not for ever. */
	while (stream_write(w, p, 1) == 0)
		usleep(1000);
	assert_int_equal(stream_write(w, p, 1), -ENOSPC);
	assert_int_equal(stream_inject(w, &(struct digest){{1}}, 1), -ENOSPC);
	assert_int_equal(stream_finish(w, 0, &res), -ENOSPC);
	stream_writer_free(w);
	/* At the latest when it is finished. */
	g.s->put_error_count = 1;
	w = writer(&g, STREAM_DYNAMIC, 0);
	assert_int_equal(stream_write(w, p, CHUNK / 8), 0);
	assert_int_equal(stream_finish(w, 0, &res), -ENOSPC);
	stream_writer_free(w);
	/* Done again, it is sent again. */
	w = writer(&g, STREAM_DYNAMIC, 0);
	assert_int_equal(stream_write(w, p, CHUNK / 8), 0);
	res = finish(w);
	assert_int_equal(res.new_chunks, 1);
	stream_result_fini(&res);
	free(p);
	rig_close(&g);
}

static void
given_up_while_under_way(void **state)
{
	uint8_t *p = noise(8 * CHUNK, 6);
	struct stream_writer *w;
	struct rig g;
	pthread_t t;

	(void)state;
	rig_open(&g);
	slow_store_set(g.s, &g.s->hold_put, true);
	assert_int_equal(pthread_create(&t, NULL, release_soon, g.s), 0);
	w = writer(&g, STREAM_FIXED, 8 * CHUNK);
	assert_int_equal(stream_write(w, p, 3 * CHUNK + 5), 0);
	stream_writer_free(w);
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_int_equal(g.s->put_done, 3);
	/* Shut down while somebody writes. */
	slow_store_set(g.s, &g.s->hold_put, true);
	w = writer(&g, STREAM_FIXED, 8 * CHUNK);
	p[0]++;
	p[CHUNK]++;
	assert_int_equal(stream_write(w, p, 2 * CHUNK), 0);
	slow_store_await(g.s, &g.s->puts, 5);
	store_shutdown(&g.s->s);
	uploads_shutdown(g.u);
	assert_int_equal(stream_write(w, p, 6 * CHUNK), -ESHUTDOWN);
	stream_writer_free(w);
	free(p);
	rig_close(&g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_servers_indices_and_chunks_come_out),
	    cmocka_unit_test(cuts_are_the_chunkers),
	    cmocka_unit_test(what_is_known_is_not_sent_again),
	    cmocka_unit_test(zeros_are_sent_once),
	    cmocka_unit_test(zeros_with_a_key),
	    cmocka_unit_test(a_large_hole),
	    cmocka_unit_test(sizes_must_add_up),
	    cmocka_unit_test(cutting_on_order),
	    cmocka_unit_test(whole_chunks_are_put_in),
	    cmocka_unit_test(images_take_chunks_of_their_size),
	    cmocka_unit_test(a_failed_upload_is_told),
	    cmocka_unit_test(given_up_while_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
