/* SPDX-License-Identifier: GPL-3.0-or-later */

/* Archives written by Proxmox Backup against what its own library lists. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <zstd.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/num.h"
#include "base/str.h"
#include "pbs/pxar.h"

#include "../cm.h"
#include "listing.h"

struct stream {
	uint8_t *p;	/* owned */
	size_t len;
	unsigned long reads;
	uint64_t bytes;
};

static int
read_stream(void *arg, void *p, size_t len, uint64_t off)
{
	struct stream *s = arg;

	assert_true(off <= s->len && len <= s->len - off);
	memcpy(p, s->p + off, len);
	s->reads++;
	s->bytes += len;
	return 0;
}

/* One file of tests/data/pxar, unpacked. */
static void
load(const char *name, struct stream *ret)
{
	const char *data = getenv("TEST_DATA");
	char path[4096];
	struct buf *b;

	assert_non_null(data);
	snprintf(path, sizeof(path), "%s/pxar/%s.zst", data, name);
	assert_int_equal(io_read_file(AT_FDCWD, path, MIB, &b), 0);
	memset(ret, 0, sizeof(*ret));
	ret->len = ZSTD_getFrameContentSize(b->data, b->len);
	assert_in_range(ret->len, 1, 64 * MIB);
	ret->p = malloc(ret->len);
	assert_non_null(ret->p);
	assert_int_equal(
	    ZSTD_decompress(ret->p, ret->len, b->data, b->len), ret->len);
	buf_unref(b);
}

static struct pxar *
open_stream(struct stream *s)
{
	struct pxar_source src = {read_stream, s, s->len};
	struct pxar *a;

	assert_int_equal(pxar_open(&src, &a), 0);
	return a;
}

/* Line by line, so that a failure shows which entry. */
static void
assert_lines(const char *got, const struct stream *want)
{
	const char *w = (const char *)want->p, *end = w + want->len;
	char line[2][8192];
	size_t n, m;

	while (w < end) {
		n = (size_t)((const char *)memchr(w, '\n', (size_t)(end - w)) -
		    w);
		m = strcspn(got, "\n");
		snprintf(line[0], sizeof(line[0]), "%.*s", (int)m, got);
		snprintf(line[1], sizeof(line[1]), "%.*s", (int)n, w);
		assert_string_equal(line[0], line[1]);
		w += n + 1;
		got += m + (got[m] == '\n');
	}
	assert_string_equal(got, "");
}

static void
compare(const char *archive, const char *list, int version)
{
	struct stream s, want;
	struct str out = {0};
	struct pxar *a;

	load(archive, &s);
	load(list, &want);
	a = open_stream(&s);
	assert_int_equal(pxar_version(a), version);
	assert_int_equal(listing_write(a, &out), 0);
	assert_int_equal(str_error(&out), 0);
	assert_lines(str_get(&out), &want);
	str_fini(&out);
	pxar_close(a);
	free(s.p);
	free(want.p);
}

static void
small(void **state)
{
	(void)state;
	compare("small.pxar", "small.list", 1);
}

static void
whole(void **state)
{
	(void)state;
	compare("whole.pxar", "whole.list", 1);
}

static void
split(void **state)
{
	(void)state;
	compare("split.mpxar", "split.list", 2);
}

/* Visits all entries from the root down; their files with fn. */
static size_t
each_file(struct pxar *a, void (*fn)(void *arg, const struct pxar_entry *e),
    void *arg)
{
	char name[PXAR_NAME_MAX + 1];
	uint64_t todo[4096], link;
	size_t n_todo = 0, n = 0, i;
	struct pxar_entry e;
	struct pxar_dir *d;

	todo[n_todo++] = pxar_root(a);
	while (n_todo > 0) {
		assert_int_equal(pxar_dir_open(a, todo[--n_todo], &d), 0);
		for (i = 0; i < pxar_dir_count(d); i++) {
			assert_int_equal(
			    pxar_dir_entry(a, d, i, 0, name, &e, &link), 0);
			assert_in_range(n_todo, 0, ARRAY_SIZE(todo) - 1);
			if (S_ISDIR(e.mode))
				todo[n_todo++] = e.pos;
			if (S_ISREG(e.mode) && fn != NULL)
				fn(arg, &e);
			n++;
			pxar_entry_fini(&e);
		}
		pxar_dir_unref(d);
	}
	return n;
}

static void
check_payload(void *arg, const struct pxar_entry *e)
{
	struct stream *s = arg;
	struct pxar_source src = {read_stream, s, s->len};
	uint64_t off;

	assert_true(e->is_ref);
	assert_int_equal(pxar_check_payload(&src, e, &off), 0);
	assert_int_equal(off, e->content + 16);
}

static void
payload_of_split(void **state)
{
	struct stream s, payload;
	const char *p;
	uint64_t off, len;
	struct pxar *a;

	(void)state;
	load("split.mpxar", &s);
	load("split.ppxar", &payload);
	a = open_stream(&s);
	pxar_prelude(a, &off, &len);
	p = "{\"exclude-patterns\":\"/wide\\n\"}";
	assert_int_equal(len, strlen(p));
	assert_memory_equal(s.p + off, p, len);
	assert_int_equal(each_file(a, check_payload, &payload), 2193);
	pxar_close(a);
	free(s.p);
	free(payload.p);
}

/* What a listing of 2193 entries may cost. */
static void
reads_are_few(void **state)
{
	struct stream s;
	struct pxar *a;
	size_t n;

	(void)state;
	load("split.mpxar", &s);
	a = open_stream(&s);
	s.reads = s.bytes = 0;
	n = each_file(a, NULL, NULL);
	assert_in_range(s.reads, n, n * 6 / 5);
	assert_in_range(s.bytes, 1, 6 * s.len);
	pxar_close(a);
	free(s.p);
}

/* Positions stand for the entries for good. */
static void
check_position(void *arg, const struct pxar_entry *e)
{
	struct pxar_entry again;
	char *path;

	assert_int_equal(pxar_stat(arg, e->pos, 0, &again), 0);
	assert_int_equal(again.pos, e->pos);
	assert_int_equal(again.mode, e->mode);
	assert_int_equal(again.uid, e->uid);
	assert_int_equal(again.size, e->size);
	assert_int_equal(again.content, e->content);
	assert_int_equal(again.has_meta, e->has_meta);
	pxar_entry_fini(&again);
	assert_int_equal(pxar_path(arg, e->pos, &path), 0);
	free(path);
}

static void
positions(void **state)
{
	struct stream s;
	struct pxar *a;

	(void)state;
	load("whole.pxar", &s);
	a = open_stream(&s);
	assert_int_equal(each_file(a, check_position, a), 1884);
	pxar_close(a);
	free(s.p);
}

static int
note(void *arg, uint64_t pos)
{
	(void)pos;
	++*(size_t *)arg;
	return 0;
}

static void
links(void **state)
{
	size_t n = 0;
	struct stream s;
	struct pxar *a;

	(void)state;
	load("whole.pxar", &s);
	a = open_stream(&s);
	assert_int_equal(pxar_links(a, note, &n), 0);
	assert_int_equal(n, 3);
	pxar_close(a);
	free(s.p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(small),
	    cmocka_unit_test(whole),
	    cmocka_unit_test(split),
	    cmocka_unit_test(payload_of_split),
	    cmocka_unit_test(reads_are_few),
	    cmocka_unit_test(positions),
	    cmocka_unit_test(links),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
