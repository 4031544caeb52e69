/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Garbage collection beside the listing that it cannot do without, and marks
 * beside one sort of all of them in memory.
 *
 * gc [DIR]: in memory, and in a directory store in DIR, which should be on a
 * disk that keeps up.  BENCH_CHUNKS: how many (1,000,000); a tenth of them is
 * garbage, and each is referred to by three indices.  BENCH_MARKS: digests
 * (10,000,000).  Each part is a process of its own, for its peak of memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/num.h"
#include "maint/agent.h"
#include "maint/digest_merge.h"
#include "maint/gc.h"
#include "maint/marks.h"
#include "pbs/index.h"
#include "pbs/names.h"
#include "repo/guard.h"
#include "repo/repo.h"
#include "store/backends.h"
#include "store/store.h"

#define PER_INDEX 10000u
#define COPIES 3u

static uint64_t n_chunks = 1000000, n_marks = 10000000;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
check(const char *what, int err)
{
	if (err >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-err));
	exit(1);
}

/* MiB that this process had at most; and has. */
static double
peak(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)u.ru_maxrss / 1024;
}

/* As evenly spread as digests are, and cheaper to make. */
static struct digest
nth(uint64_t i)
{
	struct digest d;
	uint64_t x = i;

	for (size_t k = 0; k < DIGEST_LEN; k += 8) {
		x += 0x9e3779b97f4a7c15ULL;
		x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
		x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
		x ^= x >> 31;
		memcpy(d.b + k, &x, 8);
	}
	return d;
}

static double
sort_all(void)
{
	struct digest *v = calloc(n_marks, sizeof(*v));
	double begin;

	if (v == NULL)
		check("sort", -ENOMEM);
	for (uint64_t i = 0; i < n_marks; i++)
		v[i] = nth(i);
	begin = now();
	qsort(v, n_marks, sizeof(*v), digest_cmp);
	begin = now() - begin;
	free(v);
	return begin;
}

static void
mark_all(const char *dir, double *ret_collect, double *ret_again)
{
	const struct marks_opts o = {.dir = dir};
	struct digest source = nth(UINT64_MAX), d;
	struct marks_stats st;
	struct marks *m;
	double begin = now();
	uint64_t value;

	check("marks", marks_new(&o, &m));
	check("marks", marks_keep(m, &source, 1));
	if (!marks_has_source(m, &source, &value)) {
		check("marks", marks_source(m, &source, 0));
		for (uint64_t i = 0; i < n_marks; i++) {
			d = nth(i);
			check("marks", marks_add(m, &d));
		}
	}
	check("marks", marks_finish(m));
	while (marks_next(m, &d) == 0)
		continue;
	marks_stats(m, &st);
	if (st.distinct != n_marks)
		check("marks: count", -EINVAL);
	marks_free(m);
	*(st.runs_kept > 0 ? ret_again : ret_collect) = now() - begin;
}

static void
bench_marks(const char *dir)
{
	double collect = 0, again = 0, sort;

	mark_all(dir, &collect, &again);
	mark_all(dir, &collect, &again);
	printf("marks: %.1f s for %" PRIu64 " digests, %.0f MiB; ", collect,
	    n_marks, peak());
	sort = sort_all();
	printf("%.2f of one qsort in %.0f MiB; %.2f when taken over\n",
	    collect / sort, peak(), again / sort);
}

static void
put(struct store *s, const char *key, const void *p, size_t len)
{
	static const struct store_put how = {.lazy = true};

	check(key, store_put(s, key, p, len, &how, NULL));
}

static void
put_index(struct store *s, uint64_t i, uint64_t from, uint64_t to)
{
	static const uint8_t uuid[16];
	struct index_writer *w;
	char key[128];
	struct buf *b;

	check("index", index_writer_dynamic(&w));
	for (; from < to; from++) {
		struct digest d = nth(from);

		check("index", index_writer_add(w, 4096, &d));
	}
	check("index", index_writer_finish(w, uuid, (int64_t)i, &b));
	index_writer_free(w);
	snprintf(key, sizeof(key), ".cnt/host/h%u/2024-01-01T00:00:00Z/"
	    "root.pxar.didx", (unsigned)i);
	put(s, key, b->data, b->len);
	buf_unref(b);
}

static int
by_digest(const void *a, const void *b)
{
	struct digest x = nth(*(const uint64_t *)a);
	struct digest y = nth(*(const uint64_t *)b);

	return digest_cmp(&x, &y);
}

static void
fill(struct store *s)
{
	uint64_t *v = calloc(n_chunks, sizeof(*v)), n = 0;
	uint64_t live = n_chunks - n_chunks / 10;

	if (v == NULL)
		check("fill", -ENOMEM);
	for (uint64_t i = 0; i < n_chunks; i++)
		v[i] = i;
	qsort(v, n_chunks, sizeof(*v), by_digest);
	for (uint64_t i = 0; i < n_chunks; i++) {
		struct digest d = nth(v[i]);
		char key[KEY_CHUNK_LEN + 1];

		key_chunk(&d, key);
		put(s, key, "chunk", 5);
	}
	free(v);
	for (unsigned c = 0; c < COPIES; c++)
		for (uint64_t i = 0; i < live; i += PER_INDEX)
			put_index(s, n++, i, MIN(i + PER_INDEX, live));
}

static int
count_one(void *arg, const char *key, const struct store_object *o)
{
	(void)key;
	(void)o;
	++*(uint64_t *)arg;
	return 0;
}

static double
list_alone(struct store *s)
{
	double begin = now();
	uint64_t n = 0;

	check("list", store_list(s, ".chunks/", NULL, count_one, &n));
	return now() - begin;
}

static double
collect(struct gc_opts *o)
{
	struct gc_result res;
	double begin = now();

	check("gc", gc_run(o, &res));
	return now() - begin;
}

static void
report(const char *what, double s, double list)
{
	printf("  %s: %.2f s, %.2f s a million, %.2f of the listing\n", what, s,
	    s * 1e6 / (double)n_chunks, s / list);
}

static void
bench_store(const char *name, struct store *s, const char *work)
{
	struct repo_opts ro = {.name = name};
	struct agent_local al = {0};
	struct gc_opts o = {.work = work, .cutoff = 0};
	double base, list;

	fill(s);
	check("repo", repo_open(s, &ro, &al.repo));
	check("guard", guard_new(NULL, NULL, &al.guard));
	check("agent", agent_local_new(&al, &o.agent));
	o.repo = al.repo;
	base = peak();
	(void)list_alone(s);
	list = list_alone(s);
	printf("%s: %" PRIu64 " chunks listed in %.2f s\n", name, n_chunks,
	    list);
	o.dry_run = true;
	report("dry run, indices read", collect(&o), list);
	o.dry_run = false;
	report("a tenth deleted", collect(&o), list);
	report("nothing to do", collect(&o), list);
	printf("  memory: %.0f MiB more than before\n", peak() - base);
	agent_free(o.agent);
	guard_free(al.guard);
	repo_free(al.repo);
}

static void
bench_mem(const char *dir)
{
	struct store *s;

	check("memory", store_mem_new(&s));
	bench_store("memory", s, dir);
}

static void
bench_dir(const char *dir)
{
	char base[4096], work[4096];
	struct store *s;

	snprintf(base, sizeof(base), "%s/store/.chunks", dir);
	check(base, io_mkdirs(AT_FDCWD, base, 0750));
	snprintf(base, sizeof(base), "%s/store", dir);
	snprintf(work, sizeof(work), "%s/work", dir);
	check(base, store_dir_new(base, &s));
	bench_store("directory", s, work);
}

static void
apart(void (*fn)(const char *dir), const char *top)
{
	char dir[4096];
	int status;
	pid_t pid;

	snprintf(dir, sizeof(dir), "%s/bench-gc-XXXXXX", top);
	if (mkdtemp(dir) == NULL)
		check(dir, -errno);
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		check("fork", -errno);
	if (pid == 0) {
		fn(dir);
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	check(dir, io_remove_tree(AT_FDCWD, dir));
	if (status != 0)
		exit(1);
}

static void
number(const char *name, uint64_t *ret)
{
	const char *text = getenv(name);

	if (text != NULL && (num_u64(text, ret) < 0 || *ret < 10))
		check(name, -EINVAL);
}

int
main(int argc, char **argv)
{
	const char *top = argc > 1 ? argv[1] : "/tmp";

	number("BENCH_CHUNKS", &n_chunks);
	number("BENCH_MARKS", &n_marks);
	apart(bench_marks, top);
	apart(bench_mem, top);
	apart(bench_dir, top);
	return 0;
}
