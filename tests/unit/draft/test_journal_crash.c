/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/journal.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/num.h"

#include "scratch_dir.h"

/*
 * A child works on a journal and is killed at each write of it, one after the
 * other.  What it was told is safe must be there, and nothing else than what it
 * has begun.
 */
enum { THREADS = 4, STEPS = 60, EACH = 12, POINTS_MAX = 2000 };

/* Shared with the child, and there after its death.  Transactions of a thread
 * are numbered from 1. */
struct ledger {
	atomic_uint begun[THREADS], safe[THREADS];
	atomic_bool finished;
};

static struct ledger *
new_ledger(void)
{
	struct ledger *l = mmap(NULL, sizeof(*l), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(l, MAP_FAILED);
	return l;
}

/* "who:number", or "who=number" for all up to that. */
static int
apply(void *arg, const void *p, size_t len)
{
	unsigned *have = arg, who, n;
	char text[32], how;

	if (len >= sizeof(text))
		return -1;
	memcpy(text, p, len);
	text[len] = '\0';
	if (sscanf(text, "%u%c%u", &who, &how, &n) != 3 || who >= THREADS)
		return -1;
	if (how == ':' && n != have[who] + 1)
		return -1;
	have[who] = n;
	return 0;
}

/* In the child no assertion could be told: its exit status says it. */
static void
must(bool ok)
{
	if (!ok)
		_exit(3);
}

static uint64_t
add(struct ledger *l, struct journal *j, unsigned who, unsigned n)
{
	char text[32];
	uint64_t seq;
	int len = snprintf(text, sizeof(text), "%u:%u", who, n);

	atomic_store(&l->begun[who], n);
	must(journal_add(j, text, (size_t)len, &seq) == 0);
	return seq;
}

static void
one_thread(struct ledger *l, const struct scratch_dir *s)
{
	unsigned have[THREADS] = {0};
	struct journal *j;
	char text[32];
	size_t len;

	must(journal_open(s->fd, "journal", apply, have, &j) == 0);
	for (unsigned i = 1; i <= STEPS; i++) {
		add(l, j, 0, i);
		if (i % 11 == 0) {
			len = (size_t)snprintf(text, sizeof(text), "0=%u", i);
			must(journal_rewrite(j, text, &len, 1) == 0);
		} else if (i % 5 == 0) {
			must(journal_sync(j, 0) == 0);
		} else if (i % 3 == 0) {
			must(journal_commit(j, 0) == 0);
		} else {
			continue;
		}
		atomic_store(&l->safe[0], i);
	}
	journal_close(j);
}

struct worker {
	struct ledger *l;
	struct journal *j;
	unsigned who;
};

static void *
work(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 1; i <= EACH; i++) {
		uint64_t seq = add(w->l, w->j, w->who, i);

		must(journal_commit(w->j, seq) == 0);
		atomic_store(&w->l->safe[w->who], i);
	}
	return NULL;
}

static void
threads(struct ledger *l, const struct scratch_dir *s)
{
	unsigned have[THREADS] = {0};
	struct worker w[THREADS];
	pthread_t t[THREADS];
	struct journal *j;

	must(journal_open(s->fd, "journal", apply, have, &j) == 0);
	for (unsigned i = 0; i < THREADS; i++) {
		w[i] = (struct worker){.l = l, .j = j, .who = i};
		must(pthread_create(&t[i], NULL, work, &w[i]) == 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	journal_close(j);
}

typedef void script_fn(struct ledger *l, const struct scratch_dir *s);

/* Whether the child was killed. */
static bool
run_child(script_fn *script, struct ledger *l, const struct scratch_dir *s,
    unsigned point)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		journal_kill_at(point);
		script(l, s);
		atomic_store(&l->finished, true);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status)) {
		assert_int_equal(WEXITSTATUS(status), 0);
		assert_true(atomic_load(&l->finished));
		return false;
	}
	assert_int_equal(WTERMSIG(status), SIGKILL);
	return true;
}

static void
check(const struct ledger *l, const struct scratch_dir *s)
{
	unsigned have[THREADS] = {0}, again[THREADS] = {0};
	struct journal *j;
	uint64_t seq;
	char text[32];
	int len;

	assert_int_equal(journal_open(s->fd, "journal", apply, have, &j), 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_in_range(have[i], atomic_load(&l->safe[i]),
		    atomic_load(&l->begun[i]));
	/* And it goes on. */
	len = snprintf(text, sizeof(text), "0:%u", have[0] + 1);
	assert_int_equal(journal_add(j, text, (size_t)len, &seq), 0);
	journal_close(j);
	assert_int_equal(journal_open(s->fd, "journal", apply, again, &j), 0);
	have[0]++;
	assert_memory_equal(have, again, sizeof(have));
	journal_close(j);
}

/* How many points there were. */
static unsigned
kill_everywhere(script_fn *script)
{
	unsigned point = 0;
	bool killed;

	do {
		struct ledger *l = new_ledger();
		struct scratch_dir s;

		assert_true(++point < POINTS_MAX);
		scratch_begin(&s);
		killed = run_child(script, l, &s, point);
		check(l, &s);
		scratch_end(&s);
		munmap(l, sizeof(*l));
	} while (killed);
	return point - 1;
}

static void
killed_at_each_write(void **state)
{
	unsigned commits = 0, rewrites = 1;

	(void)state;
	for (unsigned i = 1; i <= STEPS; i++) {
		rewrites += i % 11 == 0;
		commits += i % 11 != 0 && (i % 5 == 0 || i % 3 == 0);
	}
	assert_int_equal(kill_everywhere(one_thread),
	    2 * (commits + 2 * rewrites));
}

static void
killed_with_many_threads(void **state)
{
	(void)state;
	/* Creating it, and at least one write for each of a thread's. */
	assert_true(kill_everywhere(threads) >= 4 + 2 * EACH);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(killed_at_each_write),
	    cmocka_unit_test(killed_with_many_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
