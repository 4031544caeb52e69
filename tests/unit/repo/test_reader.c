/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/reader.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/lock.h"
#include "base/num.h"
#include "pbs/index.h"
#include "pbs/names.h"
#include "repo/chunks.h"
#include "repo/damage.h"
#include "repo/repo.h"
#include "samples.h"
#include "slow_store.h"

#include "../cm.h"

struct fix {
	struct slow_store *s;
	struct damage *damage;
	struct chunks *c;
	struct reader *r;
	uint8_t *want;		/* the whole stream */
	size_t size;
};

static void
setup(struct fix *f, const uint32_t *sizes, size_t n, uint64_t memory)
{
	const struct chunks_opts o = {.memory = memory};
	struct index *x;
	size_t i;

	f->s = slow_store_new();
	assert_int_equal(damage_new(&f->damage), 0);
	assert_int_equal(chunks_new(&f->s->s, f->damage, &o, &f->c), 0);
	x = sample_index(f->s, sizes, n);
	assert_int_equal(reader_new(f->c, x, &f->r), 0);
	assert_ptr_equal(reader_index(f->r), x);
	index_unref(x);
	f->size = reader_size(f->r);
	f->want = malloc(f->size);
	assert_non_null(f->want);
	f->size = 0;
	for (i = 0; i < n; i++) {
		sample_bytes(f->want + f->size, sizes[i], (uint32_t)i);
		f->size += sizes[i];
	}
	assert_int_equal(reader_size(f->r), f->size);
}

static void
teardown(struct fix *f)
{
	store_shutdown(&f->s->s);
	reader_unref(f->r);
	chunks_free(f->c);
	damage_free(f->damage);
	store_free(&f->s->s);
	free(f->want);
}

static unsigned
gets(struct fix *f)
{
	return slow_store_count(f->s, &f->s->gets);
}

static void
settle(struct fix *f)
{
	struct chunks_stats st;

	for (;;) {
		chunks_stats(f->c, &st);
		if (st.in_flight == 0)
			return;
		usleep(1000);
	}
}

struct result {
	struct fix *f;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	uint64_t off;
	size_t len;
	unsigned calls;
	int err, n;
	bool same;
};

static void
read_done(void *arg, int err, const struct iovec *iov, int n)
{
	struct result *x = arg;
	uint64_t at = x->off;
	int i;

	LOCK(&x->lock);
	x->same = true;
	for (i = 0; i < n; i++) {
		if (memcmp(x->f->want + at, iov[i].iov_base,
		    iov[i].iov_len) != 0)
			x->same = false;
		at += iov[i].iov_len;
	}
	if (err == 0 && at != x->off + x->len)
		x->same = false;
	x->err = err;
	x->n = n;
	x->calls++;
	pthread_cond_signal(&x->cond);
}

/* How many pieces came, or the error. */
static int
read_range(struct fix *f, uint64_t off, size_t len)
{
	struct result x = {.f = f, .off = off, .len = len};

	pthread_mutex_init(&x.lock, NULL);
	assert_int_equal(cond_init(&x.cond), 0);
	reader_read(f->r, off, len, read_done, &x);
	pthread_mutex_lock(&x.lock);
	while (x.calls == 0)
		assert_int_equal(cond_wait_until(&x.cond, &x.lock,
		    deadline_in(10000)), 0);
	pthread_mutex_unlock(&x.lock);
	assert_int_equal(x.calls, 1);
	if (x.err < 0) {
		assert_int_equal(x.n, 0);
		return x.err;
	}
	assert_true(x.same);
	assert_in_range(x.n, 0, READER_IOV_MAX);
	return x.n;
}

static void
any_range_has_the_right_bytes(void **state)
{
	const uint32_t sizes[] = {1000, 1, 70000, 3, 4096, 128 * 1024};
	size_t n = ARRAY_SIZE(sizes), len;
	struct fix f;
	uint8_t *p;
	uint32_t x = 1;
	unsigned i;
	uint64_t off;

	(void)state;
	setup(&f, sizes, n, 0);
	p = malloc(f.size);
	assert_non_null(p);
	assert_int_equal(reader_pread(f.r, p, f.size, 0, 0), 0);
	assert_memory_equal(p, f.want, f.size);
	assert_int_equal(read_range(&f, 0, f.size), 6);
	for (i = 0; i < 500; i++) {
		x = x * 1664525u + 1013904223u;
		off = (x >> 8) % (f.size + 1);
		x = x * 1664525u + 1013904223u;
		len = (x >> 8) % (f.size - off + 1);
		assert_int_equal(reader_pread(f.r, p, len, off, 0), 0);
		assert_memory_equal(p, f.want + off, len);
		assert_true(read_range(&f, off, len) >= 0);
	}
	assert_int_equal(read_range(&f, 999, 3), 3);
	assert_int_equal(read_range(&f, 5, 0), 0);
	assert_int_equal(gets(&f), 6);
	free(p);
	teardown(&f);
}

static void
past_the_end_is_an_error(void **state)
{
	const uint32_t sizes[] = {1000, 500};
	struct fix f;
	uint8_t p[16];

	(void)state;
	setup(&f, sizes, 2, 0);
	assert_int_equal(reader_pread(f.r, p, 1, 1500, 0), -EBADMSG);
	assert_int_equal(reader_pread(f.r, p, 2, 1499, 0), -EBADMSG);
	assert_int_equal(reader_pread(f.r, p, 16, UINT64_MAX - 3, 0),
	    -EBADMSG);
	assert_int_equal(reader_pread(f.r, p, 0, 1500, 0), 0);
	assert_int_equal(read_range(&f, 1499, 2), -EINVAL);
	assert_int_equal(read_range(&f, UINT64_MAX, 2), -EINVAL);
	assert_int_equal(gets(&f), 0);
	teardown(&f);
}

static void
no_copy(void *arg, int err, const struct iovec *iov, int n)
{
	const void **base = arg;

	assert_int_equal(err, 0);
	assert_int_equal(n, 1);
	*base = iov[0].iov_base;
}

static void
pieces_are_the_chunks_themselves(void **state)
{
	const uint32_t sizes[] = {50000, 50000};
	struct fix f;
	const void *base = NULL;
	struct index_chunk x;
	struct chunk_id id = {0};
	struct buf *b;

	(void)state;
	setup(&f, sizes, 2, 0);
	assert_int_equal(read_range(&f, 100, 60000), 2);
	x = index_chunk(reader_index(f.r), 0);
	id.digest = x.digest;
	id.size = 50000;
	assert_int_equal(chunks_try(f.c, &id, &b), 0);
	/* Soon nobody but the cache and we hold it: the read lets go of it. */
	while (__atomic_load_n(&b->refs, __ATOMIC_ACQUIRE) != 2)
		usleep(1000);
	/* In memory: answered before it returns. */
	reader_read(f.r, 77, 10, no_copy, &base);
	assert_ptr_equal(base, b->data + 77);
	buf_unref(b);
	teardown(&f);
}

static void
tiny_chunks_cost_no_more_than_their_range(void **state)
{
	uint32_t sizes[1000];
	struct fix f;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		sizes[i] = 1 + i % 7;
	setup(&f, sizes, ARRAY_SIZE(sizes), 0);
	assert_int_equal(read_range(&f, 1, f.size - 2), 1);
	/* And once more, all from memory and without a deep stack. */
	assert_int_equal(read_range(&f, 0, f.size), 1);
	slow_store_await(f.s, &f.s->most, 1);
	assert_true(slow_store_count(f.s, &f.s->most) <= READER_IOV_MAX);
	teardown(&f);
}

static void
one_bad_chunk_fails_its_range_alone(void **state)
{
	const uint32_t sizes[] = {4000, 4000, 4000};
	struct index_chunk x;
	char key[KEY_CHUNK_LEN + 1];
	struct fix f;
	uint8_t p[100];

	(void)state;
	setup(&f, sizes, 3, 0);
	x = index_chunk(reader_index(f.r), 1);
	key_chunk(&x.digest, key);
	slow_store_put(f.s, key, "garbage, longer than a header", 29);
	assert_int_equal(read_range(&f, 3900, 200), -EBADMSG);
	assert_int_equal(read_range(&f, 3000, 1000), 1);
	assert_int_equal(read_range(&f, 8000, 4000), 1);
	assert_int_equal(reader_pread(f.r, p, 100, 4000, 0), -EBADMSG);
	assert_int_equal(reader_pread(f.r, p, 100, 3900, 0), 0);
	assert_int_equal(damage_count(f.damage), 1);
	teardown(&f);
}

static void
nowait_answers_from_memory_alone(void **state)
{
	const uint32_t sizes[] = {4000, 4000};
	struct fix f;
	uint8_t p[100];

	(void)state;
	setup(&f, sizes, 2, 0);
	assert_int_equal(reader_pread(f.r, p, 10, 0, REPO_NOWAIT), -EAGAIN);
	assert_int_equal(gets(&f), 0);
	assert_int_equal(reader_pread(f.r, p, 10, 0, 0), 0);
	assert_int_equal(reader_pread(f.r, p, 10, 500, REPO_NOWAIT), 0);
	assert_memory_equal(p, f.want + 500, 10);
	assert_int_equal(reader_pread(f.r, p, 10, 3995, REPO_NOWAIT), -EAGAIN);
	teardown(&f);
}

static void
holes_are_the_zero_chunks(void **state)
{
	const struct chunks_opts o = {0};
	const uint32_t z = 4 << 20;
	const uint8_t uuid[16] = {0};
	struct index_writer *w;
	struct digest zero, data;
	struct damage *damage;
	struct slow_store *s;
	struct reader *r;
	struct index *x;
	struct chunks *c;
	const char *why;
	struct buf *b;
	uint64_t end;

	(void)state;
	assert_int_equal(digest_parse("bb9f8df61474d25e71fa00722318cd38"
	    "7396ca1736605e1248821cc0de3d3af8", &zero), 0);
	data = digest_of("x", 1);
	assert_int_equal(index_writer_fixed(4 * (uint64_t)z + 512, z, &w), 0);
	assert_int_equal(index_writer_add(w, z, &zero), 0);
	assert_int_equal(index_writer_add(w, z, &zero), 0);
	assert_int_equal(index_writer_add(w, z, &data), 0);
	assert_int_equal(index_writer_add(w, z, &zero), 0);
	assert_int_equal(index_writer_add(w, 512, &zero), 0);
	assert_int_equal(index_writer_finish(w, uuid, 0, &b), 0);
	index_writer_free(w);
	assert_int_equal(index_open(b, &x, &why), 0);
	buf_unref(b);
	s = slow_store_new();
	assert_int_equal(damage_new(&damage), 0);
	assert_int_equal(chunks_new(&s->s, damage, &o, &c), 0);
	assert_int_equal(reader_new(c, x, &r), 0);
	index_unref(x);

	assert_int_equal(reader_hole(r, 5, NULL), 1);
	assert_int_equal(reader_hole(r, 2 * (uint64_t)z, NULL), 0);
	assert_int_equal(reader_hole(r, 5, &end), 1);
	assert_int_equal(end, 2 * z);
	assert_int_equal(reader_hole(r, 2 * (uint64_t)z, &end), 0);
	assert_int_equal(end, 3 * z);
	assert_int_equal(reader_hole(r, 3 * (uint64_t)z + 1, &end), 1);
	assert_int_equal(end, 4 * (uint64_t)z);
	assert_int_equal(reader_hole(r, 4 * (uint64_t)z, &end), 0);
	assert_int_equal(end, 4 * (uint64_t)z + 512);
	assert_int_equal(reader_hole(r, 4 * (uint64_t)z + 512, &end), -EINVAL);
	assert_int_equal(s->gets, 0);

	store_shutdown(&s->s);
	reader_unref(r);
	chunks_free(c);
	damage_free(damage);
	store_free(&s->s);
}

#define CHUNK 65536u
#define COUNT 64

static void
setup_ahead(struct fix *f, uint64_t memory)
{
	uint32_t sizes[COUNT];
	size_t i;

	for (i = 0; i < COUNT; i++)
		sizes[i] = CHUNK;
	setup(f, sizes, COUNT, memory);
}

static void
sequential_reads_run_ahead_by_a_growing_window(void **state)
{
	struct readahead ra;
	struct fix f;
	uint64_t off;
	unsigned most = 0, before;
	uint8_t p[4096];

	(void)state;
	setup_ahead(&f, 0);
	readahead_init(&ra, 0, f.size);
	readahead_update(&ra, f.r, 0, 4096);
	settle(&f);
	assert_int_equal(gets(&f), 0);	/* one read says nothing */
	readahead_update(&ra, f.r, 4096, 4096);
	settle(&f);
	assert_int_equal(gets(&f), 1);
	for (off = 8192; off < f.size; off += 4096) {
		before = gets(&f);
		readahead_update(&ra, f.r, off, 4096);
		settle(&f);
		most = MAX(most, gets(&f) - before);
		assert_int_equal(reader_pread(f.r, p, 4096, off, 0), 0);
	}
	/* All but the first came before they were read, each once. */
	assert_int_equal(gets(&f), COUNT);
	assert_in_range(ra.window, 16, 16);
	assert_true(most <= 17);
	teardown(&f);
}

static void
parallel_reads_out_of_order_are_still_sequential(void **state)
{
	static const unsigned order[] = {1, 0, 3, 2, 6, 4, 5, 7, 9, 8};
	struct readahead ra;
	struct fix f;
	size_t i;

	(void)state;
	setup_ahead(&f, 0);
	readahead_init(&ra, 0, f.size);
	for (i = 0; i < ARRAY_SIZE(order); i++)
		readahead_update(&ra, f.r, order[i] * 32768u, 32768);
	assert_true(ra.window >= 4);
	settle(&f);
	assert_true(gets(&f) >= 4);
	teardown(&f);
}

static void
random_small_reads_never_fetch_ahead(void **state)
{
	struct readahead ra;
	uint32_t x = 7;
	struct fix f;
	unsigned i;

	(void)state;
	setup_ahead(&f, 0);
	readahead_init(&ra, 0, f.size);
	for (i = 0; i < 300; i++) {
		x = x * 1664525u + 1013904223u;
		readahead_update(&ra, f.r,
		    (x >> 8) % (f.size / 4096) * 4096, 4096);
	}
	settle(&f);
	assert_int_equal(gets(&f), 0);
	teardown(&f);
}

static void
a_jump_collapses_the_window(void **state)
{
	struct readahead ra;
	struct fix f;
	uint64_t off;
	unsigned before;

	(void)state;
	setup_ahead(&f, 0);
	readahead_init(&ra, 0, f.size);
	for (off = 0; off < 4 * CHUNK; off += 16384)
		readahead_update(&ra, f.r, off, 16384);
	assert_true(ra.window >= 4);
	settle(&f);
	before = gets(&f);
	readahead_update(&ra, f.r, 50 * CHUNK, 4096);
	assert_int_equal(ra.window, 0);
	readahead_update(&ra, f.r, 40 * CHUNK, 4096);
	settle(&f);
	assert_int_equal(gets(&f), before);
	teardown(&f);
}

static void
readahead_stays_within_its_file(void **state)
{
	struct readahead ra;
	struct fix f;
	uint64_t off;

	(void)state;
	setup_ahead(&f, 0);
	/* A file in the middle of an archive that ends within chunk 12. */
	readahead_init(&ra, 10 * CHUNK + 100, 12 * CHUNK + 50);
	for (off = ra.begin; off < ra.end; off += 4096)
		readahead_update(&ra, f.r, off,
		    MIN((size_t)4096, (size_t)(ra.end - off)));
	settle(&f);
	assert_int_equal(gets(&f), 2);
	teardown(&f);
}

static void
readahead_takes_a_quarter_of_memory(void **state)
{
	struct readahead ra;
	struct chunks_stats st;
	struct fix f;
	uint64_t off;

	(void)state;
	setup_ahead(&f, 16 * CHUNK);
	f.s->hold = true;
	readahead_init(&ra, 0, f.size);
	for (off = 0; off < 10 * CHUNK; off += 16384) {
		readahead_update(&ra, f.r, off, 16384);
		assert_true(ra.ahead <= ra.next + 4 * CHUNK + CHUNK);
	}
	chunks_stats(f.c, &st);
	assert_true(st.memory <= st.memory_limit / 2);
	teardown(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(any_range_has_the_right_bytes),
	    cmocka_unit_test(past_the_end_is_an_error),
	    cmocka_unit_test(pieces_are_the_chunks_themselves),
	    cmocka_unit_test(tiny_chunks_cost_no_more_than_their_range),
	    cmocka_unit_test(one_bad_chunk_fails_its_range_alone),
	    cmocka_unit_test(nowait_answers_from_memory_alone),
	    cmocka_unit_test(holes_are_the_zero_chunks),
	    cmocka_unit_test(sequential_reads_run_ahead_by_a_growing_window),
	    cmocka_unit_test(parallel_reads_out_of_order_are_still_sequential),
	    cmocka_unit_test(random_small_reads_never_fetch_ahead),
	    cmocka_unit_test(a_jump_collapses_the_window),
	    cmocka_unit_test(readahead_stays_within_its_file),
	    cmocka_unit_test(readahead_takes_a_quarter_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
