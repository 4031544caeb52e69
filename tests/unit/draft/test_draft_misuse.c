/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * What no caller may do: it ends the process at once, before wrong figures or
 * records get anywhere.
 */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "draft/content.h"
#include "draft/journal.h"
#include "draft/staging.h"

#include "scratch_dir.h"

static void
dies(void (*fn)(void))
{
	const struct rlimit none = {0, 0};
	int status, null;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL);
		null = open("/dev/null", O_WRONLY | O_CLOEXEC);
		dup2(null, STDERR_FILENO);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

static struct content *
fresh(uint64_t size)
{
	struct content *c;

	if (content_new(&c) < 0 || content_set_base(c, size) < 0)
		_exit(0);
	return c;
}

static void
base_of_what_has_content(void)
{
	(void)content_set_base(fresh(10), 10);
}

static void
settling_what_is_no_chunk(void)
{
	const struct piece p = {.kind = PIECE_STAGED, .len = 10};

	(void)content_settle(fresh(10), &p, 1);
}

static void
settling_nothing(void)
{
	const struct piece p = {.kind = PIECE_CHUNK, .chunk_size = 10};

	(void)content_settle(fresh(10), &p, 1);
}

static void
settling_beyond_the_chunk(void)
{
	const struct piece p = {.kind = PIECE_CHUNK, .len = 10, .skip = 1,
	    .chunk_size = 10};

	(void)content_settle(fresh(10), &p, 1);
}

static void
contents(void **state)
{
	(void)state;
	dies(base_of_what_has_content);
	dies(settling_what_is_no_chunk);
	dies(settling_nothing);
	dies(settling_beyond_the_chunk);
}

static struct staging *
staging_of(uint64_t limit)
{
	struct staging *s;

	if (staging_new(limit, 0, &s) < 0)
		_exit(0);
	return s;
}

static void
releasing_more_than_there_is(void)
{
	struct staging *s = staging_of(100);

	staging_charge(s, 10);
	staging_release(s, 11);
}

static void
releasing_twice(void)
{
	struct staging *s = staging_of(100);

	if (staging_reserve(s, 10, 1, -1) < 0)
		_exit(0);
	staging_release(s, 10);
	staging_release(s, 10);
}

static void
room(void **state)
{
	(void)state;
	dies(releasing_more_than_there_is);
	dies(releasing_twice);
}

static struct scratch_dir dir;

static int
ignore(void *arg, const void *p, size_t len)
{
	(void)arg, (void)p, (void)len;
	return 0;
}

static void
waiting_for_what_was_not_added(void)
{
	struct journal *j;
	uint64_t seq;

	if (journal_open(dir.fd, "journal", ignore, NULL, &j) < 0 ||
	    journal_add(j, "x", 1, &seq) < 0)
		_exit(0);
	(void)journal_commit(j, seq + 1);
}

static void
journals(void **state)
{
	(void)state;
	scratch_begin(&dir);
	dies(waiting_for_what_was_not_added);
	scratch_end(&dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(contents),
	    cmocka_unit_test(room),
	    cmocka_unit_test(journals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
