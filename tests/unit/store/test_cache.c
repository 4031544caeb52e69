/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/filters.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/num.h"
#include "base/str.h"
#include "scratch.h"
#include "store/backends.h"
#include "store/cache.h"
#include "store/cache_log.h"
#include "suite.h"

#include "../cm.h"

#define SNAP ".cnt/vm/100/2024-01-01T00:00:00Z/"
#define CHUNK (100 * KIB)

/* A cache over a counted store in memory. */
struct rig {
	char dir[256];
	struct store *mem, *count, *s;
};

static struct rig
rig_open(const char *scratch, uint64_t limit, uint64_t floor)
{
	struct rig g = {.dir = ""};
	const struct store_cache_opts o = {
	    .dir = g.dir, .limit = limit, .floor = floor};

	snprintf(g.dir, sizeof(g.dir), "%s/cache", scratch);
	assert_int_equal(store_mem_new(&g.mem), 0);
	assert_int_equal(store_count_new(g.mem, &g.count), 0);
	assert_int_equal(store_cache_new(g.count, &o, &g.s), 0);
	return g;
}

static uint64_t
gets(const struct rig *g)
{
	struct store_counts c;

	store_counts(g->count, &c);
	return c.requests[STORE_GET];
}

static struct store_cache_stats
stats(const struct rig *g)
{
	struct store_cache_stats st;

	assert_int_equal(store_cache_stats(g->s, &st), 0);
	return st;
}

static const char *
chunk_key(unsigned n, char out[80])
{
	char hex[65];
	uint8_t b[32] = {0};

	put_le32(b, n * 2654435761u);
	put_le32(b + 4, n);
	hex_encode(hex, b, sizeof(b));
	snprintf(out, 80, ".chunks/%.4s/%s", hex, hex);
	return out;
}

static struct buf *
chunk_content(unsigned n, size_t len)
{
	struct buf *b = buf_new(len);

	for (size_t i = 0; i < len; i++)
		b->data[i] = (uint8_t)(n + i * 7);
	return b;
}

/* As a reader does: chunk n is fetched, found good, and said to be so. */
static void
keep(const struct rig *g, unsigned n, size_t len)
{
	struct buf *b = chunk_content(n, len);
	char key[80];

	store_verdict(g->s, chunk_key(n, key), b, true);
	buf_unref(b);
}

/* Whether chunk n is in the cache; that counts as a use.  Its content is
 * checked. */
static bool
has(const struct rig *g, unsigned n, size_t len)
{
	const struct store_get how = {.max = GIB};
	struct buf *b = NULL, *want;
	char key[80];
	int r;

	r = store_get(g->s, chunk_key(n, key), &how, &b, NULL);
	if (r == 1)
		return false;
	assert_int_equal(r, 0);
	want = chunk_content(n, len);
	assert_int_equal(b->len, len);
	assert_memory_equal(b->data, want->data, len);
	buf_unref(want);
	buf_unref(b);
	return true;
}

static void
in_limit(const struct rig *g)
{
	struct store_cache_stats st = stats(g);

	assert_true(scratch_blocks(g->dir) <= st.limit);
	assert_true(st.used <= st.limit);
	assert_true(scratch_blocks(g->dir) <= st.used);
}

/* Until the thread has settled. */
static void
wait_inserting(const struct rig *g)
{
	struct cache *c = (struct cache *)g->s;

	for (int i = 0; i < 1000; i++) {
		bool done;

		pthread_mutex_lock(&c->lock);
		done = c->inserting;
		pthread_mutex_unlock(&c->lock);
		if (done)
			return;
		usleep(10000);
	}
	fail_msg("the cache does not settle");
}

static const char *
chunk_file(const char *dir, unsigned n)
{
	char key[80];

	return scratch_path(dir, chunk_key(n, key));
}

static void
only_what_was_found_good_is_kept(void **state)
{
	struct rig g = rig_open(*state, 8 * MIB, 0);
	const struct store_get how = {.max = MIB};
	struct buf *b = chunk_content(1, 1000);
	struct store_object o;
	char key[80];

	chunk_key(1, key);
	assert_int_equal(store_put(g.mem, key, b->data, 1000, NULL, NULL), 0);
	for (int i = 0; i < 3; i++)
		assert_true(has(&g, 1, 1000));
	assert_int_equal(gets(&g), 3);
	assert_int_equal(stats(&g).misses, 3);
	store_verdict(g.s, key, b, true);
	buf_unref(b);
	for (int i = 0; i < 3; i++)
		assert_true(has(&g, 1, 1000));
	assert_int_equal(gets(&g), 3);
	assert_int_equal(stats(&g).hits, 3);
	assert_int_equal(stats(&g).chunks, 1);
	/* Byte for byte as in the store. */
	assert_int_equal(
	    io_read_file(AT_FDCWD, chunk_file(g.dir, 1), MIB, &b), 0);
	assert_int_equal(b->len, 1000);
	buf_unref(b);
	/* Past the cache. */
	assert_int_equal(
	    store_get(g.s, key,
		&(struct store_get){.max = MIB, .flags = STORE_FRESH}, &b, &o),
	    0);
	buf_unref(b);
	assert_int_equal(gets(&g), 4);
	/* Without a network. */
	assert_int_equal(
	    store_get(g.s, key,
		&(struct store_get){.max = MIB, .flags = STORE_LOCAL}, &b,
		NULL),
	    0);
	buf_unref(b);
	assert_int_equal(
	    store_get(g.s, key,
		&(struct store_get){.max = MIB, .off = 10, .len = 5}, &b, &o),
	    0);
	assert_int_equal(b->len, 5);
	assert_int_equal(b->data[0], 1 + 70);
	assert_int_equal(o.size, 1000);
	buf_unref(b);
	assert_int_equal(gets(&g), 4);
	(void)how;
	store_free(g.s);
}

static void
what_was_found_damaged_is_unlinked(void **state)
{
	struct rig g = rig_open(*state, 8 * MIB, 0);
	struct buf *b;
	char key[80];

	keep(&g, 1, 1000);
	assert_int_equal(access(chunk_file(g.dir, 1), F_OK), 0);
	b = chunk_content(1, 1000);
	store_verdict(g.s, chunk_key(1, key), b, false);
	buf_unref(b);
	assert_int_equal(access(chunk_file(g.dir, 1), F_OK), -1);
	assert_false(has(&g, 1, 1000));
	assert_int_equal(stats(&g).chunks, 0);
	assert_int_equal(stats(&g).rejected, 1);
	assert_int_equal(stats(&g).used, CACHE_BASE_COST);
	/* The directory that held it is gone too. */
	assert_int_equal(scratch_files(scratch_path(g.dir, ".chunks")), 0);
	store_free(g.s);
}

static void
files_of_the_wrong_size_or_gone_are_misses(void **state)
{
	struct rig g = rig_open(*state, 8 * MIB, 0);

	for (unsigned n = 0; n < 4; n++)
		keep(&g, n, 1000);
	assert_int_equal(truncate(chunk_file(g.dir, 0), 999), 0);
	assert_int_equal(truncate(chunk_file(g.dir, 1), 0), 0);
	assert_int_equal(unlink(chunk_file(g.dir, 2)), 0);
	assert_int_equal(unlink(chunk_file(g.dir, 3)), 0);
	assert_int_equal(symlink("/etc/passwd", chunk_file(g.dir, 3)), 0);
	for (unsigned n = 0; n < 4; n++)
		assert_false(has(&g, n, 1000));
	assert_int_equal(stats(&g).chunks, 0);
	assert_int_equal(stats(&g).used, CACHE_BASE_COST);
	for (unsigned n = 0; n < 4; n++)
		keep(&g, n, 1000);
	for (unsigned n = 0; n < 4; n++)
		assert_true(has(&g, n, 1000));
	in_limit(&g);
	store_free(g.s);
}

static void
the_least_recently_used_goes_first(void **state)
{
	/* Ten of them fit. */
	struct rig g =
	    rig_open(*state, CACHE_BASE_COST + 10 * (CHUNK + 12 * KIB), 0);
	uint64_t kept;

	for (unsigned n = 0; n < 10; n++)
		keep(&g, n, CHUNK);
	kept = stats(&g).chunks;
	assert_int_equal(kept, 10);
	assert_true(has(&g, 0, CHUNK));
	assert_true(has(&g, 3, CHUNK));
	for (unsigned n = 10; n < 14; n++) {
		keep(&g, n, CHUNK);
		in_limit(&g);
	}
	for (unsigned n = 0; n < 14; n++)
		assert_int_equal(has(&g, n, CHUNK), n == 0 || n == 3 || n >= 6);
	assert_int_equal(stats(&g).evictions, 4);
	store_free(g.s);
}

static void
order_and_content_survive_reopening(void **state)
{
	uint64_t limit = CACHE_BASE_COST + 10 * (CHUNK + 12 * KIB);
	struct rig g = rig_open(*state, limit, 0);

	for (unsigned n = 0; n < 10; n++)
		keep(&g, n, CHUNK);
	assert_true(has(&g, 1, CHUNK));
	assert_true(has(&g, 0, CHUNK));
	store_free(g.s);
	g = rig_open(*state, limit, 0);
	assert_int_equal(stats(&g).chunks, 10);
	keep(&g, 10, CHUNK);
	keep(&g, 11, CHUNK);
	assert_true(has(&g, 4, CHUNK));
	store_free(g.s);
	/* 5 is the oldest now, then 6. */
	g = rig_open(*state, limit, 0);
	keep(&g, 12, CHUNK);
	keep(&g, 13, CHUNK);
	in_limit(&g);
	for (unsigned n = 0; n < 14; n++)
		assert_int_equal(
		    has(&g, n, CHUNK), n != 2 && n != 3 && n != 5 && n != 6);
	assert_int_equal(gets(&g), 4);
	store_free(g.s);
}

static void
recency_is_written_while_it_runs(void **state)
{
	uint64_t limit = CACHE_BASE_COST + 10 * (CHUNK + 12 * KIB);
	struct rig g = rig_open(*state, limit, 0);
	struct cache *c = (struct cache *)g.s;
	int status;
	pid_t pid;

	store_free(g.s);
	pid = fork();
	if (pid == 0) {
		g = rig_open(*state, limit, 0);
		c = (struct cache *)g.s;
		for (unsigned n = 0; n < 10; n++)
			keep(&g, n, CHUNK);
		(void)has(&g, 0, CHUNK);
		/* As if a minute had passed. */
		pthread_mutex_lock(&c->lock);
		c->save_at = 1;
		pthread_cond_broadcast(&c->cond);
		while (c->touched) {
			pthread_mutex_unlock(&c->lock);
			usleep(1000);
			pthread_mutex_lock(&c->lock);
		}
		usleep(100000);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	g = rig_open(*state, limit, 0);
	keep(&g, 10, CHUNK);
	assert_true(has(&g, 0, CHUNK));
	assert_false(has(&g, 1, CHUNK));
	store_free(g.s);
}

static void
a_smaller_limit_holds_after_the_start(void **state)
{
	struct rig g = rig_open(*state, 8 * MIB, 0);

	for (unsigned n = 0; n < 30; n++)
		keep(&g, n, CHUNK);
	store_free(g.s);
	g = rig_open(*state, MIB, 0);
	wait_inserting(&g);
	in_limit(&g);
	assert_true(stats(&g).chunks > 5);
	assert_true(has(&g, 29, CHUNK));
	store_free(g.s);
	/* And no room at all. */
	g = rig_open(*state, 0, 0);
	assert_int_equal(scratch_files(g.dir), 1); /* the lock */
	assert_false(has(&g, 29, CHUNK));
	store_free(g.s);
}

static void
size_zero_writes_nothing(void **state)
{
	struct rig g = rig_open(*state, 0, 0);

	keep(&g, 1, 1000);
	assert_false(has(&g, 1, 1000));
	must_put(g.s, SNAP "a.blob", "x");
	must_have(g.s, SNAP "a.blob", "x");
	assert_int_equal(access(g.dir, F_OK), -1);
	assert_false(stats(&g).degraded);
	assert_int_equal(stats(&g).used, 0);
	store_free(g.s);
}

static void
objects_larger_than_the_cache_pass_by(void **state)
{
	struct rig g = rig_open(*state, MIB, 0);

	keep(&g, 1, 1000);
	keep(&g, 2, 2 * MIB);
	assert_true(has(&g, 1, 1000));
	assert_false(has(&g, 2, 2 * MIB));
	in_limit(&g);
	store_free(g.s);
}

static void
eviction_leaves_readers_alone(void **state)
{
	struct rig g =
	    rig_open(*state, CACHE_BASE_COST + 2 * (CHUNK + 12 * KIB), 0);
	const struct store_get how = {.max = MIB};
	struct buf *b = NULL, *want = chunk_content(0, CHUNK);
	char key[80], bytes[16];
	int fd;

	keep(&g, 0, CHUNK);
	assert_int_equal(store_get(g.s, chunk_key(0, key), &how, &b, NULL), 0);
	fd = open(chunk_file(g.dir, 0), O_RDONLY);
	assert_true(fd >= 0);
	for (unsigned n = 1; n < 5; n++)
		keep(&g, n, CHUNK);
	assert_int_equal(access(chunk_file(g.dir, 0), F_OK), -1);
	assert_memory_equal(b->data, want->data, CHUNK);
	assert_int_equal(pread(fd, bytes, sizeof(bytes), CHUNK - 16), 16);
	assert_memory_equal(bytes, want->data + CHUNK - 16, 16);
	close(fd);
	buf_unref(b);
	buf_unref(want);
	store_free(g.s);
}

static uint64_t
count_chunk_files(const char *dir)
{
	return scratch_files(scratch_path(dir, ".chunks"));
}

/*
 * Load in steps.  While threads are at work nothing that walks the directory
 * sees one moment of it, so what is on disk is measured between steps; what
 * the cache says of itself, all the time.
 */
#define LOAD_THREADS 6

struct load {
	struct rig g;
	pthread_barrier_t step;
	unsigned seed;
	unsigned steps; /* 0: for ever, and nobody measures */
	bool no_reads;
	unsigned over; /* times that more was used than allowed */
};

static void
use_cache(struct load *l, uint64_t *x, unsigned ops)
{
	char key[80];

	for (unsigned i = 0; i < ops; i++) {
		unsigned n;

		*x = *x * 6364136223846793005ULL + 1442695040888963407ULL;
		n = (unsigned)(*x >> 33) % 64;
		if (l->no_reads || !has(&l->g, n, 10000 + n * 2000))
			keep(&l->g, n, 10000 + n * 2000);
		if (i % 4 == 0) {
			snprintf(key, sizeof(key), ".cnt/vm/%u/owner", n % 8);
			(void)store_put(l->g.s, key, key, 60, NULL, NULL);
		}
		if (i % 16 == 0)
			store_verdict(l->g.s, chunk_key(n, key), NULL, false);
		if (stats(&l->g).used > stats(&l->g).limit)
			__atomic_add_fetch(&l->over, 1, __ATOMIC_RELAXED);
	}
}

static void *
load_thread(void *arg)
{
	struct load *l = arg;
	uint64_t x = __atomic_add_fetch(&l->seed, 1, __ATOMIC_RELAXED);

	if (l->steps == 0)
		for (;;)
			use_cache(l, &x, 100);
	for (unsigned i = 0; i < l->steps; i++) {
		use_cache(l, &x, 20);
		pthread_barrier_wait(&l->step);
		/* Measured here. */
		pthread_barrier_wait(&l->step);
	}
	return NULL;
}

static void
the_limit_holds_under_load(void **state)
{
	struct load l = {.g = rig_open(*state, MIB, 0), .steps = 30};
	pthread_t t[LOAD_THREADS];
	uint64_t most = 0;
	unsigned wrong = 0;

	pthread_barrier_init(&l.step, NULL, LOAD_THREADS + 1);
	for (size_t i = 0; i < LOAD_THREADS; i++)
		pthread_create(&t[i], NULL, load_thread, &l);
	for (unsigned i = 0; i < l.steps; i++) {
		struct store_cache_stats st;

		/* Failing has to wait until the threads have ended. */
		pthread_barrier_wait(&l.step);
		st = stats(&l.g);
		most = MAX(most, scratch_blocks(l.g.dir));
		wrong += scratch_blocks(l.g.dir) > st.used;
		wrong += st.chunks != count_chunk_files(l.g.dir);
		pthread_barrier_wait(&l.step);
	}
	for (size_t i = 0; i < LOAD_THREADS; i++)
		pthread_join(t[i], NULL);
	pthread_barrier_destroy(&l.step);
	assert_int_equal(l.over, 0);
	assert_int_equal(wrong, 0);
	assert_true(most <= MIB);
	assert_true(most > MIB / 2);
	assert_true(stats(&l.g).evictions > 50);
	store_free(l.g.s);
	l.g = rig_open(*state, MIB, 0);
	in_limit(&l.g);
	assert_true(stats(&l.g).chunks > 5);
	store_free(l.g.s);
}

/*
 * A file system of its own tells of each moment.  Directories take no room on
 * this one, and files whole pages.  Nobody reads: what is open takes room even
 * after it was evicted.
 */
static int
load_on_tmpfs(const char *dir)
{
	struct load l = {.steps = 0, .no_reads = true};
	pthread_t t[LOAD_THREADS];
	uint64_t most = 0;
	struct statvfs v;

	if (unshare(CLONE_NEWNS | (geteuid() != 0 ? CLONE_NEWUSER : 0)) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", dir, "tmpfs", 0, "size=4M,mode=700") < 0)
		return 77;
	l.g = rig_open(dir, MIB, 0);
	for (size_t i = 0; i < LOAD_THREADS; i++)
		pthread_create(&t[i], NULL, load_thread, &l);
	for (deadline_t end = deadline_in(2000); deadline_left(end) > 0;) {
		if (statvfs(dir, &v) < 0)
			return 1;
		most = MAX(most, (v.f_blocks - v.f_bfree) * v.f_frsize);
	}
	if (most > MIB)
		return 2;
	return most > MIB / 2 && stats(&l.g).evictions > 50 ? 0 : 3;
}

static void
the_limit_holds_at_every_moment(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(load_on_tmpfs(*state));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* A disk that is smaller than the cache may be. */
static int
fill_tmpfs(const char *dir)
{
	struct rig g;

	if (unshare(CLONE_NEWNS | (geteuid() != 0 ? CLONE_NEWUSER : 0)) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", dir, "tmpfs", 0, "size=1M,mode=700") < 0)
		return 77;
	g = rig_open(dir, 8 * MIB, 0);
	for (unsigned n = 0; n < 30; n++)
		keep(&g, n, CHUNK);
	if (!stats(&g).degraded || !has(&g, 0, CHUNK) || has(&g, 29, CHUNK))
		return 1;
	if (stats(&g).chunks != count_chunk_files(g.dir))
		return 2;
	store_free(g.s);
	/* A floor makes it live within the disk. */
	g = rig_open(dir, 8 * MIB, 300 * KIB);
	for (unsigned n = 100; n < 130; n++)
		keep(&g, n, CHUNK);
	if (stats(&g).degraded || !has(&g, 129, CHUNK))
		return 3;
	store_free(g.s);
	return 0;
}

static void
a_disk_that_is_too_small(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fill_tmpfs(*state));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void
the_floor_is_kept(void **state)
{
	struct statvfs v;
	struct rig g;

	assert_int_equal(statvfs(*state, &v), 0);
	g = rig_open(*state, 8 * MIB, v.f_bavail * v.f_frsize + 10 * GIB);
	keep(&g, 1, CHUNK);
	assert_false(has(&g, 1, CHUNK));
	assert_true(stats(&g).degraded);
	assert_int_equal(stats(&g).chunks, 0);
	store_free(g.s);
}

static void
a_full_disk_costs_only_the_cache(void **state)
{
	struct rig g = rig_open(*state, 8 * MIB, 0);
	const char *log = scratch_path(g.dir, CACHE_LOG_NAME);
	const char *tmp = scratch_path(g.dir, CACHE_TMP);
	struct stat before, after;

	keep(&g, 1, CHUNK);
	/* Writing fails as it does without space, also for root. */
	assert_int_equal(rmdir(tmp), 0);
	scratch_write(tmp, "x", 1);
	assert_int_equal(stat(log, &before), 0);
	keep(&g, 2, CHUNK);
	/* Announced before, revoked after: so a kill leaves no file behind
	 * that nobody knows of. */
	assert_int_equal(stat(log, &after), 0);
	assert_int_equal(
	    after.st_size - before.st_size, 2 * (CACHE_LOG_HEADER + 32));
	keep(&g, 3, CHUNK);
	assert_true(has(&g, 1, CHUNK));
	assert_false(has(&g, 2, CHUNK));
	in_limit(&g);
	assert_int_equal(stats(&g).chunks, 1);
	store_free(g.s);
}

static void
it_writes_again_after_a_while(void **state)
{
	struct rig g = rig_open(*state, 8 * MIB, 0);
	struct cache *c = (struct cache *)g.s;

	cache_room_failed(c, "be tested", -ENOSPC);
	assert_true(stats(&g).degraded);
	keep(&g, 1, CHUNK);
	assert_false(has(&g, 1, CHUNK));
	/* As if a minute had passed. */
	pthread_mutex_lock(&c->lock);
	c->retry_at = 1;
	pthread_mutex_unlock(&c->lock);
	keep(&g, 1, CHUNK);
	assert_true(has(&g, 1, CHUNK));
	assert_false(stats(&g).degraded);
	store_free(g.s);
}

/* As a user who is not root, in a child: the result of fn. */
static int
as_user(int (*fn)(const char *dir), const char *dir)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
			_exit(99);
		_exit(fn(dir));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int
use_read_only(const char *dir)
{
	const struct store_cache_opts o = {.dir = dir, .limit = 8 * MIB};
	struct rig g = {.dir = ""};

	if (store_mem_new(&g.mem) < 0 || store_count_new(g.mem, &g.count) < 0 ||
	    store_cache_new(g.count, &o, &g.s) < 0)
		return 1;
	keep(&g, 2, CHUNK);
	if (has(&g, 2, CHUNK))
		return 2;
	if (!stats(&g).degraded)
		return 3;
	/* What may be read is read. */
	if (!has(&g, 1, CHUNK))
		return 4;
	store_free(g.s);
	return 0;
}

static int
use_unreadable(const char *dir)
{
	const struct store_cache_opts o = {
	    .dir = scratch_path(dir, "none/cache"), .limit = 8 * MIB};
	struct rig g = {.dir = ""};

	if (store_mem_new(&g.mem) < 0 || store_count_new(g.mem, &g.count) < 0 ||
	    store_cache_new(g.count, &o, &g.s) < 0)
		return 1;
	keep(&g, 2, CHUNK);
	if (has(&g, 2, CHUNK))
		return 2;
	must_put(g.s, "x", "y");
	must_have(g.s, "x", "y");
	store_free(g.s);
	return 0;
}

static void
a_read_only_directory_costs_only_the_cache(void **state)
{
	struct rig g = rig_open(*state, 8 * MIB, 0);
	char path[512];

	keep(&g, 1, CHUNK);
	snprintf(path, sizeof(path), "%s", chunk_file(g.dir, 1));
	store_free(g.s);
	assert_int_equal(chmod(path, 0444), 0);
	*strrchr(path, '/') = '\0';
	assert_int_equal(chmod(path, 0555), 0);
	assert_int_equal(chmod(scratch_path(g.dir, ".chunks"), 0555), 0);
	assert_int_equal(chmod(g.dir, 0555), 0);
	assert_int_equal(chmod(*state, 0555), 0);
	assert_int_equal(as_user(use_read_only, g.dir), 0);
	assert_int_equal(as_user(use_unreadable, *state), 0);
	assert_int_equal(chmod(*state, 0755), 0);
	assert_int_equal(chmod(g.dir, 0755), 0);
	assert_int_equal(chmod(scratch_path(g.dir, ".chunks"), 0755), 0);
	assert_int_equal(chmod(path, 0755), 0);
}

static void
other_peoples_directories_are_refused(void **state)
{
	const struct store_cache_opts o = {.dir = *state, .limit = 8 * MIB};
	struct store *mem, *s = NULL;

	/* A datastore looks like a cache. */
	scratch_write(chunk_file(*state, 1), "chunk", 5);
	assert_int_equal(store_mem_new(&mem), 0);
	assert_int_equal(store_cache_new(mem, &o, &s), -ENOTEMPTY);
	assert_null(s);
	assert_int_equal(access(chunk_file(*state, 1), F_OK), 0);
	assert_int_equal(access(scratch_path(*state, "cache-log"), F_OK), -1);
	assert_int_equal(access(scratch_path(*state, "lock"), F_OK), -1);
	scratch_write(scratch_path(*state, "file"), "x", 1);
	assert_int_equal(
	    store_cache_new(mem,
		&(struct store_cache_opts){
		    .dir = scratch_path(*state, "file"), .limit = MIB},
		&s),
	    -ENOTDIR);
	store_free(mem);
}

/* Insert until killed, at any point. */
static void
insert_for_ever(const char *scratch, uint64_t limit, unsigned first)
{
	struct load l = {.g = rig_open(scratch, limit, 0), .seed = first};
	pthread_t t[3];

	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		pthread_create(&t[i], NULL, load_thread, &l);
	load_thread(&l);
}

/* Whoever can write there can put a symlink in the place of .cnt, and a log
 * that makes us remove what is behind it. */
static void
directories_that_others_can_write_are_refused(void **state)
{
	const char *victim = scratch_path(*state, "victim/passwd");
	char dir[256];
	const struct store_cache_opts o = {.dir = dir, .limit = 8 * MIB};
	const struct cache_id none = {.len = 0};
	struct store *mem, *s = NULL;
	struct cache_id id;
	uint8_t rec[2048];
	size_t n;

	snprintf(dir, sizeof(dir), "%s/cache", (const char *)*state);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(symlink("../victim", scratch_path(dir, ".cnt")), 0);
	scratch_write(victim, "precious", 8);
	assert_int_equal(cache_id_of_key(".cnt/passwd", &id), 0);
	n = cache_log_encode(rec, CACHE_LOG_OPEN, &none, 0);
	n += cache_log_encode(rec + n, CACHE_LOG_ADD, &id, GIB);
	n += cache_log_encode(rec + n, CACHE_LOG_CLOSE, &none, 0);
	scratch_write(scratch_path(dir, CACHE_LOG_NAME), rec, n);
	assert_int_equal(store_mem_new(&mem), 0);
	for (mode_t m = 0020; m > 0001; m >>= 3) {
		assert_int_equal(chmod(dir, 0700 | m), 0);
		assert_int_equal(store_cache_new(mem, &o, &s), -EPERM);
		assert_null(s);
	}
	store_free(mem);
	assert_int_equal(access(victim, F_OK), 0);
}

static void
killed_while_inserting(void **state)
{
	struct rig g;
	int status;

	for (unsigned i = 0; i < 25; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			insert_for_ever(*state, MIB, i * 10);
			_exit(1);
		}
		usleep(5000 + i * 3000);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		g = rig_open(*state, MIB, 0);
		in_limit(&g);
		assert_int_equal(stats(&g).chunks, count_chunk_files(g.dir));
		assert_int_equal(stats(&g).objects,
		    scratch_files(scratch_path(g.dir, ".cnt")));
		assert_int_equal(scratch_files(scratch_path(g.dir, "tmp")), 0);
		keep(&g, 1000 + i, 50000);
		assert_true(has(&g, 1000 + i, 50000));
		in_limit(&g);
		store_free(g.s);
	}
}

static void
two_processes_share_a_directory(void **state)
{
	struct rig a = rig_open(*state, 8 * MIB, 0);
	struct rig b;
	struct cache *c;
	struct buf *x;
	char key[80];

	keep(&a, 1, CHUNK);
	b = rig_open(*state, 8 * MIB, 0);
	c = (struct cache *)b.s;
	assert_true(stats(&b).degraded);
	assert_true(has(&b, 1, CHUNK));
	assert_int_equal(gets(&b), 0);
	keep(&b, 2, CHUNK);
	assert_false(has(&b, 2, CHUNK));
	/* Later additions of the first are seen by the second. */
	keep(&a, 3, CHUNK);
	assert_true(has(&b, 3, CHUNK));
	/* What the second finds damaged is gone for both. */
	x = chunk_content(3, CHUNK);
	store_verdict(b.s, chunk_key(3, key), x, false);
	buf_unref(x);
	assert_false(has(&a, 3, CHUNK));
	assert_int_equal(stats(&a).chunks, 1);
	in_limit(&a);
	store_free(a.s);
	/* It takes over when the first has left. */
	assert_false(c->manager);
	store_free(b.s);
	b = rig_open(*state, 8 * MIB, 0);
	assert_int_equal(stats(&b).chunks, 1);
	assert_false(stats(&b).degraded);
	store_free(b.s);
}

/* Metadata. */

static int
get_meta(const struct rig *g, const char *key, const char *etag, unsigned flags,
    const char *want, char *ret_etag)
{
	const struct store_get how = {.max = MIB, .etag = etag, .flags = flags};
	struct store_object o = {0};
	struct buf *b = NULL;
	int r = store_get(g->s, key, &how, &b, &o);

	if (r == 0) {
		assert_int_equal(b->len, strlen(want));
		assert_memory_equal(b->data, want, b->len);
		assert_int_equal(o.size, b->len);
		if (ret_etag != NULL)
			memcpy(ret_etag, o.etag, sizeof(o.etag));
	}
	buf_unref(b);
	return r;
}

static void
metadata_is_kept_by_version(void **state)
{
	struct rig g = rig_open(*state, 8 * MIB, 0);
	const char *key = SNAP "index.json.blob";
	char one[72], two[72];

	must_put(g.mem, key, "version one");
	assert_int_equal(
	    get_meta(&g, key, NULL, STORE_LOCAL, "version one", NULL), 0);
	assert_int_equal(get_meta(&g, key, NULL, 0, "version one", one), 0);
	assert_int_equal(stats(&g).objects, 1);
	assert_int_equal(gets(&g), 2);
	/* The version is known: no request, also after a restart. */
	for (int i = 0; i < 2; i++) {
		must_put(g.mem, key, "version one");
		assert_int_equal(
		    get_meta(&g, key, one, 0, "version one", NULL), 0);
		assert_int_equal(
		    get_meta(&g, key, one, STORE_LOCAL, "version one", NULL),
		    0);
		assert_int_equal(gets(&g), i == 0 ? 2 : 0);
		if (i == 0) {
			store_free(g.s);
			g = rig_open(*state, 8 * MIB, 0);
		}
	}
	/* Not known: the store decides. */
	assert_int_equal(get_meta(&g, key, NULL, 0, "version one", NULL), 0);
	assert_int_equal(gets(&g), 1);
	must_put(g.mem, key, "version 2");
	assert_int_equal(get_meta(&g, key, "other", 0, "version 2", two), 0);
	assert_string_not_equal(one, two);
	assert_int_equal(gets(&g), 2);
	assert_int_equal(get_meta(&g, key, two, 0, "version 2", NULL), 0);
	assert_int_equal(gets(&g), 2);
	assert_int_equal(stats(&g).objects, 1);
	/* What the listing has shown before is still there, offline. */
	assert_int_equal(
	    get_meta(&g, key, NULL, STORE_LOCAL, "version 2", NULL), 0);
	assert_int_equal(gets(&g), 2);
	assert_int_equal(
	    get_meta(&g, key, two, STORE_FRESH, "version 2", NULL), 0);
	assert_int_equal(gets(&g), 3);
	store_free(g.s);
}

static void
writing_and_deleting_metadata_is_seen(void **state)
{
	struct rig g = rig_open(*state, 8 * MIB, 0);
	const char *key = ".cnt/vm/1/notes";
	struct store_object o;

	assert_int_equal(store_put(g.s, key, "text", 4, NULL, &o), 0);
	assert_int_equal(get_meta(&g, key, o.etag, 0, "text", NULL), 0);
	assert_int_equal(gets(&g), 0);
	assert_int_equal(store_delete(g.s, &key, 1, NULL, NULL, 0), 0);
	assert_int_equal(stats(&g).objects, 0);
	assert_int_equal(get_meta(&g, key, o.etag, 0, "text", NULL), 1);
	store_free(g.s);
}

static void
damaged_metadata_is_fetched_again(void **state)
{
	const char *key = SNAP "index.json.blob";
	struct rig g = rig_open(*state, 8 * MIB, 0);
	struct buf *b = NULL;
	char etag[72];

	must_put(g.mem, key, "the manifest");
	assert_int_equal(get_meta(&g, key, NULL, 0, "the manifest", etag), 0);
	assert_int_equal(
	    io_read_file(AT_FDCWD, scratch_path(g.dir, key), MIB, &b), 0);
	for (size_t i = 0; i < b->len; i++) {
		uint64_t before = gets(&g);

		b->data[i] ^= 1;
		scratch_write(scratch_path(g.dir, key), b->data, b->len);
		b->data[i] ^= 1;
		assert_int_equal(
		    get_meta(&g, key, etag, 0, "the manifest", NULL), 0);
		/* A changed name of the version is another version. */
		assert_int_equal(gets(&g), before + 1);
	}
	for (size_t len = 0; len < b->len; len++) {
		scratch_write(scratch_path(g.dir, key), b->data, len);
		assert_int_equal(
		    get_meta(&g, key, etag, 0, "the manifest", NULL), 0);
	}
	/* Nor does one object pass for another. */
	must_put(g.mem, SNAP "other.blob", "the other");
	assert_int_equal(
	    get_meta(&g, SNAP "other.blob", NULL, 0, "the other", NULL), 0);
	scratch_write(scratch_path(g.dir, SNAP "other.blob"), b->data, b->len);
	assert_int_equal(
	    get_meta(&g, SNAP "other.blob", etag, 0, "the other", NULL), 0);
	buf_unref(b);
	in_limit(&g);
	store_free(g.s);
}

static void
metadata_takes_half_and_chunks_go_first(void **state)
{
	struct rig g = rig_open(*state, 2 * MIB, 0);
	struct cache *c = (struct cache *)g.s;
	char key[80], text[4001];

	memset(text, 'x', 4000);
	text[4000] = '\0';
	for (unsigned n = 0; n < 17; n++)
		keep(&g, n, CHUNK);
	assert_int_equal(stats(&g).chunks, 17);
	for (unsigned n = 0; n < 20; n++) {
		snprintf(key, sizeof(key), ".cnt/vm/%u/notes", n);
		must_put(g.s, key, text);
	}
	/* Room for them was made among the chunks. */
	assert_int_equal(stats(&g).objects, 20);
	assert_true(stats(&g).chunks < 17 && stats(&g).chunks > 10);
	in_limit(&g);
	for (unsigned n = 20; n < 300; n++) {
		snprintf(key, sizeof(key), ".cnt/vm/%u/notes", n);
		must_put(g.s, key, text);
	}
	in_limit(&g);
	assert_true(c->ix.used_meta <= MIB);
	assert_true(stats(&g).objects > 50 && stats(&g).objects < 130);
	for (unsigned n = 100; n < 130; n++)
		keep(&g, n, CHUNK);
	assert_true(stats(&g).objects > 50);
	assert_true(has(&g, 129, CHUNK));
	in_limit(&g);
	store_free(g.s);
}

static void
names_that_cannot_be_files_are_not_kept(void **state)
{
	struct rig g = rig_open(*state, 8 * MIB, 0);
	char key[400];

	snprintf(key, sizeof(key), ".cnt/vm/%0300d/owner", 1);
	must_put(g.mem, key, "x");
	must_have(g.s, key, "x");
	must_put(g.mem, ".cnt/vm/1", "x");
	must_put(g.mem, ".cnt/vm/1/owner", "y");
	must_have(g.s, ".cnt/vm/1", "x");
	must_have(g.s, ".cnt/vm/1/owner", "y");
	must_have(g.s, ".cnt/vm/1", "x");
	must_put(g.mem, ".chunks/abcd/short", "x");
	must_have(g.s, ".chunks/abcd/short", "x");
	assert_int_equal(stats(&g).objects, 1);
	assert_false(stats(&g).degraded);
	in_limit(&g);
	store_free(g.s);
}

/* After a crash. */

static void
fill(const char *scratch, unsigned n)
{
	struct rig g = rig_open(scratch, 8 * MIB, 0);

	for (unsigned i = 0; i < n; i++)
		keep(&g, i, 5000);
	must_put(g.s, SNAP "a.blob", "x");
	store_free(g.s);
}

/* Whatever is in the log: what is on disk is known in the end, and right. */
static void
recovers(const char *scratch, unsigned n)
{
	struct rig g = rig_open(scratch, 8 * MIB, 0);

	wait_inserting(&g);
	in_limit(&g);
	assert_int_equal(stats(&g).chunks, n);
	assert_int_equal(stats(&g).chunks, count_chunk_files(g.dir));
	assert_int_equal(stats(&g).objects, 1);
	for (unsigned i = 0; i < n; i++)
		assert_true(has(&g, i, 5000));
	keep(&g, 5000, 5000);
	assert_true(has(&g, 5000, 5000));
	in_limit(&g);
	store_free(g.s);
	g = rig_open(scratch, 8 * MIB, 0);
	assert_true(((struct cache *)g.s)->inserting);
	assert_int_equal(stats(&g).chunks, n + 1);
	store_free(g.s);
	assert_int_equal(unlink(chunk_file(g.dir, 5000)), 0);
}

static void
a_damaged_log_is_no_harm(void **state)
{
	const char *log = scratch_path(*state, "cache/cache-log");
	char path[512];
	struct buf *b = NULL;

	snprintf(path, sizeof(path), "%s", log);
	fill(*state, 20);
	recovers(*state, 20);
	for (int i = 0; i < 8; i++) {
		struct buf *w;

		assert_int_equal(io_read_file(AT_FDCWD, path, MIB, &b), 0);
		w = buf_new(b->len + 100);
		memcpy(w->data, b->data, b->len);
		memset(w->data + b->len, 0x50, 100);
		switch (i) {
		case 0: /* nothing */
			w->len = 0;
			break;
		case 1: /* cut in the middle */
			w->len = b->len / 2;
			break;
		case 2: /* a torn record at the end */
			w->len = b->len - 5;
			break;
		case 3: /* garbage at the end */
			break;
		case 4: /* one byte in the middle */
			w->data[b->len / 2] ^= 0x40;
			w->len = b->len;
			break;
		case 5: /* zeros, as after a crash */
			memset(w->data + 200, 0, 300);
			w->len = b->len;
			break;
		case 6: /* the beginning is lost */
			memmove(w->data, w->data + 37, b->len - 37);
			w->len = b->len - 37;
			break;
		case 7: /* nothing but garbage */
			memset(w->data, 0xa5, w->len);
			break;
		}
		scratch_write(path, w->data, w->len);
		buf_unref(w);
		buf_unref(b);
		recovers(*state, 20);
	}
}

/* Write the log as a process of another boot left it, if it was killed. */
static void
make_crashed_log(const char *path)
{
	struct cache_id id = {.len = 36};
	uint8_t rec[CACHE_LOG_HEADER + 36];
	struct buf *b = NULL, *w;
	size_t len;

	assert_int_equal(io_read_file(AT_FDCWD, path, MIB, &b), 0);
	memset(id.b, '7', 36);
	len = cache_log_encode(rec, CACHE_LOG_OPEN, &id, 0);
	/* Without the CLOSE at the end. */
	w = buf_new(b->len - CACHE_LOG_HEADER + len);
	memcpy(w->data, b->data, b->len - CACHE_LOG_HEADER);
	memcpy(w->data + b->len - CACHE_LOG_HEADER, rec, len);
	scratch_write(path, w->data, w->len);
	buf_unref(w);
	buf_unref(b);
}

static void
after_a_system_crash_the_disk_is_looked_at(void **state)
{
	char dir[256];
	struct buf *b;
	char path[512];
	struct rig g;

	snprintf(dir, sizeof(dir), "%s/cache", (const char *)*state);
	snprintf(path, sizeof(path), "%s/cache-log", dir);
	fill(*state, 20);
	make_crashed_log(path);
	/* Lost, cut, and unknown to the log. */
	assert_int_equal(unlink(chunk_file(dir, 3)), 0);
	assert_int_equal(truncate(chunk_file(dir, 4), 0), 0);
	b = chunk_content(50, 9000);
	scratch_write(chunk_file(dir, 50), b->data, b->len);
	buf_unref(b);
	assert_int_equal(mkdir(scratch_path(dir, ".chunks/ffff"), 0700), 0);
	g = rig_open(*state, 8 * MIB, 0);
	wait_inserting(&g);
	in_limit(&g);
	assert_int_equal(stats(&g).chunks, 20);
	assert_int_equal(access(scratch_path(dir, ".chunks/ffff"), F_OK), -1);
	assert_true(has(&g, 50, 9000));
	assert_false(has(&g, 3, 5000));
	assert_false(has(&g, 4, 5000));
	assert_int_equal(stats(&g).chunks, 19);
	store_free(g.s);
	/* Never settled: looked at again. */
	make_crashed_log(path);
	g = rig_open(*state, 8 * MIB, 0);
	store_free(g.s);
	assert_int_equal(unlink(chunk_file(dir, 5)), 0);
	make_crashed_log(path);
	g = rig_open(*state, 8 * MIB, 0);
	wait_inserting(&g);
	assert_int_equal(stats(&g).chunks, 18);
	store_free(g.s);
}

static void
more_than_the_limit_after_a_crash_is_evicted(void **state)
{
	char dir[256];
	struct rig g;

	snprintf(dir, sizeof(dir), "%s/cache", (const char *)*state);
	fill(*state, 3);
	make_crashed_log(scratch_path(dir, "cache-log"));
	for (unsigned n = 100; n < 140; n++) {
		struct buf *b = chunk_content(n, CHUNK);

		scratch_write(chunk_file(dir, n), b->data, b->len);
		buf_unref(b);
	}
	g = rig_open(*state, MIB, 0);
	keep(&g, 99, CHUNK);
	wait_inserting(&g);
	in_limit(&g);
	/* What was not in the log goes first. */
	for (unsigned n = 0; n < 3; n++)
		assert_true(has(&g, n, 5000));
	keep(&g, 98, CHUNK);
	assert_true(has(&g, 98, CHUNK));
	in_limit(&g);
	store_free(g.s);
}

static void
the_log_stays_short(void **state)
{
	struct rig g = rig_open(*state, MIB, 0);
	struct stat st;

	for (unsigned n = 0; n < 1500; n++)
		keep(&g, n, 3000);
	in_limit(&g);
	store_free(g.s);
	assert_int_equal(stat(scratch_path(*state, "cache/cache-log"), &st), 0);
	assert_true(st.st_size < 2 * CACHE_LOG_MIN);
	g = rig_open(*state, MIB, 0);
	in_limit(&g);
	assert_true(stats(&g).chunks > 50);
	assert_int_equal(stats(&g).chunks, count_chunk_files(g.dir));
	assert_true(has(&g, 1499, 3000));
	store_free(g.s);
}

#define WITH_DIR(f)                                                            \
	cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_DIR(only_what_was_found_good_is_kept),
	    WITH_DIR(what_was_found_damaged_is_unlinked),
	    WITH_DIR(files_of_the_wrong_size_or_gone_are_misses),
	    WITH_DIR(the_least_recently_used_goes_first),
	    WITH_DIR(order_and_content_survive_reopening),
	    WITH_DIR(recency_is_written_while_it_runs),
	    WITH_DIR(a_smaller_limit_holds_after_the_start),
	    WITH_DIR(size_zero_writes_nothing),
	    WITH_DIR(objects_larger_than_the_cache_pass_by),
	    WITH_DIR(eviction_leaves_readers_alone),
	    WITH_DIR(the_limit_holds_under_load),
	    WITH_DIR(the_limit_holds_at_every_moment),
	    WITH_DIR(a_disk_that_is_too_small),
	    WITH_DIR(the_floor_is_kept),
	    WITH_DIR(a_full_disk_costs_only_the_cache),
	    WITH_DIR(it_writes_again_after_a_while),
	    WITH_DIR(a_read_only_directory_costs_only_the_cache),
	    WITH_DIR(other_peoples_directories_are_refused),
	    WITH_DIR(directories_that_others_can_write_are_refused),
	    WITH_DIR(killed_while_inserting),
	    WITH_DIR(two_processes_share_a_directory),
	    WITH_DIR(metadata_is_kept_by_version),
	    WITH_DIR(writing_and_deleting_metadata_is_seen),
	    WITH_DIR(damaged_metadata_is_fetched_again),
	    WITH_DIR(metadata_takes_half_and_chunks_go_first),
	    WITH_DIR(names_that_cannot_be_files_are_not_kept),
	    WITH_DIR(a_damaged_log_is_no_harm),
	    WITH_DIR(after_a_system_crash_the_disk_is_looked_at),
	    WITH_DIR(more_than_the_limit_after_a_crash_is_evicted),
	    WITH_DIR(the_log_stays_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
