/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/chunker.h"

#include "data.h"

#include <errno.h>

#include "base/num.h"

#define AVG 65536u
#define MIN_CHUNK (AVG / 4)
#define MAX_CHUNK (AVG * 4)

static uint8_t *
counter_data(void)
{
	uint8_t *p = malloc(1 << 20);

	assert_non_null(p);
	for (uint32_t i = 0; i < 1 << 18; i++)
		put_le32(p + 4 * i, i);
	return p;
}

/* Cut len bytes that come in pieces; the ends of chunks. */
static size_t
cut_all(const uint8_t *p, size_t len, size_t piece, const uint64_t *suggest,
    size_t n_suggest, uint64_t *ends)
{
	struct payload_chunker *c;
	size_t pos = 0, n = 0;

	assert_int_equal(payload_chunker_new(AVG, &c), 0);
	for (size_t i = 0; i < n_suggest; i++)
		assert_int_equal(payload_chunker_suggest(c, suggest[i]), 0);
	while (pos < len) {
		size_t part = MIN(piece, len - pos);
		size_t cut = payload_chunker_scan(c, p + pos, part);

		assert_in_range(cut, 0, part);
		pos += cut == 0 ? part : cut;
		if (cut != 0)
			ends[n++] = pos;
	}
	if (n == 0 || ends[n - 1] != len)
		ends[n++] = len;
	payload_chunker_free(c);
	return n;
}

static void
assert_ends(const uint8_t *p, size_t len, const uint64_t *suggest,
    size_t n_suggest, const uint64_t *want, size_t n_want)
{
	static const size_t pieces[] = {SIZE_MAX, 65536, 1000, 77};
	uint64_t ends[1000];

	for (size_t k = 0; k < ARRAY_SIZE(pieces); k++) {
		size_t n = cut_all(p, len, pieces[k], suggest, n_suggest, ends);

		assert_int_equal(n, n_want);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(ends[i], want[i]);
	}
}

static void
without_suggestions_as_by_hash(void **state)
{
	static const uint64_t want[] = {143377, 405521, 667665, 929809,
	    1 << 20};
	uint8_t *p = counter_data();

	(void)state;
	assert_ends(p, 1 << 20, NULL, 0, want, ARRAY_SIZE(want));
	free(p);
}

/* Cutting at 32 KiB moves the next cut; the others fall into place again. */
static void
a_suggestion_is_taken(void **state)
{
	static const uint64_t suggest[] = {32768, 405521};
	static const uint64_t want[] = {32768, 143377, 405521, 667665, 929809,
	    1 << 20};
	uint8_t *p = counter_data();

	(void)state;
	assert_ends(p, 1 << 20, suggest, 2, want, ARRAY_SIZE(want));
	free(p);
}

static void
not_if_the_chunk_were_too_short_or_too_long(void **state)
{
	static const uint64_t suggest[] = {
	    MIN_CHUNK - 1,	/* too short */
	    MIN_CHUNK + 1,	/* taken */
	    2 * MIN_CHUNK,	/* a byte too short from there */
	    2 * MIN_CHUNK + 1,	/* taken */
	};
	static const uint64_t taken[] = {MIN_CHUNK + 1, 2 * MIN_CHUNK + 1};
	uint8_t *zeros = calloc(1, 1 << 20);
	uint64_t want[] = {taken[0], taken[1], taken[1] + MAX_CHUNK,
	    taken[1] + 2 * MAX_CHUNK, taken[1] + 3 * MAX_CHUNK, 1 << 20};
	static const uint64_t far[] = {MAX_CHUNK + 1, 2 * MAX_CHUNK};
	/* The first is in reach only from the cut at the maximum, and there
	 * too close; the second is where the next chunk ends anyway. */
	static const uint64_t far_want[] = {MAX_CHUNK, 2 * MAX_CHUNK,
	    3 * MAX_CHUNK, 4 * MAX_CHUNK};

	(void)state;
	assert_ends(zeros, 1 << 20, suggest, ARRAY_SIZE(suggest), want,
	    ARRAY_SIZE(want));
	assert_ends(zeros, 1 << 20, far, 2, far_want, 4);
	free(zeros);
}

/* The hash says 143377; a file that starts soon after must not lose. */
static void
a_cut_by_hash_gives_way(void **state)
{
	static const uint64_t suggest[] = {143377 + MIN_CHUNK - 1};
	static const uint64_t later[] = {143377 + MIN_CHUNK};
	uint8_t *p = counter_data();
	uint64_t ends[100];

	(void)state;
	assert_true(cut_all(p, 1 << 20, 1000, suggest, 1, ends) > 1);
	assert_int_equal(ends[0], suggest[0]);
	assert_true(cut_all(p, 1 << 20, 1000, later, 1, ends) > 2);
	assert_int_equal(ends[0], 143377);
	assert_int_equal(ends[1], later[0]);
	free(p);
}

static void
suggestions_have_an_order_and_a_time(void **state)
{
	struct payload_chunker *c;
	uint8_t *zeros = calloc(1, 1 << 20);

	(void)state;
	assert_int_equal(payload_chunker_new(AVG, &c), 0);
	assert_int_equal(payload_chunker_suggest(c, 100000), 0);
	assert_int_equal(payload_chunker_suggest(c, 100000), -EINVAL);
	assert_int_equal(payload_chunker_suggest(c, 99999), -EINVAL);
	assert_int_equal(payload_chunker_suggest(c, 100001), 0);
	assert_int_equal(payload_chunker_scan(c, zeros, 1 << 20), 100000);
	/* In the past, or so late that nothing is left to cut. */
	assert_int_equal(payload_chunker_scan(c, zeros, 50000), 0);
	assert_int_equal(payload_chunker_suggest(c, 150000), 0);
	assert_int_equal(payload_chunker_suggest(c, 150001), 0);
	assert_int_equal(payload_chunker_scan(c, zeros, 10), 1);
	payload_chunker_free(c);
	payload_chunker_free(NULL);
	free(zeros);
}

/* As a writer does: each file's start is known when the one before begins. */
static void
many_files(void **state)
{
	const size_t files = 5000, len = 20000;
	uint8_t *zeros = calloc(1, len);
	struct payload_chunker *c;
	uint64_t pos = 0, start = 0;

	(void)state;
	assert_int_equal(payload_chunker_new(AVG, &c), 0);
	for (size_t i = 0; i < files; i++) {
		size_t left = len;

		assert_int_equal(payload_chunker_suggest(c, (i + 1) * len), 0);
		while (left > 0) {
			size_t cut = payload_chunker_scan(c, zeros, left);

			pos += cut == 0 ? left : cut;
			left -= cut == 0 ? left : cut;
			if (cut != 0) {
				assert_int_equal(pos % len, 0);
				assert_int_equal(pos - start, len);
				start = pos;
			}
		}
	}
	assert_int_equal(start, files * len);
	payload_chunker_free(c);
	free(zeros);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_suggestions_as_by_hash),
	    cmocka_unit_test(a_suggestion_is_taken),
	    cmocka_unit_test(not_if_the_chunk_were_too_short_or_too_long),
	    cmocka_unit_test(a_cut_by_hash_gives_way),
	    cmocka_unit_test(suggestions_have_an_order_and_a_time),
	    cmocka_unit_test(many_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
