/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/num.h"
#include "base/str.h"

#include "../cm.h"

#define NAMED(text) .name = (text), .name_len = sizeof(text) - 1
#define XATTR "user.a\0\3\0\0\0xyz" "user.b\0\0\0\0\0"

static const struct record samples[] = {
    {.kind = REC_HEAD, .version = RECORD_VERSION, .slot = 7,
        NAMED("a/b:host/web1")},
    {.kind = REC_BASE, .time = -5},
    {.kind = REC_ARCHIVE, .archive = 3, .first = 100, .span = 1000,
        .digest = {{1, 2, 3}}, NAMED("root.mpxar.didx")},
    {.kind = REC_INODE, .ino = 1, .archive = 2,
        .flags = REC_INODE_BASE | REC_INODE_ATTR | REC_INODE_NLINK,
        .pos = 3, .mode = S_IFLNK | 0777, .uid = 4, .gid = 5,
        .nlink = 6, .rdev = 7, .pxar_flags = 8, .mtime_sec = -9,
        .mtime_nsec = 999999999, .ctime_sec = INT64_MIN, .ctime_nsec = 10,
        NAMED("../target")},
    {.kind = REC_INODE, .ino = 2, .mode = S_IFREG | 07777},
    {.kind = REC_META, .ino = 11, .data = XATTR, .data_len = sizeof(XATTR) - 1},
    {.kind = REC_META, .ino = 12},
    {.kind = REC_NAME, .parent = 1, .ino = 2, .flags = REC_NAME_HIDES,
        NAMED("...")},
    {.kind = REC_NO_NAME, .parent = 1, NAMED(".a\n\xff")},
    {.kind = REC_OWN, .ino = 13, .len = INT64_MAX},
    {.kind = REC_STAGED, .ino = 14, .off = INT64_MAX - 5, .len = 5,
        .mtime_sec = INT64_MAX, .mtime_nsec = 1},
    {.kind = REC_LOST, .ino = 15, .off = 1, .len = 2, .mtime_sec = -2,
        .mtime_nsec = 2},
    {.kind = REC_PUNCH, .ino = 16, .off = 3, .len = 4, .mtime_sec = 3,
        .mtime_nsec = 3},
    {.kind = REC_SIZE, .ino = 17, .len = INT64_MAX, .mtime_sec = 4,
        .mtime_nsec = 4},
    {.kind = REC_CHUNK, .ino = UINT64_MAX, .chunk = {.kind = PIECE_CHUNK,
        .off = 1, .len = 2, .chunk_size = 5, .skip = 3, .digest = {{9}},
        .flags = PIECE_NATURAL | PIECE_PACKED}},
    {.kind = REC_CHUNK, .ino = 19, .sealed = true, .key = {{7, 8}},
        .chunk = {.kind = PIECE_CHUNK, .off = 1, .len = 2, .chunk_size = 5,
            .skip = 3, .digest = {{9}}, .flags = PIECE_NATURAL}},
    {.kind = REC_DROP, .ino = 18},
    {.kind = REC_PUBLISHING, .time = INT64_MAX, .digest = {{0xff}}},
    {.kind = REC_NOT_PUBLISHED},
};

static void
assert_same(const struct record *a, const struct record *b)
{
	struct record x = *a, y = *b;

	assert_int_equal(x.name_len, y.name_len);
	if (x.name_len > 0)
		assert_memory_equal(x.name, y.name, x.name_len);
	assert_int_equal(x.data_len, y.data_len);
	if (x.data_len > 0)
		assert_memory_equal(x.data, y.data, x.data_len);
	x.name = y.name = NULL;
	x.data = y.data = NULL;
	assert_memory_equal(&x, &y, sizeof(x));
}

static void
there_and_back(void **state)
{
	struct str s = {0};
	struct record r;
	size_t at = 0;
	int n;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		assert_int_equal(record_add(&s, &samples[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		n = record_next(s.s + at, s.len - at, &r);
		assert_true(n > 0);
		assert_same(&r, &samples[i]);
		if (r.name != NULL)
			assert_int_equal(r.name[r.name_len], 0);
		at += (size_t)n;
	}
	assert_int_equal(at, s.len);
	str_fini(&s);
}

/* What is on disks somewhere must be read by what comes later. */
static void
the_bytes_stay_the_same(void **state)
{
	static const uint8_t head[] = {24, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7,
	    0, 0, 0, ':', 'v', 'm', '/', '1', '0', '0', 0};
	static const uint8_t name[] = {31, 0, 0, 0, 6, 0, 0, 0,
	    1, 2, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0,
	    'h', 'i', 0};
	static const uint8_t chunk[] = {76, 0, 0, 0, 13, 0, 0, 0,
	    4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
	    2, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0,
	    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	    0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0};
	struct str s = {0};

	(void)state;
	assert_int_equal(record_add(&s, &(struct record){.kind = REC_HEAD,
	    .version = 1, .slot = 7, NAMED(":vm/100")}), 0);
	assert_int_equal(s.len, sizeof(head));
	assert_memory_equal(s.s, head, sizeof(head));
	str_reset(&s);
	assert_int_equal(record_add(&s, &(struct record){.kind = REC_NAME,
	    .parent = 0x201, .ino = 2, .flags = REC_NAME_HIDES,
	    NAMED("hi")}), 0);
	assert_int_equal(s.len, sizeof(name));
	assert_memory_equal(s.s, name, sizeof(name));
	str_reset(&s);
	assert_int_equal(record_add(&s, &(struct record){.kind = REC_CHUNK,
	    .ino = 4, .chunk = {.off = 1, .len = 2, .chunk_size = 5, .skip = 3,
	    .digest = {{9}}, .flags = PIECE_NATURAL}}), 0);
	assert_int_equal(s.len, sizeof(chunk));
	assert_memory_equal(s.s, chunk, sizeof(chunk));
	str_reset(&s);
	assert_int_equal(record_add(&s, &(struct record){.kind = REC_CHUNK,
	    .ino = 4, .sealed = true, .key = {{0xab}}, .chunk = {.off = 1,
	    .len = 2, .chunk_size = 5, .skip = 3, .digest = {{9}},
	    .flags = PIECE_NATURAL}}), 0);
	/* The same, with another kind, and the key behind it. */
	assert_int_equal(s.len, sizeof(chunk) + DIGEST_LEN);
	assert_int_equal(s.s[0], sizeof(chunk) + DIGEST_LEN);
	assert_int_equal(s.s[4], 17);
	assert_memory_equal(s.s + 8, chunk + 8, sizeof(chunk) - 8);
	assert_int_equal((uint8_t)s.s[sizeof(chunk)], 0xab);
	str_fini(&s);
}

static void
too_short(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct str s = {0};
		struct record r;

		assert_int_equal(record_add(&s, &samples[i]), 0);
		for (size_t n = 1; n < s.len; n++) {
			/* Exactly these bytes, for the sanitizers. */
			char *p = malloc(n);

			assert_non_null(p);
			memcpy(p, s.s, n);
			assert_int_equal(record_next(p, n, &r), -EBADMSG);
			/* Also if it says that it is so short. */
			if (n >= 8) {
				int got;

				put_le32(p, (uint32_t)n);
				got = record_next(p, n, &r);
				assert_true(got == -EBADMSG || got == (int)n);
				/* Less can be right only where xattrs end. */
				assert_true(got < 0 ||
				    samples[i].kind == REC_META);
			}
			free(p);
		}
		str_fini(&s);
	}
}

static void
refused(const struct record *r)
{
	struct str s = {0};

	assert_int_equal(record_add(&s, r), -EINVAL);
	assert_int_equal(s.len, 0);
	str_fini(&s);
}

static char long_text[RECORD_TARGET_MAX + 1];
static char long_xattrs[RECORD_XATTRS_MAX + 1];

static void
what_is_not_written(void **state)
{
	const struct record chunk = {.kind = REC_CHUNK, .ino = 1,
	    .chunk = {.len = 10, .chunk_size = 10}};
	struct record r;

	(void)state;
	memset(long_text, 'x', sizeof(long_text));
	refused(&(struct record){.kind = 0});
	refused(&(struct record){.kind = REC_NOT_PUBLISHED + 1});
	refused(&(struct record){.kind = REC_HEAD});
	for (enum record_kind k = REC_NAME; k <= REC_NO_NAME; k++) {
		refused(&(struct record){.kind = k});
		refused(&(struct record){.kind = k, NAMED(".")});
		refused(&(struct record){.kind = k, NAMED("..")});
		refused(&(struct record){.kind = k, NAMED("a/b")});
		refused(&(struct record){.kind = k, .flags = 2, NAMED("a")});
		refused(&(struct record){.kind = k, NAMED("a\0b")});
		refused(&(struct record){.kind = k, .name = long_text,
		    .name_len = RECORD_NAME_MAX + 1});
	}
	refused(&(struct record){.kind = REC_ARCHIVE, NAMED("../x.didx")});
	refused(&(struct record){.kind = REC_ARCHIVE, NAMED("x"),
	    .first = INT64_MAX, .span = 1});
	for (enum record_kind k = REC_STAGED; k <= REC_PUNCH; k++) {
		refused(&(struct record){.kind = k, .off = INT64_MAX,
		    .len = 1});
		refused(&(struct record){.kind = k, .off = 1,
		    .len = UINT64_MAX});
		refused(&(struct record){.kind = k,
		    .mtime_nsec = 1000000000});
	}
	refused(&(struct record){.kind = REC_SIZE, .len = UINT64_MAX});
	refused(&(struct record){.kind = REC_OWN, .len = UINT64_MAX});
	refused(&(struct record){.kind = REC_INODE, .mode = 0x10000});
	refused(&(struct record){.kind = REC_INODE, .flags = 8});
	refused(&(struct record){.kind = REC_INODE, .mtime_nsec = 1000000000});
	refused(&(struct record){.kind = REC_INODE, .ctime_nsec = 1000000000});
	refused(&(struct record){.kind = REC_INODE, .name = long_text,
	    .name_len = RECORD_TARGET_MAX + 1});
	r = chunk;
	r.chunk.len = 0;
	refused(&r);
	r = chunk;
	r.chunk.skip = 1;
	refused(&r);
	r = chunk;
	r.chunk.skip = 11;
	refused(&r);
	r = chunk;
	r.chunk.flags = 4;
	refused(&r);
	r = chunk;
	r.chunk.off = INT64_MAX - 9;
	refused(&r);
}

static void
xattrs(void **state)
{
	struct str s = {0};
	struct record r = {.kind = REC_META, .data = long_xattrs};
	size_t value = RECORD_XATTRS_MAX - 2 - 4;

	(void)state;
	/* The largest: a name of one character. */
	long_xattrs[0] = 'a';
	put_le32(long_xattrs + 2, (uint32_t)value);
	r.data_len = RECORD_XATTRS_MAX;
	assert_int_equal(record_add(&s, &r), 0);
	str_fini(&s);
	put_le32(long_xattrs + 2, (uint32_t)value + 1);
	refused(&r);
	r.data_len++;
	refused(&r);
	refused(&(struct record){.kind = REC_META, .data = "a", .data_len = 1});
	refused(&(struct record){.kind = REC_META, .data = "\0\0\0\0\0",
	    .data_len = 5});
	refused(&(struct record){.kind = REC_META, .data = "a\0\0\0\0",
	    .data_len = 5});
	memset(long_xattrs, 'x', 256);
	memset(long_xattrs + 256, 0, 5);
	refused(&(struct record){.kind = REC_META, .data = long_xattrs,
	    .data_len = 261});
	refused(&(struct record){.kind = REC_META, .data = "a\0\xff\xff\xff\xff",
	    .data_len = 6});
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(there_and_back),
	    cmocka_unit_test(the_bytes_stay_the_same),
	    cmocka_unit_test(too_short),
	    cmocka_unit_test(what_is_not_written),
	    cmocka_unit_test(xattrs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
