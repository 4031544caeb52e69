/* SPDX-License-Identifier: GPL-3.0-or-later */

/* Archives that were cut, bent, or made to harm: every call ends with an
 * answer, after few reads. */
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

#define DIR_ MK(S_IFDIR | 0755)
#define FILE_ MK(S_IFREG | 0644)
#define FIFO MK(S_IFIFO | 0600)
#define N(...)                                                                 \
	(const uint64_t[]){__VA_ARGS__},                                       \
	    ARRAY_SIZE(((const uint64_t[]){__VA_ARGS__}))

/* One of each kind, in little space. */
static void
make_small(struct mk *m, int version)
{
	uint64_t f;

	mk_init(m, version);
	if (version == 2)
		mk_prelude(m, "{}");
	mk_root(m, DIR_);
	f = mk_file(m, "f", FILE_, "abc", 3);
	mk_dir(m, "d", DIR_);
	mk_xattr(m, "user.a", "1", 1);
	mk_numbers(m, PXAR_ACL_GROUP_OBJ, N(4));
	mk_symlink(m, "s", MK(S_IFLNK | 0777), "f");
	mk_special(m, "p", FIFO);
	mk_up(m);
	mk_device(m, "c", MK(S_IFCHR | 0600), 1, 3);
	mk_link(m, "l", f, "f");
	mk_finish(m);
}

struct totals {
	size_t entries, damaged, links;
	size_t dirs;	/* left to walk */
	uint64_t todo[4096];
};

static int
count(void *arg, uint64_t pos)
{
	struct totals *t = arg;

	(void)pos;
	t->links++;
	return 0;
}

static void
visit(struct pxar *a, uint64_t pos, struct totals *t)
{
	char name[PXAR_NAME_MAX + 1], *path;
	struct pxar_dir *d;
	struct pxar_entry e;
	uint64_t link;
	size_t i;
	int r;

	r = pxar_dir_open(a, pos, &d);
	assert_true(r == 0 || r == -EBADMSG);
	if (r != 0) {
		t->damaged++;
		return;
	}
	for (i = 0; i < pxar_dir_count(d); i++) {
		r = pxar_dir_entry(a, d, i, PXAR_META, name, &e, &link);
		assert_true(r == 0 || r == -EBADMSG);
		if (r != 0) {
			t->damaged++;
			continue;
		}
		t->entries++;
		if (S_ISDIR(e.mode)) {
			assert_true(e.pos < pos);
			assert_true(t->dirs < ARRAY_SIZE(t->todo));
			t->todo[t->dirs++] = e.pos;
		}
		r = pxar_path(a, e.pos, &path);
		assert_true(r == 0 || r == -EBADMSG || r == -ENOENT);
		if (r == 0)
			free(path);
		pxar_entry_fini(&e);
	}
	pxar_dir_unref(d);
}

/* Opens and walks; what pxar_open says. */
static int
walk(struct mk *m, struct totals *t)
{
	struct pxar_source src = mk_source(m);
	struct pxar_entry e;
	struct pxar *a;
	int r;

	memset(t, 0, sizeof(*t));
	m->reads = 0;
	r = pxar_open(&src, &a);
	if (r < 0)
		return r;
	r = pxar_stat(a, pxar_root(a), PXAR_META, &e);
	assert_true(r == 0 || r == -EBADMSG);
	pxar_entry_fini(&e);
	t->todo[t->dirs++] = pxar_root(a);
	while (t->dirs > 0)
		visit(a, t->todo[--t->dirs], t);
	assert_int_equal(pxar_links(a, count, t), 0);
	pxar_close(a);
	return 0;
}

static void
whole(void **state)
{
	struct totals t;
	struct mk m;
	int v;

	(void)state;
	for (v = 1; v <= 2; v++) {
		make_small(&m, v);
		assert_int_equal(walk(&m, &t), 0);
		assert_int_equal(t.entries, 6);
		assert_int_equal(t.damaged, 0);
		assert_int_equal(t.links, 1);
		mk_fini(&m);
	}
}

static void
cut_at_every_byte(void **state)
{
	struct mk m, cut;
	struct totals t;
	size_t len;
	int v;

	(void)state;
	for (v = 1; v <= 2; v++) {
		make_small(&m, v);
		for (len = 0; len < m.main.len; len++) {
			mk_init(&cut, 1);
			mk_put(&cut.main, m.main.p, len);
			assert_int_equal(walk(&cut, &t), -EBADMSG);
			mk_fini(&cut);
		}
		/* Bytes behind the end hide the tail as well. */
		mk_put(&m.main, "junk", 4);
		assert_int_equal(walk(&m, &t), -EBADMSG);
		mk_fini(&m);
	}
}

static void
every_bit_flipped(void **state)
{
	unsigned long most = 0;
	struct totals t;
	struct mk m;
	size_t i;
	int v, bit;

	(void)state;
	for (v = 1; v <= 2; v++) {
		make_small(&m, v);
		for (i = 0; i < m.main.len; i++) {
			for (bit = 0; bit < 8; bit++) {
				m.main.p[i] ^= (uint8_t)(1u << bit);
				walk(&m, &t);
				m.main.p[i] ^= (uint8_t)(1u << bit);
				most = MAX(most, m.reads);
				assert_in_range(t.entries + t.damaged, 0, 7);
			}
		}
		mk_fini(&m);
	}
	assert_in_range(most, 1, 120);
}

static void
every_byte_replaced(void **state)
{
	static const uint8_t values[] = {0x00, 0x7f, 0x80, 0xff};
	struct totals t;
	struct mk m;
	size_t i, k;
	uint8_t old;

	(void)state;
	make_small(&m, 2);
	for (i = 0; i < m.main.len; i++) {
		old = m.main.p[i];
		for (k = 0; k < ARRAY_SIZE(values); k++) {
			m.main.p[i] = values[k];
			walk(&m, &t);
		}
		m.main.p[i] = old;
	}
	mk_fini(&m);
}

/* Each directory lists the one below twice: a walk that believed it would
 * visit 2^40 of them. */
static void
doubled_directories(void **state)
{
	struct totals t;
	struct mk m;
	uint64_t begin;
	int i;

	(void)state;
	mk_init(&m, 1);
	mk_root(&m, DIR_);
	for (i = 0; i < 40; i++)
		mk_dir(&m, "d", DIR_);
	for (i = 0; i < 40; i++) {
		begin = m.level[m.depth - 1].begin;
		mk_up(&m);
		mk_add(&m, "d", 1, begin, 0);
	}
	mk_finish(&m);
	assert_int_equal(walk(&m, &t), 0);
	assert_in_range(t.entries + t.damaged, 1, 80);
	assert_in_range(m.reads, 1, 5000);
	mk_fini(&m);
}

/* A symlink, and then a directory of the same name: who unpacks both writes
 * what is in the directory to wherever the symlink leads. */
static void
two_of_a_name(void **state)
{
	char name[PXAR_NAME_MAX + 1];
	struct pxar_source src;
	struct pxar_dir *d;
	struct pxar_entry e;
	struct pxar *a;
	struct mk m;
	uint64_t link;

	(void)state;
	mk_init(&m, 1);
	mk_root(&m, DIR_);
	mk_symlink(&m, "a", MK(S_IFLNK | 0777), "/etc");
	mk_dir(&m, "a", DIR_);
	mk_file(&m, "passwd", FILE_, "evil", 4);
	mk_up(&m);
	mk_file(&m, "b", FILE_, "abc", 3);
	mk_finish(&m);
	src = mk_source(&m);
	assert_int_equal(pxar_open(&src, &a), 0);
	assert_int_equal(pxar_dir_open(a, pxar_root(a), &d), 0);
	assert_int_equal(pxar_dir_count(d), 3);
	assert_int_equal(pxar_dir_entry(a, d, 0, 0, name, &e, &link), 0);
	assert_true(S_ISLNK(e.mode));
	pxar_entry_fini(&e);
	assert_int_equal(
	    pxar_dir_entry(a, d, 1, 0, name, &e, &link), -EBADMSG);
	assert_int_equal(pxar_dir_entry(a, d, 2, 0, name, &e, &link), 0);
	assert_string_equal(name, "b");
	pxar_entry_fini(&e);
	/* Looking it up finds the one that is listed. */
	assert_int_equal(pxar_dir_find(a, d, "a", 1, 0, &e), 0);
	assert_true(S_ISLNK(e.mode));
	pxar_entry_fini(&e);
	pxar_dir_unref(d);
	pxar_close(a);
	mk_fini(&m);
}

/* Every directory claims, by its tail, to begin where its parent does and
 * lists all the siblings before it: another 2^40. */
static void
tails_that_reach_too_far(void **state)
{
	struct totals t;
	uint64_t begin[40];
	struct mk m;
	char name[3] = "aa";
	int i, k;

	(void)state;
	mk_init(&m, 1);
	mk_root(&m, DIR_);
	for (i = 0; i < 40; i++) {
		name[0] = (char)('A' + i);
		begin[i] = mk_dir(&m, name, DIR_);
		for (k = 0; k < i; k++) {
			name[0] = (char)('A' + k);
			mk_add(&m, name, 2, begin[k], 0);
			m.level[1].items[k].size = begin[k + 1] - begin[k];
		}
		m.level[1].entry = 0;
		mk_up(&m);
	}
	mk_finish(&m);
	assert_int_equal(walk(&m, &t), 0);
	assert_int_equal(t.entries, 0);
	assert_int_equal(t.damaged, 40);
	mk_fini(&m);
}

/* Items that lead to the directory itself, to its parent, to its table. */
static void
loops(void **state)
{
	struct totals t;
	struct mk m;
	char name[2] = "0";
	uint64_t begin;
	int i;

	(void)state;
	mk_init(&m, 1);
	mk_root(&m, DIR_);
	mk_special(&m, "p", FIFO);
	begin = mk_dir(&m, "d", DIR_);
	/* Honest ones too, or there were no room for so many items. */
	for (i = 0; i < 10; i++) {
		name[0] = (char)('0' + i);
		mk_special(&m, name, FIFO);
	}
	mk_add(&m, "d", 1, begin, 0);
	mk_add(&m, "d", 1, begin, 88);
	mk_add(&m, "p", 1, 56, 0);
	mk_add(&m, "r", 1, 0, 1000);
	mk_add(&m, "t", 1, m.main.len, 64);
	mk_up(&m);
	mk_finish(&m);
	assert_int_equal(walk(&m, &t), 0);
	assert_int_equal(t.entries, 12);
	assert_int_equal(t.damaged, 5);
	mk_fini(&m);
}

/* What the table in the middle says of itself; each is refused by whatever way
 * one comes to it. */
static void
tables_that_lie(void **state)
{
	static const struct {
		size_t off;	/* from the table, or from its tail */
		bool in_tail;
		int64_t add;
	} cases[] = {
	    {0, false, 1},	/* type */
	    {8, false, 24},	/* size */
	    {8, false, -24},
	    {8, false, -1},
	    {8, false, INT64_MAX},
	    {0, true, 1},	/* hash of the tail */
	    {8, true, 1},	/* offset to ENTRY */
	    {8, true, -1},
	    {8, true, INT64_MAX},
	    {16, true, 24},	/* size */
	    {16, true, -24},
	    {16, true, 1},
	    {16, true, INT64_MAX},
	};
	struct pxar_source src;
	struct pxar_entry e;
	uint64_t table, tail;
	struct pxar_dir *d;
	struct pxar *a;
	struct mk m;
	uint8_t *p;
	size_t i;
	int r;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		mk_init(&m, 1);
		mk_root(&m, DIR_);
		mk_dir(&m, "d", DIR_);
		mk_special(&m, "p", FIFO);
		mk_special(&m, "q", FIFO);
		table = mk_up(&m);
		tail = m.main.len - PXAR_ITEM_SIZE;
		mk_finish(&m);
		p = m.main.p + (cases[i].in_tail ? tail : table) + cases[i].off;
		put_le64(p, get_le64(p) + (uint64_t)cases[i].add);
		src = mk_source(&m);
		assert_int_equal(pxar_open(&src, &a), 0);
		r = pxar_stat(a, table, 0, &e);
		assert_int_equal(r, i == 0 ? -ENOENT : -EBADMSG);
		/* From below only the offset cannot be known to be wrong. */
		r = pxar_dir_open(a, table, &d);
		if (!cases[i].in_tail || cases[i].off != 8 ||
		    cases[i].add == INT64_MAX)
			assert_int_equal(r, -EBADMSG);
		if (r == 0)
			pxar_dir_unref(d);
		assert_int_equal(pxar_dir_open(a, pxar_root(a), &d), 0);
		assert_int_equal(pxar_dir_find(a, d, "d", 1, 0, &e), -EBADMSG);
		pxar_dir_unref(d);
		pxar_close(a);
		mk_fini(&m);
	}
}

/* The same of the root: nothing can be opened. */
static void
roots_that_lie(void **state)
{
	static const struct {
		size_t back;	/* from the end of the stream */
		int64_t add;
	} cases[] = {
	    {24, 1}, {16, 1}, {16, -1}, {16, INT64_MAX}, {8, 24}, {8, -24},
	    {8, 1}, {8, INT64_MAX}, {8, -40},
	};
	struct pxar_source src;
	struct pxar *a;
	struct mk m;
	uint8_t *p;
	size_t i;

	(void)state;
	mk_init(&m, 1);
	mk_root(&m, DIR_);
	mk_finish(&m);
	src = mk_source(&m);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		p = m.main.p + m.main.len - cases[i].back;
		put_le64(p, get_le64(p) + (uint64_t)cases[i].add);
		assert_int_equal(pxar_open(&src, &a), -EBADMSG);
		put_le64(p, get_le64(p) - (uint64_t)cases[i].add);
	}
	assert_int_equal(pxar_open(&src, &a), 0);
	pxar_close(a);
	m.main.p[0] ^= 1;
	assert_int_equal(pxar_open(&src, &a), -EBADMSG);
	mk_fini(&m);

	/* A version record of another length. */
	mk_init(&m, 1);
	mk_head(&m.main, PXAR_FORMAT_VERSION, 16);
	mk_put64(&m.main, 2);
	mk_put64(&m.main, 2);
	mk_root(&m, DIR_);
	mk_finish(&m);
	src = mk_source(&m);
	assert_int_equal(pxar_open(&src, &a), -EBADMSG);
	mk_fini(&m);
}

/* A prelude may hold anything; nothing in it is an entry. */
static void
records_in_the_prelude(void **state)
{
	struct pxar_source src;
	struct pxar_entry e;
	struct pxar_dir *d;
	struct mk m, fake;
	struct pxar *a;
	uint64_t at, table;
	char *path;

	(void)state;
	mk_init(&fake, 1);
	mk_root(&fake, DIR_);
	mk_file(&fake, "f", FILE_, "x", 1);
	mk_finish(&fake);
	mk_init(&m, 2);
	mk_record(&m.main, PXAR_PRELUDE, fake.main.p, fake.main.len);
	at = m.main.len - fake.main.len;
	mk_root(&m, DIR_);
	mk_link(&m, "l", at + 56, "f");
	mk_dir(&m, "d", DIR_);
	m.level[1].entry = at;
	table = mk_up(&m);
	mk_finish(&m);
	src = mk_source(&m);
	assert_int_equal(pxar_open(&src, &a), 0);
	assert_int_equal(pxar_stat(a, at + 56, 0, &e), -ENOENT);
	assert_int_equal(pxar_stat(a, at + fake.last_goodbye, 0, &e), -ENOENT);
	assert_int_equal(
	    pxar_dir_open(a, at + fake.last_goodbye, &d), -ENOENT);
	assert_int_equal(pxar_path(a, at + 56, &path), -ENOENT);
	assert_int_equal(pxar_stat(a, table, 0, &e), -EBADMSG);
	assert_int_equal(pxar_dir_open(a, table, &d), -EBADMSG);
	assert_int_equal(pxar_dir_open(a, pxar_root(a), &d), 0);
	assert_int_equal(pxar_dir_find(a, d, "l", 1, 0, &e), -EBADMSG);
	pxar_dir_unref(d);
	pxar_close(a);
	mk_fini(&m);
	mk_fini(&fake);
}

/* A table behind what is no directory. */
static void
table_of_a_file(void **state)
{
	struct pxar_source src;
	struct pxar_entry e;
	struct pxar_dir *d;
	struct pxar *a;
	uint64_t table;
	struct mk m;

	(void)state;
	mk_init(&m, 1);
	mk_root(&m, DIR_);
	mk_dir(&m, "d", FIFO);
	table = mk_up(&m);
	mk_finish(&m);
	src = mk_source(&m);
	assert_int_equal(pxar_open(&src, &a), 0);
	assert_int_equal(pxar_stat(a, table, 0, &e), -EBADMSG);
	assert_int_equal(pxar_dir_open(a, pxar_root(a), &d), 0);
	assert_int_equal(pxar_dir_find(a, d, "d", 1, 0, &e), 0);
	assert_true(S_ISFIFO(e.mode));
	pxar_dir_unref(d);
	pxar_close(a);
	mk_fini(&m);
}

/* A table of more items than there is room for entries costs no memory. */
static void
more_items_than_entries(void **state)
{
	struct pxar_source src;
	struct pxar_dir *d;
	struct pxar *a;
	struct mk m;
	int i;

	(void)state;
	mk_init(&m, 1);
	mk_root(&m, DIR_);
	mk_special(&m, "p", FIFO);
	for (i = 0; i < 1000; i++)
		mk_add(&m, "p", 1, 56, 0);
	mk_finish(&m);
	src = mk_source(&m);
	assert_int_equal(pxar_open(&src, &a), 0);
	assert_int_equal(pxar_dir_open(a, pxar_root(a), &d), -EBADMSG);
	pxar_close(a);
	mk_fini(&m);
}

/* A lookup does not read on for ever where all hashes are the same. */
static void
one_hash_for_all(void **state)
{
	struct pxar_source src;
	struct pxar_entry e;
	struct pxar_dir *d;
	char name[16];
	struct pxar *a;
	struct mk m;
	int i;

	(void)state;
	mk_init(&m, 1);
	mk_root(&m, DIR_);
	for (i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		mk_special(&m, name, FIFO);
		m.level[0].items[i].hash =
		    siphash_24(PXAR_HASH_K0, PXAR_HASH_K1, "victim", 6);
	}
	mk_finish(&m);
	src = mk_source(&m);
	assert_int_equal(pxar_open(&src, &a), 0);
	assert_int_equal(pxar_dir_open(a, pxar_root(a), &d), 0);
	m.reads = 0;
	assert_int_equal(
	    pxar_dir_find(a, d, "victim", 6, 0, &e), -EBADMSG);
	assert_in_range(m.reads, 1, 8);
	pxar_dir_unref(d);
	pxar_close(a);
	mk_fini(&m);
}

/* A stream that answers without holding what it claims, as an index of one
 * chunk repeated does: 2^60 bytes of zeros between a head and a tail. */
#define HUGE_SIZE (1ULL << 60)
struct huge {
	uint8_t head[56];
	uint8_t table[PXAR_HEADER_SIZE];
	uint8_t tail[PXAR_ITEM_SIZE];
	uint64_t table_pos;
	unsigned long reads;
};

static int
read_huge(void *arg, void *p, size_t len, uint64_t off)
{
	struct huge *h = arg;
	uint8_t *out = p;
	uint64_t at;
	size_t i;

	h->reads++;
	assert_in_range(len, 1, 1 << 20);
	for (i = 0; i < len; i++) {
		at = off + i;
		out[i] = 0;
		if (at < sizeof(h->head))
			out[i] = h->head[at];
		else if (at >= HUGE_SIZE - sizeof(h->tail))
			out[i] = h->tail[at - (HUGE_SIZE - sizeof(h->tail))];
		else if (at >= h->table_pos &&
		    at - h->table_pos < sizeof(h->table))
			out[i] = h->table[at - h->table_pos];
	}
	return 0;
}

static void
sizes_beyond_all_memory(void **state)
{
	const uint64_t counts[] = {PXAR_DIR_MAX + 1, 1ULL << 40, 1ULL << 55};
	const int want[] = {-EOVERFLOW, -EOVERFLOW, -EBADMSG};
	struct pxar_source src;
	struct pxar_dir *d;
	struct pxar *a;
	struct huge h;
	uint64_t full;
	size_t i;
	int r;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		memset(&h, 0, sizeof(h));
		full = PXAR_HEADER_SIZE + (counts[i] + 1) * PXAR_ITEM_SIZE;
		h.table_pos = HUGE_SIZE - full;
		put_le64(h.head, PXAR_ENTRY);
		put_le64(h.head + 8, 56);
		put_le64(h.head + 16, S_IFDIR | 0755);
		put_le64(h.table, PXAR_GOODBYE);
		put_le64(h.table + 8, full);
		put_le64(h.tail, PXAR_TAIL_HASH);
		put_le64(h.tail + 8, h.table_pos);
		put_le64(h.tail + 16, full);
		src = (struct pxar_source){read_huge, &h, HUGE_SIZE};
		r = pxar_open(&src, &a);
		assert_int_equal(r, 0);
		assert_int_equal(
		    pxar_dir_open(a, pxar_root(a), &d), want[i]);
		assert_in_range(h.reads, 1, 10);
		pxar_close(a);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(whole),
	    cmocka_unit_test(cut_at_every_byte),
	    cmocka_unit_test(every_bit_flipped),
	    cmocka_unit_test(every_byte_replaced),
	    cmocka_unit_test(doubled_directories),
	    cmocka_unit_test(two_of_a_name),
	    cmocka_unit_test(tails_that_reach_too_far),
	    cmocka_unit_test(loops),
	    cmocka_unit_test(tables_that_lie),
	    cmocka_unit_test(roots_that_lie),
	    cmocka_unit_test(records_in_the_prelude),
	    cmocka_unit_test(table_of_a_file),
	    cmocka_unit_test(more_items_than_entries),
	    cmocka_unit_test(one_hash_for_all),
	    cmocka_unit_test(sizes_beyond_all_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
