/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/ino.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "pbs/index.h"

#include "../cm.h"

/* Everybody wants the same few numbers, so that there are collisions. */
static uint64_t
crowded(void *arg, size_t i, uint32_t salt)
{
	(void)arg;
	return INO_HIER + (i * 7 + salt) % 11;
}

static uint64_t
one_place(void *arg, size_t i, uint32_t salt)
{
	(void)arg;
	(void)i;
	(void)salt;
	return INO_HIER + 1;
}

static uint64_t
crowded_ranges(void *arg, size_t i, uint32_t salt)
{
	(void)arg;
	return INO_ARCHIVE_MIN + ((i * 3 + salt * 5) % 64) * 1000;
}

static void
assert_disjoint(const struct ino_claim *c, size_t n)
{
	size_t i, j;

	for (i = 0; i < n; i++)
		for (j = 0; j < n; j++)
			if (i != j)
				assert_true(c[j].first - c[i].first >=
				    c[i].span);
}

static void
colliding_numbers_are_resolved_in_order(void **state)
{
	struct ino_claim c[11] = {{0}};
	size_t i;

	(void)state;
	for (i = 0; i < 11; i++)
		c[i].span = 1;
	assert_int_equal(ino_assign(c, 11, crowded, NULL), 0);
	assert_disjoint(c, 11);
	/* The first in path order has what it wanted. */
	assert_true(c[0].first == crowded(NULL, 0, 0));
	assert_int_equal(c[0].salt, 0);
}

static void
the_same_claims_give_the_same_numbers(void **state)
{
	struct ino_claim a[11] = {{0}}, b[11] = {{0}};
	size_t i;

	(void)state;
	for (i = 0; i < 11; i++)
		a[i].span = b[i].span = 1;
	assert_int_equal(ino_assign(a, 11, crowded, NULL), 0);
	assert_int_equal(ino_assign(b, 11, crowded, NULL), 0);
	for (i = 0; i < 11; i++)
		assert_true(a[i].first == b[i].first);
}

static void
ranges_do_not_overlap(void **state)
{
	struct ino_claim c[12] = {{0}};
	size_t i;

	(void)state;
	for (i = 0; i < 12; i++)
		c[i].span = 500 + i * 300;
	assert_int_equal(ino_assign(c, 12, crowded_ranges, NULL), 0);
	assert_disjoint(c, 12);
}

static void
fixed_claims_stay_where_they_are(void **state)
{
	struct ino_claim c[4] = {{0}};
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++)
		c[i].span = 1;
	/* The last one has what the first would like to have. */
	c[3].fixed = true;
	c[3].first = crowded(NULL, 0, 0);
	assert_int_equal(ino_assign(c, 4, crowded, NULL), 0);
	assert_disjoint(c, 4);
	assert_true(c[3].first == crowded(NULL, 0, 0));
	assert_int_equal(c[0].salt, 1);
}

static void
no_room_ends(void **state)
{
	struct ino_claim c[2] = {{.span = 1}, {.span = 1}};

	(void)state;
	assert_int_equal(ino_assign(c, 2, one_place, NULL), -EOVERFLOW);
}

static void
domains_are_kept(void **state)
{
	uint64_t h, span;
	char path[32];
	uint32_t i;

	(void)state;
	for (i = 0; i < 1000; i++) {
		snprintf(path, sizeof(path), "host/h%u", i);
		h = ino_hash_hier(path, strlen(path), i);
		assert_true(ino_is_hier(h));
		assert_true((h & ~INO_HIER) <= INO_HIER_MASK);
		span = ino_span((uint64_t)i << 24);
		h = ino_hash_archive(path, strlen(path), i, span);
		assert_false(ino_is_hier(h));
		assert_true(h >= INO_ARCHIVE_MIN);
		assert_true(h + span <= INO_ARCHIVE_END);
		assert_int_equal(h % INO_ARCHIVE_ALIGN, 0);
	}
}

static void
span_bounds_the_stream(void **state)
{
	(void)state;
	/* n chunks of at most 16 MiB each. */
	assert_true(ino_span(4096 + 40) >= 16 * MIB);
	assert_true(ino_span(4096 + 40 * 1000) >= 1000 * 16 * MIB);
	assert_true(ino_span(0) > 0);
	/* Listings may claim any size; what cannot be read needs no room. */
	assert_true(ino_span(INDEX_FILE_MAX) <= INO_SPAN_MAX);
	assert_true(ino_span(INDEX_FILE_MAX + 1) == ino_span(0));
	assert_true(ino_span(UINT64_MAX) == ino_span(0));
}

static void
hash_is_the_same_for_ever(void **state)
{
	(void)state;
	/* Numbers are seen by NFS clients across versions of the program. */
	assert_true(ino_hash_hier("host/web1", 9, 0) ==
	    ino_hash_hier("host/web1", 9, 0));
	assert_true(ino_hash_hier("host/web1", 9, 0) !=
	    ino_hash_hier("host/web1", 9, 1));
	assert_true(ino_hash_hier("host/web1", 9, 0) == (uint64_t)0x940e00cb39358235);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(colliding_numbers_are_resolved_in_order),
	    cmocka_unit_test(the_same_claims_give_the_same_numbers),
	    cmocka_unit_test(ranges_do_not_overlap),
	    cmocka_unit_test(fixed_claims_stay_where_they_are),
	    cmocka_unit_test(no_room_ends),
	    cmocka_unit_test(domains_are_kept),
	    cmocka_unit_test(span_bounds_the_stream),
	    cmocka_unit_test(hash_is_the_same_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
