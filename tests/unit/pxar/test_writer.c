/* SPDX-License-Identifier: GPL-3.0-or-later */

/* Archives written, compared with what the format document has, and read. */
#include "pbs/pxar_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/num.h"
#include "base/str.h"
#include "crypt/digest.h"
#include "pbs/pxar_format.h"
#include "pbs/siphash.h"

#include "writing.h"

/* Ends the root, and the writer. */
static uint64_t
finish(struct pxar_writer *w)
{
	uint64_t root;

	assert_false(pxar_writer_is_done(w));
	assert_int_equal(pxar_writer_dir_end(w, &root), 0);
	assert_true(pxar_writer_is_done(w));
	assert_int_equal(pxar_writer_size(w), out.len);
	pxar_writer_free(w);
	return root;
}

static int
read_out(void *arg, void *p, size_t len, uint64_t off)
{
	(void)arg;
	assert_true(off <= out.len && len <= out.len - off);
	memcpy(p, out.p + off, len);
	return 0;
}

static struct pxar *
open_out(void)
{
	struct pxar_source src = {read_out, NULL, out.len};
	struct pxar *a;

	assert_int_equal(pxar_open(&src, &a), 0);
	return a;
}

static void
assert_sha256(const void *p, size_t len, const char *want)
{
	struct digest d = digest_of(p, len);
	char hex[DIGEST_HEX_LEN + 1];

	assert_string_equal(digest_hex(&d, hex), want);
}

/* Section 7.7. */
static void
one_stream(void **state)
{
	struct pxar_writer *w = begin(1);
	uint64_t pos;

	(void)state;
	assert_int_equal(pxar_writer_file(w, "a.txt",
	    E(S_IFREG | 0644, .size = 3), &pos), 0);
	assert_int_equal(pos, 0x38);
	assert_int_equal(pxar_writer_size(w), 0x96);
	assert_int_equal(pxar_writer_data(w, "hi\n", 3), 0);
	assert_int_equal(pxar_writer_node(w, "link",
	    E(S_IFLNK | 0777, .target = (char *)(uintptr_t)"a.txt"), &pos), 0);
	assert_int_equal(pos, 0x99);
	assert_int_equal(finish(w), 0xfc);
	assert_int_equal(out.len, 340);
	assert_sha256(out.p, out.len,
	    "cef5d51f612b807f52c4362e6fe0e86fa6f77c88dbcd5fed762233eadc9bee11");
}

static void
split(void **state)
{
	uint8_t payload[51];
	struct pxar_writer *w = begin(2);
	uint64_t pos;

	(void)state;
	pxar_payload_start(payload);
	pxar_payload_header(3, payload + 16);
	memcpy(payload + 32, "hi\n", 3);
	pxar_payload_tail(payload + 35);
	assert_sha256(payload, sizeof(payload),
	    "e31941be90b3b19c67f991e933d9199f88e3a00be041137dfe21fbdcd5089db2");

	assert_int_equal(pxar_writer_file_ref(w, "a.txt",
	    E(S_IFREG | 0644, .size = 3), 16, &pos), 0);
	assert_int_equal(pos, 0x50);
	assert_int_equal(finish(w), 0xbe);
	assert_int_equal(out.len, 254);
	assert_sha256(out.p, out.len,
	    "5d08e4ce818b5874f9ecdca00b396ef25c8c39b1e0d736fa8f98a48dc8c36a8e");
}

/* Everything that an entry can have. */
static struct pxar_xattr xattrs[] = {
    {(char *)(uintptr_t)"user.empty", NULL, 0},
    {(char *)(uintptr_t)"user.x", (uint8_t *)(uintptr_t)"a\0b", 3},
};
static struct pxar_acl_id ids[] = {{0, 7}, {1000, 4}, {UINT32_MAX - 1, 0}};
static struct pxar_meta full = {
    .xattrs = xattrs,
    .n_xattrs = ARRAY_SIZE(xattrs),
    .acl_users = ids,
    .n_acl_users = 3,
    .acl_groups = ids + 1,
    .n_acl_groups = 2,
    .has_group_obj = true,
    .group_obj = 5,
    .has_default = true,
    .def_user_obj = 7,
    .def_group_obj = 0,
    .def_other = PXAR_ACL_UNSET,
    .def_mask = 1,
    .def_users = ids,
    .n_def_users = 1,
    .def_groups = ids,
    .n_def_groups = 2,
    .fcaps = (uint8_t *)(uintptr_t)"capabilities",
    .fcaps_len = 12,
    .has_projid = true,
    .projid = UINT64_MAX,
};

static void
assert_ids(const struct pxar_acl_id *a, size_t n, const struct pxar_acl_id *b,
    size_t m)
{
	assert_int_equal(n, m);
	assert_memory_equal(a, b, n * sizeof(*a));
}

static void
assert_full(const struct pxar_meta *m)
{
	size_t i;

	assert_non_null(m);
	assert_int_equal(m->n_xattrs, full.n_xattrs);
	for (i = 0; i < m->n_xattrs; i++) {
		assert_string_equal(m->xattrs[i].name, xattrs[i].name);
		assert_int_equal(m->xattrs[i].len, xattrs[i].len);
		if (xattrs[i].len > 0)
			assert_memory_equal(m->xattrs[i].value,
			    xattrs[i].value, xattrs[i].len);
	}
	assert_ids(m->acl_users, m->n_acl_users, ids, 3);
	assert_ids(m->acl_groups, m->n_acl_groups, ids + 1, 2);
	assert_ids(m->def_users, m->n_def_users, ids, 1);
	assert_ids(m->def_groups, m->n_def_groups, ids, 2);
	assert_true(m->has_group_obj);
	assert_int_equal(m->group_obj, 5);
	assert_true(m->has_default);
	assert_int_equal(m->def_user_obj, 7);
	assert_int_equal(m->def_group_obj, 0);
	assert_true(m->def_other == PXAR_ACL_UNSET);
	assert_int_equal(m->def_mask, 1);
	assert_int_equal(m->fcaps_len, 12);
	assert_memory_equal(m->fcaps, "capabilities", 12);
	assert_true(m->has_projid);
	assert_true(m->projid == UINT64_MAX);
}

static void
assert_entry(const struct pxar_entry *e, const struct pxar_entry *want)
{
	assert_int_equal(e->mode, want->mode);
	assert_true(e->flags == want->flags);
	assert_int_equal(e->uid, want->uid);
	assert_int_equal(e->gid, want->gid);
	assert_true(e->mtime_sec == want->mtime_sec);
	assert_int_equal(e->mtime_nsec, want->mtime_nsec);
	assert_int_equal(e->size, want->size);
	assert_true(e->dev_major == want->dev_major);
	assert_true(e->dev_minor == want->dev_minor);
	if (want->target != NULL)
		assert_string_equal(e->target, want->target);
	if (want->meta != NULL)
		assert_full(e->meta);
	else
		assert_null(e->meta);
}

static const struct {
	const char *name;
	struct pxar_entry e;
} every[] = {
    {"\x01\xff\n", {.mode = S_IFREG | 07777, .uid = 1, .gid = UINT32_MAX,
        .mtime_sec = -2, .mtime_nsec = 999999999, .flags = UINT64_MAX,
        .meta = &full}},
    {" ", {.mode = S_IFIFO, .meta = &full}},
    {"...", {.mode = S_IFSOCK | 0600, .mtime_sec = INT64_MAX}},
    {"b", {.mode = S_IFBLK | 0660, .dev_major = 8, .dev_minor = UINT64_MAX,
        .mtime_sec = INT64_MIN, .meta = &full}},
    {"c", {.mode = S_IFCHR | 0666, .dev_major = UINT64_MAX, .dev_minor = 3}},
    {"data", {.mode = S_IFREG | 0644, .size = 5}},
    {"dir", {.mode = S_IFDIR | 01777, .uid = 7, .meta = &full}},
    {"sym", {.mode = S_IFLNK | 0777, .size = 4,
        .target = (char *)(uintptr_t)"/\xff/x", .meta = &full}},
    {"zero", {.mode = S_IFREG}},
};

/* The position of entry number i, written. */
static uint64_t
write_every(struct pxar_writer *w, int version, size_t i)
{
	static uint64_t offset;
	const struct pxar_entry *e = &every[i].e;
	uint64_t pos;
	int r;

	if (i == 0)
		offset = PXAR_PAYLOAD_START_LEN;
	if (S_ISDIR(e->mode)) {
		assert_int_equal(pxar_writer_dir(w, every[i].name, e), 0);
		r = pxar_writer_dir_end(w, &pos);
	} else if (!S_ISREG(e->mode)) {
		r = pxar_writer_node(w, every[i].name, e, &pos);
	} else if (version == 2) {
		r = pxar_writer_file_ref(w, every[i].name, e, offset, &pos);
		offset += PXAR_PAYLOAD_HEADER_LEN + e->size;
	} else {
		r = pxar_writer_file(w, every[i].name, e, &pos);
		assert_int_equal(pxar_writer_data(w, "01", e->size / 2), 0);
		assert_int_equal(pxar_writer_data(w, "", 0), 0);
		assert_int_equal(pxar_writer_data(w, "234",
		    e->size - e->size / 2), 0);
	}
	assert_int_equal(r, 0);
	return pos;
}

static void
every_type(int version)
{
	uint64_t pos[ARRAY_SIZE(every)], link, offset = PXAR_PAYLOAD_START_LEN;
	struct pxar_writer *w = begin(version);
	char name[PXAR_NAME_MAX + 1];
	struct pxar_entry e;
	struct pxar_dir *d;
	struct pxar *a;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(every); i++)
		pos[i] = write_every(w, version, i);
	finish(w);
	a = open_out();
	assert_int_equal(pxar_version(a), version);
	assert_int_equal(pxar_dir_open(a, pxar_root(a), &d), 0);
	assert_int_equal(pxar_dir_count(d), ARRAY_SIZE(every));
	for (i = 0; i < ARRAY_SIZE(every); i++) {
		assert_int_equal(pxar_dir_entry(a, d, i, PXAR_META, name, &e,
		    &link), 0);
		assert_string_equal(name, every[i].name);
		assert_int_equal(link, 0);
		assert_int_equal(e.pos, pos[i]);
		assert_entry(&e, &every[i].e);
		if (S_ISREG(e.mode) && version == 2) {
			assert_true(e.is_ref);
			assert_int_equal(e.content, offset);
			offset += PXAR_PAYLOAD_HEADER_LEN + e.size;
		} else if (S_ISREG(e.mode)) {
			assert_memory_equal(out.p + e.content, "01234",
			    e.size);
		}
		pxar_entry_fini(&e);
		assert_int_equal(pxar_stat(a, pos[i], PXAR_META, &e), 0);
		assert_entry(&e, &every[i].e);
		pxar_entry_fini(&e);
	}
	pxar_dir_unref(d);
	pxar_close(a);
}

static void
every_type_in_one_stream(void **state)
{
	(void)state;
	every_type(1);
}

static void
every_type_split(void **state)
{
	(void)state;
	every_type(2);
}

static void
hard_links(void **state)
{
	struct pxar_writer *w = begin(2);
	char name[PXAR_NAME_MAX + 1];
	uint64_t file, link, at;
	struct pxar_entry e;
	struct pxar_dir *d;
	struct pxar *a;
	char *path;

	(void)state;
	assert_int_equal(pxar_writer_dir(w, "a", DIR), 0);
	assert_int_equal(pxar_writer_file_ref(w, "f",
	    E(S_IFREG | 0600, .size = 9, .uid = 5), 16, &file), 0);
	at = pxar_writer_size(w);
	assert_int_equal(pxar_writer_hardlink(w, "g", file, "a/f"), 0);
	assert_int_equal(pxar_writer_dir_end(w, NULL), 0);
	assert_int_equal(pxar_writer_hardlink(w, "b", file, "a/f"), 0);
	finish(w);

	a = open_out();
	assert_int_equal(pxar_path(a, at, &path), 0);
	assert_string_equal(path, "a/g");
	free(path);
	assert_int_equal(pxar_dir_open(a, pxar_root(a), &d), 0);
	assert_int_equal(pxar_dir_count(d), 2);
	assert_int_equal(pxar_dir_entry(a, d, 1, 0, name, &e, &link), 0);
	assert_string_equal(name, "b");
	assert_int_equal(e.pos, file);
	assert_int_equal(e.uid, 5);
	assert_int_equal(e.size, 9);
	assert_true(link > at);
	pxar_entry_fini(&e);
	pxar_dir_unref(d);
	pxar_close(a);
}

/* The way of others to an entry: down the tree that the table at pos is. */
static bool
look_up(uint64_t pos, const char *name)
{
	uint64_t hash = siphash_24(PXAR_HASH_K0, PXAR_HASH_K1, name,
	    strlen(name)), h, begin_at;
	size_t i = 0, n;
	const uint8_t *item;

	assert_true(get_le64(out.p + pos) == PXAR_GOODBYE);
	n = (get_le64(out.p + pos + 8) - PXAR_HEADER_SIZE) / PXAR_ITEM_SIZE - 1;
	while (i < n) {
		item = out.p + pos + PXAR_HEADER_SIZE + i * PXAR_ITEM_SIZE;
		h = get_le64(item);
		if (h == hash) {
			begin_at = pos - get_le64(item + 8);
			assert_true(get_le64(out.p + begin_at) ==
			    PXAR_FILENAME);
			return streq((char *)out.p + begin_at +
			    PXAR_HEADER_SIZE, name);
		}
		i = 2 * i + 1 + (hash > h);
	}
	return false;
}

static void
names_of(char name[24], size_t i)
{
	snprintf(name, 24, "%08zu", i);
}

static void
table_of(size_t n)
{
	struct pxar_writer *w = begin(1);
	uint64_t root;
	char name[24];
	size_t i;

	for (i = 0; i < n; i++) {
		names_of(name, i);
		assert_int_equal(pxar_writer_node(w, name, FIFO, NULL), 0);
	}
	root = finish(w);
	assert_int_equal(out.len - root,
	    PXAR_HEADER_SIZE + (n + 1) * PXAR_ITEM_SIZE);
	for (i = 0; i < n; i++) {
		names_of(name, i);
		assert_true(look_up(root, name));
	}
	names_of(name, n);
	assert_false(look_up(root, name));
}

/* All shapes that the last level can have. */
static void
tables(void **state)
{
	size_t n;

	(void)state;
	for (n = 0; n < 70; n++)
		table_of(n);
}

static void
many_entries(void **state)
{
	struct pxar_entry e;
	struct pxar_dir *d;
	struct pxar *a;

	(void)state;
	table_of(100000);
	a = open_out();
	assert_int_equal(pxar_dir_open(a, pxar_root(a), &d), 0);
	assert_int_equal(pxar_dir_count(d), 100000);
	assert_int_equal(pxar_dir_find(a, d, "00099999", 8, 0, &e), 0);
	pxar_entry_fini(&e);
	pxar_dir_unref(d);
	pxar_close(a);
}

static void
nothing(void **state)
{
	struct pxar_dir *d;
	struct pxar *a;

	(void)state;
	for (int version = 1; version <= 2; version++) {
		finish(begin(version));
		a = open_out();
		assert_int_equal(pxar_dir_open(a, pxar_root(a), &d), 0);
		assert_int_equal(pxar_dir_count(d), 0);
		pxar_dir_unref(d);
		pxar_close(a);
	}
}

#define LEVELS 2000

static void
deep(void **state)
{
	struct pxar_writer *w = begin(1);
	uint64_t pos[LEVELS], file;
	struct pxar_entry e;
	char *path;
	struct pxar *a;
	size_t i;

	(void)state;
	/* A name before and one after each directory on the way down. */
	for (i = 0; i < LEVELS; i++) {
		assert_int_equal(pxar_writer_node(w, "a", FIFO, NULL), 0);
		assert_int_equal(pxar_writer_dir(w, "d", DIR), 0);
	}
	assert_int_equal(pxar_writer_node(w, "f", FIFO, &file), 0);
	while (i-- > 0) {
		assert_int_equal(pxar_writer_dir_end(w, &pos[i]), 0);
		assert_int_equal(pxar_writer_node(w, "e", FIFO, NULL), 0);
	}
	finish(w);
	a = open_out();
	for (i = 0; i < LEVELS; i += 7) {
		assert_int_equal(pxar_stat(a, pos[i], 0, &e), 0);
		assert_int_equal(e.mode, S_IFDIR | 0755);
		pxar_entry_fini(&e);
	}
	assert_int_equal(pxar_path(a, file, &path), 0);
	assert_int_equal(strlen(path), 2 * LEVELS + 1);
	assert_true(str_ends(path, "d/d/f"));
	free(path);
	pxar_close(a);
}

/* Names and targets as long as they may be. */
static void
longest(void **state)
{
	struct pxar_writer *w = begin(1);
	char name[PXAR_NAME_MAX + 1], target[PXAR_TARGET_MAX + 1];
	uint8_t *value = malloc(65536);
	struct pxar_xattr x = {name, value, 65536};
	struct pxar_meta m = {.xattrs = &x, .n_xattrs = 1, .fcaps = value,
	    .fcaps_len = PXAR_FCAPS_MAX};
	struct pxar_entry e;
	struct pxar *a;
	uint64_t pos;

	(void)state;
	assert_non_null(value);
	memset(value, 0x55, 65536);
	memset(name, 'n', sizeof(name) - 1);
	memset(target, 't', sizeof(target) - 1);
	target[sizeof(target) - 1] = '\0';
	name[PXAR_XATTR_NAME_MAX] = '\0';
	assert_int_equal(pxar_writer_node(w, "a",
	    E(S_IFIFO, .meta = &m), &pos), 0);
	name[PXAR_XATTR_NAME_MAX] = 'n';
	name[PXAR_NAME_MAX] = '\0';
	assert_int_equal(pxar_writer_node(w, name,
	    E(S_IFLNK | 0777, .target = target), NULL), 0);
	assert_int_equal(pxar_writer_hardlink(w, "z", 56, target), 0);
	finish(w);
	a = open_out();
	assert_int_equal(pxar_stat(a, pos, PXAR_META, &e), 0);
	assert_int_equal(strlen(e.meta->xattrs[0].name), PXAR_XATTR_NAME_MAX);
	assert_int_equal(e.meta->xattrs[0].len, 65536);
	assert_memory_equal(e.meta->xattrs[0].value, value, 65536);
	assert_int_equal(e.meta->fcaps_len, PXAR_FCAPS_MAX);
	pxar_entry_fini(&e);
	pxar_close(a);
	free(value);
}

/* As many attributes as the reader takes. */
static void
most_meta(void **state)
{
	static uint8_t value[65536];
	struct pxar_xattr all[255];
	struct pxar_meta m = {.xattrs = all, .n_xattrs = ARRAY_SIZE(all)};
	struct pxar_writer *w = begin(1);
	struct pxar_entry e;
	struct pxar *a;
	uint64_t pos;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(all); i++)
		all[i] = (struct pxar_xattr){(char *)(uintptr_t)"user.x",
		    value, sizeof(value)};
	assert_int_equal(pxar_writer_node(w, "a",
	    E(S_IFIFO, .meta = &m), &pos), 0);
	finish(w);
	a = open_out();
	assert_int_equal(pxar_stat(a, pos, PXAR_META, &e), 0);
	assert_int_equal(e.meta->n_xattrs, ARRAY_SIZE(all));
	pxar_entry_fini(&e);
	pxar_close(a);
}

#define T(f) cmocka_unit_test_teardown(f, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(one_stream),
	    T(split),
	    T(every_type_in_one_stream),
	    T(every_type_split),
	    T(hard_links),
	    T(tables),
	    T(many_entries),
	    T(nothing),
	    T(deep),
	    T(longest),
	    T(most_meta),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
