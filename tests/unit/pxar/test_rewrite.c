/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * Every archive that Proxmox Backup wrote, read entry by entry and written
 * again: the same bytes.
 */
#include "pbs/pxar_writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/num.h"
#include "base/str.h"
#include "pbs/pxar_format.h"

#include "../cm.h"
#include "../pbs/fixture.h"
#include "mkpxar.h"

#define DEPTH 64

/*
 * What the client makes of its --exclude is last in the root of version 1,
 * where no order puts it.  It is left out.
 */
#define EXCLUDES ".pxarexclude-cli"

/* The original as it would be without what no writer of ours makes. */
struct want {
	uint8_t *p;	/* owned */
	size_t len;
	size_t adjusted;	/* items whose size was not as in a new archive */
	uint64_t left_out;	/* bytes of EXCLUDES */
	uint64_t prelude;	/* bytes of its record */
};

static int
read_stream(void *arg, void *p, size_t len, uint64_t off)
{
	const struct buf *b = arg;

	assert_true(off <= b->len && len <= b->len - off);
	memcpy(p, b->data + off, len);
	return 0;
}

static int
gather(void *arg, const void *p, size_t len)
{
	mk_put(arg, p, len);
	return 0;
}

static void
write_link(struct pxar_writer *w, struct pxar *a, const char *name,
    uint64_t file, uint64_t pos)
{
	char *path;

	assert_int_equal(pxar_path(a, file, &path), 0);
	assert_int_equal(pxar_writer_hardlink(w, name, pos, path), 0);
	free(path);
}

/* Neither a directory nor a link. */
static void
write_entry(struct pxar_writer *w, const struct buf *stream, const char *name,
    const struct pxar_entry *e, uint64_t want_pos)
{
	uint64_t pos = 0;
	int r;

	if (!S_ISREG(e->mode)) {
		r = pxar_writer_node(w, name, e, &pos);
	} else if (e->is_ref) {
		r = pxar_writer_file_ref(w, name, e, e->content, &pos);
	} else {
		r = pxar_writer_file(w, name, e, &pos);
		if (r == 0)
			r = pxar_writer_data(w, stream->data + e->content,
			    e->size);
	}
	assert_int_equal(r, 0);
	assert_int_equal(pos, want_pos);
}

/*
 * Files of version 2 that were reused have an item of another size than new
 * ones, whose content is counted in.
 */
static void
adjust_item(struct want *x, uint64_t table, const struct pxar_entry *e)
{
	uint8_t *item = x->p + table + PXAR_HEADER_SIZE;
	uint64_t span = e->end - e->begin;

	while (get_le64(item + 8) != table - e->begin)
		item += PXAR_ITEM_SIZE;
	if (get_le64(item + 16) == span + e->size)
		return;
	assert_int_equal(get_le64(item + 16), span);
	put_le64(item + 16, span + e->size);
	x->adjusted++;
}

static void
rewrite(struct pxar *a, const struct buf *stream, struct want *want,
    struct mk_bytes *out)
{
	struct pxar_sink sink = {gather, out};
	char name[PXAR_NAME_MAX + 1];
	struct pxar_dir *dir[DEPTH];
	struct pxar_entry e;
	struct pxar_writer *w;
	uint64_t table[DEPTH], link, pos;
	size_t next[DEPTH];
	unsigned depth = 0;

	assert_int_equal(pxar_writer_new(pxar_version(a), &sink, &w), 0);
	assert_int_equal(pxar_stat(a, pxar_root(a), PXAR_META, &e), 0);
	assert_int_equal(pxar_writer_root(w, &e), 0);
	pxar_entry_fini(&e);
	assert_int_equal(pxar_dir_open(a, pxar_root(a), &dir[0]), 0);
	next[0] = 0;
	table[0] = pxar_root(a);
	for (;;) {
		if (next[depth] == pxar_dir_count(dir[depth])) {
			pxar_dir_unref(dir[depth]);
			assert_int_equal(pxar_writer_dir_end(w, &pos), 0);
			assert_int_equal(pos, table[depth] - want->prelude -
			    (depth == 0 ? want->left_out : 0));
			if (depth-- == 0)
				break;
			continue;
		}
		assert_int_equal(pxar_dir_entry(a, dir[depth], next[depth]++,
		    PXAR_META, name, &e, &link), 0);
		if (S_ISDIR(e.mode)) {
			assert_int_equal(pxar_writer_dir(w, name, &e), 0);
			assert_in_range(depth, 0, DEPTH - 2);
			assert_int_equal(
			    pxar_dir_open(a, e.pos, &dir[++depth]), 0);
			next[depth] = 0;
			table[depth] = e.pos;
		} else if (depth == 0 && streq(name, EXCLUDES)) {
			assert_int_equal(next[0], pxar_dir_count(dir[0]));
			want->left_out = e.end - e.begin;
		} else if (link != 0) {
			write_link(w, a, name, e.pos, e.pos - want->prelude);
		} else {
			if (e.is_ref)
				adjust_item(want, table[depth], &e);
			write_entry(w, stream, name, &e,
			    e.pos - want->prelude);
		}
		pxar_entry_fini(&e);
	}
	assert_true(pxar_writer_is_done(w));
	assert_int_equal(pxar_writer_size(w), out->len);
	pxar_writer_free(w);
}

/* Takes the prelude out of the expected bytes: only the root's table knows
 * how far it is from the start. */
static void
drop_prelude(struct want *x, uint64_t content)
{
	uint64_t off = content - PXAR_HEADER_SIZE;
	uint8_t *tail;

	memmove(x->p + off, x->p + off + x->prelude,
	    x->len - off - x->prelude);
	x->len -= x->prelude;
	tail = x->p + x->len - PXAR_ITEM_SIZE;
	put_le64(tail + 8, get_le64(tail + 8) - x->prelude);
}

/*
 * The archive without its last entry: all up to there is the same, and the
 * root's table has the same items, as far from it as they are now.
 */
static void
assert_all_but_last(const struct mk_bytes *out, const struct want *x,
    uint64_t root)
{
	const uint8_t *have, *item, *end = x->p + x->len;
	uint64_t pos = root - x->left_out;
	size_t n, i;

	assert_true(pos < out->len);
	assert_memory_equal(out->p, x->p, pos);
	assert_int_equal(out->len, x->len - x->left_out - PXAR_ITEM_SIZE);
	n = (out->len - pos - PXAR_HEADER_SIZE) / PXAR_ITEM_SIZE - 1;
	have = out->p + pos + PXAR_HEADER_SIZE;
	for (i = 0; i < n; i++, have += PXAR_ITEM_SIZE) {
		item = x->p + root + PXAR_HEADER_SIZE;
		while (item < end && (get_le64(item) != get_le64(have) ||
		    get_le64(item + 8) != get_le64(have + 8) + x->left_out))
			item += PXAR_ITEM_SIZE;
		assert_true(item < end);
		assert_int_equal(get_le64(item + 16), get_le64(have + 16));
	}
}

/* What there was among the archives of a fixture. */
struct seen {
	unsigned v1, v2;
	unsigned reusing;	/* with files that are not new */
	unsigned preludes, excludes;
};

static void
try_one(const struct fixture *f, const char *path, struct seen *seen)
{
	struct buf *s = fixture_stream(f, path);
	struct want want = {0};
	struct mk_bytes out = {0};
	struct pxar_source src;
	uint64_t off, len;
	struct pxar *a;

	src = (struct pxar_source){read_stream, s, s->len};
	want.p = malloc(s->len);
	assert_non_null(want.p);
	memcpy(want.p, s->data, s->len);
	want.len = s->len;
	assert_int_equal(pxar_open(&src, &a), 0);
	pxar_prelude(a, &off, &len);
	want.prelude = len > 0 ? PXAR_HEADER_SIZE + len : 0;
	rewrite(a, s, &want, &out);
	if (want.prelude > 0) {
		drop_prelude(&want, off);
		seen->preludes++;
	}
	if (pxar_version(a) == 1)
		seen->v1++;
	else
		seen->v2++;
	seen->reusing += want.adjusted > 0;
	if (want.left_out > 0) {
		assert_all_but_last(&out, &want, pxar_root(a));
		seen->excludes++;
	} else {
		assert_int_equal(out.len, want.len);
		if (memcmp(out.p, want.p, out.len) != 0)
			fail_msg("%s differs", path);
	}
	pxar_close(a);
	free(want.p);
	free(out.p);
	buf_unref(s);
}

static void
try_all(const char *name, const struct seen *want)
{
	struct fixture *f = fixture_load(name);
	struct seen seen = {0};
	const char *path;
	size_t i;

	for (i = 0; (path = fixture_next(f, &i, ".pxar.didx")) != NULL;)
		try_one(f, path, &seen);
	for (i = 0; (path = fixture_next(f, &i, ".mpxar.didx")) != NULL;)
		try_one(f, path, &seen);
	assert_memory_equal(&seen, want, sizeof(seen));
	fixture_free(f);
}

static void
plain(void **state)
{
	(void)state;
	try_all("plain", &(struct seen){
	    .v1 = 11, .v2 = 4, .reusing = 2, .preludes = 1, .excludes = 3});
}

static void
encrypted(void **state)
{
	(void)state;
	try_all("encrypted", &(struct seen){.v1 = 6, .v2 = 2, .reusing = 1});
}

static void
bucket(void **state)
{
	(void)state;
	try_all("s3-bucket", &(struct seen){
	    .v1 = 10, .v2 = 4, .reusing = 1, .excludes = 3});
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(plain),
	    cmocka_unit_test(encrypted),
	    cmocka_unit_test(bucket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
