/* SPDX-License-Identifier: GPL-3.0-or-later */

/* Single entries: every kind of record, right and wrong. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/num.h"
#include "pbs/pxar.h"
#include "pbs/pxar_format.h"

#include "../cm.h"
#include "mkpxar.h"

static const struct mk_attr some = {
    .mode = S_IFREG | 04751,
    .flags = 0x420000,
    .uid = 1000,
    .gid = 4294967294u,
    .sec = -2,
    .nsec = 999999999,
};

/* Starts an archive of one root. */
static void
begin(struct mk *m, int version)
{
	mk_init(m, version);
	mk_root(m, MK(S_IFDIR | 0755));
}

static struct pxar *
open_it(struct mk *m)
{
	struct pxar_source src;
	struct pxar *a;

	mk_finish(m);
	src = mk_source(m);
	assert_int_equal(pxar_open(&src, &a), 0);
	return a;
}

/* Ends the archive and reads the entry at pos. */
static int
stat_at(struct mk *m, uint64_t pos, unsigned flags, struct pxar_entry *e)
{
	struct pxar *a = open_it(m);
	int r;

	r = pxar_stat(a, pos, flags, e);
	pxar_close(a);
	return r;
}

/* The same, and the archive with it. */
static int
stat_and_forget(struct mk *m, uint64_t pos, unsigned flags)
{
	struct pxar_entry e;
	int r;

	r = stat_at(m, pos, flags, &e);
	pxar_entry_fini(&e);
	mk_fini(m);
	return r;
}

static void
attributes_of_a_file(void **state)
{
	struct pxar_entry e;
	struct mk m;
	uint64_t pos;

	(void)state;
	begin(&m, 1);
	pos = mk_file(&m, "f", &some, "12345", 5);
	mk_file(&m, "next", &some, "x", 1);
	assert_int_equal(stat_at(&m, pos, PXAR_META, &e), 0);
	assert_int_equal(e.pos, pos);
	assert_int_equal(e.mode, S_IFREG | 04751);
	assert_int_equal(e.flags, 0x420000);
	assert_int_equal(e.uid, 1000);
	assert_int_equal(e.gid, 4294967294u);
	assert_int_equal(e.mtime_sec, -2);
	assert_int_equal(e.mtime_nsec, 999999999);
	assert_int_equal(e.size, 5);
	assert_memory_equal(m.main.p + e.content, "12345", 5);
	assert_int_equal(e.end, e.content + 5);
	assert_false(e.has_meta);
	assert_null(e.meta);
	pxar_entry_fini(&e);
	mk_fini(&m);
}

static void
entry_of_old_archives(void **state)
{
	struct mk_attr old = some;
	struct pxar_entry e;
	struct mk m;
	uint64_t pos;

	(void)state;
	old.old = 1;
	old.sec = 1593179765;
	old.nsec = 123456789;
	mk_init(&m, 1);
	mk_root(&m, &(struct mk_attr){.mode = S_IFDIR | 0700, .old = 1});
	pos = mk_file(&m, "f", &old, "", 0);
	assert_int_equal(stat_at(&m, pos, 0, &e), 0);
	assert_int_equal(e.mode, S_IFREG | 04751);
	assert_int_equal(e.flags, 0x420000);
	assert_int_equal(e.uid, 1000);
	assert_int_equal(e.gid, 4294967294u);
	assert_int_equal(e.mtime_sec, 1593179765);
	assert_int_equal(e.mtime_nsec, 123456789);
	assert_int_equal(e.size, 0);
	mk_fini(&m);
}

static void
nanoseconds_out_of_range(void **state)
{
	struct mk_attr a = some;
	struct mk m;
	uint64_t pos;

	(void)state;
	a.nsec = 1000000000;
	begin(&m, 1);
	pos = mk_file(&m, "f", &a, "", 0);
	assert_int_equal(stat_and_forget(&m, pos, 0), -EBADMSG);
}

static void
kinds_without_content(void **state)
{
	static const uint32_t kinds[] = {S_IFIFO, S_IFSOCK};
	struct pxar_entry e;
	struct pxar *a;
	struct mk m;
	uint64_t pos[4];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		begin(&m, 1);
		pos[0] = mk_special(&m, "first", MK(kinds[i] | 0600));
		mk_dir(&m, "d", MK(S_IFDIR | 0755));
		mk_xattr(&m, "user.a", "b", 1);
		pos[1] = mk_special(&m, "last", MK(kinds[i] | 0644));
		mk_up(&m);
		pos[2] = mk_special(&m, "z", MK(kinds[i]));
		a = open_it(&m);
		/* Ended by a name, by a table, by the root's table. */
		assert_int_equal(pxar_stat(a, pos[0], 0, &e), 0);
		assert_int_equal(e.mode, kinds[i] | 0600);
		assert_int_equal(pxar_stat(a, pos[1], PXAR_META, &e), 0);
		assert_int_equal(e.mode, kinds[i] | 0644);
		assert_true(e.has_meta);
		assert_int_equal(e.meta->n_xattrs, 1);
		pxar_entry_fini(&e);
		assert_int_equal(pxar_stat(a, pos[2], 0, &e), 0);
		assert_int_equal(e.mode, kinds[i]);
		assert_int_equal(e.end, pxar_root(a));
		pxar_close(a);
		mk_fini(&m);
	}
}

static void
fifo_with_content(void **state)
{
	struct mk m;
	uint64_t pos;

	(void)state;
	begin(&m, 1);
	pos = mk_file(&m, "f", MK(S_IFIFO | 0600), "", 0);
	assert_int_equal(stat_and_forget(&m, pos, 0), -EBADMSG);
}

static void
devices(void **state)
{
	struct pxar_entry e;
	struct mk m;
	uint64_t pos;

	(void)state;
	begin(&m, 1);
	pos = mk_device(&m, "d", MK(S_IFBLK | 0660), 2748, 344865);
	assert_int_equal(stat_at(&m, pos, 0, &e), 0);
	assert_int_equal(e.dev_major, 2748);
	assert_int_equal(e.dev_minor, 344865);
	mk_fini(&m);

	begin(&m, 1);
	pos = mk_special(&m, "d", MK(S_IFCHR | 0660));
	assert_int_equal(stat_and_forget(&m, pos, 0), -EBADMSG);
}

/* A symlink of these raw bytes. */
static uint64_t
raw_symlink(struct mk *m, const char *bytes, size_t len)
{
	uint64_t pos = mk_name(m, "l", 1);

	mk_entry(m, MK(S_IFLNK | 0777));
	mk_record(&m->main, PXAR_SYMLINK, bytes, len);
	mk_add(m, "l", 1, pos, 0);
	return pos;
}

static void
symlinks(void **state)
{
	static char long_target[PXAR_TARGET_MAX + 2];
	struct pxar_entry e;
	struct mk m;
	uint64_t pos;

	(void)state;
	/* In place of the NUL anything may stand, and is dropped. */
	begin(&m, 1);
	pos = raw_symlink(&m, "hostname!", 9);
	assert_int_equal(stat_at(&m, pos, 0, &e), 0);
	assert_string_equal(e.target, "hostname");
	assert_int_equal(e.size, 8);
	pxar_entry_fini(&e);
	mk_fini(&m);

	memset(long_target, 'x', sizeof(long_target) - 1);
	begin(&m, 1);
	pos = raw_symlink(&m, long_target, PXAR_TARGET_MAX + 1);
	assert_int_equal(stat_at(&m, pos, 0, &e), 0);
	assert_int_equal(e.size, PXAR_TARGET_MAX);
	pxar_entry_fini(&e);
	mk_fini(&m);

	begin(&m, 1);
	pos = raw_symlink(&m, long_target, PXAR_TARGET_MAX + 2);
	assert_int_equal(stat_and_forget(&m, pos, 0), -EBADMSG);
	begin(&m, 1);
	pos = raw_symlink(&m, "", 1);
	assert_int_equal(stat_and_forget(&m, pos, 0), -EBADMSG);
	begin(&m, 1);
	pos = raw_symlink(&m, "", 0);
	assert_int_equal(stat_and_forget(&m, pos, 0), -EBADMSG);
	begin(&m, 1);
	pos = raw_symlink(&m, "a\0b", 4);
	assert_int_equal(stat_and_forget(&m, pos, 0), -EBADMSG);
}

static void
file_without_payload(void **state)
{
	struct mk m;
	uint64_t pos;

	(void)state;
	begin(&m, 1);
	pos = mk_special(&m, "f", MK(S_IFREG | 0644));
	mk_file(&m, "g", MK(S_IFREG | 0644), "x", 1);
	assert_int_equal(stat_and_forget(&m, pos, 0), -EBADMSG);
}

static void
unknown_type_of_file(void **state)
{
	struct mk m;
	uint64_t pos;

	(void)state;
	begin(&m, 1);
	pos = mk_file(&m, "f", MK(0030000 | 0644), "x", 1);
	assert_int_equal(stat_and_forget(&m, pos, 0), -EBADMSG);
}

static void
unknown_record(void **state)
{
	struct mk m;
	uint64_t pos;

	(void)state;
	begin(&m, 1);
	mk_numbers(&m, 0x1234, NULL, 0);
	pos = mk_file(&m, "f", &some, "x", 1);
	assert_int_equal(stat_and_forget(&m, pos, 0), -EBADMSG);
}

/* A file with a PAYLOAD_REF of these numbers. */
static uint64_t
raw_ref(struct mk *m, uint64_t offset, uint64_t size)
{
	uint64_t pos = mk_name(m, "f", 1);

	mk_entry(m, MK(S_IFREG | 0644));
	mk_head(&m->main, PXAR_PAYLOAD_REF, 16);
	mk_put64(&m->main, offset);
	mk_put64(&m->main, size);
	mk_add(m, "f", 1, pos, 0);
	return pos;
}

static void
references(void **state)
{
	struct pxar_source payload;
	struct pxar_entry e;
	uint64_t pos, off;
	struct mk m;

	(void)state;
	/* Overflow, and a reference with nothing to refer to. */
	begin(&m, 2);
	pos = raw_ref(&m, UINT64_MAX - 100, 100);
	assert_int_equal(stat_and_forget(&m, pos, 0), -EBADMSG);
	/* No file can be that large: st_size is signed. */
	begin(&m, 2);
	pos = raw_ref(&m, 16, (uint64_t)1 << 63);
	assert_int_equal(stat_and_forget(&m, pos, 0), -EBADMSG);
	begin(&m, 1);
	pos = raw_ref(&m, 16, 1);
	assert_int_equal(stat_and_forget(&m, pos, 0), -EBADMSG);

	/* The payload stream decides the rest. */
	begin(&m, 2);
	pos = mk_file(&m, "f", &some, "12345", 5);
	assert_int_equal(stat_at(&m, pos, 0, &e), 0);
	payload = mk_payload_source(&m);
	assert_int_equal(pxar_check_payload(&payload, &e, &off), 0);
	assert_memory_equal(m.payload.p + off, "12345", 5);
	e.size = 4;
	assert_int_equal(pxar_check_payload(&payload, &e, &off), -EBADMSG);
	e.size = UINT64_MAX - 20;
	assert_int_equal(pxar_check_payload(&payload, &e, &off), -EBADMSG);
	e.size = 5;
	e.content = 15;
	assert_int_equal(pxar_check_payload(&payload, &e, &off), -EBADMSG);
	e.content = payload.size;
	assert_int_equal(pxar_check_payload(&payload, &e, &off), -EBADMSG);
	e.content = 16;
	m.payload.p[16] ^= 1;
	assert_int_equal(pxar_check_payload(&payload, &e, &off), -EBADMSG);
	m.payload.p[16] ^= 1;
	e.is_ref = false;
	assert_int_equal(pxar_check_payload(&payload, &e, &off), -EBADMSG);
	mk_fini(&m);
}

/* A FILENAME record of these raw bytes. */
static int
name_of(const char *bytes, size_t len)
{
	struct mk m;
	uint64_t pos;

	begin(&m, 1);
	pos = m.main.len;
	mk_record(&m.main, PXAR_FILENAME, bytes, len);
	mk_entry(&m, MK(S_IFIFO | 0600));
	mk_add(&m, bytes, len, pos, 0);
	return stat_and_forget(&m, pos, 0);
}

static void
names(void **state)
{
	static char longest[PXAR_NAME_MAX + 2];

	(void)state;
	assert_int_equal(name_of("a", 2), 0);
	assert_int_equal(name_of("\xff\xfe\n", 4), 0);
	assert_int_equal(name_of("...", 4), 0);
	assert_int_equal(name_of(".a", 3), 0);
	assert_int_equal(name_of("", 0), -EBADMSG);
	assert_int_equal(name_of("", 1), -EBADMSG);
	assert_int_equal(name_of("a", 1), -EBADMSG);
	assert_int_equal(name_of("ab", 2), -EBADMSG);
	assert_int_equal(name_of("a\0b", 4), -EBADMSG);
	assert_int_equal(name_of(".", 2), -EBADMSG);
	assert_int_equal(name_of("..", 3), -EBADMSG);
	assert_int_equal(name_of("../a", 5), -EBADMSG);
	assert_int_equal(name_of("/", 2), -EBADMSG);
	memset(longest, 'n', PXAR_NAME_MAX);
	assert_int_equal(name_of(longest, PXAR_NAME_MAX + 1), 0);
	longest[PXAR_NAME_MAX] = 'n';
	assert_int_equal(name_of(longest, PXAR_NAME_MAX + 2), -EBADMSG);
}

static void
position_of_nothing(void **state)
{
	struct pxar_entry e;
	struct pxar_dir *d;
	struct pxar *a;
	uint64_t dir, file;
	struct mk m;

	(void)state;
	begin(&m, 1);
	dir = mk_dir(&m, "d", MK(S_IFDIR | 0755));
	file = mk_file(&m, "f", &some, "12345", 5);
	mk_up(&m);
	a = open_it(&m);
	assert_int_equal(pxar_stat(a, 0, 0, &e), -ENOENT);
	assert_int_equal(pxar_stat(a, file + 1, 0, &e), -ENOENT);
	/* A directory is where its table is. */
	assert_int_equal(pxar_stat(a, dir, 0, &e), -ENOENT);
	assert_int_equal(pxar_stat(a, pxar_root(a) + 1, 0, &e), -ENOENT);
	assert_int_equal(pxar_stat(a, m.main.len, 0, &e), -ENOENT);
	assert_int_equal(pxar_dir_open(a, pxar_root(a) + 1, &d), -ENOENT);
	assert_int_equal(pxar_stat(a, UINT64_MAX, 0, &e), -ENOENT);
	pxar_close(a);
	mk_fini(&m);
}

static void
prelude_and_version(void **state)
{
	struct pxar_source src;
	struct pxar_entry e;
	uint64_t off, len;
	struct pxar *a;
	struct mk m;

	(void)state;
	mk_init(&m, 2);
	mk_prelude(&m, "{\"exclude-patterns\":\"/x\"}");
	mk_root(&m, MK(S_IFDIR | 01777));
	a = open_it(&m);
	pxar_prelude(a, &off, &len);
	assert_int_equal(len, 25);
	assert_memory_equal(m.main.p + off, "{\"exclude", 9);
	assert_int_equal(pxar_stat(a, pxar_root(a), 0, &e), 0);
	assert_int_equal(e.mode, S_IFDIR | 01777);
	pxar_close(a);

	src = mk_source(&m);
	put_le64(m.main.p + 16, 3);
	assert_int_equal(pxar_open(&src, &a), -EBADMSG);
	mk_fini(&m);
}

static void
another_source(void **state)
{
	struct pxar_source src;
	struct pxar_entry e;
	struct pxar *a, *b;
	unsigned long reads;
	struct mk m, copy;

	(void)state;
	begin(&m, 1);
	a = open_it(&m);
	mk_init(&copy, 1);
	mk_put(&copy.main, m.main.p, m.main.len);
	src = mk_source(&copy);
	assert_int_equal(pxar_with_source(a, &src, &b), 0);
	assert_int_equal(copy.reads, 0);
	reads = m.reads;
	assert_int_equal(pxar_stat(b, pxar_root(b), 0, &e), 0);
	assert_int_equal(m.reads, reads);
	assert_int_not_equal(copy.reads, 0);
	pxar_close(a);
	pxar_close(b);

	/* Not the same archive. */
	src = mk_source(&m);
	assert_int_equal(pxar_open(&src, &a), 0);
	src.size++;
	assert_int_equal(pxar_with_source(a, &src, &b), -EINVAL);
	pxar_close(a);
	mk_fini(&m);
	mk_fini(&copy);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(attributes_of_a_file),
	    cmocka_unit_test(entry_of_old_archives),
	    cmocka_unit_test(nanoseconds_out_of_range),
	    cmocka_unit_test(kinds_without_content),
	    cmocka_unit_test(fifo_with_content),
	    cmocka_unit_test(devices),
	    cmocka_unit_test(symlinks),
	    cmocka_unit_test(file_without_payload),
	    cmocka_unit_test(unknown_type_of_file),
	    cmocka_unit_test(unknown_record),
	    cmocka_unit_test(references),
	    cmocka_unit_test(names),
	    cmocka_unit_test(position_of_nothing),
	    cmocka_unit_test(prelude_and_version),
	    cmocka_unit_test(another_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
