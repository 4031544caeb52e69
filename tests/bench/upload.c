/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A stream on its way into a store, beside the least that has to be done with
 * it: chunker, SHA-256 and zstd -1 on the same processors.
 *
 * upload [DIR]: into nothing, into memory, and into a directory store in DIR,
 * which should be on a disk that keeps up.  BENCH_MB: size of the stream (512).
 * BENCH_RUNS: medians of that many (3).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#include "base/io.h"
#include "base/num.h"
#include "crypt/digest.h"
#include "pbs/chunker.h"
#include "repo/known.h"
#include "repo/stream_writer.h"
#include "repo/uploads.h"
#include "store/backends.h"
#include "store/store.h"

#define PIECE ((size_t)1 << 20)	/* what the kernel gives in one write */
#define RUNS_MAX 99

static uint8_t *data;
static size_t size;

struct times {
	double wall, cpu;	/* seconds */
};

static double
seconds(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct times
now(void)
{
	return (struct times){seconds(CLOCK_MONOTONIC),
	    seconds(CLOCK_PROCESS_CPUTIME_ID)};
}

static struct times
since(struct times begin)
{
	struct times t = now();

	return (struct times){t.wall - begin.wall, t.cpu - begin.cpu};
}

static void
die(const char *what, int err)
{
	fprintf(stderr, "%s: %s\n", what, strerror(-err));
	exit(1);
}

/* Compresses about 2:1, as much of a disk does. */
static void
make_data(void)
{
	uint64_t x = 1;

	for (size_t i = 0; i + 8 <= size; i += 8) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		if (i >> 14 & 1)
			memcpy(data + i, i >> 8 & 1 ? "nothing " : "happens\n",
			    8);
		else
			put_le64(data + i, x ^ x >> 29);
	}
}

struct part {
	const uint8_t *p;
	size_t len;
};

static void *
bare_thread(void *arg)
{
	struct part part = *(struct part *)arg;
	ZSTD_CCtx *z = ZSTD_createCCtx();
	size_t room = 16 * MIB, cut, n;
	void *out = malloc(room);
	struct chunker c;
	volatile uint8_t sink = 0;

	chunker_init(&c, CHUNKER_AVG_DATA);
	for (; part.len > 0; part.p += cut, part.len -= cut) {
		cut = chunker_scan(&c, part.p, part.len);
		if (cut == 0)
			cut = part.len;
		sink ^= digest_of(part.p, cut).b[0];
		n = ZSTD_compressCCtx(z, out, room, part.p, cut, 1);
		if (ZSTD_isError(n))
			die("zstd", -EIO);
	}
	free(out);
	ZSTD_freeCCtx(z);
	return NULL;
}

static struct times
bare(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t n = cpus > 0 ? (size_t)cpus : 1, step = size / n;
	struct part *parts = calloc(n, sizeof(*parts));
	pthread_t *t = calloc(n, sizeof(*t));
	struct times begin = now();

	for (size_t i = 0; i < n; i++) {
		parts[i].p = data + i * step;
		parts[i].len = i + 1 < n ? step : size - i * step;
		pthread_create(&t[i], NULL, bare_thread, &parts[i]);
	}
	for (size_t i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	free(parts);
	free(t);
	return since(begin);
}

/* Takes the store over. */
static struct times
ours(struct store *s, enum stream_kind kind)
{
	struct stream_result res;
	struct stream_writer *w;
	struct known *known;
	struct uploads *u;
	struct times begin;
	int r;

	r = known_new(NULL, "", KNOWN_MAX_DEFAULT, &known);
	if (r == 0)
		r = uploads_new(s, known, NULL, &u);
	if (r < 0)
		die("uploads", r);
	begin = now();
	r = stream_writer_new(u, kind, size, NULL, &w);
	for (size_t off = 0; r == 0 && off < size; off += PIECE)
		r = stream_write(w, data + off, MIN(PIECE, size - off));
	if (r == 0)
		r = stream_finish(w, 1, &res);
	if (r == 0)
		r = store_sync(s);
	if (r < 0)
		die("stream", r);
	begin = since(begin);
	stream_result_fini(&res);
	stream_writer_free(w);
	uploads_free(u);
	known_free(known);
	store_free(s);
	return begin;
}

static int
null_put(struct store *s, const char *key, const void *p, size_t len,
    const struct store_put *how, struct store_object *ret_obj)
{
	(void)s;
	(void)key;
	(void)p;
	(void)len;
	(void)how;
	(void)ret_obj;
	return 0;
}

static void
null_free(struct store *s)
{
	(void)s;
}

static struct times
in_nothing(const char *top, enum stream_kind kind)
{
	static const struct store_ops ops = {
	    .put = null_put, .free = null_free};
	struct store s = {.ops = &ops};

	(void)top;
	return ours(&s, kind);
}

static struct times
in_memory(const char *top, enum stream_kind kind)
{
	struct store *s;
	int r = store_mem_new(&s);

	(void)top;
	if (r < 0)
		die("store", r);
	return ours(s, kind);
}

static struct times
in_directory(const char *top, enum stream_kind kind)
{
	char path[4096];
	struct store *s;
	struct times t;
	int r;

	snprintf(path, sizeof(path), "%s/upload-bench", top);
	r = io_remove_tree(AT_FDCWD, path);
	if (r == 0)
		r = io_mkdirs(AT_FDCWD, path, 0755);
	if (r == 0)
		r = store_dir_new(path, &s);
	if (r < 0)
		die(path, r);
	t = ours(s, kind);
	io_remove_tree(AT_FDCWD, path);
	return t;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double
median(double *v, size_t n)
{
	qsort(v, n, sizeof(v[0]), compare);
	return v[n / 2];
}

typedef struct times way(const char *top, enum stream_kind kind);

/* Bare and ours in turns: what else the machine does hits both alike.  Once
 * before it counts, so that memory has been touched. */
static void
measure(const char *what, way *fn, const char *top, enum stream_kind kind,
    size_t runs)
{
	double wall[RUNS_MAX], cpu[RUNS_MAX], speed[RUNS_MAX];

	fn(top, kind);
	for (size_t i = 0; i < runs; i++) {
		struct times a = bare(), b = fn(top, kind);

		speed[i] = (double)size / (double)MIB / b.wall;
		wall[i] = a.wall / b.wall;
		cpu[i] = a.cpu / b.cpu;
	}
	printf("%-34s %8.0f MB/s   ratio to bare %.2f   of CPU time %.2f\n",
	    what, median(speed, runs), median(wall, runs), median(cpu, runs));
}

static size_t
number(const char *name, size_t otherwise)
{
	const char *text = getenv(name);
	uint64_t n;

	return text != NULL && num_u64(text, &n) == 0 && n > 0 ? (size_t)n :
	    otherwise;
}

int
main(int argc, char **argv)
{
	size_t runs = MIN(number("BENCH_RUNS", 3), (size_t)RUNS_MAX);

	size = number("BENCH_MB", 512) * MIB;
	data = malloc(size);
	if (data == NULL)
		die("data", -ENOMEM);
	make_data();
	measure("dynamic stream, to nothing", in_nothing, NULL, STREAM_DYNAMIC,
	    runs);
	measure("image, to nothing", in_nothing, NULL, STREAM_FIXED, runs);
	measure("dynamic stream, to memory", in_memory, NULL, STREAM_DYNAMIC,
	    runs);
	measure("image, to memory", in_memory, NULL, STREAM_FIXED, runs);
	if (argc > 1) {
		measure("dynamic stream, to a directory", in_directory,
		    argv[1], STREAM_DYNAMIC, runs);
		measure("image, to a directory", in_directory, argv[1],
		    STREAM_FIXED, runs);
	}
	free(data);
	return 0;
}
