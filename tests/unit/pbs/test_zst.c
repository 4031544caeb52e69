/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/zst.h"

#include "data.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <zstd.h>

#include "base/num.h"

struct frame_opts {
	int level, checksum, no_size, window_log;
};

static size_t
frame(uint8_t *out, size_t room, const void *p, size_t len,
    const struct frame_opts *o)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();
	ZSTD_inBuffer in = {p, len, 0};
	ZSTD_outBuffer to = {out, room, 0};

	assert_non_null(c);
	ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, o->level);
	ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, o->checksum);
	ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, !o->no_size);
	if (o->window_log != 0)
		ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, o->window_log);
	if (!o->no_size)
		ZSTD_CCtx_setPledgedSrcSize(c, len);
	assert_int_equal(ZSTD_compressStream2(c, &to, &in, ZSTD_e_end), 0);
	ZSTD_freeCCtx(c);
	return to.pos;
}

static uint8_t *
sample(size_t len)
{
	uint8_t *p = malloc(len);
	uint32_t x = 1;

	assert_non_null(p);
	for (size_t i = 0; i < len; i++) {
		x = x * 1664525 + 1013904223;
		/* Compresses, but not to nothing. */
		p[i] = (uint8_t)((x >> 24) & 0x0f);
	}
	return p;
}

static void
every_valid_stream_unpacks(void **state)
{
	static const struct frame_opts opts[] = {
	    {.level = 1},
	    {.level = 1, .no_size = 1},
	    {.level = 19, .checksum = 1},
	    {.level = 3, .checksum = 1, .no_size = 1},
	    {.level = 1, .no_size = 1, .window_log = 27},
	    {.level = -5},
	};
	const size_t len = 300000;
	uint8_t *p = sample(len), *out = malloc(2 * len);
	struct buf *b;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(opts); i++) {
		size_t n = frame(out, 2 * len, p, len, &opts[i]);

		assert_int_equal(zst_unpack(out, n, len, &b), 0);
		assert_int_equal(b->len, len);
		assert_memory_equal(b->data, p, len);
		buf_unref(b);
		assert_int_equal(zst_unpack_exact(out, n, len, &b), 0);
		assert_memory_equal(b->data, p, len);
		buf_unref(b);
		assert_int_equal(zst_unpack(out, n, len - 1, &b), -EBADMSG);
		assert_int_equal(zst_unpack_exact(out, n, len - 1, &b),
		    -EBADMSG);
		assert_int_equal(zst_unpack_exact(out, n, len + 1, &b),
		    -EBADMSG);
	}
	free(out);
	free(p);
}

static void
frames_add_up(void **state)
{
	static const struct frame_opts opts[] = {
	    {.level = 1},
	    {.level = 1, .no_size = 1},
	    {.level = 1, .checksum = 1},
	};
	static const uint8_t skippable[] = {0x57, 0x2a, 0x4d, 0x18, 3, 0, 0, 0,
	    'a', 'b', 'c'};
	const size_t part = 100000, len = 3 * part;
	uint8_t *p = sample(len), *out = malloc(2 * len);
	struct buf *b;
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(opts); i++) {
		memcpy(out + n, skippable, sizeof(skippable));
		n += sizeof(skippable);
		n += frame(out + n, 2 * len - n, p + i * part, part, &opts[i]);
	}
	assert_int_equal(zst_unpack(out, n, len, &b), 0);
	assert_int_equal(b->len, len);
	assert_memory_equal(b->data, p, len);
	buf_unref(b);
	assert_int_equal(zst_unpack_exact(out, n, len, &b), 0);
	buf_unref(b);
	assert_int_equal(zst_unpack(out, n, len - 1, &b), -EBADMSG);
	for (size_t cut = 0; cut < 64; cut++)
		assert_int_equal(zst_unpack(out, n - 1 - cut, len, &b),
		    -EBADMSG);
	free(out);
	free(p);
}

/* Kilobytes that this process had in memory at most so far. */
static long
peak_kib(void)
{
	struct rusage u;

	assert_int_equal(getrusage(RUSAGE_SELF, &u), 0);
	return u.ru_maxrss;
}

static void
bombs_are_bounded(void **state)
{
	const size_t len = (size_t)512 << 20, room = (size_t)1 << 20;
	const size_t max = (size_t)1 << 20;
	ZSTD_CCtx *c = ZSTD_createCCtx();
	uint8_t *out = malloc(room), *zeros = calloc(1, max);
	ZSTD_outBuffer to = {out, room, 0};
	ZSTD_inBuffer none = {zeros, 0, 0};
	struct buf *b;
	long before;

	(void)state;
	/* 512 MiB of zeros that the frame does not announce. */
	ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, 1);
	for (size_t done = 0; done < len; done += max) {
		ZSTD_inBuffer in = {zeros, max, 0};

		while (in.pos < in.size)
			assert_false(ZSTD_isError(ZSTD_compressStream2(c, &to,
			    &in, ZSTD_e_continue)));
	}
	assert_int_equal(ZSTD_compressStream2(c, &to, &none, ZSTD_e_end), 0);
	ZSTD_freeCCtx(c);
	assert_true(to.pos < room);

	before = peak_kib();
	assert_int_equal(zst_unpack(out, to.pos, max, &b), -EBADMSG);
	assert_int_equal(zst_unpack_exact(out, to.pos, max, &b), -EBADMSG);
	assert_int_equal(zst_unpack(out, to.pos, 16 * max, &b), -EBADMSG);
	/* Room for what is allowed, contexts, and a sanitizer's quarantine. */
	assert_in_range(peak_kib() - before, 0, 200 << 10);
	free(zeros);
	free(out);
}

static void
claims_cost_nothing(void **state)
{
	/* A frame of one empty raw block that claims 2^62 bytes, and one that
	 * asks for a window of 2 GiB. */
	static const uint8_t huge[] = {0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0,
	    0, 0, 0, 0x40, 1, 0, 0};
	static const uint8_t window[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3,
	    0x09, 0x00, 0x00, 'x'};
	static const uint8_t lies[] = {0x28, 0xb5, 0x2f, 0xfd, 0x20, 5, 1, 0,
	    0};
	uint8_t many[8 * sizeof(huge)];
	struct buf *b;

	(void)state;
	assert_int_equal(zst_unpack(huge, sizeof(huge), 1 << 20, &b), -EBADMSG);
	assert_int_equal(zst_unpack_exact(huge, sizeof(huge), 1 << 20, &b),
	    -EBADMSG);
	/* Eight of them overflow the sum. */
	for (size_t i = 0; i < 8; i++)
		memcpy(many + i * sizeof(huge), huge, sizeof(huge));
	assert_int_equal(zst_unpack(many, sizeof(many), SIZE_MAX, &b),
	    -EBADMSG);
#if SIZE_MAX > UINT32_MAX
	/* Valid, whatever window it names: there is none in one go. */
	assert_int_equal(zst_unpack(window, sizeof(window), 100, &b), 0);
	assert_int_equal(b->len, 1);
	buf_unref(b);
#else
	(void)window;
#endif
	assert_int_equal(zst_unpack(lies, sizeof(lies), 100, &b), -EBADMSG);
}

static void
other_formats_are_refused(void **state)
{
	/* "hello" as version 0.7 wrote it. */
	static const uint8_t v07[] = {0x27, 0xb5, 0x2f, 0xfd, 0x20, 5, 0x40, 0,
	    5, 'h', 'e', 'l', 'l', 'o', 0xc0, 0, 0};
	static const uint8_t gzip[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0,
	    0, 0, 0, 0, 0, 0, 0, 0};
	struct buf *b;

	(void)state;
	assert_int_equal(zst_unpack(v07, sizeof(v07), 100, &b), -EBADMSG);
	assert_int_equal(zst_unpack(gzip, sizeof(gzip), 100, &b), -EBADMSG);
	assert_int_equal(zst_unpack("", 0, 100, &b), -EBADMSG);
	assert_int_equal(zst_unpack("\x28\xb5\x2f", 3, 100, &b), -EBADMSG);
}

static void
content_checksum_counts(void **state)
{
	const struct frame_opts o = {.level = 1, .checksum = 1};
	uint8_t out[2000], *p = sample(1000);
	struct buf *b;
	size_t n = frame(out, sizeof(out), p, 1000, &o);

	(void)state;
	assert_int_equal(zst_unpack(out, n, 1000, &b), 0);
	buf_unref(b);
	out[n - 1] ^= 1;
	assert_int_equal(zst_unpack(out, n, 1000, &b), -EBADMSG);
	free(p);
}

static void
packs_only_what_fits(void **state)
{
	uint8_t out[100], *p = sample(1000);
	struct buf *b;
	size_t n = 0;

	(void)state;
	assert_int_equal(zst_pack(p, 1000, out, sizeof(out), &n), 1);
	memset(p, 7, 1000);
	assert_int_equal(zst_pack(p, 1000, out, sizeof(out), &n), 0);
	assert_in_range(n, 10, sizeof(out));
	assert_int_equal(zst_unpack_exact(out, n, 1000, &b), 0);
	assert_memory_equal(b->data, p, 1000);
	buf_unref(b);
	free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_valid_stream_unpacks),
	    cmocka_unit_test(frames_add_up),
	    cmocka_unit_test(bombs_are_bounded),
	    cmocka_unit_test(claims_cost_nothing),
	    cmocka_unit_test(other_formats_are_refused),
	    cmocka_unit_test(content_checksum_counts),
	    cmocka_unit_test(packs_only_what_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
