/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/index.h"

#include "data.h"

#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "pbs/blob.h"

#define ZERO "bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8"
#define CSUM_OFF 32
#define SIZE_OFF 64
#define CHUNK_SIZE_OFF 72

/* One whose checksum is wrong opens too, for what is still right in it. */
static int
open_intact(struct buf *b, struct index **ret, const char **ret_why)
{
	int r;

	r = index_open(b, ret, ret_why);
	if (r < 0 || index_is_intact(*ret))
		return r;
	index_unref(*ret);
	*ret_why = "checksum of the table differs from the header's";
	return -EBADMSG;
}

static struct index *
open_good(struct buf *b)
{
	const char *why = "not set";
	struct index *x;

	if (open_intact(b, &x, &why) != 0)
		fail_msg("%s", why);
	return x;
}

static void
assert_bad(struct buf *b, const char *want_why)
{
	const char *why = NULL;
	struct index *x;

	assert_int_equal(open_intact(b, &x, &why), -EBADMSG);
	assert_string_equal(why, want_why);
}

static void
assert_csum(const struct index *x, const char *hex)
{
	struct digest have = index_csum(x), want = data_digest(hex);

	assert_true(digest_eq(&have, &want));
}

static void
assert_chunk(const struct index *x, size_t i, uint64_t start, uint64_t end,
    const char *hex)
{
	struct index_chunk c = index_chunk(x, i);
	struct digest want = data_digest(hex);

	assert_int_equal(c.start, start);
	assert_int_equal(c.end, end);
	assert_true(digest_eq(&c.digest, &want));
}

/* Every byte of the stream lies in the chunk that is found for it. */
static void
assert_covers(const struct index *x)
{
	uint64_t pos = 0;

	for (size_t i = 0; i < index_count(x); i++) {
		struct index_chunk c = index_chunk(x, i);

		assert_int_equal(c.start, pos);
		assert_true(c.end > pos);
		assert_int_equal(index_find(x, c.start), i);
		assert_int_equal(index_find(x, c.start + (c.end - pos) / 2), i);
		assert_int_equal(index_find(x, c.end - 1), i);
		pos = c.end;
	}
	assert_int_equal(pos, index_size(x));
}

static void
real_dynamic(void **state)
{
	static const uint8_t uuid[] = "\x6f\x74\x01\x8a\x83\xf8\x4e\x6c\x8a\xf4"
	    "\x71\xb8\xf4\xad\x17\x08";
	struct buf *b = data_load("index/small.ppxar.didx");
	struct index *x = open_good(b);

	(void)state;
	buf_unref(b);	/* the index has its own reference */
	assert_int_equal(index_kind(x), INDEX_DYNAMIC);
	assert_int_equal(index_count(x), 216);
	assert_int_equal(index_size(x), 11550909);
	assert_int_equal(index_chunk_size(x), 0);
	assert_int_equal(index_ctime(x), 1795271146);
	assert_memory_equal(index_uuid(x), uuid, 16);
	assert_csum(x, "9ab21dc1ca40639ed83c27c0e3e3177a9d6cb7e8b2a8643781288ab"
	    "5fa4686c9");
	assert_chunk(x, 0, 0, 30057, "a9afc51219a191602ce3de063a899b0454b3bf8f3"
	    "7ba1dd8f85185475e3bf06a");
	assert_chunk(x, 1, 30057, 54318, "ada51fe7046b64ef6be4522706ae499622f50"
	    "1d1dc8153bf1ac5da169d97f56c");
	assert_int_equal(index_chunk(x, 215).end, 11550909);
	assert_covers(x);
	assert_ptr_equal(index_ref(x), x);
	index_unref(x);
	assert_int_equal(index_count(x), 216);
	index_unref(x);
}

static void
real_fixed(void **state)
{
	struct buf *b = data_load("index/vm100.img.fidx");
	struct index *x = open_good(b);

	(void)state;
	assert_int_equal(index_kind(x), INDEX_FIXED);
	assert_int_equal(index_count(x), 7);
	assert_int_equal(index_size(x), 27263488);
	assert_int_equal(index_chunk_size(x), 4 << 20);
	assert_int_equal(index_ctime(x), 1795271142);
	assert_csum(x, "9a4dd314602538a46afd5f88e686f115e9734b9b1a4e7d6b7de4850"
	    "5566deb59");
	assert_chunk(x, 1, 4 << 20, 8 << 20, ZERO);
	/* The last one holds what is left. */
	assert_chunk(x, 6, 24 << 20, 27263488, "e92fcdd5a06585ebce9e215810bf62a"
	    "a0d7a9fd6fccda631c351ccbe897a8186");
	assert_covers(x);
	index_unref(x);
	buf_unref(b);
}

static void
real_fixed_smaller_than_a_chunk(void **state)
{
	struct buf *b = data_load("index/tiny.img.fidx");
	struct index *x = open_good(b);

	(void)state;
	assert_int_equal(index_count(x), 1);
	assert_int_equal(index_size(x), 25);
	assert_chunk(x, 0, 0, 25, "0f516752d0c701b5033c064b3f2194b566cc9e04ea9e"
	    "4f02157347dd90a81c02");
	assert_covers(x);
	index_unref(x);
	buf_unref(b);
}

static void
real_damage_is_found(void **state)
{
	static const char *const cases[][2] = {
	    {"index/didx-bad-csum-header",
	     "checksum of the table differs from the header's"},
	    {"index/didx-bad-magic", "not an index"},
	    {"index/didx-digest-flip",
	     "checksum of the table differs from the header's"},
	    {"index/didx-empty-file", "shorter than its header"},
	    {"index/didx-no-entries", "no entries"},
	    {"index/didx-truncated-entry",
	     "checksum of the table differs from the header's"},
	    {"index/didx-truncated-header", "shorter than its header"},
	    {"index/fidx-bad-csum-header",
	     "checksum of the table differs from the header's"},
	    {"index/fidx-bad-size",
	     "length of the file does not fit its header"},
	    {"index/fidx-chunk-size-0", "chunk size is not a power of two"},
	    {"index/fidx-truncated",
	     "length of the file does not fit its header"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf *b = data_load(cases[i][0]);

		print_message("# %s\n", cases[i][0]);
		assert_bad(b, cases[i][1]);
		buf_unref(b);
	}
}

static void
reserved_bytes_do_not_matter(void **state)
{
	struct buf *b = data_load("index/didx-reserved-nonzero");

	(void)state;
	index_unref(open_good(b));
	buf_unref(b);
}

static void
every_truncation_is_damage(void **state)
{
	static const char *const names[] = {"index/small.ppxar.didx",
	    "index/vm100.img.fidx", "index/tiny.img.fidx"};
	const char *why;
	struct index *x;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct buf *b = data_load(names[i]);

		for (size_t n = 0; n < b->len; n++) {
			struct buf *cut = buf_copy(b->data, n);

			assert_int_equal(open_intact(cut, &x, &why), -EBADMSG);
			buf_unref(cut);
		}
		buf_unref(b);
	}
}

/*
 * uuid, ctime and reserved bytes are covered by nothing; nor is an image's
 * size, but for the number of chunks that it makes.
 */
static bool
is_checked(const struct buf *b, size_t byte, bool fixed)
{
	if (fixed && byte >= SIZE_OFF && byte < CHUNK_SIZE_OFF)
		return (get_le64(b->data + SIZE_OFF) + (4 << 20) - 1) >> 22 !=
		    7;
	if (fixed && byte >= CHUNK_SIZE_OFF && byte < CHUNK_SIZE_OFF + 8)
		return true;
	return byte < 8 || (byte >= CSUM_OFF && byte < SIZE_OFF) ||
	    byte >= INDEX_HEADER_LEN;
}

static void
every_flipped_bit_is_damage(void **state)
{
	static const char *const names[] = {"index/vm100.img.fidx",
	    "index/didx-reserved-nonzero"};
	const char *why;
	struct index *x;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct buf *b = data_load(names[i]);

		for (size_t bit = 0; bit < b->len * 8; bit++) {
			int r;

			if (bit == 100 * 8)	/* on to the table */
				bit = INDEX_HEADER_LEN * 8;
			b->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			r = open_intact(b, &x, &why);
			assert_int_equal(r, is_checked(b, bit / 8,
			    i == 0) ?
			    -EBADMSG : 0);
			if (r == 0)
				index_unref(x);
			b->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		buf_unref(b);
	}
}

/* With the right checksum, so that only the rule itself is left to object. */
static void
seal(struct buf *b)
{
	struct digest d = digest_of(b->data + INDEX_HEADER_LEN,
	    b->len - INDEX_HEADER_LEN);

	memcpy(b->data + CSUM_OFF, d.b, DIGEST_LEN);
}

static struct buf *
make_dynamic(const uint64_t *ends, size_t n)
{
	static const uint8_t magic[] = {0x1c, 0x91, 0x4e, 0xa5, 0x19, 0xba,
	    0xb3, 0xcd};
	struct buf *b = buf_new(INDEX_HEADER_LEN + 40 * n);

	assert_non_null(b);
	memset(b->data, 0, b->len);
	memcpy(b->data, magic, sizeof(magic));
	for (size_t i = 0; i < n; i++)
		put_le64(b->data + INDEX_HEADER_LEN + 40 * i, ends[i]);
	seal(b);
	return b;
}

static void
ends_must_increase_by_no_more_than_a_chunk(void **state)
{
	static const uint64_t max = CHUNK_CONTENT_MAX;
	const struct {
		uint64_t ends[3];
		const char *why;
	} cases[] = {
	    {{10, 20, 30}, NULL},
	    {{1, 1 + max, 1 + 2 * max}, NULL},
	    {{0, 20, 30}, "ends of chunks do not increase"},
	    {{10, 10, 30}, "ends of chunks do not increase"},
	    {{10, 20, 19}, "ends of chunks do not increase"},
	    {{max + 1, max + 2, max + 3}, "a chunk is too large"},
	    {{10, 20, 21 + max}, "a chunk is too large"},
	    {{10, 20, UINT64_MAX}, "a chunk is too large"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf *b = make_dynamic(cases[i].ends, 3);

		if (cases[i].why == NULL)
			index_unref(open_good(b));
		else
			assert_bad(b, cases[i].why);
		buf_unref(b);
	}
}

static struct buf *
make_fixed(uint64_t size, uint64_t chunk_size, size_t n)
{
	static const uint8_t magic[] = {0x2f, 0x7f, 0x41, 0xed, 0x91, 0xfd,
	    0x0f, 0xcd};
	struct buf *b = buf_new(INDEX_HEADER_LEN + 32 * n);

	assert_non_null(b);
	memset(b->data, 0, b->len);
	memcpy(b->data, magic, sizeof(magic));
	put_le64(b->data + SIZE_OFF, size);
	put_le64(b->data + CHUNK_SIZE_OFF, chunk_size);
	seal(b);
	return b;
}

static void
geometry_of_an_image_is_checked(void **state)
{
	static const uint64_t mib = 1 << 20;
	const struct {
		uint64_t size, chunk_size;
		size_t n;
		const char *why;
	} cases[] = {
	    {8 * mib, 4 * mib, 2, NULL},
	    {8 * mib + 1, 4 * mib, 3, NULL},
	    {3, 1, 3, NULL},
	    {16 * mib, 16 * mib, 1, NULL},
	    /* Larger than a chunk may be, but no chunk is. */
	    {5, 1ULL << 63, 1, NULL},
	    {0, 4 * mib, 0, "no entries"},
	    {8 * mib, 4 * mib, 1,
	     "length of the file does not fit its header"},
	    {8 * mib, 4 * mib, 3,
	     "length of the file does not fit its header"},
	    {8 * mib, 3 * mib, 3, "chunk size is not a power of two"},
	    {64 * mib, 32 * mib, 2, "chunks are too large"},
	    {INT64_MAX, 1, 1, "length of the file does not fit its header"},
	    {(1ULL << 63) - 1, 1ULL << 4, 1,
	     "length of the file does not fit its header"},
	    {1ULL << 63, 4 * mib, 1, "size is too large"},
	    {UINT64_MAX, 1ULL << 63, 1, "size is too large"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf *b = make_fixed(cases[i].size, cases[i].chunk_size,
		    cases[i].n);

		if (cases[i].why == NULL) {
			struct index *x = open_good(b);

			assert_int_equal(index_count(x), cases[i].n);
			assert_covers(x);
			index_unref(x);
		} else {
			assert_bad(b, cases[i].why);
		}
		buf_unref(b);
	}
}

static void
a_part_of_an_entry_is_damage(void **state)
{
	const uint64_t ends[] = {10, 20};
	struct buf *b = make_dynamic(ends, 2);

	(void)state;
	b->len -= 1;
	seal(b);
	assert_bad(b, "length of the file is not that of whole entries");
	buf_unref(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(real_dynamic),
	    cmocka_unit_test(real_fixed),
	    cmocka_unit_test(real_fixed_smaller_than_a_chunk),
	    cmocka_unit_test(real_damage_is_found),
	    cmocka_unit_test(reserved_bytes_do_not_matter),
	    cmocka_unit_test(every_truncation_is_damage),
	    cmocka_unit_test(every_flipped_bit_is_damage),
	    cmocka_unit_test(ends_must_increase_by_no_more_than_a_chunk),
	    cmocka_unit_test(geometry_of_an_image_is_checked),
	    cmocka_unit_test(a_part_of_an_entry_is_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
