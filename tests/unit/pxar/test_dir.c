/* SPDX-License-Identifier: GPL-3.0-or-later */

/* Directories: listing, lookup, and what they cost. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/num.h"
#include "pbs/pxar.h"
#include "pbs/pxar_format.h"
#include "pbs/siphash.h"

#include "../cm.h"
#include "mkpxar.h"

#define FIFO MK(S_IFIFO | 0600)
#define DIR_ MK(S_IFDIR | 0755)
#define FILE_ MK(S_IFREG | 0644)

struct tree {
	struct mk m;
	struct pxar *a;
	struct pxar_dir *d;	/* of the root */
};

static void
begin(struct tree *t, int version)
{
	memset(t, 0, sizeof(*t));
	mk_init(&t->m, version);
	mk_root(&t->m, DIR_);
}

static void
end(struct tree *t)
{
	struct pxar_source src;

	mk_finish(&t->m);
	src = mk_source(&t->m);
	assert_int_equal(pxar_open(&src, &t->a), 0);
	assert_int_equal(pxar_dir_open(t->a, pxar_root(t->a), &t->d), 0);
}

static void
fini(struct tree *t)
{
	pxar_dir_unref(t->d);
	pxar_close(t->a);
	mk_fini(&t->m);
}

/* The item of the root's table that leads to the entry at begin. */
static uint8_t *
item_of(struct tree *t, uint64_t pos)
{
	uint64_t table = t->m.last_goodbye;
	uint8_t *p = t->m.main.p + table + PXAR_HEADER_SIZE;

	while (get_le64(p) != PXAR_TAIL_HASH && get_le64(p + 8) != table - pos)
		p += PXAR_ITEM_SIZE;
	assert_true(get_le64(p) != PXAR_TAIL_HASH);
	return p;
}

static int
entry(struct tree *t, size_t i, char *name)
{
	struct pxar_entry e;
	uint64_t link;
	int r;

	r = pxar_dir_entry(t->a, t->d, i, PXAR_META, name, &e, &link);
	pxar_entry_fini(&e);
	return r;
}

static int
find(struct tree *t, const char *name, uint64_t *pos)
{
	struct pxar_entry e;
	int r;

	r = pxar_dir_find(t->a, t->d, name, strlen(name), 0, &e);
	*pos = e.pos;
	pxar_entry_fini(&e);
	return r;
}

static int
no_link(void *arg, uint64_t pos)
{
	(void)arg;
	(void)pos;
	return 0;
}

static void
empty(void **state)
{
	struct tree t;
	uint64_t pos;

	(void)state;
	begin(&t, 1);
	end(&t);
	assert_int_equal(pxar_dir_count(t.d), 0);
	assert_int_equal(find(&t, "a", &pos), -ENOENT);
	fini(&t);
}

static void
order_of_the_archive(void **state)
{
	static const char *names[] = {"b", "a", "zz", "m", ".pxarexclude-cli"};
	char name[PXAR_NAME_MAX + 1];
	struct tree t;
	size_t i;

	(void)state;
	begin(&t, 1);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		mk_file(&t.m, names[i], FILE_, "content", 7);
	end(&t);
	assert_int_equal(pxar_dir_count(t.d), ARRAY_SIZE(names));
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(entry(&t, i, name), 0);
		assert_string_equal(name, names[i]);
	}
	fini(&t);
}

static void
names_of_any_bytes(void **state)
{
	static char n255[256], n4096[PXAR_NAME_MAX + 1];
	const char *names[] = {"\xff\xc3", "a\nb", "\x01", n255, n4096};
	char name[PXAR_NAME_MAX + 1];
	struct tree t;
	uint64_t pos;
	size_t i;

	(void)state;
	memset(n255, 'n', 255);
	memset(n4096, 'm', PXAR_NAME_MAX);
	begin(&t, 2);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		mk_file(&t.m, names[i], FILE_, "content", 7);
	end(&t);
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(entry(&t, i, name), 0);
		assert_string_equal(name, names[i]);
		assert_int_equal(find(&t, names[i], &pos), 0);
	}
	assert_int_equal(find(&t, "", &pos), -ENOENT);
	assert_int_equal(find(&t, "A\nb", &pos), -ENOENT);
	fini(&t);
}

static void
find_takes_a_length(void **state)
{
	struct pxar_entry e;
	struct tree t;

	(void)state;
	begin(&t, 1);
	mk_special(&t.m, "ab", FIFO);
	end(&t);
	assert_int_equal(pxar_dir_find(t.a, t.d, "abc", 2, 0, &e), 0);
	assert_int_equal(pxar_dir_find(t.a, t.d, "ab", 3, 0, &e), -ENOENT);
	fini(&t);
}

static void
subdirectories(void **state)
{
	char name[PXAR_NAME_MAX + 1];
	struct pxar_dir *d;
	struct pxar_entry e, f;
	uint64_t link, table;
	struct tree t;

	(void)state;
	begin(&t, 2);
	mk_file(&t.m, "a", FILE_, "x", 1);
	mk_xattr(&t.m, "user.d", "v", 1);
	mk_dir(&t.m, "d", MK(S_IFDIR | 02770));
	mk_file(&t.m, "x", FILE_, "xyz", 3);
	table = mk_up(&t.m);
	mk_file(&t.m, "z", FILE_, "z", 1);
	end(&t);
	assert_int_equal(
	    pxar_dir_entry(t.a, t.d, 1, PXAR_META, name, &e, &link), 0);
	assert_string_equal(name, "d");
	assert_int_equal(e.pos, table);
	assert_int_equal(e.mode, S_IFDIR | 02770);
	assert_int_equal(e.meta->n_xattrs, 1);
	assert_int_equal(pxar_dir_open(t.a, e.pos, &d), 0);
	assert_int_equal(pxar_dir_count(d), 1);
	assert_int_equal(pxar_dir_entry(t.a, d, 0, 0, name, &f, &link), 0);
	assert_string_equal(name, "x");
	assert_int_equal(f.size, 3);
	/* From its position alone, as an inode number gives it. */
	assert_int_equal(pxar_stat(t.a, table, PXAR_META, &f), 0);
	assert_int_equal(f.pos, table);
	assert_int_equal(f.mode, S_IFDIR | 02770);
	assert_int_equal(f.meta->n_xattrs, 1);
	assert_int_equal(f.end, e.end);
	pxar_entry_fini(&f);
	pxar_entry_fini(&e);
	pxar_dir_unref(d);
	fini(&t);
}

static void
references_are_counted(void **state)
{
	struct pxar_dir *d;
	struct tree t;

	(void)state;
	begin(&t, 1);
	mk_special(&t.m, "a", FIFO);
	end(&t);
	d = pxar_dir_ref(t.d);
	pxar_dir_unref(t.d);
	assert_int_equal(pxar_dir_count(d), 1);
	pxar_dir_unref(NULL);
	fini(&t);
}

static void
hard_links(void **state)
{
	char name[PXAR_NAME_MAX + 1];
	struct pxar_entry e;
	uint64_t file, second, link;
	struct tree t;

	(void)state;
	begin(&t, 2);
	mk_dir(&t.m, "d", DIR_);
	file = mk_file(&t.m, "first", FILE_, "12345", 5);
	mk_up(&t.m);
	second = mk_link(&t.m, "second", file, "d/first");
	end(&t);
	assert_int_equal(pxar_dir_entry(t.a, t.d, 1, 0, name, &e, &link), 0);
	assert_string_equal(name, "second");
	assert_int_equal(link, second);
	assert_int_equal(e.pos, file);
	assert_int_equal(e.size, 5);
	assert_int_equal(e.content, 16);
	assert_int_equal(pxar_dir_find(t.a, t.d, "second", 6, 0, &e), 0);
	assert_int_equal(e.pos, file);
	assert_int_equal(pxar_stat(t.a, second, 0, &e), 0);
	assert_int_equal(e.pos, file);
	fini(&t);
}

static void
wrong_links(void **state)
{
	static const struct {
		const char *path;
		int64_t move;	/* of the target */
		int r;
	} cases[] = {
	    {"first", 0, 0},
	    {"other/first", 0, 0},
	    {"first", 1, -EBADMSG},
	    {"first", -1, -EBADMSG},
	    {"second", 0, -EBADMSG},	/* the file has another name */
	    {"/first", 0, -EBADMSG},
	    {"a//first", 0, -EBADMSG},
	    {"../first", 0, -EBADMSG},
	    {"a/../first", 0, -EBADMSG},
	    {"./first", 0, -EBADMSG},
	    {"first/", 0, -EBADMSG},
	    {"first/..", 0, -EBADMSG},
	    {"", 0, -EBADMSG},
	};
	uint64_t file, pos;
	struct tree t;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		begin(&t, 1);
		file = mk_file(&t.m, "first", FILE_, "12345", 5);
		mk_link(&t.m, "second", file + (uint64_t)cases[i].move,
		    cases[i].path);
		end(&t);
		assert_int_equal(find(&t, "second", &pos), cases[i].r);
		assert_int_equal(find(&t, "first", &pos), 0);
		fini(&t);
	}
}

static void
links_to_what_is_no_file(void **state)
{
	uint64_t file, link, dir, fifo, pos;
	struct tree t;

	(void)state;
	begin(&t, 1);
	file = mk_file(&t.m, "f", FILE_, "12345", 5);
	link = mk_link(&t.m, "g", file, "f");
	mk_link(&t.m, "to-link", link, "g");
	dir = mk_dir(&t.m, "d", DIR_);
	mk_up(&t.m);
	mk_link(&t.m, "to-dir", dir, "d");
	fifo = mk_special(&t.m, "p", FIFO);
	mk_link(&t.m, "to-fifo", fifo, "p");
	mk_link(&t.m, "to-self", t.m.main.len, "to-self");
	mk_link(&t.m, "to-root", 0, "f");
	mk_link(&t.m, "before", 0 - (uint64_t)100, "f");
	mk_link(&t.m, "forward", t.m.main.len + 59, "later");
	mk_file(&t.m, "later", FILE_, "12345", 5);
	end(&t);
	assert_int_equal(find(&t, "g", &pos), 0);
	assert_int_equal(find(&t, "to-link", &pos), -EBADMSG);
	assert_int_equal(find(&t, "to-dir", &pos), -EBADMSG);
	assert_int_equal(find(&t, "to-fifo", &pos), -EBADMSG);
	assert_int_equal(find(&t, "to-self", &pos), -EBADMSG);
	assert_int_equal(find(&t, "to-root", &pos), -EBADMSG);
	assert_int_equal(find(&t, "before", &pos), -EBADMSG);
	assert_int_equal(find(&t, "forward", &pos), -EBADMSG);
	assert_int_equal(find(&t, "later", &pos), 0);
	fini(&t);
}

static void
link_without_end(void **state)
{
	static char longest[PXAR_TARGET_MAX + 1];
	struct tree t;
	uint64_t pos;

	(void)state;
	memset(longest, 'x', PXAR_TARGET_MAX);
	begin(&t, 1);
	mk_file(&t.m, "f", FILE_, "12345", 5);
	mk_link(&t.m, "g", 56, "f");
	t.m.main.p[t.m.main.len - 1] = '!';
	mk_link(&t.m, "h", 56, longest);
	t.m.main.p[t.m.main.len - 1] = 'x';
	end(&t);
	assert_int_equal(find(&t, "f", &pos), 0);
	assert_int_equal(find(&t, "g", &pos), -EBADMSG);
	assert_int_equal(find(&t, "h", &pos), -EBADMSG);
	fini(&t);
}

/* Two names that really have the same SipHash under the format's keys. */
static void
equal_hashes(void **state)
{
	static const char *const twins[] = {"uvYQZ_oNp-P", "rfKRFyYtruD"};
	uint64_t pos[2], found, h;
	char name[8] = "x0";
	struct tree t;
	int i;

	(void)state;
	h = siphash_24(PXAR_HASH_K0, PXAR_HASH_K1, twins[0], strlen(twins[0]));
	assert_true(h ==
	    siphash_24(PXAR_HASH_K0, PXAR_HASH_K1, twins[1],
		strlen(twins[1])));
	begin(&t, 1);
	for (i = 0; i < 50; i++) {
		name[1] = (char)('A' + i);
		mk_special(&t.m, name, FIFO);
	}
	pos[0] = mk_file(&t.m, twins[0], FILE_, "0", 1);
	pos[1] = mk_file(&t.m, twins[1], FILE_, "1", 1);
	end(&t);
	for (i = 0; i < 2; i++) {
		assert_int_equal(find(&t, twins[i], &found), 0);
		assert_int_equal(found, pos[i]);
	}
	/* One of them damaged: the other is still found. */
	t.m.main.p[pos[0] + PXAR_HEADER_SIZE] ^= 1;
	assert_int_equal(find(&t, twins[1], &found), 0);
	assert_int_equal(find(&t, twins[0], &found), -EBADMSG);
	fini(&t);
}

/* One damaged item or entry fails alone. */
static void
damaged_items(void **state)
{
	static const struct {
		size_t off;	/* in the item */
		uint64_t value;
	} cases[] = {
	    {0, 0x1234},	/* hash */
	    {8, 0},		/* offset: the table itself */
	    {8, 1},
	    {8, UINT64_MAX},
	    {8, 40},
	    {16, 0},		/* size */
	    {16, 20},
	    {16, 80},
	    {16, 95},		/* ends in the content */
	};
	char name[PXAR_NAME_MAX + 1];
	struct pxar_source src;
	uint64_t pos, found;
	struct tree t;
	size_t i, k, bad;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		begin(&t, 1);
		mk_file(&t.m, "a", FILE_, "content", 7);
		pos = mk_file(&t.m, "b", FILE_, "content", 7);
		mk_file(&t.m, "c", FILE_, "content", 7);
		mk_finish(&t.m);
		put_le64(item_of(&t, pos) + cases[i].off, cases[i].value);
		src = mk_source(&t.m);
		assert_int_equal(pxar_open(&src, &t.a), 0);
		assert_int_equal(pxar_dir_open(t.a, pxar_root(t.a), &t.d), 0);
		assert_int_equal(pxar_dir_count(t.d), 3);
		for (k = bad = 0; k < 3; k++)
			bad += entry(&t, k, name) == -EBADMSG;
		assert_int_equal(bad, 1);
		assert_int_equal(find(&t, "a", &found), 0);
		assert_int_equal(find(&t, "c", &found), 0);
		assert_int_equal(find(&t, "b", &found),
		    cases[i].off == 0 ? -ENOENT : -EBADMSG);
		fini(&t);
	}
}

/* A size that is too large matters to a directory only. */
static void
sizes_are_bounds(void **state)
{
	struct pxar_source src;
	uint64_t file, dir, found;
	struct tree t;
	uint64_t grow[] = {1, 100000, 0 - (uint64_t)1000};
	uint8_t *p;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(grow); i++) {
		begin(&t, 2);
		file = mk_file(&t.m, "f", FILE_, "content", 7);
		mk_special(&t.m, "p", FIFO);
		dir = mk_dir(&t.m, "d", DIR_);
		mk_up(&t.m);
		mk_special(&t.m, "q", FIFO);
		mk_finish(&t.m);
		p = item_of(&t, file) + 16;
		put_le64(p, get_le64(p) + grow[i]);
		if (grow[i] > 1u << 31)
			put_le64(p, UINT64_MAX);
		p = item_of(&t, dir) + 16;
		put_le64(p, get_le64(p) + grow[i]);
		src = mk_source(&t.m);
		assert_int_equal(pxar_open(&src, &t.a), 0);
		assert_int_equal(pxar_dir_open(t.a, pxar_root(t.a), &t.d), 0);
		assert_int_equal(find(&t, "f", &found), 0);
		assert_int_equal(find(&t, "p", &found), 0);
		assert_int_equal(find(&t, "q", &found), 0);
		assert_int_equal(find(&t, "d", &found), -EBADMSG);
		fini(&t);
	}
}

#define MANY 100000

/* A directory of many entries, in which a read never reaches far. */
static void
many_entries(void **state)
{
	char name[PXAR_NAME_MAX + 1], want[32];
	unsigned long reads, bytes;
	uint64_t found;
	struct tree t;
	size_t i;

	(void)state;
	begin(&t, 2);
	for (i = 0; i < MANY; i++) {
		snprintf(want, sizeof(want), "file-%06zu", i);
		mk_file(&t.m, want, FILE_, "content", 7);
	}
	mk_finish(&t.m);
	t.m.reads = t.m.bytes = 0;
	end(&t);
	/* Ends of the archive, header, tail, table. */
	assert_in_range(t.m.reads, 1, 8);
	assert_in_range(t.m.bytes, 1, (MANY + 1000) * PXAR_ITEM_SIZE);
	assert_int_equal(pxar_dir_count(t.d), MANY);
	assert_in_range(pxar_dir_memory(t.d), MANY * 24, MANY * 28 + 200);

	reads = t.m.reads;
	bytes = t.m.bytes;
	for (i = 0; i < MANY; i++) {
		assert_int_equal(entry(&t, i, name), 0);
		snprintf(want, sizeof(want), "file-%06zu", i);
		assert_string_equal(name, want);
	}
	assert_in_range(t.m.reads - reads, 1, MANY);
	assert_in_range(t.m.bytes - bytes, 1, MANY * 512);

	reads = t.m.reads;
	for (i = 0; i < MANY; i += 7) {
		snprintf(want, sizeof(want), "file-%06zu", i);
		assert_int_equal(find(&t, want, &found), 0);
	}
	assert_in_range(t.m.reads - reads, 1, MANY / 7 + 1);
	reads = t.m.reads;
	assert_int_equal(find(&t, "file-100000", &found), -ENOENT);
	assert_int_equal(t.m.reads, reads);
	fini(&t);
}

static void
errors_of_the_source(void **state)
{
	char name[PXAR_NAME_MAX + 1];
	struct pxar_source src;
	struct pxar_dir *d;
	uint64_t found;
	struct tree t;
	unsigned long n;

	(void)state;
	begin(&t, 1);
	mk_file(&t.m, "a", FILE_, "content", 7);
	end(&t);
	t.m.fail_at = t.m.reads + 1;
	assert_int_equal(entry(&t, 0, name), -EIO);
	t.m.fail_at = t.m.reads + 1;
	assert_int_equal(find(&t, "a", &found), -EIO);
	assert_int_equal(find(&t, "a", &found), 0);
	t.m.fail_at = t.m.reads + 1;
	assert_int_equal(pxar_dir_open(t.a, pxar_root(t.a), &d), -EIO);
	pxar_close(t.a);
	for (n = 1;; n++) {
		t.m.reads = 0;
		t.m.fail_at = n;
		src = mk_source(&t.m);
		if (pxar_open(&src, &t.a) == 0)
			break;
	}
	assert_in_range(n, 2, 4);
	fini(&t);
}

/* Every read of a call fails once: it says so, and the next call is right. */
static void
every_read_fails(struct tree *t, int (*call)(struct tree *t, size_t i),
    size_t i)
{
	unsigned long n;
	int r;

	for (n = 1;; n++) {
		t->m.reads = 0;
		t->m.fail_at = n;
		r = call(t, i);
		t->m.fail_at = 0;
		if (r == 0)
			break;
		assert_int_equal(r, -EIO);
	}
	assert_in_range(n, 2, 40);
}

static int
call_entry(struct tree *t, size_t i)
{
	char name[PXAR_NAME_MAX + 1];

	return entry(t, i, name);
}

static int
call_position(struct tree *t, size_t i)
{
	char name[PXAR_NAME_MAX + 1];
	struct pxar_entry e;
	struct pxar_dir *d;
	uint64_t link, pos;
	char *path;
	int r;

	r = pxar_dir_entry(t->a, t->d, i, 0, name, &e, &link);
	if (r < 0)
		return r;
	pos = e.pos;
	pxar_entry_fini(&e);
	r = pxar_stat(t->a, pos, PXAR_META, &e);
	if (r < 0)
		return r;
	if (S_ISDIR(e.mode)) {
		r = pxar_dir_open(t->a, pos, &d);
		if (r < 0)
			goto out;
		pxar_dir_unref(d);
	}
	r = pxar_path(t->a, pos, &path);
	if (r < 0)
		goto out;
	free(path);
	r = pxar_links(t->a, no_link, NULL);
out:
	pxar_entry_fini(&e);
	return r;
}

/* With gaps of all widths, so that each record is once the one that needs the
 * next read. */
static void
errors_in_every_record(void **state)
{
	static char gap[5000], target[PXAR_TARGET_MAX + 1];
	const uint64_t v[] = {7, 5, 0, 7};
	struct tree t;
	uint64_t file;
	size_t width, i;

	(void)state;
	memset(target, 't', PXAR_TARGET_MAX);
	for (width = 0; width < 4700; width += width < 600 ? 12 : 400) {
		begin(&t, 2);
		mk_xattr(&t.m, "user.gap", gap, width);
		mk_xattr(&t.m, "user.a", "1", 1);
		mk_numbers(&t.m, PXAR_ACL_USER, v, 2);
		mk_numbers(&t.m, PXAR_ACL_GROUP_OBJ, v, 1);
		mk_numbers(&t.m, PXAR_ACL_DEFAULT, v, 4);
		mk_record(&t.m.pending, PXAR_FCAPS, "caps", 4);
		mk_numbers(&t.m, PXAR_QUOTA_PROJID, v, 1);
		file = mk_file(&t.m, "f", FILE_, "x", 1);
		mk_xattr(&t.m, "user.gap", gap, width);
		mk_device(&t.m, "c", MK(S_IFCHR | 0600), 1, 3);
		mk_xattr(&t.m, "user.gap", gap, width);
		mk_symlink(&t.m, "s", MK(S_IFLNK | 0777), target);
		mk_xattr(&t.m, "user.gap", gap, width);
		mk_dir(&t.m, "d", DIR_);
		for (i = 0; i < width / 8; i++)
			mk_link(&t.m, "l", file, "f");
		mk_up(&t.m);
		mk_link(&t.m, "l", file, "f");
		end(&t);
		for (i = 0; i < pxar_dir_count(t.d); i++)
			every_read_fails(&t, call_entry, i);
		if (width < 100)
			every_read_fails(&t, call_position, 3);
		fini(&t);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(empty),
	    cmocka_unit_test(order_of_the_archive),
	    cmocka_unit_test(names_of_any_bytes),
	    cmocka_unit_test(find_takes_a_length),
	    cmocka_unit_test(subdirectories),
	    cmocka_unit_test(references_are_counted),
	    cmocka_unit_test(hard_links),
	    cmocka_unit_test(wrong_links),
	    cmocka_unit_test(links_to_what_is_no_file),
	    cmocka_unit_test(link_without_end),
	    cmocka_unit_test(equal_hashes),
	    cmocka_unit_test(damaged_items),
	    cmocka_unit_test(sizes_are_bounds),
	    cmocka_unit_test(many_entries),
	    cmocka_unit_test(errors_of_the_source),
	    cmocka_unit_test(errors_in_every_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
