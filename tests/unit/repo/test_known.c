/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/known.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/num.h"
#include "pbs/index.h"
#include "repo/known_file.h"
#include "repo/known_set.h"

#include "../store/scratch.h"

#include "../cm.h"

static struct digest
nth(unsigned i)
{
	return digest_of(&i, sizeof(i));
}

static struct known *
open_known(const char *path, const char *generation, size_t max)
{
	struct known *k;

	assert_int_equal(known_new(path, generation, max, &k), 0);
	return k;
}

static void
add_range(struct known *k, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		struct digest d = nth(i);

		known_add(k, &d);
	}
}

static void
remove_range(struct known *k, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		struct digest d = nth(i);

		known_remove(k, &d);
	}
}

/* How many of them are known. */
static unsigned
has_of(struct known *k, unsigned from, unsigned to)
{
	unsigned n = 0;

	for (unsigned i = from; i < to; i++) {
		struct digest d = nth(i);

		n += known_has(k, &d);
	}
	return n;
}

static uint64_t
size_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

/* Against the plainest possible set. */
static void
a_set_of_digests(void **state)
{
	enum { N = 3000, STEPS = 60000 };
	static bool have[N];
	struct known_set s;
	uint32_t x = 1;
	size_t n = 0, i = 0, seen = 0;
	struct digest d;

	(void)state;
	assert_int_equal(known_set_init(&s, N + 10), 0);
	for (unsigned step = 0; step < STEPS; step++) {
		unsigned which;

		x = x * 1664525u + 1013904223u;
		which = (x >> 8) % N;
		d = nth(which);
		assert_int_equal(known_set_has(&s, &d), have[which]);
		if (x >> 31) {
			assert_int_equal(known_set_add(&s, &d), have[which]);
			n += !have[which];
			have[which] = true;
		} else {
			known_set_remove(&s, &d);
			n -= have[which];
			have[which] = false;
		}
		assert_int_equal(known_set_count(&s), n);
	}
	for (unsigned k = 0; k < N; k++) {
		d = nth(k);
		assert_int_equal(known_set_has(&s, &d), have[k]);
	}
	while (known_set_each(&s, &i, &d) == 0) {
		assert_true(known_set_has(&s, &d));
		seen++;
	}
	assert_int_equal(seen, n);
	/* 48 bytes each, once it is large. */
	assert_true(s.n_slots <= 8192 && s.room <= N * 3 / 2 + 512);
	/* All zero is no digest. */
	memset(&d, 0, sizeof(d));
	assert_int_equal(known_set_add(&s, &d), 1);
	assert_false(known_set_has(&s, &d));
	known_set_remove(&s, &d);
	assert_int_equal(known_set_count(&s), n);
	known_set_fini(&s);
}

static void
the_oldest_half_is_forgotten(void **state)
{
	struct known *k = open_known(NULL, "g", 1000);

	(void)state;
	add_range(k, 0, 1000);
	assert_int_equal(known_count(k), 1000);
	add_range(k, 1000, 1001);
	assert_int_equal(known_count(k), 501);
	assert_int_equal(has_of(k, 0, 500), 0);
	assert_int_equal(has_of(k, 500, 1001), 501);
	remove_range(k, 500, 600);
	add_range(k, 2000, 5000);
	assert_true(known_count(k) <= 1000);
	assert_int_equal(has_of(k, 4500, 5000), 500);
	known_free(k);
}

/* Of the first n. */
static struct index *
index_of(unsigned n)
{
	const uint8_t uuid[16] = {1};
	struct index_writer *w;
	const char *why;
	struct index *x;
	struct buf *b;

	assert_int_equal(index_writer_dynamic(&w), 0);
	for (unsigned i = 0; i < n; i++) {
		struct digest d = nth(i);

		assert_int_equal(index_writer_add(w, 1 + i, &d), 0);
	}
	assert_int_equal(index_writer_finish(w, uuid, 1, &b), 0);
	index_writer_free(w);
	assert_int_equal(index_open(b, &x, &why), 0);
	buf_unref(b);
	return x;
}

static void
indices_are_known_in_memory_only(void **state)
{
	const char *path = scratch_path(*state, "known");
	struct known *k = open_known(path, "g", 10000);
	struct index *x = index_of(3000);

	assert_int_equal(known_add_index(k, x, known_era(k)), 0);
	assert_int_equal(known_add_index(k, x, known_era(k)), 0);
	index_unref(x);
	assert_int_equal(known_count(k), 3000);
	assert_int_equal(has_of(k, 0, 3000), 3000);
	known_free(k);
	assert_int_equal(size_of(path), KNOWN_HEADER_LEN);
}

/* An index says that a chunk is needed; who read it, that it is not there. */
static void
what_is_in_doubt_stays_so(void **state)
{
	const char *path = scratch_path(*state, "known");
	struct known *k = open_known(path, "g", 10000);
	struct index *x = index_of(10);
	struct digest before = nth(2), after = nth(5);
	uint64_t size;

	known_doubt(k, &before);
	assert_int_equal(known_add_index(k, x, known_era(k)), 0);
	assert_int_equal(has_of(k, 0, 10), 9);
	assert_true(known_in_doubt(k, &before));
	known_doubt(k, &after);
	size = size_of(path);
	for (unsigned i = 0; i < 100; i++)
		known_doubt(k, &after);
	assert_int_equal(size_of(path), size);
	assert_int_equal(known_add_index(k, x, known_era(k)), 0);
	assert_int_equal(has_of(k, 0, 10), 8);
	/* An upload ends it. */
	known_add(k, &after);
	assert_false(known_in_doubt(k, &after));
	known_doubt(k, &after);
	assert_false(known_has(k, &after));
	known_add(k, &after);
	known_add(k, &before);
	known_remove(k, &after);
	assert_false(known_in_doubt(k, &after));
	assert_int_equal(known_add_index(k, x, known_era(k)), 0);
	assert_int_equal(has_of(k, 0, 10), 10);
	index_unref(x);
	known_free(k);
}

static void
the_file_keeps_it_over_restarts(void **state)
{
	const char *path = scratch_path(*state, "known");
	struct known *k = open_known(path, "one", 10000);

	add_range(k, 0, 2000);
	add_range(k, 0, 2000);	/* again: nothing new */
	remove_range(k, 100, 200);
	add_range(k, 150, 160);
	known_free(k);
	assert_int_equal(size_of(path), KNOWN_HEADER_LEN +
	    (2000 + 100 + 10) * KNOWN_RECORD_LEN);
	k = open_known(path, "one", 10000);
	assert_int_equal(known_count(k), 1910);
	assert_int_equal(has_of(k, 100, 150), 0);
	assert_int_equal(has_of(k, 150, 160), 10);
	assert_int_equal(has_of(k, 160, 200), 0);
	add_range(k, 5000, 5001);
	known_free(k);
	k = open_known(path, "one", 10000);
	assert_int_equal(has_of(k, 5000, 5001), 1);
	known_free(k);
	/* The store has had another life. */
	k = open_known(path, "two", 10000);
	assert_int_equal(known_count(k), 0);
	known_free(k);
	assert_int_equal(size_of(path), KNOWN_HEADER_LEN);
	k = open_known(path, "one", 10000);
	assert_int_equal(known_count(k), 0);
	known_free(k);
}

static void
a_file_of_old_news_is_written_anew(void **state)
{
	const char *path = scratch_path(*state, "known");
	struct known *k = open_known(path, "g", 100000);

	for (unsigned i = 0; i < 6; i++) {
		add_range(k, 0, 1000);
		remove_range(k, 0, 1000);
	}
	add_range(k, 7, 10);
	known_free(k);
	assert_true(size_of(path) > 12000 * KNOWN_RECORD_LEN);
	k = open_known(path, "g", 100000);
	assert_int_equal(known_count(k), 3);
	assert_int_equal(size_of(path),
	    KNOWN_HEADER_LEN + 3 * KNOWN_RECORD_LEN);
	add_range(k, 20, 22);
	known_free(k);
	k = open_known(path, "g", 100000);
	assert_int_equal(known_count(k), 5);
	known_free(k);
	assert_int_equal(access(scratch_path(*state, "known.new"), F_OK), -1);
}

static struct buf *
slurp(const char *path)
{
	struct buf *b;

	assert_int_equal(io_read_file(AT_FDCWD, path, MIB, &b), 0);
	return b;
}

/* Any byte may be wrong: that record is passed over, and no other. */
static void
damage_costs_one_record(void **state)
{
	const char *path = scratch_path(*state, "known");
	struct known *k = open_known(path, "g", 100);
	struct buf *b;

	add_range(k, 0, 3);
	known_free(k);
	b = slurp(path);
	for (size_t i = 0; i < b->len; i++) {
		struct buf *bad = buf_copy(b->data, b->len);

		bad->data[i] ^= 0x40;
		scratch_write(path, bad->data, bad->len);
		k = open_known(path, "g", 100);
		assert_int_equal(known_count(k),
		    i < KNOWN_HEADER_LEN ? 0 : 2);
		assert_int_equal(has_of(k, 0, 3), known_count(k));
		known_free(k);
		buf_unref(bad);
	}
	/* Cut short anywhere: those that are whole; and it goes on. */
	for (size_t len = 0; len < b->len; len++) {
		size_t whole = len < KNOWN_HEADER_LEN ? 0 :
		    (len - KNOWN_HEADER_LEN) / KNOWN_RECORD_LEN;

		scratch_write(path, b->data, len);
		k = open_known(path, "g", 100);
		assert_int_equal(known_count(k), whole);
		add_range(k, 50, 51);
		known_free(k);
		k = open_known(path, "g", 100);
		assert_int_equal(known_count(k), whole + 1);
		known_free(k);
	}
	/* A record of another generation is none, wherever it stands. */
	scratch_write(path, b->data, b->len);
	k = open_known(path, "h", 100);
	add_range(k, 60, 61);
	known_free(k);
	{
		struct buf *other = slurp(path);

		assert_int_equal(other->len,
		    KNOWN_HEADER_LEN + KNOWN_RECORD_LEN);
		memcpy(b->data + KNOWN_HEADER_LEN,
		    other->data + KNOWN_HEADER_LEN, KNOWN_RECORD_LEN);
		scratch_write(path, b->data, b->len);
		k = open_known(path, "g", 100);
		assert_int_equal(known_count(k), 2);
		known_free(k);
		buf_unref(other);
	}
	buf_unref(b);
}

static void
what_is_no_file_is_done_without(void **state)
{
	const char *path = scratch_path(*state, "known");
	const char *other = scratch_path(*state, "other");
	struct known *k;

	scratch_write(other, "precious", 8);
	assert_int_equal(symlink("other", path), 0);
	k = open_known(path, "g", 100);
	add_range(k, 0, 10);
	assert_int_equal(known_count(k), 10);
	known_free(k);
	assert_int_equal(size_of(other), 8);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	k = open_known(path, "g", 100);
	add_range(k, 0, 10);
	known_free(k);
	k = open_known(scratch_path(*state, "no/such/directory"), "g", 100);
	add_range(k, 0, 10);
	remove_range(k, 0, 5);
	assert_int_equal(known_count(k), 5);
	known_free(k);
}

static void
limit_files(uint64_t size)
{
	struct rlimit l;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
	l.rlim_cur = size != 0 ? size : l.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static void
a_full_disk_costs_uploads(void **state)
{
	const char *path = scratch_path(*state, "known");
	struct known *k = open_known(path, "g", 100);

	signal(SIGXFSZ, SIG_IGN);
	add_range(k, 0, 10);
	limit_files(KNOWN_HEADER_LEN + 10 * KNOWN_RECORD_LEN + 7);
	add_range(k, 10, 20);
	limit_files(0);
	assert_int_equal(known_count(k), 20);
	/* Later ones are not written, not even where there is room. */
	add_range(k, 20, 30);
	/* A removal always is. */
	remove_range(k, 3, 4);
	known_free(k);
	k = open_known(path, "g", 100);
	assert_int_equal(known_count(k), 9);
	assert_int_equal(has_of(k, 3, 4), 0);
	known_free(k);
}

static void
a_removal_that_cannot_be_written(void **state)
{
	const char *path = scratch_path(*state, "known");
	struct known *k = open_known(path, "g", 100);

	signal(SIGXFSZ, SIG_IGN);
	add_range(k, 0, 10);
	limit_files(KNOWN_HEADER_LEN + 10 * KNOWN_RECORD_LEN + 7);
	remove_range(k, 3, 4);
	limit_files(0);
	assert_int_equal(known_count(k), 9);
	add_range(k, 20, 30);
	remove_range(k, 20, 21);
	assert_int_equal(known_count(k), 18);
	known_free(k);
	/* Rather nothing than one that is gone. */
	k = open_known(path, "g", 100);
	assert_int_equal(known_count(k), 0);
	known_free(k);
}

#define THREADS 4

struct job {
	struct known *k;
	unsigned from;
};

static void *
add_and_remove(void *arg)
{
	struct job *j = arg;

	add_range(j->k, j->from, j->from + 1000);
	remove_range(j->k, j->from, j->from + 100);
	return NULL;
}

static void
threads_write_beside_each_other(void **state)
{
	const char *path = scratch_path(*state, "known");
	struct known *k = open_known(path, "g", 100000);
	pthread_t t[THREADS];
	struct job j[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		/* Half of each is another one's as well. */
		j[i] = (struct job){k, i * 500 + 1000};
		assert_int_equal(pthread_create(&t[i], NULL, add_and_remove,
		    &j[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	for (unsigned round = 0; round < 2; round++) {
		static bool have[4000];

		for (unsigned i = 0; i < ARRAY_SIZE(have); i++) {
			bool now = has_of(k, i, i + 1) == 1;

			if (round == 0)
				have[i] = now;
			assert_int_equal(now, have[i]);
		}
		known_free(k);
		k = open_known(path, "g", 100000);
	}
	assert_int_equal(has_of(k, 1100, 1500), 400);
	known_free(k);
}

int
main(void)
{
#define WITH_DIR(f)                                                            \
	cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_set_of_digests),
	    cmocka_unit_test(the_oldest_half_is_forgotten),
	    WITH_DIR(indices_are_known_in_memory_only),
	    WITH_DIR(what_is_in_doubt_stays_so),
	    WITH_DIR(the_file_keeps_it_over_restarts),
	    WITH_DIR(a_file_of_old_news_is_written_anew),
	    WITH_DIR(damage_costs_one_record),
	    WITH_DIR(what_is_no_file_is_done_without),
	    WITH_DIR(a_full_disk_costs_uploads),
	    WITH_DIR(a_removal_that_cannot_be_written),
	    WITH_DIR(threads_write_beside_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
