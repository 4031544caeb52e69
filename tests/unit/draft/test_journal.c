/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/journal.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/buf.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/journal_file.h"

#include "scratch_dir.h"

/* What a replay has seen: transactions separated by commas. */
struct seen {
	struct str text;
	size_t n;
	size_t stop;	/* returns 7 at that one */
};

static int
see(void *arg, const void *p, size_t len)
{
	struct seen *s = arg;

	if (s->text.len > 0)
		str_addc(&s->text, ',');
	str_addn(&s->text, p, len);
	s->n++;
	return s->n == s->stop ? 7 : 0;
}

static int
open_seen(const struct scratch_dir *s, const char *want, struct journal **ret)
{
	struct seen seen = {0};
	int r = journal_open(s->fd, "journal", see, &seen, ret);

	if (want != NULL)
		assert_string_equal(str_get(&seen.text), want);
	str_fini(&seen.text);
	return r;
}

static struct journal *
opened(const struct scratch_dir *s, const char *want)
{
	struct journal *j;

	assert_int_equal(open_seen(s, want, &j), 0);
	return j;
}

static uint64_t
add(struct journal *j, const char *text)
{
	uint64_t seq;

	assert_int_equal(journal_add(j, text, strlen(text), &seq), 0);
	return seq;
}

static off_t
file_size(const struct scratch_dir *s)
{
	struct stat st;

	assert_int_equal(fstatat(s->fd, "journal", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	return st.st_size;
}

static void
replays_what_was_committed(void **state)
{
	struct scratch_dir s;
	struct journal *j;
	uint64_t a, b;

	(void)state;
	scratch_begin(&s);
	j = opened(&s, "");
	assert_int_equal(journal_size(j), JOURNAL_HEADER_LEN);
	assert_int_equal(journal_commit(j, 0), 0);
	assert_int_equal(journal_sync(j, 0), 0);
	a = add(j, "one");
	b = add(j, "two");
	assert_true(b > a && a > 0);
	/* Not before somebody asks. */
	assert_int_equal(file_size(&s), JOURNAL_HEADER_LEN);
	assert_int_equal(journal_commit(j, a), 0);
	assert_int_equal(file_size(&s), journal_size(j));
	add(j, "three");
	assert_int_equal(journal_sync(j, 0), 0);
	assert_int_equal(file_size(&s), journal_size(j));
	add(j, "four");
	journal_close(j);

	j = opened(&s, "one,two,three,four");
	assert_int_equal(journal_sync(j, 0), 0);
	add(j, "five");
	journal_close(j);
	j = opened(&s, "one,two,three,four,five");
	journal_close(j);
	journal_close(NULL);
	scratch_end(&s);
}

static void
lengths(void **state)
{
	char *p = calloc(1, JOURNAL_FRAME_MAX + 1);
	struct seen seen = {0};
	struct scratch_dir s;
	struct journal *j;
	size_t big = JOURNAL_FRAME_MAX + 1;
	uint64_t seq;

	(void)state;
	assert_non_null(p);
	scratch_begin(&s);
	j = opened(&s, "");
	assert_int_equal(journal_add(j, p, 0, &seq), -EINVAL);
	assert_int_equal(journal_add(j, p, big, &seq), -EINVAL);
	assert_int_equal(journal_rewrite(j, p, &big, 1), -EINVAL);
	assert_int_equal(journal_size(j), JOURNAL_HEADER_LEN);
	assert_int_equal(journal_add(j, p, 1, &seq), 0);
	assert_int_equal(journal_add(j, p, JOURNAL_FRAME_MAX, &seq), 0);
	assert_int_equal(journal_add(j, p, 1, &seq), 0);
	assert_int_equal(journal_commit(j, seq), 0);
	journal_close(j);
	assert_int_equal(journal_open(s.fd, "journal", see, &seen, &j), 0);
	assert_int_equal(seen.n, 3);
	assert_int_equal(seen.text.len, JOURNAL_FRAME_MAX + 4);
	journal_close(j);
	str_fini(&seen.text);
	free(p);
	scratch_end(&s);
}

static void
a_replay_can_be_ended(void **state)
{
	struct seen seen = {.stop = 2};
	struct scratch_dir s;
	struct journal *j;

	(void)state;
	scratch_begin(&s);
	j = opened(&s, "");
	add(j, "one");
	add(j, "two");
	add(j, "three");
	journal_close(j);
	assert_int_equal(journal_open(s.fd, "journal", see, &seen, &j), 7);
	assert_string_equal(str_get(&seen.text), "one,two");
	str_fini(&seen.text);
	scratch_end(&s);
}

static void
rewritten(void **state)
{
	const size_t lens[] = {3, 5};
	struct scratch_dir s;
	struct journal *j;
	uint64_t seq;

	(void)state;
	scratch_begin(&s);
	j = opened(&s, "");
	add(j, "one");
	assert_int_equal(journal_commit(j, 0), 0);
	seq = add(j, "two");
	/* With what nobody has committed yet. */
	assert_int_equal(journal_rewrite(j, "newstate", lens, 2), 0);
	assert_int_equal(file_size(&s), journal_size(j));
	assert_int_equal(journal_sync(j, seq), 0);
	add(j, "more");
	journal_close(j);
	j = opened(&s, "new,state,more");
	assert_int_equal(journal_rewrite(j, NULL, NULL, 0), 0);
	assert_int_equal(journal_size(j), JOURNAL_HEADER_LEN);
	journal_close(j);
	j = opened(&s, "");
	journal_close(j);
	scratch_end(&s);
}

static void
large_rewrite(void **state)
{
	enum { N = 3000, LEN = 1000 };
	char *p = malloc((size_t)N * LEN);
	size_t *lens = calloc(N, sizeof(*lens));
	struct seen seen = {0};
	struct scratch_dir s;
	struct journal *j;

	(void)state;
	assert_true(p != NULL && lens != NULL);
	for (size_t i = 0; i < N; i++) {
		memset(p + i * LEN, 'a' + (int)(i % 26), LEN);
		lens[i] = LEN;
	}
	scratch_begin(&s);
	j = opened(&s, "");
	assert_int_equal(journal_rewrite(j, p, lens, N), 0);
	journal_close(j);
	assert_int_equal(journal_open(s.fd, "journal", see, &seen, &j), 0);
	journal_close(j);
	assert_int_equal(seen.n, N);
	for (size_t i = 0; i < N; i++)
		assert_memory_equal(seen.text.s + i * (LEN + 1), p + i * LEN,
		    LEN);
	str_fini(&seen.text);
	free(lens);
	free(p);
	scratch_end(&s);
}

static void
put_file(const struct scratch_dir *s, const void *p, size_t len)
{
	struct buf *b = buf_copy(p, len);
	struct iovec iov;

	assert_non_null(b);
	iov = (struct iovec){.iov_base = b->data, .iov_len = len};
	assert_int_equal(io_replace(s->fd, "journal", &iov, 1, 0600, 0), 0);
	buf_unref(b);
}

static struct buf *
get_file(const struct scratch_dir *s)
{
	struct buf *b;

	assert_int_equal(io_read_file(s->fd, "journal", 1 << 20, &b), 0);
	return b;
}

static const char *const prefixes[] = {"", "one", "one,two", "one,two,three"};
static const size_t ends[] = {JOURNAL_HEADER_LEN,
    JOURNAL_HEADER_LEN + JOURNAL_FRAME_LEN + 3,
    JOURNAL_HEADER_LEN + 2 * (JOURNAL_FRAME_LEN + 3),
    JOURNAL_HEADER_LEN + 3 * JOURNAL_FRAME_LEN + 11};

/* Three frames; synced before the last if asked for. */
static struct buf *
three(const struct scratch_dir *s, bool synced)
{
	struct journal *j = opened(s, "");

	add(j, "one");
	add(j, "two");
	if (synced)
		assert_int_equal(journal_sync(j, 0), 0);
	add(j, "three");
	journal_close(j);
	return get_file(s);
}

static void
torn(void **state)
{
	struct scratch_dir s;
	struct journal *j;
	struct buf *b;
	size_t whole;

	(void)state;
	scratch_begin(&s);
	b = three(&s, true);
	assert_int_equal(b->len, ends[3]);
	for (size_t n = 0; n < b->len; n++) {
		put_file(&s, b->data, n);
		if (n < JOURNAL_HEADER_LEN) {
			assert_int_equal(open_seen(&s, "", &j), -EBADMSG);
			assert_int_equal(file_size(&s), n);
			continue;
		}
		for (whole = 2; ends[whole] > n; whole--)
			;
		j = opened(&s, prefixes[whole]);
		assert_int_equal(file_size(&s), ends[whole]);
		add(j, "more");
		journal_close(j);
		j = opened(&s, NULL);
		assert_int_equal(journal_size(j),
		    ends[whole] + JOURNAL_FRAME_LEN + 4);
		journal_close(j);
	}
	buf_unref(b);
	scratch_end(&s);
}

/* What a file system may show behind the last write after a crash. */
static void
zeros_at_the_end(void **state)
{
	struct scratch_dir s;
	struct journal *j;
	struct buf *b, *more;

	(void)state;
	scratch_begin(&s);
	b = three(&s, true);
	more = buf_new(b->len + 5000);
	assert_non_null(more);
	memset(more->data, 0, more->len);
	memcpy(more->data, b->data, b->len);
	put_file(&s, more->data, more->len);
	j = opened(&s, prefixes[3]);
	journal_close(j);
	/* Frames elsewhere than where they were written are none. */
	memcpy(more->data + b->len, b->data + JOURNAL_HEADER_LEN,
	    b->len - JOURNAL_HEADER_LEN);
	put_file(&s, more->data, more->len);
	j = opened(&s, prefixes[3]);
	journal_close(j);
	buf_unref(more);
	buf_unref(b);
	scratch_end(&s);
}

/* A block of a journal that was there before, at the same place. */
static void
frames_of_another(void **state)
{
	struct scratch_dir s;
	struct journal *j;
	struct buf *old, *b;

	(void)state;
	scratch_begin(&s);
	old = three(&s, false);
	j = opened(&s, prefixes[3]);
	assert_int_equal(journal_rewrite(j, NULL, NULL, 0), 0);
	add(j, "ONE");
	journal_close(j);
	b = get_file(&s);
	assert_int_equal(b->len, ends[1]);
	memcpy(old->data, b->data, b->len);
	put_file(&s, old->data, old->len);
	j = opened(&s, "ONE");
	journal_close(j);
	buf_unref(b);
	buf_unref(old);
	scratch_end(&s);
}

static void
every_bit_of_it(void **state)
{
	struct scratch_dir s;
	struct journal *j;
	struct buf *b;

	(void)state;
	scratch_begin(&s);
	b = three(&s, true);
	for (size_t bit = 0; bit < 8 * b->len; bit++) {
		size_t at = bit / 8;
		int r;

		b->data[at] ^= (uint8_t)(1 << bit % 8);
		put_file(&s, b->data, b->len);
		r = open_seen(&s, at < ends[0] ? "" : at < ends[1] ? "" :
		    at < ends[2] ? "one" : "one,two", &j);
		if (at < ends[2]) {
			/* It was durable before "three" was added. */
			assert_int_equal(r, -EBADMSG);
			assert_int_equal(file_size(&s), b->len);
		} else {
			assert_int_equal(r, 0);
			journal_close(j);
		}
		b->data[at] ^= (uint8_t)(1 << bit % 8);
	}
	buf_unref(b);
	scratch_end(&s);
}

/* A crash of the host may keep later blocks and lose earlier ones, as long as
 * nobody has synced. */
static void
lost_before_the_last(void **state)
{
	struct scratch_dir s;
	struct journal *j;
	struct buf *b;

	(void)state;
	scratch_begin(&s);
	b = three(&s, false);
	memset(b->data + ends[1], 0, 10);
	put_file(&s, b->data, b->len);
	j = opened(&s, "one");
	assert_int_equal(file_size(&s), ends[1]);
	/* The third would fit behind this one. */
	add(j, "TWO");
	journal_close(j);
	j = opened(&s, "one,TWO");
	journal_close(j);
	buf_unref(b);
	scratch_end(&s);
}

/* What was sealed no crash can take back. */
static void
damage_after_a_clean_end(void **state)
{
	struct scratch_dir s;
	struct journal *j;
	struct buf *b;

	(void)state;
	scratch_begin(&s);
	j = opened(&s, "");
	add(j, "one");
	add(j, "two");
	assert_int_equal(journal_seal(j), 0);
	assert_int_equal(journal_seal(j), 0);
	journal_close(j);
	j = opened(&s, "one,two");
	add(j, "three");
	journal_close(j);
	assert_int_equal(io_read_file(s.fd, "journal", MIB, &b), 0);
	/* What came later may be torn. */
	b->data[b->len - 1] ^= 1;
	put_file(&s, b->data, b->len);
	j = opened(&s, "one,two");
	assert_int_equal(journal_seal(j), 0);
	journal_close(j);
	b->data[JOURNAL_HEADER_LEN + JOURNAL_FRAME_LEN] ^= 1;
	put_file(&s, b->data, b->len);
	assert_int_equal(open_seen(&s, "", &j), -EBADMSG);
	buf_unref(b);
	scratch_end(&s);
}

/* What another process wrote and nobody synced is no safer for having been
 * read. */
static void
lost_before_a_reopening(void **state)
{
	struct scratch_dir s;
	struct journal *j;
	struct buf *b;

	(void)state;
	scratch_begin(&s);
	buf_unref(three(&s, false));
	j = opened(&s, prefixes[3]);
	add(j, "four");
	journal_close(j);
	b = get_file(&s);
	memset(b->data + ends[1], 0, 10);
	put_file(&s, b->data, b->len);
	j = opened(&s, "one");
	journal_close(j);
	buf_unref(b);
	scratch_end(&s);
}

static void
damage_in_a_rewritten_one(void **state)
{
	const size_t lens[] = {3, 3, 5};
	struct scratch_dir s;
	struct journal *j;
	struct buf *b;

	(void)state;
	scratch_begin(&s);
	j = opened(&s, "");
	assert_int_equal(journal_rewrite(j, "onetwothree", lens, 3), 0);
	journal_close(j);
	b = get_file(&s);
	assert_int_equal(b->len, ends[3]);
	/* All of it was durable. */
	for (size_t at = 0; at < b->len; at++) {
		b->data[at] ^= 0x10;
		put_file(&s, b->data, b->len);
		assert_int_equal(open_seen(&s, NULL, &j), -EBADMSG);
		b->data[at] ^= 0x10;
		put_file(&s, b->data, at);
		assert_int_equal(open_seen(&s, NULL, &j), -EBADMSG);
	}
	buf_unref(b);
	scratch_end(&s);
}

static void
of_a_later_version(void **state)
{
	struct scratch_dir s;
	uint8_t b[JOURNAL_HEADER_LEN];
	struct journal *j;

	(void)state;
	scratch_begin(&s);
	journal_header(b, 1, sizeof(b));
	put_le32(b + 8, JOURNAL_VERSION + 1);
	put_le64(b + 32, XXH3_64bits(b, 32));
	put_file(&s, b, sizeof(b));
	assert_int_equal(open_seen(&s, "", &j), -EPROTONOSUPPORT);
	scratch_end(&s);
}

static void
not_a_file(void **state)
{
	struct scratch_dir s;
	struct journal *j;

	(void)state;
	scratch_begin(&s);
	assert_int_equal(mkdirat(s.fd, "journal", 0700), 0);
	assert_int_equal(open_seen(&s, "", &j), -EISDIR);
	assert_int_equal(unlinkat(s.fd, "journal", AT_REMOVEDIR), 0);
	assert_int_equal(symlinkat("elsewhere", s.fd, "journal"), 0);
	assert_int_equal(open_seen(&s, "", &j), -ELOOP);
	assert_int_equal(unlinkat(s.fd, "journal", 0), 0);
	assert_int_equal(mkfifoat(s.fd, "journal", 0600), 0);
	assert_int_equal(open_seen(&s, "", &j), -EINVAL);
	scratch_end(&s);
}

/* What a crash in the middle of rewriting leaves. */
static void
leftovers(void **state)
{
	struct scratch_dir s;
	struct journal *j;
	struct stat st;

	(void)state;
	scratch_begin(&s);
	assert_int_equal(symlinkat("elsewhere", s.fd, "journal.new"), 0);
	j = opened(&s, "");
	add(j, "one");
	assert_int_equal(symlinkat("elsewhere", s.fd, "journal.new"), 0);
	journal_close(j);
	j = opened(&s, "one");
	assert_int_equal(fstatat(s.fd, "journal.new", &st,
	    AT_SYMLINK_NOFOLLOW), -1);
	assert_int_equal(fstatat(s.fd, "elsewhere", &st, 0), -1);
	journal_close(j);
	scratch_end(&s);
}

/*
 * Many threads.
 */
enum { THREADS = 8, EACH = 200 };

struct crowd {
	struct journal *j;
	pthread_mutex_t order;	/* as callers have it */
	atomic_uint next;
};

static void *
add_and_wait(void *arg)
{
	struct crowd *c = arg;
	unsigned me = atomic_fetch_add(&c->next, 1);
	uint64_t seq;
	char text[32];
	int n;

	for (unsigned i = 0; i < EACH; i++) {
		n = snprintf(text, sizeof(text), "%u.%u;", me, i);
		pthread_mutex_lock(&c->order);
		assert_int_equal(journal_add(c->j, text, (size_t)n, &seq), 0);
		pthread_mutex_unlock(&c->order);
		if (i % 16 == 15)
			assert_int_equal(journal_sync(c->j, seq), 0);
		else
			assert_int_equal(journal_commit(c->j, seq), 0);
		assert_true(journal_size(c->j) > JOURNAL_HEADER_LEN);
	}
	return NULL;
}

static int
check_order(void *arg, const void *p, size_t len)
{
	unsigned *next = arg, who, i;
	char text[32];

	assert_true(len < sizeof(text));
	memcpy(text, p, len);
	text[len] = '\0';
	assert_int_equal(sscanf(text, "%u.%u;", &who, &i), 2);
	assert_true(who < THREADS);
	assert_int_equal(next[who], i);
	next[who]++;
	return 0;
}

static void
many_threads(void **state)
{
	struct crowd c = {.order = PTHREAD_MUTEX_INITIALIZER};
	unsigned next[THREADS] = {0};
	pthread_t t[THREADS];
	struct scratch_dir s;

	(void)state;
	scratch_begin(&s);
	c.j = opened(&s, "");
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, add_and_wait, &c),
		    0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	journal_close(c.j);
	assert_int_equal(journal_open(s.fd, "journal", check_order, next, &c.j),
	    0);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(next[i], EACH);
	journal_close(c.j);
	scratch_end(&s);
}

static void *
commit_all(void *arg)
{
	struct crowd *c = arg;

	for (unsigned i = 0; i < 500; i++) {
		assert_int_equal(journal_commit(c->j, 0), 0);
		assert_int_equal(journal_sync(c->j, 0), 0);
	}
	return NULL;
}

/* Waiting for a commit and rewriting get along. */
static void
commits_during_rewrites(void **state)
{
	struct crowd c = {.order = PTHREAD_MUTEX_INITIALIZER};
	struct scratch_dir s;
	size_t len = 4;
	pthread_t t;

	(void)state;
	scratch_begin(&s);
	c.j = opened(&s, "");
	assert_int_equal(pthread_create(&t, NULL, commit_all, &c), 0);
	for (unsigned i = 0; i < 50; i++) {
		add(c.j, "add");
		assert_int_equal(journal_rewrite(c.j, "base", &len, 1), 0);
		add(c.j, "more");
	}
	pthread_join(t, NULL);
	journal_close(c.j);
	c.j = opened(&s, "base,more");
	journal_close(c.j);
	scratch_end(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(replays_what_was_committed),
	    cmocka_unit_test(lengths),
	    cmocka_unit_test(a_replay_can_be_ended),
	    cmocka_unit_test(rewritten),
	    cmocka_unit_test(large_rewrite),
	    cmocka_unit_test(torn),
	    cmocka_unit_test(zeros_at_the_end),
	    cmocka_unit_test(frames_of_another),
	    cmocka_unit_test(every_bit_of_it),
	    cmocka_unit_test(lost_before_the_last),
	    cmocka_unit_test(damage_after_a_clean_end),
	    cmocka_unit_test(lost_before_a_reopening),
	    cmocka_unit_test(damage_in_a_rewritten_one),
	    cmocka_unit_test(of_a_later_version),
	    cmocka_unit_test(not_a_file),
	    cmocka_unit_test(leftovers),
	    cmocka_unit_test(many_threads),
	    cmocka_unit_test(commits_during_rewrites),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
