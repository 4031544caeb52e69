/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"
#include "io_rig.h"

#include "../cm.h"

/*
 * Random operations on files of all kinds, each beside an array of the bytes
 * that it should have.  The staging area is so small that most of what is
 * written is soon somewhere else.  FSX_OPS: how many operations; FSX_SEED.
 */

#ifdef __SANITIZE_ADDRESS__
#define OPS 5000
#else
#define OPS 50000
#endif
#define FILES 5
#define MAX_FILE ((uint64_t)400 << 10)
#define MAX_OP ((uint64_t)24 << 10)

struct model {
	const char *path;
	uint64_t max, op;
	uint8_t *p;
	uint64_t size;
	struct draft_file *f;
	uint64_t ino;
};

struct fsx {
	struct io_rig g;
	struct model m[FILES];
	uint64_t state;
	uint64_t op;
	int64_t time;
	uint64_t failed_reads, restarts, publishes, reads, writes;
};

static uint64_t
rnd(struct fsx *x, uint64_t n)
{
	x->state ^= x->state << 13;
	x->state ^= x->state >> 7;
	x->state ^= x->state << 17;
	return n == 0 ? 0 : (x->state >> 11) % n;
}

static void
check(const struct fsx *x, const struct model *m, int r, const char *what)
{
	if (r < 0)
		fail_msg("op %llu: %s: %s: %s", (unsigned long long)x->op,
		    m->path, what, strerror(-r));
}

static void
compare(const struct fsx *x, const struct model *m, const uint8_t *p,
    uint64_t off, size_t len)
{
	size_t k;

	if (memcmp(p, m->p + off, len) == 0)
		return;
	for (k = 0; p[k] == m->p[off + k]; k++)
		;
	fail_msg("op %llu: %s: byte %llu of %llu is %02x instead of %02x",
	    (unsigned long long)x->op, m->path, (unsigned long long)(off + k),
	    (unsigned long long)m->size, p[k], m->p[off + k]);
}

static void
op_read(struct fsx *x, struct model *m, uint64_t off, uint64_t len,
    bool may_fail)
{
	uint8_t *p = malloc(len + 1);
	uint64_t want = off < m->size ? MIN(len, m->size - off) : 0;
	size_t n;
	int r;

	assert_non_null(p);
	r = io_read_at(m->f, p, off, len, &n);
	if (r < 0 && may_fail) {
		x->failed_reads++;
	} else {
		check(x, m, r, "read");
		if (n != want)
			fail_msg("op %llu: %s: read %zu instead of %llu",
			    (unsigned long long)x->op, m->path, n,
			    (unsigned long long)want);
		compare(x, m, p, off, n);
	}
	free(p);
	x->reads++;
}

static void
op_write(struct fsx *x, struct model *m)
{
	uint64_t off = rnd(x, m->max), len = 1 + rnd(x, m->op);
	uint64_t seed = rnd(x, UINT64_MAX);

	if (rnd(x, 4) == 0)
		off = m->size;
	if (rnd(x, 3) == 0) {
		off &= ~(uint64_t)4095;
		len = 4096;
	}
	off = MIN(off, m->max - 1);
	len = MIN(len, m->max - off);
	if (off > m->size)
		memset(m->p + m->size, 0, off - m->size);
	io_noise(m->p + off, len, seed);
	check(x, m, draft_write(m->f, m->p + off, len, off, 0), "write");
	m->size = MAX(m->size, off + len);
	x->writes++;
}

static void
op_truncate(struct fsx *x, struct model *m)
{
	struct draft_change c = {.set = DRAFT_SET_SIZE};
	struct stat st;

	c.size = rnd(x, 8) == 0 ? 0 : rnd(x, m->max);
	check(x, m, draft_setattr(x->g.d, m->ino, &c, 0, &st), "truncate");
	assert_int_equal(st.st_size, c.size);
	if (c.size > m->size)
		memset(m->p + m->size, 0, c.size - m->size);
	m->size = c.size;
}

static void
op_fallocate(struct fsx *x, struct model *m)
{
	static const int modes[] = {
	    0, FALLOC_FL_KEEP_SIZE,
	    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	    FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
	int mode = modes[rnd(x, ARRAY_SIZE(modes))];
	uint64_t off = rnd(x, m->max), len = 1 + rnd(x, m->op), end;

	len = MIN(len, m->max - off);
	end = off + len;
	check(x, m, draft_fallocate(m->f, mode, off, len, 0), "fallocate");
	if (!(mode & FALLOC_FL_KEEP_SIZE) && end > m->size) {
		memset(m->p + m->size, 0, end - m->size);
		m->size = end;
	}
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		memset(m->p + MIN(off, m->size), 0,
		    MIN(end, m->size) - MIN(off, m->size));
}

/* A hole is of zeros; what is not a hole need not be data. */
static void
op_seek(struct fsx *x, struct model *m)
{
	uint64_t off = rnd(x, m->size + 10), at, k;
	int r;

	r = draft_seek(m->f, off, SEEK_DATA, &at);
	if (r == -ENXIO)
		at = m->size;
	else
		check(x, m, r, "seek");
	for (k = off; k < at; k++) {
		if (m->p[k] != 0)
			fail_msg("op %llu: %s: data at %llu in a hole",
			    (unsigned long long)x->op, m->path,
			    (unsigned long long)k);
	}
	r = draft_seek(m->f, off, SEEK_HOLE, &at);
	assert_int_equal(r, off < m->size ? 0 : -ENXIO);
	assert_true(r < 0 || (at >= off && at <= m->size));
}

static void
open_file(struct fsx *x, struct model *m)
{
	m->f = io_open(&x->g, m->path, O_RDWR | O_CREAT, &m->ino);
}

static void
close_file(struct fsx *x, struct model *m)
{
	check(x, m, draft_flush(m->f), "close");
	io_close(&x->g, m->f, m->ino);
}

static void
verify_all(struct fsx *x)
{
	for (size_t k = 0; k < FILES; k++)
		op_read(x, &x->m[k], 0, x->m[k].max + 1, false);
}

static void
op_restart(struct fsx *x)
{
	size_t k;

	for (k = 0; k < FILES; k++)
		close_file(x, &x->m[k]);
	io_rig_close(&x->g);
	io_rig_open(&x->g);
	for (k = 0; k < FILES; k++)
		open_file(x, &x->m[k]);
	verify_all(x);
	x->restarts++;
}

static void
op_publish(struct fsx *x)
{
	size_t k;
	int r;

	/* No image and no stream is without a byte. */
	for (k = 0; k < FILES; k++) {
		while (x->m[k].size == 0)
			op_write(x, &x->m[k]);
	}
	r = draft_publish(x->g.d, x->time++);
	if (r < 0 && r != -ENODATA)
		check(x, &x->m[0], r, "publish");
	x->publishes++;
	verify_all(x);
}

/* The store does not give anything for a while. */
static void
op_outage(struct fsx *x)
{
	struct model *m = &x->m[rnd(x, FILES)];

	io_rig_fail(&x->g, 0, -EIO);
	op_read(x, m, rnd(x, m->max), 1 + rnd(x, m->op), true);
	io_rig_fail(&x->g, 0, 0);
}

static void
one_op(struct fsx *x)
{
	struct model *m = &x->m[rnd(x, FILES)];

	switch (rnd(x, 100)) {
	case 0 ... 39:
		op_write(x, m);
		break;
	case 40 ... 79:
		op_read(x, m, rnd(x, m->max), 1 + rnd(x, m->op), false);
		break;
	case 80 ... 84:
		op_truncate(x, m);
		break;
	case 85 ... 92:
		op_fallocate(x, m);
		break;
	case 93 ... 96:
		op_seek(x, m);
		break;
	case 97:
		close_file(x, m);
		open_file(x, m);
		break;
	case 98:
		if (rnd(x, 10) == 0)
			check(x, m, draft_fsync(x->g.d, m->ino), "fsync");
		break;
	default:
		if (rnd(x, 10) == 0)
			op_outage(x);
		break;
	}
}

static uint64_t
env(const char *name, uint64_t other)
{
	const char *text = getenv(name);
	uint64_t v;

	return text != NULL && num_u64(text, &v) == 0 ? v : other;
}

static void
run(const char *const *paths, uint64_t max, uint64_t op, uint64_t staging,
    uint64_t ops, uint64_t restart_each, uint64_t publish_each, bool is_dir)
{
	struct fsx x = {.time = IO_RIG_T};
	size_t k;

	x.state = env("FSX_SEED", 1) * 0x9e3779b97f4a7c15ULL + ops;
	if (is_dir)
		io_rig_begin_dir(&x.g);
	else
		io_rig_begin(&x.g);
	x.g.o.staging = staging;
	x.g.memory = max > MAX_FILE ? 24 * MIB : 1;
	io_rig_open(&x.g);
	for (k = 0; k < FILES; k++) {
		x.m[k] = (struct model){
		    .path = paths[k], .max = max, .op = op,
		    .p = calloc(1, max)};
		assert_non_null(x.m[k].p);
		open_file(&x, &x.m[k]);
	}
	for (x.op = 1; x.op <= ops; x.op++) {
		one_op(&x);
		if (x.op % restart_each == 0)
			op_restart(&x);
		if (publish_each > 0 && x.op % publish_each == 0)
			op_publish(&x);
	}
	verify_all(&x);
	printf("%llu reads (%llu failed), %llu writes, %llu restarts, "
	    "%llu snapshots; %llu chunks sent, %llu fetched\n",
	    (unsigned long long)x.reads, (unsigned long long)x.failed_reads,
	    (unsigned long long)x.writes, (unsigned long long)x.restarts,
	    (unsigned long long)x.publishes,
	    (unsigned long long)io_rig_puts(&x.g),
	    (unsigned long long)io_rig_gets(&x.g));
	for (k = 0; k < FILES; k++) {
		close_file(&x, &x.m[k]);
		free(x.m[k].p);
	}
	io_rig_end(&x.g);
}

/* All of it in the staging area. */
static const char *const local_paths[FILES] = {
	"a", "b", "c", "tree/d", "tree/e",
};

static void
test_staged_files(void **state)
{
	(void)state;
	run(local_paths, 100 * KIB, 3 * KIB, 64 * MIB,
	    env("FSX_OPS", OPS) * 18, 200000, 0, false);
}

static const char *const small_paths[FILES] = {
	"disk.img", "stream", "tree/a", "tree/b", "x.conf",
};

static void
test_small_files(void **state)
{
	(void)state;
	run(small_paths, MAX_FILE, MAX_OP, 384 * KIB, env("FSX_OPS", OPS),
	    5000, 0, false);
}

static const char *const published_paths[FILES] = {
	"disk.img", "stream", "tree/a", "tree/b", "tree/c",
};

static void
test_published_files(void **state)
{
	(void)state;
	run(published_paths, MAX_FILE, MAX_OP, 384 * KIB,
	    env("FSX_OPS", OPS) / 4, 1500, 700, false);
}

static void
test_large_files(void **state)
{
	(void)state;
	run(published_paths, 24 * MIB, 3 * MIB, 40 * MIB,
	    env("FSX_OPS", OPS) / 50, 90, 150, false);
}

static void
test_directory(void **state)
{
	(void)state;
	run(published_paths, MAX_FILE, MAX_OP, 384 * KIB,
	    env("FSX_OPS", OPS) / 20, 200, 150, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_staged_files),
		cmocka_unit_test(test_small_files),
		cmocka_unit_test(test_published_files),
		cmocka_unit_test(test_large_files),
		cmocka_unit_test(test_directory),
	};

	log_set_level(LOG_LVL_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
