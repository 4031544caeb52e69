/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/buf.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "../cm.h"

static void
holds_bytes(void **state)
{
	struct buf *b = buf_new(5), *c;

	(void)state;
	assert_non_null(b);
	assert_int_equal(b->len, 5);
	memcpy(b->data, "hello", 5);
	c = buf_ref(b);
	assert_ptr_equal(b, c);
	buf_unref(b);
	assert_memory_equal(c->data, "hello", 5);
	buf_unref(c);
	buf_unref(NULL);
}

static void
copies(void **state)
{
	char text[] = "abc";
	struct buf *b = buf_copy(text, 3), *e = buf_copy(NULL, 0);

	(void)state;
	text[0] = 'X';
	assert_memory_equal(b->data, "abc", 3);
	assert_int_equal(e->len, 0);
	buf_unref(b);
	buf_unref(e);
}

static void
refuses_absurd_sizes(void **state)
{
	(void)state;
	assert_null(buf_new(SIZE_MAX));
	assert_null(buf_new(SIZE_MAX - 10));
}

static void
gives_back_what_is_not_used(void **state)
{
	const size_t large = 1 << 20;
	struct buf *b = buf_new(large);

	(void)state;
	memset(b->data, 7, large);
	b->len = 10000;
	b = buf_trim(b);
	assert_int_equal(b->len, 10000);
	for (size_t i = 0; i < b->len; i++)
		assert_int_equal(b->data[i], 7);
	b->len = 0;
	b = buf_trim(b);
	assert_int_equal(b->len, 0);
	buf_unref(b);
}

static void *
ref_and_unref(void *arg)
{
	struct buf *b = arg;

	for (int i = 0; i < 10000; i++) {
		buf_ref(b);
		if (b->data[0] != 42)
			return b;
		buf_unref(b);
	}
	buf_unref(b);
	return NULL;
}

static void
is_shared_between_threads(void **state)
{
	struct buf *b = buf_new(1);
	pthread_t t[4];

	(void)state;
	b->data[0] = 42;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, ref_and_unref,
		    buf_ref(b)), 0);
	buf_unref(b);
	for (int i = 0; i < 4; i++) {
		void *bad;

		pthread_join(t[i], &bad);
		assert_null(bad);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(holds_bytes),
	    cmocka_unit_test(copies),
	    cmocka_unit_test(refuses_absurd_sizes),
	    cmocka_unit_test(gives_back_what_is_not_used),
	    cmocka_unit_test(is_shared_between_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
