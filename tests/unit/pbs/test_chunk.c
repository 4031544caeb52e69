/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/blob.h"

#include "data.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/num.h"

#define ZERO "bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8"
#define H1 "97660383bc7688867ce5f1f81e5dc30106eed2a72834efb067d49781c52b9eb8"
#define H1_LEN 22810

static const struct golden {
	const char *name;
	const char *digest;
	size_t stored, size;
} golden[] = {
    {"chunk/zero", ZERO, 159, 4 << 20},
    {"chunk/zero-stream", ZERO, 165, 4 << 20},
    {"chunk/catalog-myhost",
     "80d1938f86ca9daa52b1ee602786019bffef0511312098351e3dcae3e3671481",
     8204, 34588},
    {"chunk/catalog-small",
     "5c416b261a8b75159ab909e1556edfb7865e7e4ace06544032e534d414ae1bb7",
     232, 543},
    {"chunk/plain-tiny",
     "0f516752d0c701b5033c064b3f2194b566cc9e04ea9e4f02157347dd90a81c02",
     37, 25},
    {"chunk/h1", H1, 1266, H1_LEN},
    {"chunk/h1-stream", H1, 1244, H1_LEN},
};

static int
decode(const struct buf *b, const char *digest, size_t size)
{
	struct digest d = data_digest(digest);
	struct buf *content;
	int r;

	r = chunk_decode(b->data, b->len, &d, size, &content);
	if (r == 0) {
		assert_int_equal(content->len, size);
		assert_digest(content->data, size, digest);
		buf_unref(content);
	}
	return r;
}

static void
real_chunks_decode(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(golden); i++) {
		const struct golden *g = &golden[i];
		struct buf *b = data_load(g->name);

		print_message("# %s\n", g->name);
		assert_int_equal(b->len, g->stored);
		assert_int_equal(decode(b, g->digest, g->size), 0);
		buf_unref(b);
	}
}

static void
another_length_or_digest_is_damage(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(golden); i++) {
		const struct golden *g = &golden[i];
		struct buf *b = data_load(g->name);
		const size_t wrong[] = {0, 1, g->size - 1, g->size + 1,
		    g->size * 2, CHUNK_CONTENT_MAX, CHUNK_CONTENT_MAX + 1,
		    SIZE_MAX};

		for (size_t k = 0; k < ARRAY_SIZE(wrong); k++)
			assert_int_equal(decode(b, g->digest, wrong[k]),
			    -EBADMSG);
		assert_int_equal(decode(b, golden[i < 2 ? 2 : 0].digest,
		    g->size), -EBADMSG);
		buf_unref(b);
	}
}

static void
real_damage_is_found(void **state)
{
	static const char *const names[] = {"chunk/h1-truncated",
	    "chunk/h1-truncated-header", "chunk/h1-empty",
	    "chunk/h1-header-only", "chunk/h1-appended",
	    "chunk/h1-bitflip-data", "chunk/h1-bitflip-crc",
	    "chunk/h1-bad-magic"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct buf *b = data_load(names[i]);

		print_message("# %s\n", names[i]);
		assert_int_equal(decode(b, H1, H1_LEN), -EBADMSG);
		buf_unref(b);
	}
}

static void
encrypted_chunks_need_a_key(void **state)
{
	struct buf *b = data_load("chunk/enc-zstd");

	(void)state;
	assert_int_equal(decode(b, "3274829fbcac3a35d88d3b9d123f40f5989e9cffb56"
	    "f33aa785065ee191b9ae6", 5380), -ENOKEY);
	/* Damage that the CRC sees is damage first. */
	b->data[100] ^= 1;
	assert_int_equal(decode(b, "3274829fbcac3a35d88d3b9d123f40f5989e9cffb56"
	    "f33aa785065ee191b9ae6", 5380), -EBADMSG);
	buf_unref(b);
}

static void
every_truncation_is_damage(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(golden); i++) {
		struct buf *b = data_load(golden[i].name);

		for (size_t n = 0; n < b->len; n++) {
			struct buf *cut = buf_copy(b->data, n);

			assert_int_equal(decode(cut, golden[i].digest,
			    golden[i].size), -EBADMSG);
			buf_unref(cut);
		}
		buf_unref(b);
	}
}

/* Contexts are kept per thread; none may be shared or lost. */
static void *
decode_often(void *arg)
{
	struct buf *b = arg;
	struct digest d = data_digest(H1);
	struct buf *content;
	intptr_t bad = 0;

	for (int i = 0; i < 200; i++) {
		if (chunk_decode(b->data, b->len, &d, H1_LEN, &content) != 0) {
			bad++;
			continue;
		}
		buf_unref(content);
	}
	return (void *)bad;
}

static void
threads_decode_side_by_side(void **state)
{
	struct buf *b = data_load("chunk/h1");
	pthread_t t[4];
	void *bad;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, decode_often, b),
		    0);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		assert_int_equal(pthread_join(t[i], &bad), 0);
		assert_null(bad);
	}
	buf_unref(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(real_chunks_decode),
	    cmocka_unit_test(another_length_or_digest_is_damage),
	    cmocka_unit_test(real_damage_is_found),
	    cmocka_unit_test(encrypted_chunks_need_a_key),
	    cmocka_unit_test(every_truncation_is_damage),
	    cmocka_unit_test(threads_decode_side_by_side),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
