/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/filters.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
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
	char key[80] = "";

	for (unsigned i = 0; i < ops; i++) {
		unsigned n;

		*x = *x * 6364136223846793005ULL + 1442695040888963407ULL;
		n = (unsigned)(*x >> 33) % 64;
		if (l->no_reads || !rig_has(&l->g, n, 10000 + n * 2000))
			rig_keep(&l->g, n, 10000 + n * 2000);
		if (i % 4 == 0) {
			snprintf(key, sizeof(key), ".cnt/vm/%u/owner", n % 8);
			(void)store_put(l->g.s, key, key, 60, NULL, NULL);
		}
		if (i % 16 == 0)
			store_verdict(l->g.s, rig_key(n, key), NULL, false);
		if (rig_stats(&l->g).used > rig_stats(&l->g).limit)
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
		st = rig_stats(&l.g);
		most = MAX(most, scratch_blocks(l.g.dir));
		wrong += scratch_blocks(l.g.dir) > st.used;
		wrong += st.chunks != rig_count_chunks(l.g.dir);
		pthread_barrier_wait(&l.step);
	}
	for (size_t i = 0; i < LOAD_THREADS; i++)
		pthread_join(t[i], NULL);
	pthread_barrier_destroy(&l.step);
	assert_int_equal(l.over, 0);
	assert_int_equal(wrong, 0);
	assert_true(most <= MIB);
	assert_true(most > MIB / 2);
	assert_true(rig_stats(&l.g).evictions > 50);
	store_free(l.g.s);
	l.g = rig_open(*state, MIB, 0);
	/* What the last log said may be more than the limit for a moment. */
	for (int i = 0; i < 500 && rig_stats(&l.g).used > MIB; i++)
		usleep(10000);
	rig_in_limit(&l.g);
	assert_true(rig_stats(&l.g).chunks > 5);
	store_free(l.g.s);
}

static int
put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), r;

	if (fd < 0)
		return -errno;
	r = io_write_full(fd, text, strlen(text));
	close(fd);
	return r;
}

/* A small file system on dir for this process alone, also for users. */
static int
mount_own(const char *dir, const char *options)
{
	unsigned uid = geteuid(), gid = getegid();
	char map[64];

	if (unshare(CLONE_NEWNS | (uid != 0 ? CLONE_NEWUSER : 0)) < 0)
		return -errno;
	if (uid != 0) {
		snprintf(map, sizeof(map), "0 %u 1", uid);
		if (put_text("/proc/self/setgroups", "deny") < 0 ||
		    put_text("/proc/self/uid_map", map) < 0)
			return -EPERM;
		snprintf(map, sizeof(map), "0 %u 1", gid);
		if (put_text("/proc/self/gid_map", map) < 0)
			return -EPERM;
	}
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", dir, "tmpfs", 0, options) < 0)
		return -errno;
	return 0;
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

	if (mount_own(dir, "size=4M,mode=700") < 0)
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
	return most > MIB / 2 && rig_stats(&l.g).evictions > 50 ? 0 : 3;
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

	if (mount_own(dir, "size=1M,mode=700") < 0)
		return 77;
	g = rig_open(dir, 8 * MIB, 0);
	for (unsigned n = 0; n < 30; n++)
		rig_keep(&g, n, CHUNK);
	if (!rig_stats(&g).degraded || !rig_has(&g, 0, CHUNK) ||
	    rig_has(&g, 29, CHUNK))
		return 1;
	if (rig_stats(&g).chunks != rig_count_chunks(g.dir))
		return 2;
	store_free(g.s);
	/* A floor makes it live within the disk. */
	g = rig_open(dir, 8 * MIB, 300 * KIB);
	for (unsigned n = 100; n < 130; n++)
		rig_keep(&g, n, CHUNK);
	if (rig_stats(&g).degraded || !rig_has(&g, 129, CHUNK))
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
	rig_keep(&g, 1, CHUNK);
	assert_false(rig_has(&g, 1, CHUNK));
	assert_true(rig_stats(&g).degraded);
	assert_int_equal(rig_stats(&g).chunks, 0);
	store_free(g.s);
}

static void
a_full_disk_costs_only_the_cache(void **state)
{
	struct rig g = rig_open(*state, 8 * MIB, 0);
	const char *log = scratch_path(g.dir, CACHE_LOG_NAME);
	const char *tmp = scratch_path(g.dir, CACHE_TMP);
	struct stat before, after;

	rig_keep(&g, 1, CHUNK);
	/* Writing fails as it does without space, also for root. */
	assert_int_equal(rmdir(tmp), 0);
	scratch_write(tmp, "x", 1);
	assert_int_equal(stat(log, &before), 0);
	rig_keep(&g, 2, CHUNK);
	/* Announced before, revoked after: so a kill leaves no file behind
	 * that nobody knows of. */
	assert_int_equal(stat(log, &after), 0);
	assert_int_equal(
	    after.st_size - before.st_size, 2 * (CACHE_LOG_HEADER + 32));
	rig_keep(&g, 3, CHUNK);
	assert_true(rig_has(&g, 1, CHUNK));
	assert_false(rig_has(&g, 2, CHUNK));
	rig_in_limit(&g);
	assert_int_equal(rig_stats(&g).chunks, 1);
	store_free(g.s);
}

static void
it_writes_again_after_a_while(void **state)
{
	struct rig g = rig_open(*state, 8 * MIB, 0);
	struct cache *c = (struct cache *)g.s;

	cache_room_failed(c, "be tested", -ENOSPC);
	assert_true(rig_stats(&g).degraded);
	rig_keep(&g, 1, CHUNK);
	assert_false(rig_has(&g, 1, CHUNK));
	/* As if a minute had passed. */
	pthread_mutex_lock(&c->lock);
	c->retry_at = 1;
	pthread_mutex_unlock(&c->lock);
	rig_keep(&g, 1, CHUNK);
	assert_true(rig_has(&g, 1, CHUNK));
	assert_false(rig_stats(&g).degraded);
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
	rig_keep(&g, 2, CHUNK);
	if (rig_has(&g, 2, CHUNK))
		return 2;
	if (!rig_stats(&g).degraded)
		return 3;
	/* What may be read is read. */
	if (!rig_has(&g, 1, CHUNK))
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
	rig_keep(&g, 2, CHUNK);
	if (rig_has(&g, 2, CHUNK))
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

	rig_keep(&g, 1, CHUNK);
	snprintf(path, sizeof(path), "%s", rig_file(g.dir, 1));
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
a_smaller_limit_holds_after_the_start(void **state)
{
	struct rig g = rig_open(*state, 8 * MIB, 0);

	for (unsigned n = 0; n < 30; n++)
		rig_keep(&g, n, CHUNK);
	store_free(g.s);
	g = rig_open(*state, MIB, 0);
	rig_settle(&g);
	rig_in_limit(&g);
	assert_true(rig_stats(&g).chunks > 5);
	assert_true(rig_has(&g, 29, CHUNK));
	store_free(g.s);
	/* And no room at all. */
	g = rig_open(*state, 0, 0);
	assert_int_equal(scratch_files(g.dir), 1); /* the lock */
	assert_false(rig_has(&g, 29, CHUNK));
	store_free(g.s);
}

static void
size_zero_writes_nothing(void **state)
{
	struct rig g = rig_open(*state, 0, 0);

	rig_keep(&g, 1, 1000);
	assert_false(rig_has(&g, 1, 1000));
	must_put(g.s, SNAP "a.blob", "x");
	must_have(g.s, SNAP "a.blob", "x");
	assert_int_equal(access(g.dir, F_OK), -1);
	assert_false(rig_stats(&g).degraded);
	assert_int_equal(rig_stats(&g).used, 0);
	store_free(g.s);
}

static void
objects_larger_than_the_cache_pass_by(void **state)
{
	struct rig g = rig_open(*state, MIB, 0);

	rig_keep(&g, 1, 1000);
	rig_keep(&g, 2, 2 * MIB);
	assert_true(rig_has(&g, 1, 1000));
	assert_false(rig_has(&g, 2, 2 * MIB));
	rig_in_limit(&g);
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
		rig_keep(&g, n, CHUNK);
	assert_int_equal(rig_stats(&g).chunks, 17);
	for (unsigned n = 0; n < 20; n++) {
		snprintf(key, sizeof(key), ".cnt/vm/%u/notes", n);
		must_put(g.s, key, text);
	}
	/* Room for them was made among the chunks. */
	assert_int_equal(rig_stats(&g).objects, 20);
	assert_true(rig_stats(&g).chunks < 17 && rig_stats(&g).chunks > 10);
	rig_in_limit(&g);
	for (unsigned n = 20; n < 300; n++) {
		snprintf(key, sizeof(key), ".cnt/vm/%u/notes", n);
		must_put(g.s, key, text);
	}
	rig_in_limit(&g);
	assert_true(c->ix.used_meta <= MIB);
	assert_true(rig_stats(&g).objects > 50 && rig_stats(&g).objects < 130);
	for (unsigned n = 100; n < 130; n++)
		rig_keep(&g, n, CHUNK);
	assert_true(rig_stats(&g).objects > 50);
	assert_true(rig_has(&g, 129, CHUNK));
	rig_in_limit(&g);
	store_free(g.s);
}

static void
the_log_stays_short(void **state)
{
	struct rig g = rig_open(*state, MIB, 0);
	struct stat st;

	for (unsigned n = 0; n < 1500; n++)
		rig_keep(&g, n, 3000);
	rig_in_limit(&g);
	store_free(g.s);
	assert_int_equal(stat(scratch_path(*state, "cache/cache-log"), &st), 0);
	assert_true(st.st_size < 2 * CACHE_LOG_MIN);
	g = rig_open(*state, MIB, 0);
	rig_settle(&g);
	rig_in_limit(&g);
	assert_true(rig_stats(&g).chunks > 50);
	assert_int_equal(rig_stats(&g).chunks, rig_count_chunks(g.dir));
	assert_true(rig_has(&g, 1499, 3000));
	store_free(g.s);
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
		/* Killed, it has written no more than it may. */
		assert_true(scratch_blocks(g.dir) <= MIB);
		rig_settle(&g);
		rig_in_limit(&g);
		assert_int_equal(rig_stats(&g).chunks, rig_count_chunks(g.dir));
		assert_int_equal(rig_stats(&g).objects,
		    scratch_files(scratch_path(g.dir, ".cnt")));
		assert_int_equal(scratch_files(scratch_path(g.dir, "tmp")), 0);
		rig_keep(&g, 1000 + i, 50000);
		assert_true(rig_has(&g, 1000 + i, 50000));
		rig_in_limit(&g);
		store_free(g.s);
	}
}

#define WITH_DIR(f)                                                            \
	cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_DIR(a_smaller_limit_holds_after_the_start),
	    WITH_DIR(size_zero_writes_nothing),
	    WITH_DIR(objects_larger_than_the_cache_pass_by),
	    WITH_DIR(the_limit_holds_under_load),
	    WITH_DIR(the_limit_holds_at_every_moment),
	    WITH_DIR(a_disk_that_is_too_small),
	    WITH_DIR(the_floor_is_kept),
	    WITH_DIR(a_full_disk_costs_only_the_cache),
	    WITH_DIR(it_writes_again_after_a_while),
	    WITH_DIR(a_read_only_directory_costs_only_the_cache),
	    WITH_DIR(killed_while_inserting),
	    WITH_DIR(metadata_takes_half_and_chunks_go_first),
	    WITH_DIR(the_log_stays_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
