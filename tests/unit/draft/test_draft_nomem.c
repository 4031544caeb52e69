/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * Allocations fail one after the other: each call comes back with -ENOMEM and
 * has done nothing.  The linker puts these wrappers before malloc and its
 * relatives.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "draft/content.h"
#include "draft/journal.h"
#include "draft/record.h"
#include "draft/staging.h"

#include "scratch_dir.h"

static int left = -1;	/* allocations until the failing one; -1: never */

static int
fails(void)
{
	return left >= 0 && left-- == 0;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);
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

char *
__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

/* All that can be asked of a content, as text. */
static void
dump(const struct content *c, struct str *out)
{
	struct piece p;

	str_addf(out, "%llu %zu %llu %llu %llu:",
	    (unsigned long long)content_size(c), content_pieces(c),
	    (unsigned long long)content_staged(c),
	    (unsigned long long)content_chunked(c),
	    (unsigned long long)content_lost(c));
	for (uint64_t off = 0; content_at(c, off, &p) == 0; off += p.len)
		str_addf(out, " %d %llu+%llu %llu %u", (int)p.kind,
		    (unsigned long long)p.off, (unsigned long long)p.len,
		    (unsigned long long)p.seq, p.flags);
}

enum { CHANGES = 6 };

static int
change(struct content *c, unsigned which)
{
	const struct piece p = {.kind = PIECE_CHUNK, .off = 30, .len = 20,
	    .chunk_size = 20};

	switch (which) {
	case 0:
		return content_write(c, 10, 20, 9);
	case 1:
		return content_write(c, 500, 20, 9);
	case 2:
		return content_lose(c, 10, 20, 9);
	case 3:
		return content_punch(c, 10, 20, 9);
	case 4:
		return content_truncate(c, 400, 9);
	default:
		return content_settle(c, &p, 9);
	}
}

static void
contents_stay_as_they_were(void **state)
{
	(void)state;
	for (unsigned which = 0; which < CHANGES; which++)
		for (unsigned reserved = 0; reserved < 2; reserved++) {
			struct str before = {0}, after = {0};
			struct content *c;
			int n = 0, r;

			do {
				str_reset(&before);
				str_reset(&after);
				assert_int_equal(content_new(&c), 0);
				assert_int_equal(content_set_base(c, 100), 0);
				if (reserved)
					assert_int_equal(content_reserve(c),
					    0);
				dump(c, &before);
				left = n++;
				r = change(c, which);
				left = -1;
				dump(c, &after);
				if (r < 0) {
					assert_int_equal(r, -ENOMEM);
					assert_false(reserved);
					assert_string_equal(before.s,
					    after.s);
					/* And it can be done again. */
					assert_int_equal(change(c, which), 0);
				}
				content_free(c);
			} while (r < 0);
			assert_string_not_equal(before.s, after.s);
			str_fini(&before);
			str_fini(&after);
		}
}

/* A file that ends in a hole which was punched behind its end. */
static void
two_changes_are_reserved(void **state)
{
	struct content *c;

	(void)state;
	assert_int_equal(content_new(&c), 0);
	assert_int_equal(content_set_base(c, 100), 0);
	assert_int_equal(content_reserve(c), 0);
	left = 0;
	assert_int_equal(content_punch(c, 10, 20, 8), 0);
	assert_int_equal(content_truncate(c, 400, 9), 0);
	left = -1;
	assert_int_equal(content_size(c), 400);
	assert_int_equal(content_pieces(c), 4);
	content_free(c);
}

static void
a_transaction_says_so(void **state)
{
	const struct record r = {.kind = REC_OWN, .ino = 1};
	struct str s = {0};

	(void)state;
	left = 0;
	assert_int_equal(record_add(&s, &r), -ENOMEM);
	left = -1;
	str_fini(&s);
}

static int
ignore(void *arg, const void *p, size_t len)
{
	size_t *n = arg;

	(void)p;
	*n += len;
	return 0;
}

static void
journals_stay_as_they_were(void **state)
{
	const size_t lens[] = {3};
	struct scratch_dir s;
	struct journal *j;
	uint64_t seq;
	size_t had;
	int r, n = 0;

	(void)state;
	scratch_begin(&s);
	/* Creating, and opening with something in it. */
	for (unsigned i = 0; i < 2; i++) {
		do {
			had = 0;
			left = n++;
			r = journal_open(s.fd, "journal", ignore, &had, &j);
			left = -1;
			assert_true(r == 0 || r == -ENOMEM);
		} while (r < 0);
		assert_int_equal(had, i == 0 ? 0 : 3);
		if (i == 0) {
			left = 0;
			assert_int_equal(journal_add(j, "abc", 3, &seq),
			    -ENOMEM);
			left = -1;
			assert_int_equal(journal_commit(j, 0), 0);
			assert_int_equal(journal_add(j, "abc", 3, &seq), 0);
		}
		journal_close(j);
		n = 0;
	}
	had = 0;
	assert_int_equal(journal_open(s.fd, "journal", ignore, &had, &j), 0);
	left = 0;
	assert_int_equal(journal_rewrite(j, "xyz", lens, 1), -ENOMEM);
	left = -1;
	assert_int_equal(journal_add(j, "defg", 4, &seq), 0);
	journal_close(j);
	had = 0;
	assert_int_equal(journal_open(s.fd, "journal", ignore, &had, &j), 0);
	assert_int_equal(had, 7);
	journal_close(j);
	scratch_end(&s);
}

static void
nothing_is_begun(void **state)
{
	struct content *c;
	struct staging *s;

	(void)state;
	left = 0;
	assert_int_equal(content_new(&c), -ENOMEM);
	left = 0;
	assert_int_equal(staging_new(1, 0, &s), -ENOMEM);
	left = -1;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(contents_stay_as_they_were),
	    cmocka_unit_test(two_changes_are_reserved),
	    cmocka_unit_test(a_transaction_says_so),
	    cmocka_unit_test(journals_stay_as_they_were),
	    cmocka_unit_test(nothing_is_begun),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
