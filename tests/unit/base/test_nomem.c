/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * Allocations fail one after the other: each call must come back with -ENOMEM
 * and leave nothing behind.  The linker puts these wrappers before malloc and
 * its relatives.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/rate.h"
#include "base/str.h"
#include "base/workq.h"

#include "../cm.h"

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
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);

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
	return fails() ? NULL : __real_realloc(p, n);
}

char *
__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

static void
failure_of_text_sticks(void **state)
{
	struct str s = {0};

	(void)state;
	str_add(&s, "before");
	left = 0;
	str_addf(&s, "%0500d", 1);
	left = -1;
	assert_int_equal(str_error(&s), -ENOMEM);
	str_add(&s, "x");
	str_addf(&s, "%d", 1);
	assert_string_equal(str_get(&s), "before");
	assert_null(str_take(&s));
	assert_int_equal(str_error(&s), 0);
	left = 0;
	str_addc(&s, 'x');
	left = -1;
	assert_string_equal(str_get(&s), "");
	str_reset(&s);
	str_add(&s, "again");
	assert_string_equal(str_get(&s), "again");
	str_fini(&s);
}

static void
buffers(void **state)
{
	struct buf *b = NULL;

	(void)state;
	left = 0;
	assert_null(buf_new(10));
	left = 0;
	assert_null(buf_copy("x", 1));
	left = 0;
	assert_int_equal(io_read_file(AT_FDCWD, "/proc/self/stat", 4096, &b),
	    -ENOMEM);
	left = 1;	/* while it grows */
	assert_int_equal(io_read_file(AT_FDCWD, "/proc/self/stat", 4096, &b),
	    -ENOMEM);
	left = -1;
	assert_null(b);
}

static void
queues_and_rates(void **state)
{
	struct workq *q = NULL;
	struct rate *r = NULL;

	(void)state;
	for (int i = 0; i < 2; i++) {
		left = i;
		assert_int_equal(workq_new("q", 3, &q), -ENOMEM);
	}
	left = 0;
	assert_int_equal(rate_new(1, 1, &r), -ENOMEM);
	left = -1;
	assert_null(q);
	assert_null(r);
}

static void
removal(void **state)
{
	char name[] = "/tmp/pbs3fs-nomem-XXXXXX", sub[64];
	int r;

	(void)state;
	assert_non_null(mkdtemp(name));
	strcpy(sub, name);
	strcat(sub, "/a/b/c");
	assert_int_equal(io_mkdirs(AT_FDCWD, sub, 0700), 0);
	for (int i = 0;; i++) {
		left = i;
		r = io_remove_tree(AT_FDCWD, name);
		if (left >= 0)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_true(i < 20);
	}
	left = -1;
	assert_int_equal(r, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(failure_of_text_sticks),
	    cmocka_unit_test(buffers),
	    cmocka_unit_test(queues_and_rates),
	    cmocka_unit_test(removal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
