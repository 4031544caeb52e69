/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * Allocations fail one after the other: each call must come back with -ENOMEM
 * and leave nothing behind.  The linker puts these wrappers before malloc and
 * its relatives.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/num.h"
#include "pbs/acl.h"
#include "pbs/pxar.h"
#include "pbs/pxar_format.h"
#include "pbs/pxar_writer.h"

#include "../cm.h"
#include "mkpxar.h"

static int left = -1;	/* allocations until the failing one; -1: never */

static int
fails(void)
{
	if (left < 0)
		return 0;
	return left-- == 0;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t m);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t m);
char *__wrap_strdup(const char *s);

void *
__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t m)
{
	return fails() ? NULL : __real_calloc(n, m);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

void *
__wrap_reallocarray(void *p, size_t n, size_t m)
{
	return fails() ? NULL : __real_reallocarray(p, n, m);
}

char *
__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

static struct mk m;
static uint64_t file, sub;

static int
make(void **state)
{
	const uint64_t v[] = {7, 5, 0, 7};

	(void)state;
	mk_init(&m, 2);
	mk_root(&m, MK(S_IFDIR | 0755));
	mk_dir(&m, "d", MK(S_IFDIR | 0755));
	mk_xattr(&m, "user.a", "1", 1);
	mk_xattr(&m, "user.b", "1", 1);
	mk_numbers(&m, PXAR_ACL_USER, v, 2);
	mk_numbers(&m, PXAR_ACL_GROUP, v, 2);
	mk_numbers(&m, PXAR_ACL_GROUP_OBJ, v, 1);
	mk_numbers(&m, PXAR_ACL_DEFAULT, v, 4);
	mk_numbers(&m, PXAR_ACL_DEFAULT_USER, v, 2);
	mk_record(&m.pending, PXAR_FCAPS, "caps", 4);
	file = mk_file(&m, "f", MK(S_IFREG | 0644), "abc", 3);
	mk_symlink(&m, "s", MK(S_IFLNK | 0777), "f");
	mk_link(&m, "l", file, "d/f");
	sub = mk_up(&m);
	mk_finish(&m);
	return 0;
}

static int
unmake(void **state)
{
	(void)state;
	mk_fini(&m);
	return 0;
}

static int
note(void *arg, uint64_t pos)
{
	(void)arg;
	(void)pos;
	return 0;
}

/* Runs a call with every allocation failing in turn, until none is left to
 * fail; how many there were. */
static int
each_failure(int (*call)(struct pxar *a), struct pxar *a)
{
	int n, r;

	for (n = 0;; n++) {
		left = n;
		r = call(a);
		if (left >= 0) {
			left = -1;
			assert_int_equal(r, 0);
			return n;
		}
		assert_int_equal(r, -ENOMEM);
	}
}

static struct pxar *
open_it(void)
{
	struct pxar_source src = mk_source(&m);
	struct pxar *a;

	assert_int_equal(pxar_open(&src, &a), 0);
	return a;
}

static int
call_open(struct pxar *unused)
{
	struct pxar_source src = mk_source(&m);
	struct pxar *a;
	int r;

	(void)unused;
	r = pxar_open(&src, &a);
	if (r == 0)
		pxar_close(a);
	return r;
}

static int
call_with_source(struct pxar *a)
{
	struct pxar_source src = mk_source(&m);
	struct pxar *b;
	int r;

	r = pxar_with_source(a, &src, &b);
	if (r == 0)
		pxar_close(b);
	return r;
}

static int
call_stat(struct pxar *a)
{
	struct pxar_entry e;
	int r;

	r = pxar_stat(a, file, PXAR_META, &e);
	if (r < 0)
		assert_null(e.meta);
	pxar_entry_fini(&e);
	return r;
}

static int
call_list(struct pxar *a)
{
	char name[PXAR_NAME_MAX + 1];
	struct pxar_entry e;
	struct pxar_dir *d;
	uint64_t link;
	size_t i;
	int r;

	r = pxar_dir_open(a, sub, &d);
	if (r < 0)
		return r;
	for (i = 0; r == 0 && i < pxar_dir_count(d); i++) {
		r = pxar_dir_entry(a, d, i, PXAR_META, name, &e, &link);
		pxar_entry_fini(&e);
	}
	if (r == 0)
		r = pxar_dir_find(a, d, "s", 1, 0, &e);
	if (r == 0)
		pxar_entry_fini(&e);
	pxar_dir_unref(d);
	return r;
}

static int
call_path(struct pxar *a)
{
	char *path;
	int r;

	r = pxar_path(a, file, &path);
	if (r == 0)
		free(path);
	return r;
}

static int
call_root_path(struct pxar *a)
{
	char *path;
	int r;

	r = pxar_path(a, pxar_root(a), &path);
	if (r == 0)
		free(path);
	return r;
}

static int
call_links(struct pxar *a)
{
	return pxar_links(a, note, NULL);
}

static struct pxar_entry with_acl;

static int
call_acl(struct pxar *a)
{
	struct buf *b;
	int r;

	(void)a;
	r = acl_access(&with_acl, &b);
	if (r == 0) {
		buf_unref(b);
		r = acl_default(&with_acl, &b);
	}
	if (r == 0)
		buf_unref(b);
	return r;
}

/* The other way, of the values that the entry above gives. */
static struct buf *access_value, *default_value;

static int
call_acl_set(struct pxar *a)
{
	struct pxar_meta *meta = __real_calloc(1, sizeof(*meta));
	struct buf *b = NULL;
	uint32_t mode;
	int r;

	(void)a;
	assert_non_null(meta);
	r = acl_set_access(meta, 0, access_value->data, access_value->len,
	    &mode);
	if (r == 0)
		r = acl_set_default(meta, default_value->data,
		    default_value->len);
	if (r == 0)
		r = acl_inherit(default_value->data, default_value->len, 0666,
		    &mode, &b);
	buf_unref(b);
	pxar_meta_free(meta);
	return r;
}

static int
nowhere(void *arg, const void *p, size_t len)
{
	(void)arg;
	(void)p;
	(void)len;
	return 0;
}

static int
write_entries(struct pxar_writer *w)
{
	const struct pxar_entry dir = {.mode = S_IFDIR};
	char name[64];
	int i, r;

	r = pxar_writer_root(w, &dir);
	for (i = 0; r == 0 && i < 40; i++) {
		memset(name, 'n', sizeof(name) - 1);
		name[sizeof(name) - 1] = '\0';
		r = pxar_writer_dir(w, name, &dir);
	}
	for (i = 0; r == 0 && i < 41; i++)
		r = pxar_writer_dir_end(w, NULL);
	return r;
}

static int
call_writer(struct pxar *unused)
{
	struct pxar_sink sink = {nowhere, NULL};
	struct pxar_writer *w;
	int r;

	(void)unused;
	r = pxar_writer_new(2, &sink, &w);
	if (r < 0)
		return r;
	r = write_entries(w);
	/* No error is forgotten once memory is there again. */
	if (r < 0)
		assert_int_equal(pxar_writer_dir_end(w, NULL), r);
	assert_int_equal(pxar_writer_is_done(w), r == 0);
	pxar_writer_free(w);
	return r;
}

static void
every_call(void **state)
{
	struct pxar *a = open_it();

	(void)state;
	assert_int_equal(each_failure(call_open, NULL), 1);
	assert_int_equal(each_failure(call_with_source, a), 1);
	assert_in_range(each_failure(call_stat, a), 10, 30);
	assert_in_range(each_failure(call_list, a), 20, 60);
	assert_in_range(each_failure(call_path, a), 6, 20);
	assert_int_equal(each_failure(call_root_path, a), 1);
	assert_in_range(each_failure(call_links, a), 6, 20);
	assert_int_equal(pxar_stat(a, file, PXAR_META, &with_acl), 0);
	assert_in_range(each_failure(call_acl, a), 5, 10);
	assert_int_equal(acl_access(&with_acl, &access_value), 0);
	assert_int_equal(acl_default(&with_acl, &default_value), 0);
	assert_in_range(each_failure(call_acl_set, a), 4, 10);
	buf_unref(access_value);
	buf_unref(default_value);
	assert_in_range(each_failure(call_writer, NULL), 6, 30);
	pxar_entry_fini(&with_acl);
	pxar_close(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_call),
	};

	return cmocka_run_group_tests(tests, make, unmake);
}
