/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/marks_run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/num.h"

#define SUM_LEN 16
#define HEADER_SUMMED 32
#define BLOCK_BYTES (MARKS_BLOCK * DIGEST_LEN + SUM_LEN)

static const uint8_t magic[8] = "pbs3fsM1";

static void
checksum(const void *p, size_t len, uint64_t seed, uint8_t out[SUM_LEN])
{
	XXH128_canonical_t c;

	XXH128_canonicalFromHash(&c, XXH3_128bits_withSeed(p, len, seed));
	memcpy(out, c.digest, SUM_LEN);
}

static uint64_t
blocks_of(uint64_t n)
{
	return n / MARKS_BLOCK + (n % MARKS_BLOCK != 0);
}

static uint64_t
size_of(uint64_t n)
{
	return n * DIGEST_LEN + blocks_of(n) * SUM_LEN;
}

uint64_t
marks_run_size(const struct marks_run *r)
{
	return MARKS_RUN_HEADER + size_of(r->n_sources) + size_of(r->n);
}

void
marks_run_close(struct marks_run *r)
{
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
}

int
marks_run_open(int fd, struct marks_run *ret)
{
	_cleanup_close_ int own = fd;
	uint8_t h[MARKS_RUN_HEADER], sum[SUM_LEN];
	struct marks_run run = {.fd = fd};
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	r = io_pread_full(fd, h, sizeof(h), 0);
	if (r == -ENODATA)
		return -EBADMSG;
	if (r < 0)
		return r;
	run.id = get_le64(h + 8);
	run.n_sources = get_le64(h + 16);
	run.n = get_le64(h + 24);
	checksum(h, HEADER_SUMMED, run.id, sum);
	/* The bound keeps the sum of sizes from overflowing. */
	if (memcmp(h, magic, sizeof(magic)) != 0 ||
	    memcmp(h + HEADER_SUMMED, sum, SUM_LEN) != 0 ||
	    run.n_sources > INT64_MAX / 128 || run.n > INT64_MAX / 128 ||
	    marks_run_size(&run) != (uint64_t)st.st_size)
		return -EBADMSG;
	*ret = run;
	own = -1;
	return 0;
}

static int
reader_next(struct digest_list *l, const struct digest **ret, size_t *n)
{
	struct marks_reader *x = (struct marks_reader *)l;
	const struct digest *v = (const struct digest *)x->b;
	size_t count = (size_t)MIN(x->left, (uint64_t)MARKS_BLOCK);
	size_t bytes = count * DIGEST_LEN;
	uint8_t sum[SUM_LEN];
	int r;

	if (count == 0)
		return 1;
	r = io_pread_full(x->run->fd, x->b, bytes + SUM_LEN, (off_t)x->off);
	if (r < 0)
		return r == -ENODATA ? -EBADMSG : r;
	checksum(x->b, bytes, x->run->id + x->block, sum);
	if (memcmp(sum, x->b + bytes, SUM_LEN) != 0)
		return -EBADMSG;
	for (size_t i = 0; i < count; i++) {
		if (x->has_last && digest_cmp(&x->last, &v[i]) >= 0)
			return -EBADMSG;
		x->last = v[i];
		x->has_last = true;
	}
	x->left -= count;
	x->off += bytes + SUM_LEN;
	x->block++;
	*ret = v;
	*n = count;
	return 0;
}

int
marks_reader_init(struct marks_reader *x, const struct marks_run *run,
    enum marks_part part)
{
	memset(x, 0, sizeof(*x));
	x->b = malloc(BLOCK_BYTES);
	if (x->b == NULL)
		return -ENOMEM;
	x->l.next = reader_next;
	x->run = run;
	x->block = 1;
	x->off = MARKS_RUN_HEADER;
	x->left = run->n_sources;
	if (part == MARKS_DIGESTS) {
		x->block += blocks_of(run->n_sources);
		x->off += size_of(run->n_sources);
		x->left = run->n;
	}
	return 0;
}

void
marks_reader_fini(struct marks_reader *x)
{
	free(x->b);
	memset(x, 0, sizeof(*x));
}

int
marks_writer_init(struct marks_writer *w, uint64_t id, int fd)
{
	static const uint8_t nothing[MARKS_RUN_HEADER];
	int r;

	memset(w, 0, sizeof(*w));
	w->run.fd = fd;
	w->run.id = id;
	w->block = 1;
	w->b = malloc(BLOCK_BYTES);
	r = w->b == NULL ? -ENOMEM :
	    io_write_full(fd, nothing, sizeof(nothing));
	if (r < 0)
		marks_writer_fini(w);
	return r;
}

static int
flush(struct marks_writer *w)
{
	size_t bytes = w->n * DIGEST_LEN;
	int r;

	if (w->n == 0)
		return 0;
	checksum(w->b, bytes, w->run.id + w->block, (uint8_t *)&w->b[w->n]);
	r = io_write_full(w->run.fd, w->b, bytes + SUM_LEN);
	w->block++;
	w->n = 0;
	return r;
}

static int
append(struct marks_writer *w, const struct digest *d)
{
	w->b[w->n++] = *d;
	return w->n == MARKS_BLOCK ? flush(w) : 0;
}

int
marks_writer_source(struct marks_writer *w, const struct digest *d)
{
	w->run.n_sources++;
	return append(w, d);
}

int
marks_writer_add(struct marks_writer *w, const struct digest *d)
{
	int r;

	if (!w->digests) {
		w->digests = true;
		r = flush(w);
		if (r < 0)
			return r;
	}
	w->run.n++;
	return append(w, d);
}

int
marks_writer_finish(struct marks_writer *w, struct marks_run *ret)
{
	uint8_t h[MARKS_RUN_HEADER];
	ssize_t n;
	int r = flush(w);

	if (r < 0)
		return r;
	memcpy(h, magic, sizeof(magic));
	put_le64(h + 8, w->run.id);
	put_le64(h + 16, w->run.n_sources);
	put_le64(h + 24, w->run.n);
	/* As it will be read: whatever order the id's bytes had. */
	checksum(h, HEADER_SUMMED, w->run.id, h + HEADER_SUMMED);
	do {
		n = pwrite(w->run.fd, h, sizeof(h), 0);
	} while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(h))
		return n < 0 ? -errno : -EIO;
	*ret = w->run;
	w->run.fd = -1;
	return 0;
}

void
marks_writer_fini(struct marks_writer *w)
{
	marks_run_close(&w->run);
	free(w->b);
	w->b = NULL;
}
