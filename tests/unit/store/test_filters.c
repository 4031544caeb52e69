/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/filters.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "scratch.h"
#include "store/backends.h"
#include "store/store.h"
#include "suite.h"

#include "../cm.h"

static const struct store_get whole = {.max = MIB};
static const struct store_get local = {.max = MIB, .flags = STORE_LOCAL};

static struct store *
new_mem(void)
{
	struct store *s;

	assert_int_equal(store_mem_new(&s), 0);
	return s;
}

/* The result of a get, whose content is dropped. */
static int
get(struct store *s, const char *key)
{
	struct buf *b = NULL;
	int r = store_get(s, key, &whole, &b, NULL);

	buf_unref(b);
	return r;
}

static void
count_told(void *arg, const char *key, const char *why)
{
	assert_non_null(key);
	assert_true(why[0] != '\0');
	++*(int *)arg;
}

static int
count_listed(void *arg, const char *key, const struct store_object *o)
{
	(void)key;
	(void)o;
	++*(int *)arg;
	return 0;
}

static void
read_only_reaches_nobody(void **state)
{
	const char *keys[] = {"a", "b"};
	struct store *s, *count;
	struct store_counts c;
	int told = 0;

	(void)state;
	s = new_mem();
	must_put(s, "a", "x");
	assert_int_equal(store_count_new(s, &count), 0);
	assert_int_equal(store_ro_new(count, &s), 0);
	assert_int_equal(store_put(s, "b", "x", 1, NULL, NULL), -EROFS);
	assert_int_equal(store_copy(s, "a", "b", 0), -EROFS);
	assert_int_equal(store_copy_from(s, s, "a", 0), -EROFS);
	assert_int_equal(store_touch(s, "a"), -EROFS);
	assert_int_equal(store_sync(s), 0);
	assert_int_equal(
	    store_delete(s, keys, 2, count_told, &told, 0), -EROFS);
	assert_int_equal(told, 2);
	store_counts(s, &c);
	assert_int_equal(c.requests[STORE_PUT], 0);
	assert_int_equal(c.requests[STORE_COPY], 0);
	assert_int_equal(c.requests[STORE_DELETE], 0);
	must_have(s, "a", "x");
	store_free(s);
}

static void
counts_are_exact(void **state)
{
	const char *keys[] = {"a", "b"};
	struct store_object o;
	struct store_counts c;
	struct buf *b = NULL;
	struct store *s;
	int n = 0;

	(void)state;
	assert_int_equal(store_count_new(new_mem(), &s), 0);
	must_put(s, "a", "12345");
	assert_int_equal(get(s, "a"), 0);
	assert_int_equal(get(s, "none"), 1);
	assert_int_equal(store_get(s, "a", &local, &b, NULL), 0);
	buf_unref(b);
	assert_int_equal(
	    store_get(s, "a", &(struct store_get){.max = 1}, &b, NULL), -EFBIG);
	assert_int_equal(store_stat(s, "a", 0, &o), 0);
	assert_int_equal(store_list(s, "", NULL, count_listed, &n), 0);
	assert_int_equal(store_copy(s, "a", "b", 0), 0);
	assert_int_equal(store_delete(s, keys, 2, NULL, NULL, 0), 0);
	/* Nothing like it in memory, so nobody was asked. */
	assert_int_equal(store_touch(s, "a"), -EOPNOTSUPP);
	assert_int_equal(store_sync(s), 0);
	store_counts(s, &c);
	assert_int_equal(c.requests[STORE_TOUCH], 0);
	assert_int_equal(c.requests[STORE_SYNC], 1);
	assert_int_equal(c.requests[STORE_PUT], 1);
	assert_int_equal(c.requests[STORE_GET], 4);
	assert_int_equal(c.failed[STORE_GET], 1);
	assert_int_equal(c.requests[STORE_STAT], 1);
	assert_int_equal(c.requests[STORE_LIST], 1);
	assert_int_equal(c.requests[STORE_COPY], 1);
	assert_int_equal(c.requests[STORE_DELETE], 1);
	assert_int_equal(c.bytes_written, 5);
	assert_int_equal(c.bytes_read, 10);
	store_free(s);
}

static void
touches_are_counted_and_disturbed(void **state)
{
	const char *script = scratch_path(*state, "script");
	static const char rules[] = "touch a error=EIO count=1\n"
				    "touch b absent count=1\n"
				    "sync * lost after=1\n";
	struct store_counts c;
	struct store *s;

	scratch_write(script, rules, strlen(rules));
	scratch_write(scratch_path(*state, ".pbs3fs/objects/a"), "x", 1);
	scratch_write(scratch_path(*state, ".pbs3fs/objects/b"), "x", 1);
	assert_int_equal(store_dir_new(*state, &s), 0);
	assert_int_equal(store_count_new(s, &s), 0);
	assert_int_equal(store_fault_new(s, script, &s), 0);
	assert_int_equal(store_log_new(s, &s), 0);
	assert_int_equal(store_limit_new(s, 100, 0, &s), 0);
	assert_int_equal(store_touch(s, "a"), -EIO);
	assert_int_equal(store_touch(s, "b"), 1);
	assert_int_equal(store_touch(s, "a"), 0);
	assert_int_equal(store_touch(s, "b"), 0);
	assert_int_equal(store_touch(s, "c"), 1);
	assert_int_equal(store_sync(s), 0);
	assert_int_equal(store_sync(s), -EIO);
	store_counts(s, &c);
	assert_int_equal(c.requests[STORE_TOUCH], 3);
	assert_int_equal(c.failed[STORE_TOUCH], 0);
	assert_int_equal(c.requests[STORE_SYNC], 2);
	store_free(s);
}

static void
requests_are_limited(void **state)
{
	struct store_object o;
	struct store *s;
	int n = 0;

	(void)state;
	assert_int_equal(store_limit_new(new_mem(), 3, 0, &s), 0);
	must_put(s, "a", "x");
	assert_int_equal(get(s, "a"), 0);
	assert_int_equal(store_stat(s, "a", 0, &o), 0);
	assert_int_equal(get(s, "a"), -EDQUOT);
	assert_int_equal(store_stat(s, "a", 0, &o), -EDQUOT);
	assert_int_equal(store_list(s, "", NULL, count_listed, &n), -EDQUOT);
	assert_int_equal(store_put(s, "a", "x", 1, NULL, NULL), -EDQUOT);
	assert_int_equal(store_copy(s, "a", "b", 0), -EDQUOT);
	assert_int_equal(store_copy_from(s, s, "a", 0), -EDQUOT);
	store_free(s);
}

static void *
get_often(void *arg)
{
	intptr_t n = 0;

	for (int i = 0; i < 100; i++)
		n += get(arg, "a") == 0;
	return (void *)n;
}

static void
the_limit_of_requests_holds_for_many_threads(void **state)
{
	struct store *s, *mem = new_mem();
	pthread_t t[8];
	intptr_t n = 0;

	(void)state;
	must_put(mem, "a", "x");
	assert_int_equal(store_limit_new(mem, 333, 0, &s), 0);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		pthread_create(&t[i], NULL, get_often, s);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		void *got;

		pthread_join(t[i], &got);
		n += (intptr_t)got;
	}
	assert_int_equal(n, 333);
	store_free(s);
}

static void
downloads_are_limited(void **state)
{
	struct store *s, *mem = new_mem();

	(void)state;
	must_put(mem, "a", "0123456789");
	assert_int_equal(store_limit_new(mem, 0, 25, &s), 0);
	assert_int_equal(get(s, "a"), 0);
	assert_int_equal(get(s, "a"), 0);
	assert_int_equal(get(s, "a"), 0);
	assert_int_equal(get(s, "a"), -EDQUOT);
	store_free(s);
}

/* A fault filter over two objects in memory, with these rules. */
static struct store *
new_fault(const char *dir, const char *rules)
{
	const char *path = scratch_path(dir, "script");
	struct store *s, *mem = new_mem();
	int r;

	must_put(mem, "a", "0123456789");
	must_put(mem, "dir/b", "0123456789");
	scratch_write(path, rules, strlen(rules));
	r = store_fault_new(mem, path, &s);
	if (r < 0) {
		assert_int_equal(r, -EINVAL);
		store_free(mem);
		return NULL;
	}
	return s;
}

static void
errors_on_order(void **state)
{
	struct store *s = new_fault(*state,
	    "# a comment\n\n"
	    "get dir/* error=EHOSTDOWN\r\n"
	    "put * error=ENOSPC count=1\n"
	    "stat a error=EACCES after=2  # the third and later\n"
	    "delete */b error=EBUSY\n"
	    "copy a error=EDQUOT\n"
	    "list dir/ error=ETIMEDOUT");
	const char *keys[] = {"a", "dir/b"};
	struct store_object o;
	int n = 0;

	assert_int_equal(get(s, "a"), 0);
	assert_int_equal(get(s, "dir/b"), -EHOSTDOWN);
	assert_int_equal(store_put(s, "c", "x", 1, NULL, NULL), -ENOSPC);
	must_put(s, "c", "x");
	assert_int_equal(store_stat(s, "a", 0, &o), 0);
	assert_int_equal(store_stat(s, "a", 0, &o), 0);
	assert_int_equal(store_stat(s, "a", 0, &o), -EACCES);
	assert_int_equal(store_stat(s, "a", 0, &o), -EACCES);
	assert_int_equal(store_copy(s, "a", "c", 0), -EDQUOT);
	assert_int_equal(
	    store_list(s, "dir/", NULL, count_listed, &n), -ETIMEDOUT);
	assert_int_equal(store_list(s, "", NULL, count_listed, &n), 0);
	assert_int_equal(n, 3);
	n = 0;
	assert_int_equal(store_delete(s, keys, 2, count_told, &n, 0), -EBUSY);
	assert_int_equal(n, 2);
	assert_int_equal(get(s, "a"), 0);
	store_free(s);
}

static void
damage_on_order(void **state)
{
	struct store *s = new_fault(*state, "get a truncate=4 count=1\n"
					    "get a flip=3 count=1\n"
					    "get a flip=10 count=1\n"
					    "put t truncate=2\n"
					    "put f flip=0\n");

	must_have(s, "a", "0123");
	must_have(s, "a",
	    "012\xcc"
	    "456789");
	must_have(s, "a", "0123456789");
	must_have(s, "a", "0123456789");
	must_put(s, "t", "abcdef");
	must_have(s, "t", "ab");
	must_put(s, "f", "\x01z");
	must_have(s, "f", "\xfez");
	store_free(s);
}

static void
absent_and_lost_on_order(void **state)
{
	struct store *s = new_fault(*state, "* a absent count=4\n"
					    "list * absent count=1\n"
					    "put l lost\n"
					    "delete l lost\n");
	const char *key = "l";
	struct store_object o;
	int n = 0;

	assert_int_equal(get(s, "a"), 1);
	assert_int_equal(store_stat(s, "a", 0, &o), 1);
	assert_int_equal(store_copy(s, "a", "b", 0), 1);
	assert_int_equal(get(s, "a"), 1);
	assert_int_equal(get(s, "a"), 0);
	assert_int_equal(store_list(s, "", NULL, count_listed, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(store_put(s, "l", "x", 1, NULL, NULL), -EIO);
	must_have(s, "l", "x");
	assert_int_equal(store_delete(s, &key, 1, count_told, &n, 0), -EIO);
	assert_int_equal(n, 1);
	must_lack(s, "l");
	store_free(s);
}

static void
delays_and_hangs_end_at_the_deadline(void **state)
{
	struct store *s = new_fault(*state, "get a delay=60 count=2\n"
					    "get a hang\n");
	struct store_get how = {.max = MIB};
	struct buf *b = NULL;
	uint64_t begin;

	begin = clock_mono_ms();
	assert_int_equal(get(s, "a"), 0);
	assert_true(clock_mono_ms() - begin >= 59);
	how.deadline = deadline_in(10);
	assert_int_equal(store_get(s, "a", &how, &b, NULL), -ETIMEDOUT);
	begin = clock_mono_ms();
	how.deadline = deadline_in(50);
	assert_int_equal(store_get(s, "a", &how, &b, NULL), -ETIMEDOUT);
	assert_true(clock_mono_ms() - begin >= 49);
	assert_true(clock_mono_ms() - begin < 5000);
	store_free(s);
}

static void *
get_hanging(void *arg)
{
	return (void *)(intptr_t)get(arg, "a");
}

static void
shutdown_ends_a_hang(void **state)
{
	struct store *s = new_fault(*state, "get a hang\n");
	uint64_t begin = clock_mono_ms();
	pthread_t t;
	void *r;

	pthread_create(&t, NULL, get_hanging, s);
	usleep(30000);
	store_shutdown(s);
	pthread_join(t, &r);
	assert_int_equal((intptr_t)r, -ESHUTDOWN);
	assert_true(clock_mono_ms() - begin < 5000);
	store_free(s);
}

static void
chance_is_repeatable(void **state)
{
	int failed[2] = {0, 0};
	char seen[2][201];

	for (int i = 0; i < 2; i++) {
		struct store *s =
		    new_fault(*state, "get a error=EIO rate=25% seed=7\n");

		for (int n = 0; n < 200; n++) {
			bool bad = get(s, "a") < 0;

			failed[i] += bad;
			seen[i][n] = bad ? 'x' : '.';
		}
		seen[i][200] = '\0';
		store_free(s);
	}
	assert_true(failed[0] > 25 && failed[0] < 80);
	assert_string_equal(seen[0], seen[1]);
}

static void
a_network_is_not_asked_for_local_answers(void **state)
{
	struct store *s = new_fault(*state, "get a error=EIO count=1\n");
	struct buf *b = NULL;

	assert_int_equal(store_get(s, "a", &local, &b, NULL), -EAGAIN);
	assert_int_equal(store_get(s, "a", &local, &b, NULL), -EAGAIN);
	assert_int_equal(get(s, "a"), -EIO);
	assert_int_equal(store_get(s, "a", &local, &b, NULL), 0);
	buf_unref(b);
	store_free(s);
}

static void
a_changed_script_is_read_again(void **state)
{
	const char *path = scratch_path(*state, "script");
	struct store *s = new_fault(*state, "get a error=EIO\n");

	assert_int_equal(get(s, "a"), -EIO);
	scratch_write(path, "get a absent\n", 13);
	assert_int_equal(get(s, "a"), 1);
	/* A script with a mistake changes nothing. */
	scratch_write(path, "get a abs\n", 10);
	assert_int_equal(get(s, "a"), 1);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(get(s, "a"), 0);
	store_free(s);
}

/* How a child that gets a and then b ends. */
static int
status_of_child(const char *dir, const char *rules)
{
	struct store *s = new_fault(dir, rules);
	int status = 0;
	pid_t pid;

	pid = fork();
	if (pid == 0) {
		(void)get(s, "a");
		(void)store_put(s, "a", "x", 1, NULL, NULL);
		_exit(3);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	store_free(s);
	return status;
}

static void
kills_on_order(void **state)
{
	int st = status_of_child(*state, "put a kill\n");

	assert_true(WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL);
	st = status_of_child(*state, "put a kill-after\n");
	assert_true(WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL);
	st = status_of_child(*state, "put a kill after=1\n");
	assert_true(WIFEXITED(st) && WEXITSTATUS(st) == 3);
}

struct seen_line {
	const char *want;
	bool found;
};

static void
look_for_line(void *arg, int64_t when, enum log_level lvl, const char *text)
{
	struct seen_line *l = arg;

	(void)when;
	(void)lvl;
	/* The last one counts. */
	l->found = strstr(text, l->want) != NULL;
}

static void
mistakes_name_their_line(void **state)
{
	static const struct {
		const char *rules, *line;
	} cases[] = {
	    {"fetch * error=EIO\n", "line 1:"},
	    {"\n# x\nget\n", "line 3:"},
	    {"get *\n", "line 1:"},
	    {"get * hang\nget * explode\n", "line 2:"},
	    {"get * error\n", "line 1:"},
	    {"get * error=EWRONG\n", "line 1:"},
	    {"get * hang=3\n", "line 1:"},
	    {"get * delay=x\n", "line 1:"},
	    {"\n\n\n\nput * absent\n", "line 5:"},
	    {"get * lost\n", "line 1:"},
	    {"stat * flip=1\n", "line 1:"},
	    {"get * hang count=0\n", "line 1:"},
	    {"get * hang rate=10\n", "line 1:"},
	    {"get * hang rate=101%\n", "line 1:"},
	    {"get * hang often\n", "line 1:"},
	    {"get * hang sometimes=1\n", "line 1:"},
	    {"get * hang seed=-1\n", "line 1:"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct seen_line l = {.want = cases[i].line};

		assert_null(new_fault(*state, cases[i].rules));
		log_recent(look_for_line, &l);
		assert_true(l.found);
	}
}

static void
a_script_that_is_not_there_is_an_error(void **state)
{
	struct store *s = NULL, *mem = new_mem();

	assert_int_equal(
	    store_fault_new(mem, scratch_path(*state, "none"), &s), -ENOENT);
	assert_null(s);
	store_free(mem);
}

#define WITH_DIR(f)                                                            \
	cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(read_only_reaches_nobody),
	    cmocka_unit_test(counts_are_exact),
	    cmocka_unit_test(requests_are_limited),
	    cmocka_unit_test(the_limit_of_requests_holds_for_many_threads),
	    cmocka_unit_test(downloads_are_limited),
	    WITH_DIR(touches_are_counted_and_disturbed),
	    WITH_DIR(errors_on_order),
	    WITH_DIR(damage_on_order),
	    WITH_DIR(absent_and_lost_on_order),
	    WITH_DIR(delays_and_hangs_end_at_the_deadline),
	    WITH_DIR(shutdown_ends_a_hang),
	    WITH_DIR(chance_is_repeatable),
	    WITH_DIR(a_network_is_not_asked_for_local_answers),
	    WITH_DIR(a_changed_script_is_read_again),
	    WITH_DIR(kills_on_order),
	    WITH_DIR(mistakes_name_their_line),
	    WITH_DIR(a_script_that_is_not_there_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
