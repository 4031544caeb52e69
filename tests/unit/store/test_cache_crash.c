/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/filters.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/num.h"
#include "cache_rig.h"
#include "scratch.h"
#include "store/backends.h"
#include "store/cache.h"
#include "store/cache_log.h"
#include "suite.h"

#include "../cm.h"

#define SNAP ".cnt/vm/100/2024-01-01T00:00:00Z/"

/* After a crash. */

static void
fill(const char *scratch, unsigned n)
{
	struct rig g = rig_open(scratch, 8 * MIB, 0);

	for (unsigned i = 0; i < n; i++)
		rig_keep(&g, i, 5000);
	must_put(g.s, SNAP "a.blob", "x");
	store_free(g.s);
}

/* Whatever is in the log: what is on disk is known in the end, and right. */
static void
recovers(const char *scratch, unsigned n)
{
	struct rig g = rig_open(scratch, 8 * MIB, 0);

	rig_settle(&g);
	rig_in_limit(&g);
	assert_int_equal(rig_stats(&g).chunks, n);
	assert_int_equal(rig_stats(&g).chunks, rig_count_chunks(g.dir));
	assert_int_equal(rig_stats(&g).objects, 1);
	for (unsigned i = 0; i < n; i++)
		assert_true(rig_has(&g, i, 5000));
	rig_keep(&g, 5000, 5000);
	assert_true(rig_has(&g, 5000, 5000));
	rig_in_limit(&g);
	store_free(g.s);
	g = rig_open(scratch, 8 * MIB, 0);
	assert_true(((struct cache *)g.s)->inserting);
	assert_int_equal(rig_stats(&g).chunks, n + 1);
	store_free(g.s);
	assert_int_equal(unlink(rig_file(g.dir, 5000)), 0);
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
	assert_int_equal(unlink(rig_file(dir, 3)), 0);
	assert_int_equal(truncate(rig_file(dir, 4), 0), 0);
	b = rig_content(50, 9000);
	scratch_write(rig_file(dir, 50), b->data, b->len);
	buf_unref(b);
	assert_int_equal(mkdir(scratch_path(dir, ".chunks/ffff"), 0700), 0);
	g = rig_open(*state, 8 * MIB, 0);
	rig_settle(&g);
	rig_in_limit(&g);
	assert_int_equal(rig_stats(&g).chunks, 20);
	assert_int_equal(access(scratch_path(dir, ".chunks/ffff"), F_OK), -1);
	assert_true(rig_has(&g, 50, 9000));
	assert_false(rig_has(&g, 3, 5000));
	assert_false(rig_has(&g, 4, 5000));
	assert_int_equal(rig_stats(&g).chunks, 19);
	store_free(g.s);
	/* Never settled: looked at again. */
	make_crashed_log(path);
	g = rig_open(*state, 8 * MIB, 0);
	store_free(g.s);
	assert_int_equal(unlink(rig_file(dir, 5)), 0);
	make_crashed_log(path);
	g = rig_open(*state, 8 * MIB, 0);
	rig_settle(&g);
	assert_int_equal(rig_stats(&g).chunks, 18);
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
		struct buf *b = rig_content(n, CHUNK);

		scratch_write(rig_file(dir, n), b->data, b->len);
		buf_unref(b);
	}
	g = rig_open(*state, MIB, 0);
	rig_keep(&g, 99, CHUNK);
	rig_settle(&g);
	rig_in_limit(&g);
	/* What was not in the log goes first. */
	for (unsigned n = 0; n < 3; n++)
		assert_true(rig_has(&g, n, 5000));
	rig_keep(&g, 98, CHUNK);
	assert_true(rig_has(&g, 98, CHUNK));
	rig_in_limit(&g);
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
			rig_keep(&g, n, CHUNK);
		(void)rig_has(&g, 0, CHUNK);
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
	rig_keep(&g, 10, CHUNK);
	assert_true(rig_has(&g, 0, CHUNK));
	assert_false(rig_has(&g, 1, CHUNK));
	store_free(g.s);
}

static void
other_peoples_directories_are_refused(void **state)
{
	const struct store_cache_opts o = {.dir = *state, .limit = 8 * MIB};
	struct store *mem, *s = NULL;

	/* A datastore looks like a cache. */
	scratch_write(rig_file(*state, 1), "chunk", 5);
	assert_int_equal(store_mem_new(&mem), 0);
	assert_int_equal(store_cache_new(mem, &o, &s), -ENOTEMPTY);
	assert_null(s);
	assert_int_equal(access(rig_file(*state, 1), F_OK), 0);
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

/* Even if somebody could: links are not followed. */
static void
symlinks_in_the_cache_lead_nowhere(void **state)
{
	const char *victim = scratch_path(*state, "victim/passwd");
	const struct cache_id none = {.len = 0};
	struct rig g = rig_open(*state, MIB, 0);
	struct cache_id id;
	uint8_t rec[2048];
	size_t n;

	store_free(g.s);
	assert_int_equal(rmdir(scratch_path(g.dir, ".cnt")), 0);
	assert_int_equal(symlink("../victim", scratch_path(g.dir, ".cnt")), 0);
	scratch_write(victim, "precious", 8);
	assert_int_equal(cache_id_of_key(".cnt/passwd", &id), 0);
	n = cache_log_encode(rec, CACHE_LOG_OPEN, &none, 0);
	n += cache_log_encode(rec + n, CACHE_LOG_ADD, &id, GIB);
	n += cache_log_encode(rec + n, CACHE_LOG_CLOSE, &none, 0);
	scratch_write(scratch_path(g.dir, CACHE_LOG_NAME), rec, n);
	/* More than the limit: it is evicted, or so it seems. */
	g = rig_open(*state, MIB, 0);
	rig_settle(&g);
	assert_int_equal(rig_stats(&g).objects, 0);
	must_put(g.s, ".cnt/passwd", "mine");
	must_have(g.s, ".cnt/passwd", "mine");
	assert_int_equal(access(victim, F_OK), 0);
	store_free(g.s);
	assert_int_equal(scratch_blocks(victim), 4096);
	assert_int_equal(scratch_files(scratch_path(*state, "victim")), 1);
}

#define WITH_DIR(f)                                                            \
	cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_DIR(recency_is_written_while_it_runs),
	    WITH_DIR(other_peoples_directories_are_refused),
	    WITH_DIR(directories_that_others_can_write_are_refused),
	    WITH_DIR(symlinks_in_the_cache_lead_nowhere),
	    WITH_DIR(a_damaged_log_is_no_harm),
	    WITH_DIR(after_a_system_crash_the_disk_is_looked_at),
	    WITH_DIR(more_than_the_limit_after_a_crash_is_evicted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
