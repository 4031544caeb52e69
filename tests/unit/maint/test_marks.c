/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/marks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "../draft/scratch_dir.h"

#include "../cm.h"

#define SMALL (256 * KIB)	/* the least: 5461 digests */

static struct digest
nth(uint64_t i)
{
	uint8_t b[8];

	put_le64(b, i);
	return digest_of(b, sizeof(b));
}

static int
cmp(const void *a, const void *b)
{
	return memcmp(a, b, DIGEST_LEN);
}

static struct marks *
open_marks(const char *dir)
{
	const struct marks_opts o = {.dir = dir, .memory = SMALL};
	struct marks *m;

	assert_int_equal(marks_new(&o, &m), 0);
	return m;
}

static void
add_range(struct marks *m, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++) {
		struct digest d = nth(i);

		assert_int_equal(marks_add(m, &d), 0);
	}
}

/* Exactly the digests from..to, each once, ascending. */
static void
expect_range(struct marks *m, uint64_t from, uint64_t to)
{
	size_t n = (size_t)(to - from);
	struct digest *v = calloc(n + 1, sizeof(*v)), d;
	struct marks_stats st;

	assert_non_null(v);
	for (size_t i = 0; i < n; i++)
		v[i] = nth(from + i);
	qsort(v, n, sizeof(*v), cmp);
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(marks_next(m, &d), 0);
			assert_memory_equal(d.b, v[i].b, DIGEST_LEN);
		}
		assert_int_equal(marks_next(m, &d), 1);
		assert_int_equal(marks_next(m, &d), 1);
		assert_int_equal(marks_rewind(m), 0);
	}
	marks_stats(m, &st);
	assert_int_equal(st.distinct, n);
	free(v);
}

static void
test_in_memory(void **state)
{
	struct marks *m = open_marks(NULL);
	struct digest s = nth(0);
	uint64_t value;

	(void)state;
	assert_int_equal(marks_keep(m, &s, 1), 0);
	assert_false(marks_has_source(m, &s, &value));
	assert_int_equal(marks_source(m, &s, 77), 0);
	add_range(m, 0, 70000);
	assert_int_equal(marks_source(m, NULL, 0), 0);
	add_range(m, 60000, 150000);
	assert_int_equal(marks_finish(m), 0);
	expect_range(m, 0, 150000);
	marks_free(m);
}

static void
test_nothing(void **state)
{
	struct scratch_dir t;
	struct marks *m;

	(void)state;
	scratch_begin(&t);
	for (int i = 0; i < 2; i++) {
		m = open_marks(i == 0 ? NULL : t.path);
		assert_int_equal(marks_keep(m, NULL, 0), 0);
		assert_int_equal(marks_finish(m), 0);
		expect_range(m, 0, 0);
		marks_free(m);
	}
	scratch_end(&t);
}

/* Sources 0..n of a hundred digests each, that overlap by half. */
#define PER_SOURCE 100
#define STEP 50

static uint64_t
collect(struct marks *m, uint64_t first, uint64_t n)
{
	struct digest *s = calloc(n, sizeof(*s));
	uint64_t read = 0, value;

	assert_non_null(s);
	for (uint64_t i = 0; i < n; i++)
		s[i] = nth((first + i) | (uint64_t)1 << 40);
	assert_int_equal(marks_keep(m, s, n), 0);
	for (uint64_t i = 0; i < n; i++) {
		if (marks_has_source(m, &s[i], &value)) {
			if (first == 0)
				assert_int_equal(value, 1000 + i);
			continue;
		}
		assert_int_equal(marks_source(m, &s[i], 1000 + i), 0);
		add_range(m, (first + i) * STEP,
		    (first + i) * STEP + PER_SOURCE);
		read++;
	}
	free(s);
	return read;
}

#define SOURCES 400
#define END(first, n) (((first) + (n) - 1) * STEP + PER_SOURCE)

static void
test_taken_over(void **state)
{
	struct scratch_dir t;
	struct marks_stats st;
	struct marks *m;
	uint64_t read;

	(void)state;
	scratch_begin(&t);
	m = open_marks(t.path);
	assert_int_equal(collect(m, 0, SOURCES), SOURCES);
	assert_int_equal(marks_finish(m), 0);
	expect_range(m, 0, END(0, SOURCES));
	marks_stats(m, &st);
	assert_true(st.runs > 3);
	assert_int_equal(st.runs_kept, 0);
	marks_free(m);

	/* Nothing has changed: nothing is read. */
	m = open_marks(t.path);
	assert_int_equal(collect(m, 0, SOURCES), 0);
	assert_int_equal(marks_finish(m), 0);
	expect_range(m, 0, END(0, SOURCES));
	marks_free(m);

	/* A new one is read alone; an old one is gone, with its run. */
	m = open_marks(t.path);
	read = collect(m, 1, SOURCES);
	assert_in_range(read, 2, SOURCES / 2);
	assert_int_equal(marks_finish(m), 0);
	expect_range(m, STEP, END(1, SOURCES));
	marks_free(m);

	/* Nothing of what was before. */
	m = open_marks(t.path);
	assert_int_equal(collect(m, 5000, 10), 10);
	assert_int_equal(marks_finish(m), 0);
	expect_range(m, (uint64_t)5000 * STEP, END(5000, 10));
	marks_stats(m, &st);
	assert_int_equal(st.runs, 1);
	marks_free(m);
	scratch_end(&t);
}

/* What is of no source is there this time, and not the next. */
static void
test_not_taken_over(void **state)
{
	struct scratch_dir t;
	struct marks *m;

	(void)state;
	scratch_begin(&t);
	m = open_marks(t.path);
	add_range(m, 0, 20000);
	assert_int_equal(collect(m, 400, 10), 10);
	assert_int_equal(marks_source(m, NULL, 0), 0);
	add_range(m, END(400, 10), 30000);
	assert_int_equal(marks_finish(m), 0);
	expect_range(m, 0, 30000);
	marks_free(m);
	m = open_marks(t.path);
	assert_int_equal(collect(m, 400, 10), 0);
	assert_int_equal(marks_finish(m), 0);
	expect_range(m, (uint64_t)400 * STEP, END(400, 10));
	marks_free(m);
	scratch_end(&t);
}

/* A source that is larger than memory is one run all the same. */
static void
test_large_source(void **state)
{
	struct scratch_dir t;
	struct digest s = nth((uint64_t)1 << 41);
	struct marks_stats st;
	struct marks *m;
	uint64_t value;

	(void)state;
	scratch_begin(&t);
	m = open_marks(t.path);
	assert_int_equal(marks_keep(m, &s, 1), 0);
	assert_int_equal(marks_source(m, &s, 77), 0);
	add_range(m, 0, 400000);
	add_range(m, 0, 50000);
	assert_int_equal(marks_finish(m), 0);
	expect_range(m, 0, 400000);
	marks_stats(m, &st);
	assert_int_equal(st.runs, 1);
	marks_free(m);
	m = open_marks(t.path);
	assert_int_equal(marks_keep(m, &s, 1), 0);
	assert_true(marks_has_source(m, &s, &value));
	assert_int_equal(value, 77);
	assert_int_equal(marks_finish(m), 0);
	expect_range(m, 0, 400000);
	marks_free(m);
	scratch_end(&t);
}

/* As many runs as there are sources: they become fewer. */
static void
test_many_runs(void **state)
{
	struct scratch_dir t;
	struct marks_stats st;
	struct marks *m;

	(void)state;
	scratch_begin(&t);
	m = open_marks(t.path);
	for (uint64_t i = 0; i < 300; i++) {
		struct digest s = nth(i | (uint64_t)1 << 40);

		assert_int_equal(marks_source(m, &s, 1000 + i), 0);
		add_range(m, i * STEP, i * STEP + PER_SOURCE);
		assert_int_equal(marks_source(m, NULL, 0), 0);
	}
	assert_int_equal(marks_finish(m), 0);
	expect_range(m, 0, END(0, 300));
	marks_stats(m, &st);
	assert_in_range(st.runs, 1, 64);
	marks_free(m);
	m = open_marks(t.path);
	assert_int_equal(collect(m, 0, 300), 0);
	assert_int_equal(marks_finish(m), 0);
	expect_range(m, 0, END(0, 300));
	marks_free(m);
	scratch_end(&t);
}

/* Given up in the middle: complete sources are there the next time. */
static void
test_given_up(void **state)
{
	struct scratch_dir t;
	struct marks *m;
	struct digest s = nth(17);
	uint64_t value;

	(void)state;
	scratch_begin(&t);
	m = open_marks(t.path);
	assert_int_equal(collect(m, 0, 300), 300);
	assert_int_equal(marks_source(m, NULL, 0), 0);
	assert_int_equal(marks_source(m, &s, 77), 0);
	add_range(m, 100000, 100010);
	marks_free(m);
	m = open_marks(t.path);
	assert_int_equal(collect(m, 0, 300), 0);
	assert_false(marks_has_source(m, &s, &value));
	assert_int_equal(marks_finish(m), 0);
	expect_range(m, 0, END(0, 300));
	marks_free(m);
	scratch_end(&t);
}

static void
test_one_process(void **state)
{
	const struct marks_opts o = {.dir = NULL};
	struct marks_opts other = o;
	struct scratch_dir t;
	struct marks *m, *second;

	(void)state;
	scratch_begin(&t);
	m = open_marks(t.path);
	other.dir = t.path;
	assert_int_equal(marks_new(&other, &second), -EBUSY);
	marks_free(m);
	assert_int_equal(marks_new(&other, &m), 0);
	marks_free(m);
	/* Where others may write nothing is believed. */
	assert_int_equal(chmod(t.path, 0777), 0);
	assert_int_equal(marks_new(&other, &m), -EPERM);
	assert_int_equal(chmod(t.path, 0700), 0);
	scratch_end(&t);
}

static size_t
find_runs(const char *dir, char name[300])
{
	DIR *d = opendir(dir);
	struct dirent *e;
	size_t n = 0;

	assert_non_null(d);
	while ((e = readdir(d)) != NULL)
		if (strncmp(e->d_name, "run-", 4) == 0) {
			snprintf(name, 300, "%s/%s", dir, e->d_name);
			n++;
		}
	closedir(d);
	return n;
}

#define FEW 5

static void
make_run(const char *dir)
{
	struct marks *m = open_marks(dir);

	collect(m, 0, FEW);
	assert_int_equal(marks_finish(m), 0);
	marks_free(m);
}

/* After its file was spoiled: read again, and right. */
static void
expect_made_anew(const char *dir, const char *how)
{
	struct marks *m = open_marks(dir);
	char name[300];

	if (collect(m, 0, FEW) != FEW)
		fail_msg("%s: was believed", how);
	assert_int_equal(marks_finish(m), 0);
	expect_range(m, 0, END(0, FEW));
	marks_free(m);
	assert_int_equal(find_runs(dir, name), 1);
}

static void
spoil(const char *name, off_t at, int bit)
{
	int fd = open(name, O_RDWR);
	uint8_t b;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &b, 1, at), 1);
	b = (uint8_t)(b ^ 1 << bit);
	assert_int_equal(pwrite(fd, &b, 1, at), 1);
	close(fd);
}

static void
test_spoiled(void **state)
{
	struct scratch_dir t;
	struct stat st;
	char name[300];

	(void)state;
	scratch_begin(&t);
	make_run(t.path);
	assert_int_equal(find_runs(t.path, name), 1);
	assert_int_equal(stat(name, &st), 0);
	for (off_t at = 0; at < st.st_size; at += at < 128 ? 1 : 61) {
		spoil(name, at, (int)(at % 8));
		expect_made_anew(t.path, "a flipped bit");
		assert_int_equal(find_runs(t.path, name), 1);
	}
	for (off_t len = 0; len < st.st_size; len += 97) {
		assert_int_equal(truncate(name, len), 0);
		expect_made_anew(t.path, "cut off");
		assert_int_equal(find_runs(t.path, name), 1);
	}
	assert_int_equal(truncate(name, st.st_size + 1), 0);
	expect_made_anew(t.path, "too long");
	scratch_end(&t);
}

static void
test_strange_files(void **state)
{
	struct scratch_dir t;
	char name[300], other[300], id[32];
	struct stat st;

	(void)state;
	scratch_begin(&t);
	/* One of another name: as if it was copied. */
	make_run(t.path);
	find_runs(t.path, name);
	snprintf(other, sizeof(other), "%s/run-0123456789abcdef", t.path);
	assert_int_equal(rename(name, other), 0);
	expect_made_anew(t.path, "another's name");
	/* A link, a directory, a pipe. */
	find_runs(t.path, name);
	snprintf(other, sizeof(other), "%s/moved", t.path);
	assert_int_equal(rename(name, other), 0);
	assert_int_equal(symlink(other, name), 0);
	expect_made_anew(t.path, "a link");
	find_runs(t.path, name);
	assert_int_equal(unlink(name), 0);
	assert_int_equal(mkfifo(name, 0600), 0);
	expect_made_anew(t.path, "a pipe");
	/* Ours that was not finished goes, others' stay. */
	snprintf(id, sizeof(id), "new-0123456789abcdef");
	snprintf(name, sizeof(name), "%s/%s", t.path, id);
	assert_int_equal(close(open(name, O_CREAT | O_WRONLY, 0600)), 0);
	marks_free(open_marks(t.path));
	assert_int_equal(stat(name, &st), -1);
	assert_int_equal(stat(other, &st), 0);
	scratch_end(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_memory),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_taken_over),
		cmocka_unit_test(test_not_taken_over),
		cmocka_unit_test(test_large_source),
		cmocka_unit_test(test_many_runs),
		cmocka_unit_test(test_given_up),
		cmocka_unit_test(test_one_process),
		cmocka_unit_test(test_spoiled),
		cmocka_unit_test(test_strange_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
