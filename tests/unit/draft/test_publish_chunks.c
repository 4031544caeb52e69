/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pub_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "pbs/chunker.h"

#include "../cm.h"

/* What goes into the store again, and what does not. */

static int64_t next_time = RIG_T;

static int64_t
publish(struct rig *g)
{
	int r;

	gate_reset(g->gate);
	r = draft_publish(g->d, ++next_time);
	if (r < 0)
		fail_msg("publish: %s", strerror(-r));
	return next_time;
}

static void
check_dump(struct rig *g, int64_t time)
{
	char *draft = dump_draft(g), *snap = dump_snap(g, time);

	dump_equal(draft, snap);
	free(draft);
	free(snap);
}

/* One slot in twenty is written in: so many chunks are sent. */
static void
image(uint64_t staging)
{
	const size_t slots = 20, len = slots * 4 * MIB + 512;
	uint8_t *p = malloc(len);
	struct rig g;

	assert_non_null(p);
	rig_noise(p, len, 1);
	/* Two of them are zeros. */
	memset(p + 8 * MIB, 0, 8 * MIB);
	rig_begin(&g, false);
	g.o.staging = staging;
	rig_open(&g);
	fs_write(&g, "a.img", p, len);
	publish(&g);
	fs_pwrite(&g, "a.img", "x", 1, 5 * 4 * MIB + 1000);
	check_dump(&g, publish(&g));
	assert_int_equal(g.gate->chunk_puts, 1);
	/* The chunk that is changed is read for it. */
	assert_true(g.gate->chunk_gets <= 1);
	/* Written with what it has: nothing is sent. */
	fs_pwrite(&g, "a.img", p + 4 * MIB, 4 * MIB, 4 * MIB);
	publish(&g);
	assert_int_equal(g.gate->chunk_puts, 0);
	/* Shorter, longer, and with a hole instead of data. */
	fs_truncate(&g, "a.img", 18 * 4 * MIB);
	check_dump(&g, publish(&g));
	assert_int_equal(g.gate->chunk_puts, 0);
	fs_truncate(&g, "a.img", 19 * 4 * MIB + 1);
	check_dump(&g, publish(&g));
	assert_int_equal(g.gate->chunk_puts, 1);
	rig_end(&g);
	free(p);
}

static void
test_image(void **state)
{
	(void)state;
	image(0);
}

static void
test_image_spilled(void **state)
{
	(void)state;
	image(16 * MIB);
}

/* The index is what the chunker makes of all bytes. */
static void
check_cuts(struct rig *g, int64_t time, const char *server, const uint8_t *p,
    size_t len)
{
	struct index *x = rig_index(g, time, server);
	struct chunker c;
	size_t off = 0, cut, i = 0;

	chunker_init(&c, CHUNKER_AVG_DATA);
	assert_int_equal(index_size(x), len);
	while (off < len) {
		struct index_chunk k = index_chunk(x, i++);
		struct digest d;

		cut = chunker_scan(&c, p + off, len - off);
		if (cut == 0)
			cut = len - off;
		assert_int_equal(k.start, off);
		assert_int_equal(k.end, off + cut);
		d = digest_of(p + off, cut);
		assert_true(digest_eq(&d, &k.digest));
		off += cut;
	}
	assert_int_equal(i, index_count(x));
	index_unref(x);
}

static uint32_t
rnd(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(*seed >> 33);
}

/* Random edits of a stream: cut by cut as if it had been written anew. */
static void
resync(uint64_t staging, uint64_t seed)
{
	const size_t max = 48 * MIB;
	uint8_t *p = calloc(1, max);
	size_t len = 28 * MIB + 12345, off, n;
	uint8_t *some = malloc(3 * MIB);
	struct rig g;

	assert_non_null(p);
	assert_non_null(some);
	rig_noise(p, len, seed);
	memset(p + 3 * MIB, 0, 5 * MIB);
	rig_begin(&g, false);
	g.o.staging = staging;
	rig_open(&g);
	fs_write(&g, "s", p, len);
	check_cuts(&g, publish(&g), "s.didx", p, len);
	for (unsigned round = 0; round < 12; round++) {
		for (unsigned k = rnd(&seed) % 4; k > 0; k--) {
			off = rnd(&seed) % len;
			n = rnd(&seed) % (rnd(&seed) % 2 ? 100 : 3 * MIB) + 1;
			n = MIN(n, max - off);
			rig_noise(some, n, seed);
			memcpy(p + off, some, n);
			fs_pwrite(&g, "s", some, n, off);
			len = MAX(len, off + n);
		}
		if (rnd(&seed) % 3 == 0) {
			n = rnd(&seed) % max;
			if (n < len)
				memset(p + n, 0, len - n);
			len = MAX(n, 1);
			fs_truncate(&g, "s", len);
		}
		if (rnd(&seed) % 5 == 0)
			rig_restart(&g);
		check_cuts(&g, publish(&g), "s.didx", p, len);
	}
	rig_end(&g);
	free(some);
	free(p);
}

static void
test_resync(void **state)
{
	(void)state;
	resync(0, 1);
	resync(0, 2);
}

static void
test_resync_spilled(void **state)
{
	(void)state;
	resync(20 * MIB, 3);
	resync(20 * MIB, 4);
}

/* A change in the middle sends the chunks around it alone. */
static void
test_stream_sends_little(void **state)
{
	const size_t len = 80 * MIB;
	uint8_t *p = malloc(len);
	struct rig g;

	(void)state;
	assert_non_null(p);
	rig_noise(p, len, 5);
	rig_begin(&g, false);
	rig_open(&g);
	fs_write(&g, "s", p, len);
	publish(&g);
	fs_pwrite(&g, "s", "change", 6, 40 * MIB);
	publish(&g);
	assert_true(g.gate->chunk_puts <= 2);
	assert_true(g.gate->chunk_gets <= 4);
	memcpy(p, "abc", 3);
	fs_pwrite(&g, "s", p, 3, len);
	publish(&g);
	assert_int_equal(g.gate->chunk_puts, 1);
	rig_end(&g);
	free(p);
}

/* Bytes of files of a tree, some of which change. */
#define FILES 2000

static void
write_file(struct rig *g, unsigned i, unsigned version, size_t size)
{
	static uint8_t p[128 * 1024];
	char path[64];

	snprintf(path, sizeof(path), "root/d%02u/f%04u", i / 100, i);
	rig_noise(p, size, i * 100 + version);
	fs_write(g, path, p, size);
}

/* Publishes FILES files of that size, then one in every changed. */
static void
tree(uint64_t staging, size_t size, unsigned every, uint64_t max_bytes)
{
	const uint64_t all = FILES * size;
	char path[64];
	struct rig g;
	uint64_t first;

	rig_begin(&g, false);
	g.o.staging = staging;
	rig_open(&g);
	fs_mkdir(&g, "root");
	for (unsigned i = 0; i < FILES; i++) {
		if (i % 100 == 0) {
			snprintf(path, sizeof(path), "root/d%02u", i / 100);
			fs_mkdir(&g, path);
		}
		write_file(&g, i, 0, size);
	}
	gate_reset(g.gate);
	publish(&g);
	first = g.gate->chunk_bytes;
	assert_true(staging != 0 || first >= all);
	for (unsigned round = 1; round <= 3; round++) {
		for (unsigned i = round; i < FILES; i += every)
			write_file(&g, i, round, size);
		gate_reset(g.gate);
		check_dump(&g, publish(&g));
		print_message("%u of %u files of %zu: %llu of %llu bytes in "
		    "%llu chunks\n", FILES / every, FILES, size,
		    (unsigned long long)g.gate->chunk_bytes,
		    (unsigned long long)all,
		    (unsigned long long)g.gate->chunk_puts);
		assert_true(g.gate->chunk_bytes <= max_bytes);
	}
	/* Again without a change: only indices and the manifest. */
	publish(&g);
	assert_int_equal(g.gate->chunk_puts, 0);
	assert_int_equal(g.gate->other_puts, 3);
	rig_end(&g);
}

/* Metadata changes as a whole; it is some 200 bytes for each file, less when it
 * is packed. */
#define META (FILES * (uint64_t)100)

static void
test_tree(void **state)
{
	(void)state;
	/* One in a hundred. */
	tree(0, 16 * 1024, 100, FILES / 100 * 17000 + META);
	/* One in twenty. */
	tree(0, 16 * 1024, 20, FILES / 20 * 17000 + META);
}

static void
test_tree_spilled(void **state)
{
	(void)state;
	/* Packed into larger chunks: where a run reaches over the end of one
	 * it is not worth two of them. */
	tree(8 * MIB, 16 * 1024, 20, FILES / 20 * 17000 * 3 + META);
}

/* Large files in a tree: what is around a change is sent, not the file. */
static void
test_large_in_tree(void **state)
{
	const size_t len = 60 * MIB;
	uint8_t *p = malloc(len);
	struct rig g;

	(void)state;
	assert_non_null(p);
	rig_noise(p, len, 9);
	rig_begin(&g, false);
	g.o.staging = 32 * MIB;
	rig_open(&g);
	fs_mkdir(&g, "root");
	fs_text(&g, "root/a", "a");
	fs_write(&g, "root/big", p, len);
	fs_text(&g, "root/z", "z");
	check_dump(&g, publish(&g));
	fs_pwrite(&g, "root/big", "change", 6, 30 * MIB);
	check_dump(&g, publish(&g));
	print_message("%llu chunks, %llu bytes\n",
	    (unsigned long long)g.gate->chunk_puts,
	    (unsigned long long)g.gate->chunk_bytes);
	assert_true(g.gate->chunk_bytes < 24 * MIB);
	/* A rename keeps all of it. */
	fs_mkdir(&g, "root/dir");
	fs_rename(&g, "root/big", "root/dir/big");
	check_dump(&g, publish(&g));
	assert_true(g.gate->chunk_bytes < MIB);
	rig_end(&g);
	free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_image),
		cmocka_unit_test(test_image_spilled),
		cmocka_unit_test(test_resync),
		cmocka_unit_test(test_resync_spilled),
		cmocka_unit_test(test_stream_sends_little),
		cmocka_unit_test(test_tree),
		cmocka_unit_test(test_tree_spilled),
		cmocka_unit_test(test_large_in_tree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
