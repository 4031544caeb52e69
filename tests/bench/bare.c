/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The least that has to be done to get a file into a store: read it, cut it,
 * SHA-256, zstd -1, and write each chunk once, to a file or with a PUT.
 *
 * bare fixed|dynamic FILE DIR|URL: names are digests below it; a bucket has to
 * take unsigned requests.  As many threads as there are processors, for an URL
 * four times as many, since those wait.  Prints seconds and those of CPU time.
 */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#include "base/io.h"
#include "base/num.h"
#include "base/str.h"
#include "crypt/digest.h"
#include "pbs/chunker.h"

#define FIXED (4 * MIB)
#define MAX_CHUNK (16 * MIB)

static int source;
static const char *target;
static bool is_url, is_fixed;

struct part {
	pthread_t thread;
	uint64_t off, end;
};

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	exit(1);
}

struct rest {
	const uint8_t *p;
	size_t n;
};

static size_t
curl_takes(char *to, size_t size, size_t n, void *arg)
{
	struct rest *rest = arg;
	size_t len = MIN(size * n, rest->n);

	memcpy(to, rest->p, len);
	rest->p += len;
	rest->n -= len;
	return len;
}

static void
put(CURL *curl, const char *url, const void *p, size_t n)
{
	struct rest rest = {.p = p, .n = n};
	long status = 0;

	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(curl, CURLOPT_READFUNCTION, curl_takes);
	curl_easy_setopt(curl, CURLOPT_READDATA, &rest);
	curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, 2L << 20);
	curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)n);
	if (curl_easy_perform(curl) != CURLE_OK)
		die(url, "PUT failed");
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200)
		die(url, "PUT refused");
}

static void
save(CURL *curl, const struct digest *d, const void *p, size_t n)
{
	char name[2 * DIGEST_LEN + 1], path[4096];
	int fd;

	hex_encode(name, d->b, DIGEST_LEN);
	snprintf(path, sizeof(path), "%s/%s", target, name);
	if (is_url) {
		put(curl, path, p, n);
		return;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || io_write_full(fd, p, n) < 0 || close(fd) < 0)
		die(path, strerror(errno));
}

/* A chunk of what begins at off: how long it is. */
static size_t
read_chunk(uint8_t *p, uint64_t off, uint64_t end)
{
	size_t n = 0, step, cut;
	struct chunker c;

	if (is_fixed) {
		n = (size_t)MIN(end - off, FIXED);
		if (io_pread_full(source, p, n, (off_t)off) < 0)
			die("FILE", "cannot be read");
		return n;
	}
	chunker_init(&c, CHUNKER_AVG_DATA);
	for (; n < end - off; n += step) {
		step = (size_t)MIN(end - off - n, MIB);
		if (io_pread_full(source, p + n, step, (off_t)(off + n)) < 0)
			die("FILE", "cannot be read");
		cut = chunker_scan(&c, p + n, step);
		if (cut > 0)
			return n + cut;
	}
	return n;
}

static void *
run(void *arg)
{
	struct part *x = arg;
	size_t room = ZSTD_compressBound(MAX_CHUNK), n, packed;
	ZSTD_CCtx *z = ZSTD_createCCtx();
	CURL *curl = is_url ? curl_easy_init() : NULL;
	uint8_t *p = malloc(MAX_CHUNK), *out = malloc(room);
	struct digest d;

	for (; x->off < x->end; x->off += n) {
		n = read_chunk(p, x->off, x->end);
		d = digest_of(p, n);
		packed = ZSTD_compressCCtx(z, out, room, p, n, 1);
		if (ZSTD_isError(packed))
			die("zstd", ZSTD_getErrorName(packed));
		save(curl, &d, out, packed);
	}
	curl_easy_cleanup(curl);
	ZSTD_freeCCtx(z);
	free(out);
	free(p);
	return NULL;
}

/* As who publishes does: on the disk, and not on its way there. */
static void
sync_target(void)
{
	int fd;

	if (is_url)
		return;
	fd = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || syncfs(fd) < 0)
		die(target, strerror(errno));
	close(fd);
}

static double
seconds(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	double begin = seconds(CLOCK_MONOTONIC);
	struct part *parts;
	struct stat st;
	uint64_t n, step;

	if (argc != 4)
		die("usage", "bare fixed|dynamic FILE DIR|URL");
	is_fixed = streq(argv[1], "fixed");
	source = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (source < 0 || fstat(source, &st) < 0)
		die(argv[2], strerror(errno));
	target = argv[3];
	is_url = strncmp(target, "http", 4) == 0;
	n = (uint64_t)(cpus > 0 ? cpus : 1) * (is_url ? 4 : 1);
	/* In whole chunks, so that an image has as many as it would have. */
	step = ((uint64_t)st.st_size / n + FIXED - 1) / FIXED * FIXED;
	parts = calloc(n, sizeof(*parts));
	curl_global_init(CURL_GLOBAL_ALL);
	for (uint64_t i = 0; i < n; i++) {
		parts[i].off = MIN(i * step, (uint64_t)st.st_size);
		parts[i].end = MIN((i + 1) * step, (uint64_t)st.st_size);
		pthread_create(&parts[i].thread, NULL, run, &parts[i]);
	}
	for (uint64_t i = 0; i < n; i++)
		pthread_join(parts[i].thread, NULL);
	free(parts);
	sync_target();
	printf("%.3f %.3f\n", seconds(CLOCK_MONOTONIC) - begin,
	    seconds(CLOCK_PROCESS_CPUTIME_ID));
	return 0;
}
