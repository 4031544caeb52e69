/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "draft/staging.h"
#include "io_rig.h"

#include "../cm.h"

#define SLOT (4 * MIB)

static uint8_t *
noise(size_t len, uint64_t seed)
{
	uint8_t *p = malloc(len);

	assert_non_null(p);
	io_noise(p, len, seed);
	return p;
}

/* Until the staging area holds no more than that. */
static void
await_staged(struct io_rig *g, uint64_t max)
{
	unsigned k;

	for (k = 0; io_rig_staged(g) > max; k++) {
		if (k == 3000)
			fail_msg("%llu bytes are still staged",
			    (unsigned long long)io_rig_staged(g));
		usleep(10000);
	}
}

static int
set_size(struct io_rig *g, uint64_t ino, uint64_t size)
{
	const struct draft_change c = {.set = DRAFT_SET_SIZE, .size = size};
	struct stat st;

	return draft_setattr(g->d, ino, &c, 0, &st);
}

static int
read_error(struct draft_file *f, uint64_t off)
{
	uint8_t b;
	size_t n;

	return io_read_at(f, &b, off, 1, &n);
}

/* Each slot of an image is sent once, while it is being written; making a
 * snapshot of it sends no chunk and fetches none. */
static void
test_image_larger_than_staging(void **state)
{
	_cleanup_free_ uint8_t *p = noise(8 * SLOT, 1);
	struct draft_file *f;
	struct io_rig g;
	uint64_t ino;

	(void)state;
	io_rig_begin(&g);
	g.o.staging = 16 * MIB;
	io_rig_open(&g);
	f = io_open(&g, "disk.img", O_RDWR | O_CREAT, &ino);
	io_write_all(f, p, 0, 8 * SLOT);
	assert_int_equal(draft_flush(f), 0);
	io_expect(f, p, 0, 8 * SLOT);
	io_close(&g, f, ino);
	await_staged(&g, 8 * MIB);
	assert_true(io_rig_puts(&g) >= 6);
	assert_int_equal(draft_publish(g.d, IO_RIG_T), 0);
	assert_int_equal(io_rig_puts(&g), 8);
	await_staged(&g, 0);
	f = io_open(&g, "disk.img", O_RDONLY, &ino);
	io_expect(f, p, 0, 8 * SLOT);
	io_close(&g, f, ino);
	io_rig_end(&g);
}

/* Larger than the room there is; DRAFT_BIG=MiB for much larger. */
static void
test_big_image(void **state)
{
	const char *text = getenv("DRAFT_BIG");
	uint64_t size = 64, off, ino, n;
	struct draft_file *f;
	struct io_rig g;
	uint8_t *p;

	(void)state;
	if (text != NULL)
		assert_int_equal(num_u64(text, &size), 0);
	p = noise(SLOT, 17);
	size *= MIB;
	n = size / SLOT;
	io_rig_begin(&g);
	g.o.staging = 16 * MIB;
	io_rig_open(&g);
	f = io_open(&g, "disk.img", O_RDWR | O_CREAT, &ino);
	for (off = 0; off < size; off += SLOT) {
		put_le64(p, off);
		io_write_all(f, p, off, SLOT);
	}
	for (off = 0; off < size; off += SLOT) {
		put_le64(p, off);
		io_expect(f, p, off, SLOT);
	}
	io_close(&g, f, ino);
	assert_int_equal(draft_publish(g.d, IO_RIG_T), 0);
	assert_int_equal(io_rig_puts(&g), n);
	io_rig_end(&g);
	free(p);
}

/* What is written behind the writer goes without any need. */
static void
test_stream_goes_eagerly(void **state)
{
	const size_t len = 48 * MIB;
	_cleanup_free_ uint8_t *p = noise(len, 2);
	struct draft_file *f;
	unsigned before, k;
	struct io_rig g;
	uint64_t ino;

	(void)state;
	io_rig_begin(&g);
	io_rig_open(&g);
	f = io_open(&g, "dump", O_RDWR | O_CREAT, &ino);
	io_write_all(f, p, 0, len);
	for (k = 0; io_rig_puts(&g) < 4 && k < 2000; k++)
		usleep(10000);
	before = io_rig_puts(&g);
	assert_true(before >= 4);
	io_close(&g, f, ino);
	assert_int_equal(draft_publish(g.d, IO_RIG_T), 0);
	/* All natural: what was sent is in the index, and nothing twice. */
	assert_true(io_rig_puts(&g) > before);
	assert_int_equal(io_rig_gets(&g), 0);
	f = io_open(&g, "dump", O_RDONLY, &ino);
	io_expect(f, p, 0, len);
	io_close(&g, f, ino);
	io_rig_end(&g);
}

/* A large file in a tree, by chunks that the snapshot can use: what it sends
 * beside them is the end, and the metadata. */
static void
test_large_file_through_small_staging(void **state)
{
	const size_t len = 96 * MIB, step = 16 * MIB;
	_cleanup_free_ uint8_t *p = noise(step, 21);
	struct draft_file *f;
	struct io_rig g;
	uint64_t ino, off;
	unsigned puts;

	(void)state;
	io_rig_begin(&g);
	g.o.staging = 48 * MIB;
	io_rig_open(&g);
	f = io_open(&g, "tree/a", O_RDWR | O_CREAT, &ino);
	for (off = 0; off < len; off += step) {
		io_noise(p, step, 22 + off);
		io_write_all(f, p, off, step);
	}
	for (off = 0; off < len; off += step) {
		io_noise(p, step, 22 + off);
		io_expect(f, p, off, step);
	}
	io_close(&g, f, ino);
	puts = io_rig_puts(&g);
	g.st.gets = 0;
	assert_int_equal(draft_publish(g.d, IO_RIG_T), 0);
	printf("%u chunks before, %u in all; %u fetched\n", puts,
	    io_rig_puts(&g), io_rig_gets(&g));
	/* Chunks of 4 MiB on average, and the metadata. */
	assert_in_range(io_rig_puts(&g), 12, 48);
	assert_int_equal(io_rig_gets(&g), 0);
	io_rig_end(&g);
}

/* Small files of a tree, larger together than the staging area, go several in
 * a chunk, which the snapshot uses as they are. */
static void
test_small_files_are_packed(void **state)
{
	_cleanup_free_ uint8_t *p = noise(12000 * 1100, 3);
	struct draft_file *f;
	struct io_rig g;
	char name[64];
	uint64_t ino;
	unsigned k, puts;

	(void)state;
	io_rig_begin(&g);
	g.o.staging = 12 * MIB;
	io_rig_open(&g);
	for (k = 0; k < 1100; k++) {
		snprintf(name, sizeof(name), "tree/%04u", k);
		f = io_open(&g, name, O_RDWR | O_CREAT, &ino);
		io_write_all(f, p + 12000 * k, 0, 12000);
		io_close(&g, f, ino);
	}
	puts = io_rig_puts(&g);
	/* 12 KiB and a staging file's 4 each: 17 MiB, of which 12 fit. */
	assert_true(puts >= 1 && puts <= 6);
	for (k = 0; k < 1100; k += 37) {
		snprintf(name, sizeof(name), "tree/%04u", k);
		f = io_open(&g, name, O_RDONLY, &ino);
		io_expect(f, p + 12000 * k, 0, 12000);
		io_close(&g, f, ino);
	}
	assert_int_equal(draft_publish(g.d, IO_RIG_T), 0);
	/* 13 MiB of content in chunks of 4 and more. */
	assert_true(io_rig_puts(&g) <= 12);
	await_staged(&g, 0);
	for (k = 0; k < 1100; k += 37) {
		snprintf(name, sizeof(name), "tree/%04u", k);
		f = io_open(&g, name, O_RDONLY, &ino);
		io_expect(f, p + 12000 * k, 0, 12000);
		io_close(&g, f, ino);
	}
	io_rig_end(&g);
}

static void
test_fsync_into_store(void **state)
{
	_cleanup_free_ uint8_t *p = noise(300000, 4);
	struct draft_file *f;
	struct io_rig g;
	uint64_t ino;

	(void)state;
	io_rig_begin(&g);
	g.o.fsync_store = true;
	io_rig_open(&g);
	f = io_open(&g, "tree/a", O_RDWR | O_CREAT, &ino);
	io_write_all(f, p, 0, 300000);
	assert_int_equal(io_rig_puts(&g), 0);
	assert_int_equal(draft_fsync(g.d, ino), 0);
	assert_int_equal(io_rig_puts(&g), 1);
	assert_int_equal(draft_fsync(g.d, ino), 0);
	assert_int_equal(io_rig_puts(&g), 1);
	io_expect(f, p, 0, 300000);
	/* The store is away: so is the promise. */
	io_rig_fail(&g, -EIO, 0);
	io_write_all(f, p, 1000, 10);
	assert_true(draft_fsync(g.d, ino) < 0);
	io_rig_fail(&g, 0, 0);
	assert_int_equal(draft_fsync(g.d, draft_root(g.d)), 0);
	io_close(&g, f, ino);
	io_rig_end(&g);
}

static void
add_uploaded(void *arg, const struct draft_state *s)
{
	*(uint64_t *)arg += s->uploaded;
}

static uint64_t
uploaded(struct io_rig *g)
{
	uint64_t n = 0;

	drafts_each(g->ds, add_uploaded, &n);
	return n;
}

static void
fail_syncs(struct io_rig *g, int err)
{
	LOCK(&g->st.lock);
	g->st.sync_error = err;
}

/* A chunk that the host may still lose is none that the bytes are in. */
static void
test_chunks_last_before_they_are_named(void **state)
{
	_cleanup_free_ uint8_t *p = noise(300000, 19);
	struct draft_file *f;
	struct io_rig g;
	uint64_t ino;

	(void)state;
	io_rig_begin(&g);
	g.o.fsync_store = true;
	io_rig_open(&g);
	fail_syncs(&g, -EIO);
	f = io_open(&g, "tree/a", O_RDWR | O_CREAT, &ino);
	io_write_all(f, p, 0, 300000);
	assert_int_equal(draft_fsync(g.d, ino), -EIO);
	assert_int_equal(io_rig_puts(&g), 1);
	assert_int_equal(uploaded(&g), 0);
	assert_true(io_rig_staged(&g) > 300000);
	/* As after a crash that took the chunk. */
	io_reopen(&g, &f, &ino, "tree/a");
	io_rig_drop_chunks(&g);
	io_reopen(&g, &f, &ino, "tree/a");
	io_expect(f, p, 0, 300000);
	fail_syncs(&g, 0);
	assert_int_equal(draft_fsync(g.d, ino), 0);
	assert_int_equal(uploaded(&g), 300000);
	assert_int_equal(g.st.unsynced, 0);
	io_close(&g, f, ino);
	io_rig_end(&g);
}

/* The store stays away: writers are told, and what was not taken is known to
 * be lost until it is written again. */
static void
test_full_and_store_away(void **state)
{
	_cleanup_free_ uint8_t *p = noise(MIB, 5);
	struct draft_file *f;
	uint64_t ino, off = 0;
	struct io_rig g;
	int r = 0;

	(void)state;
	io_rig_begin(&g);
	g.o.staging = 512 * KIB;
	g.o.timeout_ms = 300;
	io_rig_open(&g);
	io_rig_fail(&g, -EIO, 0);
	f = io_open(&g, "tree/a", O_RDWR | O_CREAT, &ino);
	while (off < MIB && (r = draft_write(f, p + off, 64 * KIB, off,
	    0)) == 0)
		off += 64 * KIB;
	assert_int_equal(r, -ENOSPC);
	assert_true(off >= 256 * KIB && off < 512 * KIB);
	/* Nobody waits who must not. */
	assert_int_equal(draft_write(f, p, 128 * KIB, 2 * MIB, DRAFT_NOWAIT),
	    -EAGAIN);
	assert_int_equal(draft_flush(f), -ENOSPC);
	assert_int_equal(draft_flush(f), -EIO);
	assert_int_equal(draft_fsync(g.d, ino), -EIO);
	assert_int_equal(read_error(f, off), -EIO);
	io_expect(f, p, 0, off);
	assert_int_equal(draft_publish(g.d, IO_RIG_T), -EIO);
	/* It is remembered. */
	io_reopen(&g, &f, &ino, "tree/a");
	assert_int_equal(read_error(f, off + 5), -EIO);
	assert_int_equal(draft_flush(f), -EIO);
	/* The store is back: writing waits for room, and all is well. */
	io_rig_fail(&g, 0, 0);
	for (; off < MIB; off += 64 * KIB) {
		do
			r = draft_write(f, p + off, 64 * KIB, off, 0);
		while (r == -ENOSPC);
		assert_int_equal(r, 0);
	}
	assert_int_equal(draft_flush(f), 0);
	assert_int_equal(draft_fsync(g.d, ino), 0);
	io_expect(f, p, 0, MIB);
	io_close(&g, f, ino);
	assert_int_equal(draft_publish(g.d, IO_RIG_T), 0);
	io_rig_end(&g);
}

struct task {
	struct io_rig *g;
	struct draft_file *f;
	const uint8_t *p;
	size_t len;
	int r;
	bool done;		/* atomic */
};

static void *
run_publish(void *arg)
{
	struct task *t = arg;

	t->r = draft_publish(t->g->d, IO_RIG_T);
	return NULL;
}

static void *
run_write(void *arg)
{
	struct task *t = arg;

	t->r = draft_write(t->f, t->p, t->len, 0, 0);
	__atomic_store_n(&t->done, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static void
note_publishing(void *arg, const struct draft_state *s)
{
	*(bool *)arg |= s->publishing;
}

static void
await_publishing(struct io_rig *g)
{
	bool is = false;

	while (!is) {
		usleep(1000);
		drafts_each(g->ds, note_publishing, &is);
	}
}

/* Who finds no room while a snapshot is made of all that is staged waits for
 * that, however long it takes. */
static void
test_snapshot_holds_up_who_needs_room(void **state)
{
	_cleanup_free_ uint8_t *p = noise(900 * KIB, 20);
	struct draft_file *f[2];
	struct task publisher, writer;
	pthread_t t[2];
	uint64_t ino[2];
	struct io_rig g;

	(void)state;
	io_rig_begin(&g);
	g.o.staging = MIB;
	g.o.timeout_ms = 100;
	io_rig_open(&g);
	io_rig_hold(&g, true);
	f[0] = io_open(&g, "tree/a", O_RDWR | O_CREAT, &ino[0]);
	f[1] = io_open(&g, "tree/b", O_RDWR | O_CREAT, &ino[1]);
	io_write_all(f[0], p, 0, 500 * KIB);
	publisher = (struct task){.g = &g};
	writer = (struct task){.g = &g, .f = f[1], .p = p, .len = 900 * KIB};
	assert_int_equal(pthread_create(&t[0], NULL, run_publish, &publisher),
	    0);
	await_publishing(&g);
	assert_int_equal(pthread_create(&t[1], NULL, run_write, &writer), 0);
	usleep(500000);
	assert_false(__atomic_load_n(&writer.done, __ATOMIC_SEQ_CST));
	io_rig_hold(&g, false);
	assert_int_equal(pthread_join(t[0], NULL), 0);
	assert_int_equal(pthread_join(t[1], NULL), 0);
	assert_int_equal(publisher.r, 0);
	assert_int_equal(writer.r, 0);
	io_expect(f[1], p, 0, 900 * KIB);
	io_close(&g, f[0], ino[0]);
	io_close(&g, f[1], ino[1]);
	io_rig_end(&g);
}

/* Lost bytes are healed by removing them, too. */
static void
test_truncate_heals(void **state)
{
	_cleanup_free_ uint8_t *p = noise(MIB, 6);
	struct draft_file *f;
	struct io_rig g;
	uint64_t ino;

	(void)state;
	io_rig_begin(&g);
	g.o.staging = 256 * KIB;
	g.o.timeout_ms = 50;
	io_rig_open(&g);
	io_rig_fail(&g, -EIO, 0);
	f = io_open(&g, "tree/a", O_RDWR | O_CREAT, &ino);
	io_write_all(f, p, 0, 100000);
	assert_int_equal(draft_write(f, p, 200 * KIB, 100000, 0), -ENOSPC);
	assert_int_equal(set_size(&g, ino, 100000), 0);
	assert_int_equal(draft_flush(f), 0);
	assert_int_equal(draft_write(f, p, 240 * KIB, 50000, 0), -ENOSPC);
	assert_int_equal(draft_fallocate(f,
	    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 50000, 240 * KIB, 0),
	    0);
	assert_int_equal(draft_flush(f), 0);
	io_rig_fail(&g, 0, 0);
	io_expect(f, p, 0, 50000);
	io_close(&g, f, ino);
	io_rig_end(&g);
}

/* Room is given back by deleting, and by writing less. */
static void
test_room_comes_back(void **state)
{
	_cleanup_free_ uint8_t *p = noise(MIB, 7);
	struct draft_file *f;
	struct io_rig g;
	uint64_t ino;

	(void)state;
	io_rig_begin(&g);
	io_rig_open(&g);
	f = io_open(&g, "tree/a", O_RDWR | O_CREAT, &ino);
	io_write_all(f, p, 0, MIB);
	io_write_all(f, p, 0, MIB);
	assert_int_equal(io_rig_staged(&g), MIB + STAGING_FILE_COST);
	assert_int_equal(set_size(&g, ino, 300000), 0);
	/* In whole blocks: up to 303104; of 0 to 4096, and from 98304 on. */
	await_staged(&g, 303104 + STAGING_FILE_COST);
	assert_int_equal(draft_fallocate(f,
	    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1000, 99000, 0), 0);
	await_staged(&g, 208896 + STAGING_FILE_COST);
	assert_int_equal(io_rig_staged(&g), 208896 + STAGING_FILE_COST);
	/* Without a name it stays as long as it is open. */
	io_unlink(&g, "tree/a");
	io_expect(f, p, 0, 1000);
	io_expect(f, p + 100000, 100000, 200000);
	io_write_all(f, p, 500000, 5000);
	io_expect(f, p, 500000, 5000);
	assert_int_equal(draft_fsync(g.d, ino), 0);
	io_close(&g, f, ino);
	await_staged(&g, 0);
	io_rig_end(&g);
}

/* The staging file of an inode, as it is named on the disk. */
static void
staging_path(struct io_rig *g, uint64_t ino, char *out, size_t len)
{
	char cmd[256];
	FILE *fp;

	snprintf(cmd, sizeof(cmd), "find %s/state -path '*/data/*' -type f",
	    g->dir);
	fp = popen(cmd, "r");
	assert_non_null(fp);
	assert_non_null(fgets(out, (int)len, fp));
	out[strcspn(out, "\n")] = '\0';
	pclose(fp);
	(void)ino;
}

static void
test_staging_file_gone(void **state)
{
	_cleanup_free_ uint8_t *p = noise(200000, 8);
	struct draft_file *f;
	char path[512];
	struct io_rig g;
	uint64_t ino;

	(void)state;
	io_rig_begin(&g);
	io_rig_open(&g);
	f = io_open(&g, "tree/a", O_RDWR | O_CREAT, &ino);
	io_write_all(f, p, 0, 200000);
	io_close(&g, f, ino);
	io_rig_close(&g);
	staging_path(&g, ino, path, sizeof(path));
	assert_int_equal(truncate(path, 150000), 0);
	io_rig_open(&g);
	f = io_open(&g, "tree/a", O_RDWR, &ino);
	io_expect(f, p, 0, 150000);
	assert_int_equal(read_error(f, 150000), -EIO);
	/* Writing behind it does not make zeros of it. */
	io_write_all(f, p, 190000, 10000);
	io_reopen(&g, &f, &ino, "tree/a");
	assert_int_equal(read_error(f, 150000), -EIO);
	io_expect(f, p, 190000, 10000);
	io_write_all(f, p + 150000, 150000, 40000);
	assert_int_equal(draft_flush(f), 0);
	io_close(&g, f, ino);
	io_rig_close(&g);
	staging_path(&g, ino, path, sizeof(path));
	assert_int_equal(unlink(path), 0);
	io_rig_open(&g);
	f = io_open(&g, "tree/a", O_RDWR, &ino);
	assert_int_equal(read_error(f, 0), -EIO);
	assert_int_equal(draft_flush(f), -EIO);
	assert_int_equal(io_rig_staged(&g), 0);
	io_close(&g, f, ino);
	assert_int_equal(draft_publish(g.d, IO_RIG_T), -EIO);
	io_rig_end(&g);
}

/* Chunks that only the draft knew of. */
static void
test_chunks_gone(void **state)
{
	_cleanup_free_ uint8_t *p = noise(200000, 9);
	struct draft_file *f;
	struct io_rig g;
	uint64_t ino;

	(void)state;
	io_rig_begin(&g);
	g.o.fsync_store = true;
	io_rig_open(&g);
	f = io_open(&g, "tree/a", O_RDWR | O_CREAT, &ino);
	io_write_all(f, p, 0, 200000);
	assert_int_equal(draft_fsync(g.d, ino), 0);
	await_staged(&g, STAGING_FILE_COST);
	io_reopen(&g, &f, &ino, "tree/a");
	io_expect(f, p, 0, 200000);
	assert_int_equal(io_rig_staged(&g), 0);
	io_close(&g, f, ino);
	io_rig_close(&g);
	io_rig_drop_chunks(&g);
	io_rig_open(&g);
	f = io_open(&g, "tree/a", O_RDWR, &ino);
	assert_int_equal(read_error(f, 0), -EIO);
	assert_int_equal(draft_flush(f), -EIO);
	io_close(&g, f, ino);
	io_rig_end(&g);
}

/* Overwriting a part of what is in the store needs nothing of it. */
static void
test_overwriting_fetches_nothing(void **state)
{
	_cleanup_free_ uint8_t *p = noise(2 * SLOT, 10);
	struct draft_file *f;
	struct io_rig g;
	uint64_t ino;

	(void)state;
	io_rig_begin(&g);
	io_rig_open(&g);
	f = io_open(&g, "disk.img", O_RDWR | O_CREAT, &ino);
	io_write_all(f, p, 0, 2 * SLOT);
	io_close(&g, f, ino);
	assert_int_equal(draft_publish(g.d, IO_RIG_T), 0);
	f = io_open(&g, "disk.img", O_WRONLY, &ino);
	io_noise(p + 12345, 777, 11);
	io_write_all(f, p + 12345, 12345, 777);
	assert_int_equal(io_rig_gets(&g), 0);
	io_close(&g, f, ino);
	io_rig_fail(&g, 0, -EIO);
	f = io_open(&g, "disk.img", O_RDWR, &ino);
	io_expect(f, p + 12345, 12345, 777);
	assert_int_equal(read_error(f, 12344), -EIO);
	io_rig_fail(&g, 0, 0);
	io_expect(f, p, 0, 2 * SLOT);
	io_close(&g, f, ino);
	assert_int_equal(draft_publish(g.d, IO_RIG_T + 1), 0);
	/* One slot more. */
	assert_int_equal(io_rig_puts(&g), 3);
	f = io_open(&g, "disk.img", O_RDWR, &ino);
	io_expect(f, p, 0, 2 * SLOT);
	io_close(&g, f, ino);
	io_rig_end(&g);
}

/* An open file sees what it wrote over a snapshot that is made meanwhile. */
static void
test_open_over_publishing(void **state)
{
	_cleanup_free_ uint8_t *p = noise(100000, 12);
	struct draft_file *f, *w;
	struct io_rig g;
	uint64_t ino, ino2;

	(void)state;
	io_rig_begin(&g);
	io_rig_open(&g);
	w = io_open(&g, "tree/a", O_RDWR | O_CREAT, &ino);
	f = io_open(&g, "tree/a", O_RDONLY, &ino2);
	assert_int_equal(ino, ino2);
	io_write_all(w, p, 0, 100000);
	io_expect(f, p, 0, 100000);
	assert_int_equal(draft_publish(g.d, IO_RIG_T), 0);
	io_expect(f, p, 0, 100000);
	io_noise(p + 500, 1000, 13);
	io_write_all(w, p + 500, 500, 1000);
	io_expect(f, p, 0, 100000);
	assert_int_equal(draft_publish(g.d, IO_RIG_T + 1), 0);
	io_expect(f, p, 0, 100000);
	await_staged(&g, 0);
	io_noise(p, 100, 14);
	io_write_all(w, p, 0, 100);
	io_expect(f, p, 0, 100000);
	io_close(&g, f, ino);
	io_close(&g, w, ino);
	io_rig_end(&g);
}

/* Uploads under way when a snapshot is made are waited for, and what is written
 * while one is under way is not lost by it. */
static void
test_write_during_upload(void **state)
{
	_cleanup_free_ uint8_t *p = noise(3 * SLOT, 15);
	struct draft_file *f;
	struct io_rig g;
	uint64_t ino;

	(void)state;
	io_rig_begin(&g);
	g.o.staging = 16 * MIB;
	io_rig_open(&g);
	io_rig_hold(&g, true);
	f = io_open(&g, "disk.img", O_RDWR | O_CREAT, &ino);
	io_write_all(f, p, 0, 3 * SLOT);
	usleep(300000);
	/* The first slot is on its way. */
	io_noise(p + 100, 10000, 16);
	io_write_all(f, p + 100, 100, 10000);
	assert_int_equal(set_size(&g, ino, 2 * SLOT + 5000), 0);
	io_rig_hold(&g, false);
	usleep(100000);
	io_expect(f, p, 0, 2 * SLOT + 5000);
	assert_int_equal(draft_publish(g.d, IO_RIG_T), 0);
	io_expect(f, p, 0, 2 * SLOT + 5000);
	io_reopen(&g, &f, &ino, "disk.img");
	io_expect(f, p, 0, 2 * SLOT + 5000);
	io_close(&g, f, ino);
	io_rig_end(&g);
}

/* Whether another process could begin to collect garbage. */
static bool
may_collect(struct io_rig *g)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[192];
	int status, fd;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/.lock", g->base);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		fd = open(path, O_RDWR | O_CLOEXEC);
		_exit(fd >= 0 && fcntl(fd, F_SETLK, &fl) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void
await_collect(struct io_rig *g)
{
	unsigned k;

	for (k = 0; !may_collect(g); k++) {
		assert_true(k < 500);
		usleep(10000);
	}
}

/* As long as the draft has chunks of its own, a server beside us may not
 * collect garbage; over a restart too. */
static void
test_directory_is_claimed(void **state)
{
	_cleanup_free_ uint8_t *p = noise(200000, 31);
	struct draft_file *f;
	struct io_rig g;
	uint64_t ino;

	(void)state;
	io_rig_begin_dir(&g);
	g.o.fsync_store = true;
	io_rig_open(&g);
	assert_true(may_collect(&g));
	f = io_open(&g, "tree/a", O_RDWR | O_CREAT, &ino);
	io_write_all(f, p, 0, 200000);
	assert_true(may_collect(&g));
	assert_int_equal(draft_fsync(g.d, ino), 0);
	assert_false(may_collect(&g));
	io_reopen(&g, &f, &ino, "tree/a");
	usleep(50000);
	assert_false(may_collect(&g));
	io_expect(f, p, 0, 200000);
	io_close(&g, f, ino);
	/* What is gone when a mount begins is noticed. */
	io_rig_close(&g);
	assert_true(may_collect(&g));
	io_rig_drop_chunks(&g);
	io_rig_open(&g);
	f = io_open(&g, "tree/a", O_RDWR, &ino);
	assert_int_equal(read_error(f, 100), -EIO);
	io_write_all(f, p, 0, 200000);
	assert_int_equal(draft_fsync(g.d, ino), 0);
	assert_false(may_collect(&g));
	assert_int_equal(draft_publish(g.d, IO_RIG_T), 0);
	await_collect(&g);
	io_expect(f, p, 0, 200000);
	io_write_all(f, p, 100, 1000);
	assert_int_equal(draft_fsync(g.d, ino), 0);
	assert_false(may_collect(&g));
	/* Whoever needs no chunk keeps nobody out. */
	assert_int_equal(set_size(&g, ino, 0), 0);
	await_collect(&g);
	io_close(&g, f, ino);
	io_rig_end(&g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_image_larger_than_staging),
		cmocka_unit_test(test_big_image),
		cmocka_unit_test(test_stream_goes_eagerly),
		cmocka_unit_test(test_large_file_through_small_staging),
		cmocka_unit_test(test_small_files_are_packed),
		cmocka_unit_test(test_fsync_into_store),
		cmocka_unit_test(test_chunks_last_before_they_are_named),
		cmocka_unit_test(test_full_and_store_away),
		cmocka_unit_test(test_snapshot_holds_up_who_needs_room),
		cmocka_unit_test(test_truncate_heals),
		cmocka_unit_test(test_room_comes_back),
		cmocka_unit_test(test_staging_file_gone),
		cmocka_unit_test(test_chunks_gone),
		cmocka_unit_test(test_overwriting_fetches_nothing),
		cmocka_unit_test(test_open_over_publishing),
		cmocka_unit_test(test_write_during_upload),
		cmocka_unit_test(test_directory_is_claimed),
	};

	log_set_level(getenv("VERBOSE") != NULL ? LOG_LVL_DEBUG : LOG_LVL_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
