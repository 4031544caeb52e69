/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/damage.h"

#include <string.h>

#include "base/log.h"
#include "base/str.h"

#include "../cm.h"

/* What follows the first two bytes of a digest. */
#define REST "000000000000000000000000000000" "000000000000000000000000000000"

static struct digest
digest_no(unsigned n)
{
	struct digest d = {{0}};

	d.b[0] = (uint8_t)(n >> 8);
	d.b[1] = (uint8_t)n;
	return d;
}

static void
check_text(struct damage *d, const char *want)
{
	struct str s = {0};

	damage_text(d, &s);
	assert_int_equal(str_error(&s), 0);
	assert_string_equal(str_get(&s), want);
	str_fini(&s);
}

static void
text_has_a_line_per_finding(void **state)
{
	struct digest a = digest_no(1), b = digest_no(2), c = digest_no(3);
	struct damage *d;

	(void)state;
	assert_int_equal(damage_new(&d), 0);
	check_text(d, "");
	assert_int_equal(damage_count(d), 0);
	damage_chunk(d, &a, "crc is wrong");
	damage_object(d, ".cnt/host/h/owner", "larger than it may be");
	damage_chunk(d, &b, "is missing");
	damage_chunk_path(d, &a, "host/h/root/a b\n\x1b[31m\xff", 4096, 1000);
	damage_chunk_path(d, &a, "host/h/x.img", 0, 5);
	/* Told twice, listed once; of a chunk that is fine, not at all. */
	damage_chunk_path(d, &a, "host/h/x.img", 0, 5);
	damage_chunk_path(d, &c, "host/h/x.img", 0, 5);
	damage_chunk(d, &a, "crc is wrong");
	assert_int_equal(damage_count(d), 3);
	check_text(d,
	    "chunk 0001" REST " crc is wrong\n"
	    "    host/h/root/a b\\x0a\\x1b[31m\\xff bytes 4096-5096\n"
	    "    host/h/x.img bytes 0-5\n"
	    "object .cnt/host/h/owner larger than it may be\n"
	    "chunk 0002" REST " is missing\n");
	/* What is known last counts. */
	damage_chunk(d, &b, "crc is wrong");
	damage_object(d, ".cnt/host/h/owner", "odd\nthing");
	assert_int_equal(damage_count(d), 3);
	check_text(d,
	    "chunk 0001" REST " crc is wrong\n"
	    "    host/h/root/a b\\x0a\\x1b[31m\\xff bytes 4096-5096\n"
	    "    host/h/x.img bytes 0-5\n"
	    "object .cnt/host/h/owner odd\\x0athing\n"
	    "chunk 0002" REST " crc is wrong\n");
	damage_free(d);
}

static void
the_list_is_bounded_and_the_count_is_not(void **state)
{
	struct damage *d;
	struct str s = {0};
	struct digest x;
	unsigned i, lines = 0;
	const char *p;

	(void)state;
	log_set_level(LOG_LVL_ERR);
	assert_int_equal(damage_new(&d), 0);
	for (i = 0; i < DAMAGE_MAX + 10; i++) {
		x = digest_no(i);
		damage_chunk(d, &x, "is missing");
	}
	assert_int_equal(damage_count(d), DAMAGE_MAX + 10);
	x = digest_no(0);
	for (i = 0; i < DAMAGE_PATHS_MAX + 5; i++)
		damage_chunk_path(d, &x, "f", i, 1);
	damage_text(d, &s);
	for (p = str_get(&s); (p = strchr(p, '\n')) != NULL; p++)
		lines++;
	assert_int_equal(lines, DAMAGE_MAX + 1 + DAMAGE_PATHS_MAX + 1);
	assert_non_null(strstr(str_get(&s), "\n    (5 more)\nchunk 0001"));
	assert_true(str_ends(str_get(&s), "\n(10 more)\n"));
	str_fini(&s);
	damage_free(d);
}

/* As many long paths as there may be would be 1 GiB. */
static void
its_memory_is_bounded(void **state)
{
	char path[DAMAGE_PATH_LEN + 1] = "";
	struct damage *d;
	struct str s = {0};
	struct digest x;
	unsigned i, k;

	(void)state;
	memset(path, 'p', DAMAGE_PATH_LEN);
	assert_int_equal(damage_new(&d), 0);
	for (i = 0; i < 100; i++) {
		x = digest_no(i);
		damage_chunk(d, &x, "is missing");
		for (k = 0; k < DAMAGE_PATHS_MAX; k++)
			damage_chunk_path(d, &x, path, k, 1);
	}
	damage_object(d, path, path);
	assert_int_equal(damage_count(d), 101);
	damage_text(d, &s);
	assert_in_range(s.len, DAMAGE_BYTES_MAX / 2, DAMAGE_BYTES_MAX);
	assert_non_null(strstr(str_get(&s), "\nchunk 0001" REST
	    " is missing\n    ppp"));
	assert_non_null(strstr(str_get(&s), "\nchunk 0028" REST
	    " is missing\n    (64 more)\n"));
	str_fini(&s);
	damage_free(d);
}

static void
ranges_do_not_wrap(void **state)
{
	struct digest a = digest_no(1);
	struct damage *d;

	(void)state;
	assert_int_equal(damage_new(&d), 0);
	assert_false(damage_has_chunk(d, &a));
	damage_chunk(d, &a, "is missing");
	assert_true(damage_has_chunk(d, &a));
	damage_chunk_path(d, &a, "f", UINT64_MAX - 1, 10);
	check_text(d, "chunk 0001" REST " is missing\n"
	    "    f bytes 18446744073709551614-18446744073709551615\n");
	damage_free(d);
}

static void
count_told(void *arg, const struct digest *digest)
{
	unsigned *n = arg;

	*n += digest->b[1];
}

static void
a_listener_is_told_every_time(void **state)
{
	struct digest a = digest_no(1), b = digest_no(2);
	struct damage *d;
	unsigned n = 0;

	(void)state;
	assert_int_equal(damage_new(&d), 0);
	damage_chunk(d, &a, "is missing");
	damage_listen(d, count_told, &n);
	damage_chunk(d, &a, "is missing");
	damage_chunk(d, &b, "is empty");
	damage_chunk(d, &b, "is empty");
	damage_object(d, "o", "is empty");
	assert_int_equal(n, 5);
	damage_listen(d, NULL, NULL);
	damage_chunk(d, &a, "is missing");
	assert_int_equal(n, 5);
	damage_free(d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(text_has_a_line_per_finding),
	    cmocka_unit_test(the_list_is_bounded_and_the_count_is_not),
	    cmocka_unit_test(its_memory_is_bounded),
	    cmocka_unit_test(ranges_do_not_wrap),
	    cmocka_unit_test(a_listener_is_told_every_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
