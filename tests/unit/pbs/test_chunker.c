/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/chunker.h"

#include "data.h"

#include "base/num.h"

/* The rule as the format document states it, byte by byte. */
#include "pbs/buzhash_table.h"
struct slow {
	uint32_t h, w;
	uint64_t n, avg;
	uint8_t win[64];
};

static uint32_t
rotl(uint32_t v)
{
	return v << 1 | v >> 31;
}

static int
slow_byte(struct slow *s, uint8_t b)
{
	uint64_t mask = 2 * s->avg - 1;
	size_t k = s->n & 63;

	if (s->w < 64) {
		s->win[s->w++] = b;
		s->h = rotl(s->h) ^ buzhash_table[b];
		s->n++;
		return 0;
	}
	s->h = rotl(s->h) ^ buzhash_table[s->win[k]] ^ buzhash_table[b];
	s->win[k] = b;
	s->n++;
	if (s->n < s->avg * 4 &&
	    (s->n < s->avg / 4 || (s->h & mask) < mask - 2))
		return 0;
	s->h = s->w = 0;
	s->n = 0;
	return 1;
}

static uint32_t lcg_state;

static uint8_t
lcg(void)
{
	lcg_state = lcg_state * 1664525 + 1013904223;
	return (uint8_t)(lcg_state >> 24);
}

static uint8_t *
lcg_data(size_t len)
{
	uint8_t *p = malloc(len);

	assert_non_null(p);
	lcg_state = 1;
	for (size_t i = 0; i < len; i++)
		p[i] = lcg();
	return p;
}

static uint8_t *
counter_data(void)
{
	uint8_t *p = malloc(1 << 20);

	assert_non_null(p);
	for (uint32_t i = 0; i < 1 << 18; i++)
		put_le32(p + 4 * i, i);
	return p;
}

static void
assert_cuts(const uint8_t *p, size_t len, size_t avg, const size_t *want,
    size_t n)
{
	struct chunker c;
	size_t cut;

	chunker_init(&c, avg);
	for (size_t i = 0; i < n; i++) {
		cut = chunker_scan(&c, p, len);
		/* The last chunk has no cut, the stream just ends. */
		assert_int_equal(cut == 0 ? len : cut, want[i]);
		p += want[i];
		len -= want[i];
	}
}

static void
vectors_of_the_server(void **state)
{
	static const size_t from_start[] = {143377, 262144, 262144, 262144,
	    118767};
	static const size_t from_32k[] = {110609, 262144, 262144, 262144,
	    118767};
	uint8_t *p = counter_data();

	(void)state;
	assert_cuts(p, 1 << 20, 65536, from_start, ARRAY_SIZE(from_start));
	assert_cuts(p + 32768, (1 << 20) - 32768, 65536, from_32k,
	    ARRAY_SIZE(from_32k));
	free(p);
}

static void
vectors_of_the_format(void **state)
{
	static const size_t small[] = {41618, 95220, 84203, 39402, 45948, 18076,
	    22137, 19944, 43177, 37694};
	static const size_t large[] = {3316134, 4017084, 10684545, 2391807,
	    2106423, 1576339, 4732469, 5023134};
	static const size_t zeros[] = {262144, 262144, 262144, 213568};
	uint8_t *p;

	(void)state;
	p = lcg_data(4 << 20);
	assert_cuts(p, 4 << 20, 65536, small, ARRAY_SIZE(small));
	free(p);
	p = lcg_data(40 << 20);
	assert_cuts(p, 40 << 20, CHUNKER_AVG_DATA, large, ARRAY_SIZE(large));
	free(p);
	p = calloc(1, 1000000);
	assert_cuts(p, 1000000, 65536, zeros, ARRAY_SIZE(zeros));
	free(p);
}

/* As the pieces come in, so that each boundary of a window is met. */
static void
cuts_do_not_depend_on_pieces(void **state)
{
	static const size_t avgs[] = {256, 512, 4096, 65536};
	static const size_t pieces[] = {1, 2, 63, 64, 65, 127, 1000, 4096,
	    1 << 20};
	const size_t len = 600000;
	uint8_t *p = lcg_data(len);

	(void)state;
	/* Stretches that never cut by hash, too. */
	memset(p + 200000, 0, 100000);
	for (size_t a = 0; a < ARRAY_SIZE(avgs); a++) {
		for (size_t k = 0; k < ARRAY_SIZE(pieces); k++) {
			struct slow s = {.avg = avgs[a]};
			size_t pos = 0, cuts = 0;
			struct chunker c;

			chunker_init(&c, avgs[a]);
			while (pos < len) {
				size_t n = MIN(pieces[k], len - pos);
				size_t got = chunker_scan(&c, p + pos, n);
				size_t want = 0;

				for (size_t i = 0; i < n && want == 0; i++)
					if (slow_byte(&s, p[pos + i]))
						want = i + 1;
				assert_int_equal(got, want);
				pos += got == 0 ? n : got;
				cuts += got != 0;
			}
			assert_true(cuts >= len / avgs[a] / 4);
		}
	}
	free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(vectors_of_the_server),
	    cmocka_unit_test(vectors_of_the_format),
	    cmocka_unit_test(cuts_do_not_depend_on_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
