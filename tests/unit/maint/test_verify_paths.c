/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "verify_rig.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../pxar/mkpxar.h"
#include "../repo/samples.h"
#include "../repo/slow_store.h"
#include "base/buf.h"
#include "base/num.h"
#include "pbs/catalog.h"

#include "../cm.h"

#define C ((uint64_t)WORLD_CHUNK)
#define SNAP "host/h1/2024-01-01T00:00:00Z"
#define BIG (3 * WORLD_CHUNK)

/*
 * A tree with large files, whose chunks hold nothing else, and small ones
 * beside them.  What a bad chunk takes is worked out here from where the bytes
 * of the files are.
 */
struct tree_world {
	struct rig g;
	struct mk *mk;
	uint8_t *big[2];	/* "one/big", "two/deep/large" */
};

static void
tree_open(struct tree_world *w, int version)
{
	struct slow_store *s = slow_store_new();
	struct snap_maker m;
	struct mk *mk = malloc(sizeof(*mk));

	assert_non_null(mk);
	w->mk = mk;
	for (int i = 0; i < 2; i++) {
		w->big[i] = malloc(BIG);
		assert_non_null(w->big[i]);
		sample_bytes(w->big[i], BIG, 50 + (uint32_t)i);
	}
	mk_init(mk, version);
	mk_root(mk, DIR_);
	mk_file(mk, "first", FILE_, "first\n", 6);
	mk_dir(mk, "one", DIR_);
	mk_file(mk, "a", FILE_, "a\n", 2);
	mk_file(mk, "big", FILE_, w->big[0], BIG);
	mk_file(mk, "c", FILE_, "c\n", 2);
	mk_up(mk);
	mk_dir(mk, "two", DIR_);
	mk_dir(mk, "deep", DIR_);
	mk_file(mk, "large", FILE_, w->big[1], BIG);
	mk_up(mk);
	mk_up(mk);
	mk_finish(mk);
	snap_begin(&m, s, "", BACKUP_HOST, "h1", T1);
	snap_pxar(&m, "root", mk);
	snap_finish(&m, NULL);
	rig_open(&w->g, s, NULL);
	w->g.o.no_record = true;
}

static void
tree_close(struct tree_world *w)
{
	rig_close(&w->g);
	mk_fini(w->mk);
	free(w->mk);
	free(w->big[0]);
	free(w->big[1]);
}

/* Where the content lies in the stream. */
static uint64_t
find(const struct mk_bytes *b, const void *p, size_t len)
{
	const uint8_t *at = memmem(b->p, b->len, p, len);

	assert_non_null(at);
	return (uint64_t)(at - b->p);
}

static void
spoil(struct tree_world *w, const struct mk_bytes *b, uint64_t chunk, bool gone)
{
	char key[KEY_MAX + 1];
	uint64_t off = chunk * C;

	world_chunk(b->p + off, MIN(C, b->len - off), key);
	if (gone)
		rig_remove(w->g.s, key);
	else
		rig_flip(w->g.s, key, -1);
}

/* What is to be told of one chunk all of which is in one file. */
static void
expect(struct tree_world *w, const char *file, const char *path,
    const struct mk_bytes *b, const uint8_t *content, uint64_t chunk)
{
	uint64_t at = find(b, content, BIG), off = chunk * C;
	char text[600];

	assert_true(off >= at && off + C <= at + BIG);
	snprintf(text, sizeof(text),
	    "damaged " SNAP "/%s %" PRIu64 "+%" PRIu64 ": crc is wrong\n"
	    "  %s /%s content %" PRIu64 "+%" PRIu64 "\n"
	    SNAP " is damaged\n",
	    file, off, C, file, path, off - at, C);
	rig_is(&w->g, VERIFY_FULL, text);
}

static void
inside_of_a_file(void **state)
{
	(void)state;
	for (int version = 1; version <= 2; version++) {
		const char *file = version == 1 ? "root.pxar.didx" :
		    "root.ppxar.didx";
		struct tree_world w;
		const struct mk_bytes *b;
		uint64_t chunk;

		tree_open(&w, version);
		b = version == 1 ? &w.mk->main : &w.mk->payload;
		chunk = find(b, w.big[0], BIG) / C + 1;
		spoil(&w, b, chunk, false);
		expect(&w, file, "one/big", b, w.big[0], chunk);
		tree_close(&w);
		tree_open(&w, version);
		b = version == 1 ? &w.mk->main : &w.mk->payload;
		chunk = find(b, w.big[1], BIG) / C + 1;
		spoil(&w, b, chunk, false);
		expect(&w, file, "two/deep/large", b, w.big[1], chunk);
		tree_close(&w);
	}
}

/* The end of one file, the next one, and the beginning of another. */
static void
across_files_of_a_payload(void **state)
{
	struct tree_world w;
	const struct mk_bytes *b;
	uint64_t one, c, large, off;
	char text[900];

	(void)state;
	tree_open(&w, 2);
	b = &w.mk->payload;
	one = find(b, w.big[0], BIG);
	large = find(b, w.big[1], BIG);
	off = large / C * C;
	assert_int_equal(off / C, (one + BIG - 1) / C);
	c = one + BIG + 16;
	assert_memory_equal(b->p + c, "c\n", 2);
	spoil(&w, b, off / C, true);
	snprintf(text, sizeof(text),
	    "missing " SNAP "/root.ppxar.didx %" PRIu64 "+%" PRIu64
	    ": is not in the store\n"
	    "  root.ppxar.didx /two/deep/large entry\n"
	    "  root.ppxar.didx /two/deep/large content 0+%" PRIu64 "\n"
	    "  root.ppxar.didx /one/big content %" PRIu64 "+%" PRIu64 "\n"
	    "  root.ppxar.didx /one/c entry\n"
	    "  root.ppxar.didx /one/c content 0+2\n"
	    SNAP " is missing\n", off, C, off + C - large, off - one,
	    one + BIG - off);
	rig_is(&w.g, VERIFY_FULL, text);
	tree_close(&w);
}

/* In version 1 names go with their bytes. */
static void
names_that_cannot_be_read(void **state)
{
	struct tree_world w;
	const struct mk_bytes *b;
	uint64_t one, end;
	char text[900];

	(void)state;
	tree_open(&w, 1);
	b = &w.mk->main;
	one = find(b, w.big[0], BIG);
	end = (one + BIG) / C;
	spoil(&w, b, end, false);
	/* "c", the table of "one" and the name of "two" are in there. */
	snprintf(text, sizeof(text),
	    "damaged " SNAP "/root.pxar.didx %" PRIu64 "+%" PRIu64
	    ": crc is wrong\n"
	    "  root.pxar.didx / list\n"
	    SNAP " is damaged\n", end * C, C);
	rig_is(&w.g, VERIFY_FULL, text);
	tree_close(&w);
}

static void
add(struct catalog_writer *c, enum catalog_type type, const char *name,
    uint64_t size)
{
	const struct catalog_entry e = {
	    .type = type,
	    .name = name,
	    .name_len = strlen(name),
	    .size = size,
	};

	assert_int_equal(catalog_writer_add(c, &e), 0);
}

/* But the catalog has them, and sizes. */
static void
names_come_from_the_catalog(void **state)
{
	struct slow_store *s = slow_store_new();
	struct mk *mk = malloc(sizeof(*mk));
	uint8_t *big = malloc(2 * BIG);
	char name[32], key[KEY_MAX + 1];
	struct catalog_writer *c;
	struct str want = {0};
	uint64_t a, z, chunk;
	struct snap_maker m;
	struct rig g;
	struct buf *b;

	(void)state;
	assert_non_null(mk);
	assert_non_null(big);
	sample_bytes(big, 2 * BIG, 9);
	mk_init(mk, 1);
	mk_root(mk, DIR_);
	mk_dir(mk, "dir", DIR_);
	mk_file(mk, "a", FILE_, big, BIG);
	mk_dir(mk, "inner", DIR_);
	mk_file(mk, "x", FILE_, "x", 1);
	mk_up(mk);
	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		mk_file(mk, name, FILE_, "small", 5);
	}
	mk_symlink(mk, "sym", MK(S_IFLNK | 0777), "to");
	mk_file(mk, "z", FILE_, big + BIG, BIG);
	mk_up(mk);
	mk_finish(mk);
	assert_int_equal(catalog_writer_new(&c), 0);
	assert_int_equal(catalog_writer_open(c, "root.pxar.didx", 14), 0);
	assert_int_equal(catalog_writer_open(c, "dir", 3), 0);
	add(c, CATALOG_FILE, "a", BIG);
	assert_int_equal(catalog_writer_open(c, "inner", 5), 0);
	add(c, CATALOG_FILE, "x", 1);
	assert_int_equal(catalog_writer_close(c), 0);
	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		add(c, CATALOG_FILE, name, 5);
	}
	add(c, CATALOG_SYMLINK, "sym", 0);
	add(c, CATALOG_FILE, "z", BIG);
	assert_int_equal(catalog_writer_close(c), 0);
	assert_int_equal(catalog_writer_close(c), 0);
	assert_int_equal(catalog_writer_finish(c, &b), 0);
	catalog_writer_free(c);
	snap_begin(&m, s, "", BACKUP_HOST, "h1", T1);
	snap_pxar(&m, "root", mk);
	snap_dynamic(&m, "catalog.pcat1.didx", b->data, b->len);
	snap_finish(&m, NULL);
	buf_unref(b);
	rig_open(&g, s, NULL);
	g.o.no_record = true;
	a = find(&mk->main, big, BIG);
	z = find(&mk->main, big + BIG, BIG);
	chunk = z / C * C;
	assert_int_equal((a + BIG - 1) / C * C, chunk);
	world_chunk(mk->main.p + chunk, C, key);
	rig_flip(s, key, -1);
	str_addf(&want, "damaged " SNAP "/root.pxar.didx %" PRIu64 "+%" PRIu64
	    ": crc is wrong\n"
	    "  root.pxar.didx /dir/a content %" PRIu64 "+%" PRIu64 "\n"
	    "  root.pxar.didx /dir/inner list\n", chunk, C, chunk - a,
	    a + BIG - chunk);
	for (int i = 0; i < 3; i++)
		str_addf(&want, "  root.pxar.didx /dir/s%d entry\n"
		    "  root.pxar.didx /dir/s%d content 0+5\n", i, i);
	str_addf(&want, "  root.pxar.didx /dir/sym entry\n"
	    "  root.pxar.didx /dir/z entry\n"
	    "  root.pxar.didx /dir/z content 0+%" PRIu64 "\n"
	    SNAP " is damaged\n", chunk + C - z);
	rig_is(&g, VERIFY_FULL, str_get(&want));
	str_fini(&want);
	mk_fini(mk);
	free(mk);
	free(big);
	rig_close(&g);
}

static void
the_root_cannot_be_found(void **state)
{
	struct tree_world w;
	const struct mk_bytes *b;
	char text[900];

	(void)state;
	tree_open(&w, 2);
	b = &w.mk->main;
	assert_true(b->len < C);
	spoil(&w, b, 0, false);
	snprintf(text, sizeof(text),
	    "damaged " SNAP "/root.mpxar.didx 0+%zu: crc is wrong\n"
	    "  root.mpxar.didx / list\n"
	    SNAP " is damaged\n", b->len);
	rig_is(&w.g, VERIFY_FULL, text);
	tree_close(&w);
}

/* A payload whose names are gone, too: what is known is told. */
static void
a_payload_without_names(void **state)
{
	struct tree_world w;

	(void)state;
	tree_open(&w, 2);
	rig_remove(w.g.s, ".cnt/" SNAP "/root.mpxar.didx");
	spoil(&w, &w.mk->payload, 1, false);
	rig_is(&w.g, VERIFY_FULL,
	    "missing " SNAP "/root.mpxar.didx: is not in the store\n"
	    "damaged " SNAP "/root.ppxar.didx 65536+65536: crc is wrong\n"
	    SNAP " is damaged\n");
	tree_close(&w);
}

static void
only_so_many_are_told(void **state)
{
	struct slow_store *s = slow_store_new();
	struct mk *mk = malloc(sizeof(*mk));
	const char *at;
	struct snap_maker m;
	char name[32], key[KEY_MAX + 1];
	struct rig g;
	unsigned n = 0;

	(void)state;
	assert_non_null(mk);
	mk_init(mk, 2);
	mk_root(mk, DIR_);
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "f%04d", i);
		mk_file(mk, name, FILE_, name, 5);
	}
	mk_finish(mk);
	snap_begin(&m, s, "", BACKUP_HOST, "h1", T1);
	snap_pxar(&m, "root", mk);
	snap_finish(&m, NULL);
	rig_open(&g, s, NULL);
	g.o.no_record = true;
	world_chunk(mk->payload.p, MIN(C, mk->payload.len), key);
	rig_flip(s, key, -1);
	rig_run(&g, VERIFY_FULL);
	for (at = str_get(&g.text); (at = strstr(at, "ppxar.didx /")) != NULL;
	    at++)
		n++;
	assert_int_equal(n, VERIFY_PATHS_MAX);
	mk_fini(mk);
	free(mk);
	rig_close(&g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(inside_of_a_file),
	    cmocka_unit_test(across_files_of_a_payload),
	    cmocka_unit_test(names_that_cannot_be_read),
	    cmocka_unit_test(names_come_from_the_catalog),
	    cmocka_unit_test(the_root_cannot_be_found),
	    cmocka_unit_test(a_payload_without_names),
	    cmocka_unit_test(only_so_many_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
