/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/catalog.h"

#include "data.h"

#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "base/str.h"
#include "pbs/blob.h"

/* The example of the format document. */
static const uint8_t example[] =
    "\x91\xfd\x60\xf9\xc4\x67\x58\xd5"
    "\x14\x02\x66\x05\x61\x2e\x74\x78\x74\x03\xf5\xfc\xd7\xf7\x05\x6c\x04\x6c"
    "\x69\x6e\x6b"
    "\x11\x01\x64\x0d\x65\x74\x63\x2e\x70\x78\x61\x72\x2e\x64\x69\x64\x78\x15"
    "\x1d\x00\x00\x00\x00\x00\x00\x00";
#define EXAMPLE_LEN (sizeof(example) - 1)

static struct buf *
load_chunk(const char *name)
{
	struct buf *b = data_load(name), *content;

	assert_int_equal(blob_decode(b->data, b->len, CHUNK_CONTENT_MAX,
	    &content), 0);
	buf_unref(b);
	return content;
}

/* One line for each entry, and the entries of a directory after it. */
struct listing {
	const struct buf *b;
	struct str path, out;
	struct catalog_writer *w;	/* or NULL */
	int depth;
};

static int
list_entry(void *arg, const struct catalog_entry *e)
{
	struct listing *l = arg;
	size_t len = l->path.len;
	int r = 0;

	str_addc(&l->path, '/');
	str_escape(&l->path, e->name, e->name_len);
	str_addf(&l->out, "%c %llu %llu %lld %s\n", (int)e->type,
	    (unsigned long long)e->dir, (unsigned long long)e->size,
	    (long long)e->mtime, str_get(&l->path));
	if (e->type == CATALOG_DIR) {
		assert_true(++l->depth < 64);
		if (l->w != NULL)
			assert_int_equal(catalog_writer_open(l->w, e->name,
			    e->name_len), 0);
		r = catalog_table(l->b->data, l->b->len, e->dir, list_entry, l);
		if (l->w != NULL)
			assert_int_equal(catalog_writer_close(l->w), 0);
		l->depth--;
	} else if (l->w != NULL) {
		assert_int_equal(catalog_writer_add(l->w, e), 0);
	}
	l->path.len = len;
	l->path.s[len] = '\0';
	return r;
}

static char *
list(const struct buf *b, struct catalog_writer *w)
{
	struct listing l = {.b = b, .w = w};
	uint64_t root;

	assert_int_equal(catalog_root(b->data, b->len, &root), 0);
	assert_int_equal(catalog_table(b->data, b->len, root, list_entry, &l),
	    0);
	str_fini(&l.path);
	return str_take(&l.out);
}

static void
example_of_the_format(void **state)
{
	struct buf *b = buf_copy(example, EXAMPLE_LEN);
	char *text = list(b, NULL);

	(void)state;
	assert_string_equal(text,
	    "d 8 0 0 /etc.pxar.didx\n"
	    "f 0 3 1593179765 /etc.pxar.didx/a.txt\n"
	    "l 0 0 0 /etc.pxar.didx/link\n");
	free(text);
	buf_unref(b);
}

/* What the format's own library lists, names escaped as str_escape does. */
static void
real_catalog(void **state)
{
	struct buf *b = load_chunk("chunk/catalog-myhost");
	struct buf *want = data_load("catalog-myhost.txt");
	char *text = list(b, NULL);

	(void)state;
	assert_int_equal(strlen(text), want->len);
	assert_memory_equal(text, want->data, want->len);
	free(text);
	buf_unref(want);
	buf_unref(b);
}

static void
what_is_written_is_what_was_read(void **state)
{
	static const char *const names[] = {"chunk/catalog-myhost",
	    "chunk/catalog-small"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct buf *b = load_chunk(names[i]), *again;
		struct catalog_writer *w;

		assert_int_equal(catalog_writer_new(&w), 0);
		free(list(b, w));
		assert_int_equal(catalog_writer_finish(w, &again), 0);
		assert_int_equal(again->len, b->len);
		assert_memory_equal(again->data, b->data, b->len);
		buf_unref(again);
		catalog_writer_free(w);
		buf_unref(b);
	}
}

static void
real_damage_is_found(void **state)
{
	static const char *const names[] = {"chunk/catalog-bad-magic",
	    "chunk/catalog-bad-offset"};
	uint64_t root;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct buf *b = load_chunk(names[i]);

		assert_int_equal(catalog_root(b->data, b->len, &root),
		    -EBADMSG);
		buf_unref(b);
	}
}

static int
ignore(void *arg, const struct catalog_entry *e)
{
	(void)e;
	return arg == NULL ? 0 : *(int *)arg;
}

static void
every_truncated_table_is_damage(void **state)
{
	struct buf *b, *cut;
	uint64_t root;

	(void)state;
	for (size_t n = 0; n < EXAMPLE_LEN; n++) {
		cut = buf_copy(example, n);
		if (catalog_root(cut->data, n, &root) == 0)
			assert_int_equal(catalog_table(cut->data, n, root,
			    ignore, NULL), -EBADMSG);
		/* A table that ends where the tail begins, a byte short. */
		assert_int_equal(catalog_table(cut->data, n, 29, ignore, NULL),
		    -EBADMSG);
		buf_unref(cut);
	}
	b = load_chunk("chunk/catalog-small");
	assert_int_equal(catalog_root(b->data, b->len, &root), 0);
	for (size_t n = 0; n < b->len; n++) {
		int r;

		cut = buf_copy(b->data, n);
		r = catalog_table(cut->data, n, root, ignore, NULL);
		assert_int_equal(r, n < b->len ? -EBADMSG : 0);
		buf_unref(cut);
	}
	buf_unref(b);
}

static int
table(const char *bytes, size_t len, uint64_t pos, catalog_fn *fn, void *arg)
{
	struct buf *b = buf_new(pos + len + 8);
	int r;

	memset(b->data, 0, b->len);
	memcpy(b->data + pos, bytes, len);
	r = catalog_table(b->data, b->len, pos, fn, arg);
	buf_unref(b);
	return r;
}
#define TABLE(s, fn, arg) table(s, sizeof(s) - 1, 100, fn, arg)

static void
bad_tables(void **state)
{
	(void)state;
	assert_int_equal(TABLE("\x01\x00", ignore, NULL), 0);
	assert_int_equal(TABLE("\x04\x01l\x01x", ignore, NULL), 0);
	/* length 0, beyond the end, not used up, used up too early */
	assert_int_equal(TABLE("\x00", ignore, NULL), -EBADMSG);
	assert_int_equal(TABLE("\x05\x01l\x01x", ignore, NULL), -EBADMSG);
	assert_int_equal(TABLE("\x05\x01l\x01x\x00", ignore, NULL), -EBADMSG);
	assert_int_equal(TABLE("\x03\x01l\x01x", ignore, NULL), -EBADMSG);
	assert_int_equal(TABLE("\x04\x02l\x01x", ignore, NULL), -EBADMSG);
	/* unknown type */
	assert_int_equal(TABLE("\x04\x01y\x01x", ignore, NULL), -EBADMSG);
	assert_int_equal(TABLE("\x04\x01\0\x01x", ignore, NULL), -EBADMSG);
	/* names: empty, too long for the table, "/", NUL, ".", ".." */
	assert_int_equal(TABLE("\x03\x01l\x00", ignore, NULL), -EBADMSG);
	assert_int_equal(TABLE("\x04\x01l\x02x", ignore, NULL), -EBADMSG);
	assert_int_equal(TABLE("\x05\x01l\xff\x0fx", ignore, NULL), -EBADMSG);
	assert_int_equal(TABLE("\x06\x01l\x03x/y", ignore, NULL), -EBADMSG);
	assert_int_equal(TABLE("\x04\x01l\x01\0", ignore, NULL), -EBADMSG);
	assert_int_equal(TABLE("\x04\x01l\x01.", ignore, NULL), -EBADMSG);
	assert_int_equal(TABLE("\x05\x01l\x02..", ignore, NULL), -EBADMSG);
	assert_int_equal(TABLE("\x06\x01l\x03...", ignore, NULL), 0);
	/* a directory that is itself, ahead, or within the magic */
	assert_int_equal(TABLE("\x05\x01""d\x01x\x00", ignore, NULL), -EBADMSG);
	assert_int_equal(TABLE("\x05\x01""d\x01x\x5c", ignore, NULL), 0);
	assert_int_equal(TABLE("\x05\x01""d\x01x\x5d", ignore, NULL), -EBADMSG);
	/* numbers that do not end or do not fit */
	assert_int_equal(TABLE("\x0f\x01""f\x01x\xff\xff\xff\xff\xff\xff\xff"
	    "\xff\xff\x01\x00", ignore, NULL), 0);
	assert_int_equal(TABLE("\x0f\x01""f\x01x\xff\xff\xff\xff\xff\xff\xff"
	    "\xff\xff\x02\x00", ignore, NULL), -EBADMSG);
	assert_int_equal(TABLE("\x10\x01""f\x01x\xff\xff\xff\xff\xff\xff\xff"
	    "\xff\xff\x80\x01\x00", ignore, NULL), -EBADMSG);
	assert_int_equal(TABLE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
	    ignore, NULL), -EBADMSG);
	assert_int_equal(TABLE("\x04\xff\xff\xff\x7f", ignore, NULL), -EBADMSG);
	/* position: within the magic, in the tail, beyond */
	assert_int_equal(catalog_table(example, EXAMPLE_LEN, 7, ignore, NULL),
	    -EBADMSG);
	assert_int_equal(catalog_table(example, EXAMPLE_LEN, EXAMPLE_LEN - 8,
	    ignore, NULL), -EBADMSG);
	assert_int_equal(catalog_table(example, EXAMPLE_LEN, UINT64_MAX, ignore,
	    NULL), -EBADMSG);
}

static int
keep(void *arg, const struct catalog_entry *e)
{
	*(int64_t *)arg = e->mtime;
	return 0;
}

static void
signed_numbers(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		int64_t v;
	} cases[] = {
	    {"\x06\x01""f\x01x\x00\x00", 7, 0},
	    {"\x06\x01""f\x01x\x00\x01", 7, 1},
	    {"\x07\x01""f\x01x\x00\x81\x00", 8, -1},
	    {"\x08\x01""f\x01x\x00\xac\x82\x00", 9, -300},
	    {"\x07\x01""f\x01x\x00\xac\x02", 8, 300},
	    {"\x08\x01""f\x01x\x00\x80\x81\x00", 9, -128},
	    {"\x07\x01""f\x01x\x00\x80\x01", 8, 128},
	};
	static const int64_t ends[] = {INT64_MAX, INT64_MIN, INT64_MIN + 1,
	    0, -1, 63, 64, -64, 127, 128, -127, -128, 1LL << 62, -(1LL << 62)};
	int64_t v;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		v = 4711;
		assert_int_equal(table(cases[i].bytes, cases[i].len, 100, keep,
		    &v), 0);
		assert_int_equal(v, cases[i].v);
	}
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct catalog_entry e = {.type = CATALOG_FILE, .name = "x",
		    .name_len = 1, .size = UINT64_MAX, .mtime = ends[i]};
		struct catalog_writer *w;
		struct buf *b;

		assert_int_equal(catalog_writer_new(&w), 0);
		assert_int_equal(catalog_writer_open(w, "a", 1), 0);
		assert_int_equal(catalog_writer_add(w, &e), 0);
		assert_int_equal(catalog_writer_close(w), 0);
		assert_int_equal(catalog_writer_finish(w, &b), 0);
		assert_int_equal(catalog_table(b->data, b->len, 8, keep, &v),
		    0);
		assert_true(v == ends[i]);
		buf_unref(b);
		catalog_writer_free(w);
	}
	/* One more than fits, either way. */
	assert_int_equal(TABLE("\x0f\x01""f\x01x\x00\x80\x80\x80\x80\x80\x80"
	    "\x80\x80\x80\x01", keep, &v), -EBADMSG);
	assert_int_equal(TABLE("\x10\x01""f\x01x\x00\x81\x80\x80\x80\x80\x80"
	    "\x80\x80\x80\x81\x00", keep, &v), -EBADMSG);
}

static void
the_caller_can_stop(void **state)
{
	int stop = 42;

	(void)state;
	assert_int_equal(catalog_table(example, EXAMPLE_LEN, 29, ignore, &stop),
	    42);
}

static void
the_writer_refuses_nonsense(void **state)
{
	struct catalog_entry e = {.type = CATALOG_FIFO, .name = "p",
	    .name_len = 1};
	struct catalog_writer *w;
	char name[4096];
	struct buf *b;

	(void)state;
	memset(name, 'a', sizeof(name));
	assert_int_equal(catalog_writer_new(&w), 0);
	/* beside the archives */
	assert_int_equal(catalog_writer_add(w, &e), -EINVAL);
	assert_int_equal(catalog_writer_close(w), -EINVAL);
	assert_int_equal(catalog_writer_open(w, "", 0), -EINVAL);
	assert_int_equal(catalog_writer_open(w, "a/b", 3), -EINVAL);
	assert_int_equal(catalog_writer_open(w, "..", 2), -EINVAL);
	assert_int_equal(catalog_writer_open(w, name, 4096), -EINVAL);
	assert_int_equal(catalog_writer_open(w, name, 4095), 0);
	assert_int_equal(catalog_writer_finish(w, &b), -EINVAL);
	assert_int_equal(catalog_writer_add(w, &e), 0);
	e.type = CATALOG_DIR;
	assert_int_equal(catalog_writer_add(w, &e), -EINVAL);
	e.type = CATALOG_SYMLINK;
	e.name = "x\0y";
	e.name_len = 3;
	assert_int_equal(catalog_writer_add(w, &e), -EINVAL);
	assert_int_equal(catalog_writer_close(w), 0);
	assert_int_equal(catalog_writer_finish(w, &b), 0);
	buf_unref(b);
	catalog_writer_free(w);
	/* One that is left open is freed. */
	assert_int_equal(catalog_writer_new(&w), 0);
	assert_int_equal(catalog_writer_open(w, "a", 1), 0);
	assert_int_equal(catalog_writer_open(w, "b", 1), 0);
	catalog_writer_free(w);
	catalog_writer_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(example_of_the_format),
	    cmocka_unit_test(real_catalog),
	    cmocka_unit_test(what_is_written_is_what_was_read),
	    cmocka_unit_test(real_damage_is_found),
	    cmocka_unit_test(every_truncated_table_is_damage),
	    cmocka_unit_test(bad_tables),
	    cmocka_unit_test(signed_numbers),
	    cmocka_unit_test(the_caller_can_stop),
	    cmocka_unit_test(the_writer_refuses_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
