/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/runs.h"

#include <string.h>

#include "../cm.h"

/* Streams of chunks of 1000 bytes. */
#define CHUNK 1000

static struct run_item
at(uint8_t stream, uint64_t begin, uint64_t len)
{
	struct run_item it = {.begin = begin, .end = begin + len};

	memset(&it.stream, stream, sizeof(it.stream));
	it.chunks_begin = begin / CHUNK * CHUNK;
	it.chunks_end = (it.end + CHUNK - 1) / CHUNK * CHUNK;
	it.first_end = it.chunks_begin + CHUNK;
	/* Chunks of a stream are called as where they begin. */
	memcpy(it.first.b, &it.chunks_begin, 8);
	it.first.b[31] = it.last.b[31] = stream;
	it.chunks_begin = it.chunks_end - CHUNK;
	memcpy(it.last.b, &it.chunks_begin, 8);
	it.chunks_begin = begin / CHUNK * CHUNK;
	return it;
}

static struct runs *
begin(void)
{
	struct runs *r;

	assert_int_equal(runs_new(&r), 0);
	return r;
}

static void
add(struct runs *r, uint8_t stream, uint64_t begin, uint64_t len)
{
	const struct run_item it = at(stream, begin, len);

	assert_int_equal(runs_add(r, &it), 0);
}

static void
test_dense(void **state)
{
	struct runs *r = begin();

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		add(r, 1, i * 100, 100);
	runs_finish(r);
	for (unsigned i = 0; i < 100; i++)
		assert_true(runs_keeps(r, i));
	assert_false(runs_keeps(r, 100));
	runs_free(r);
}

/* A few bytes out of each chunk do not keep it. */
static void
test_sparse(void **state)
{
	struct runs *r = begin();

	(void)state;
	for (unsigned i = 0; i < 20; i++)
		add(r, 1, i * CHUNK, 100);
	runs_finish(r);
	for (unsigned i = 0; i < 20; i++)
		assert_false(runs_keeps(r, i));
	runs_free(r);
}

/* But a large file among them stays. */
static void
test_sparse_but_one(void **state)
{
	struct runs *r = begin();

	(void)state;
	for (unsigned i = 0; i < 20; i++)
		add(r, 1, i * CHUNK, 20);
	add(r, 1, 20 * CHUNK + 500, 3000);
	for (unsigned i = 0; i < 100; i++)
		add(r, 1, (30 + i) * CHUNK, 20);
	runs_finish(r);
	for (unsigned i = 0; i < 121; i++)
		assert_int_equal(runs_keeps(r, i), i == 20);
	runs_free(r);
}

/* Changed files in between: the chunks are in use, if not by one run. */
static void
test_changes_between(void **state)
{
	struct runs *r = begin();

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		if (i % 2 == 1)
			assert_int_equal(runs_add(r, NULL), 0);
		else
			add(r, 1, i * 100, 100);
	}
	runs_finish(r);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(runs_keeps(r, i), i % 2 == 0);
	runs_free(r);
}

/* So many that the stream would be mostly what nobody needs. */
static void
test_too_many_changes(void **state)
{
	struct runs *r = begin();

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		if (i % 10 == 0)
			assert_int_equal(runs_add(r, NULL), 0);
		else
			add(r, 1, i * 5, 5);
	}
	runs_finish(r);
	/* 45 of 1000 bytes. */
	for (unsigned i = 0; i < 1000; i++)
		assert_false(runs_keeps(r, i));
	runs_free(r);
}

/* What follows in another stream, or before, is judged for itself. */
static void
test_streams(void **state)
{
	struct runs *r = begin();

	(void)state;
	add(r, 1, 0, 900);
	add(r, 2, 100, 50);
	add(r, 1, 5000, 950);
	add(r, 1, 4000, 10);
	assert_int_equal(runs_add(r, NULL), 0);
	add(r, 3, 0, 300);
	runs_finish(r);
	assert_true(runs_keeps(r, 0));
	assert_false(runs_keeps(r, 1));
	assert_true(runs_keeps(r, 2));
	assert_false(runs_keeps(r, 3));
	assert_false(runs_keeps(r, 4));
	assert_true(runs_keeps(r, 5));
	runs_free(r);
}

/* A file that reaches over chunks counts each of them once. */
static void
test_large(void **state)
{
	struct runs *r = begin();

	(void)state;
	add(r, 1, 900, 5200);
	add(r, 1, 6100, 10);
	add(r, 1, 6990, 20);
	runs_finish(r);
	for (unsigned i = 0; i < 3; i++)
		assert_true(runs_keeps(r, i));
	runs_free(r);
}

/* The same chunk over and over, some of it in use each time. */
static void
test_repeated(void **state)
{
	struct runs *r = begin();
	struct run_item it;

	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		it = at(1, i * CHUNK + i * 100, 100);
		memset(&it.first, 7, sizeof(it.first));
		it.last = it.first;
		assert_int_equal(runs_add(r, &it), 0);
		assert_int_equal(runs_add(r, NULL), 0);
	}
	runs_finish(r);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(runs_keeps(r, i), i % 2 == 0);
	runs_free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dense),
		cmocka_unit_test(test_sparse),
		cmocka_unit_test(test_sparse_but_one),
		cmocka_unit_test(test_changes_between),
		cmocka_unit_test(test_too_many_changes),
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_repeated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
