/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/index.h"

#include "data.h"

#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "pbs/blob.h"

static const uint8_t uuid[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,
    14, 15};

/* The examples of the format document: 4 MiB of zeros and 1000 times 'x'. */
static void
examples_of_the_format(void **state)
{
	struct digest a = data_digest("bb9f8df61474d25e71fa00722318cd387396ca17"
	    "36605e1248821cc0de3d3af8");
	struct digest b = data_digest("44f8354494a5ba03ba1792a8d3e9c534c47a9181"
	    "980fde7a3f44b06ef2ae7c7f");
	const uint64_t cs = 4 << 20;
	struct index_writer *w;
	struct buf *f;

	(void)state;
	assert_int_equal(index_writer_fixed(cs + 1000, cs, &w), 0);
	assert_int_equal(index_writer_add(w, cs, &a), 0);
	assert_int_equal(index_writer_add(w, 1000, &b), 0);
	assert_int_equal(index_writer_finish(w, uuid, 1593179765, &f), 0);
	assert_int_equal(f->len, 4160);
	assert_digest(f->data, f->len,
	    "4a5e546fe1270707144f8f5c8b88f2c7793708684ddeac796da29a73e02b46b0");
	buf_unref(f);
	index_writer_free(w);

	assert_int_equal(index_writer_dynamic(&w), 0);
	assert_int_equal(index_writer_add(w, cs, &a), 0);
	assert_int_equal(index_writer_add(w, 1000, &b), 0);
	assert_int_equal(index_writer_finish(w, uuid, 1593179765, &f), 0);
	assert_int_equal(f->len, 4176);
	assert_digest(f->data, f->len,
	    "484971bbb872cddef4f26694fb3e34fb475e253ee8aedb9ad499f99e75d0f99e");
	buf_unref(f);
	index_writer_free(w);
}

static void
real_indices_come_out_the_same(void **state)
{
	static const char *const names[] = {"index/small.ppxar.didx",
	    "index/vm100.img.fidx", "index/tiny.img.fidx"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct buf *f = data_load(names[i]), *again;
		struct index_writer *w;
		struct index *x;
		const char *why;

		assert_int_equal(index_open(f, &x, &why), 0);
		if (index_kind(x) == INDEX_DYNAMIC)
			assert_int_equal(index_writer_dynamic(&w), 0);
		else
			assert_int_equal(index_writer_fixed(index_size(x),
			    index_chunk_size(x), &w), 0);
		for (size_t k = 0; k < index_count(x); k++) {
			struct index_chunk c = index_chunk(x, k);

			assert_int_equal(index_writer_add(w, c.end - c.start,
			    &c.digest), 0);
		}
		assert_int_equal(index_writer_finish(w, index_uuid(x),
		    index_ctime(x), &again), 0);
		assert_int_equal(again->len, f->len);
		assert_memory_equal(again->data, f->data, f->len);
		buf_unref(again);
		index_writer_free(w);
		index_unref(x);
		buf_unref(f);
	}
}

static void
sizes_that_cannot_be_are_refused(void **state)
{
	static const struct digest d;
	struct index_writer *w;
	struct buf *f;

	(void)state;
	assert_int_equal(index_writer_fixed(0, 4096, &w), -EINVAL);
	assert_int_equal(index_writer_fixed(10, 0, &w), -EINVAL);
	assert_int_equal(index_writer_fixed(10, 3000, &w), -EINVAL);
	assert_int_equal(index_writer_fixed(10, CHUNK_CONTENT_MAX * 2, &w),
	    -EINVAL);
	assert_int_equal(index_writer_fixed(1ULL << 63, 4096, &w), -EINVAL);
	assert_int_equal(index_size_max(INDEX_FIXED, 4 << 20), 64ULL << 40);
	assert_int_equal(index_writer_fixed((64ULL << 40) + 1, 4 << 20, &w),
	    -EFBIG);
	assert_int_equal(index_writer_fixed(64ULL << 40, 4 << 20, &w), 0);
	index_writer_free(w);

	assert_int_equal(index_writer_fixed(10000, 4096, &w), 0);
	assert_int_equal(index_writer_finish(w, uuid, 0, &f), -EINVAL);
	assert_int_equal(index_writer_add(w, 4095, &d), -EINVAL);
	assert_int_equal(index_writer_add(w, 4096, &d), 0);
	assert_int_equal(index_writer_add(w, 4096, &d), 0);
	/* Not all of it is there. */
	assert_int_equal(index_writer_finish(w, uuid, 0, &f), -EINVAL);
	assert_int_equal(index_writer_add(w, 4096, &d), -EINVAL);
	assert_int_equal(index_writer_add(w, 10000 - 8192, &d), 0);
	assert_int_equal(index_writer_add(w, 1, &d), -EINVAL);
	assert_int_equal(index_writer_finish(w, uuid, 0, &f), 0);
	buf_unref(f);
	index_writer_free(w);

	assert_int_equal(index_writer_dynamic(&w), 0);
	assert_int_equal(index_writer_finish(w, uuid, 0, &f), -EINVAL);
	assert_int_equal(index_writer_add(w, 0, &d), -EINVAL);
	assert_int_equal(index_writer_add(w, CHUNK_CONTENT_MAX + 1, &d),
	    -EINVAL);
	assert_int_equal(index_writer_finish(w, uuid, 0, &f), -EINVAL);
	index_writer_free(w);
	index_writer_free(NULL);
}

static void
a_large_one_is_read_back(void **state)
{
	const size_t n = 100000;
	struct index_writer *w;
	struct index *x;
	struct digest d;
	const char *why;
	struct buf *f;

	(void)state;
	assert_int_equal(index_writer_dynamic(&w), 0);
	for (size_t i = 0; i < n; i++) {
		d = digest_of(&i, sizeof(i));
		assert_int_equal(index_writer_add(w, 1 + i % 7, &d), 0);
	}
	assert_int_equal(index_writer_finish(w, uuid, -1, &f), 0);
	index_writer_free(w);
	assert_int_equal(index_open(f, &x, &why), 0);
	buf_unref(f);
	assert_int_equal(index_count(x), n);
	assert_int_equal(index_ctime(x), -1);
	for (size_t i = 0; i < n; i++) {
		struct index_chunk c = index_chunk(x, i);

		d = digest_of(&i, sizeof(i));
		assert_int_equal(c.end - c.start, 1 + i % 7);
		assert_true(digest_eq(&c.digest, &d));
		assert_int_equal(index_find(x, c.start), i);
		assert_int_equal(index_find(x, c.end - 1), i);
	}
	index_unref(x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(examples_of_the_format),
	    cmocka_unit_test(real_indices_come_out_the_same),
	    cmocka_unit_test(sizes_that_cannot_be_are_refused),
	    cmocka_unit_test(a_large_one_is_read_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
