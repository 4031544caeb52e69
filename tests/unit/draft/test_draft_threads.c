/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "io_rig.h"

#include "../cm.h"

/*
 * Several threads write blocks of the same files, each its own ones, and read
 * them back, while uploads, publishing, truncating and closing go on.
 */

#define THREADS 4
#define FILES 3
#define BLOCKS 60		/* of each thread in each file */
#define BLOCK 3000		/* shares pages with its neighbours */
#define ROUNDS 1500

static const char *const paths[FILES] = {"disk.img", "stream", "tree/a"};

struct shared {
	struct io_rig g;
	unsigned going;		/* threads; atomic */
};

struct worker {
	pthread_t thread;
	struct shared *sh;
	unsigned number;
	uint64_t state;
	uint32_t version[FILES][BLOCKS];
	char failed[128];	/* what went wrong; threads cannot fail_msg */
};

static uint64_t
rnd(struct worker *w, uint64_t n)
{
	w->state = w->state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (w->state >> 33) % n;
}

static void
fill(const struct worker *w, unsigned file, unsigned block, uint8_t *p)
{
	uint32_t v = w->version[file][block];

	if (v == 0)
		memset(p, 0, BLOCK);
	else
		io_noise(p, BLOCK, (uint64_t)v << 20 | block << 8 |
		    w->number << 4 | file);
}

/* Blocks of the threads alternate. */
static uint64_t
where(const struct worker *w, unsigned block)
{
	return ((uint64_t)block * THREADS + w->number) * BLOCK;
}

static void
check_block(struct worker *w, struct draft_file *f, unsigned file,
    unsigned block)
{
	uint8_t want[BLOCK], have[BLOCK];
	size_t n;
	int r;

	memset(have, 0, sizeof(have));
	fill(w, file, block, want);
	r = io_read_at(f, have, where(w, block), BLOCK, &n);
	if (r < 0)
		snprintf(w->failed, sizeof(w->failed), "read: %s",
		    strerror(-r));
	else if (memcmp(want, have, BLOCK) != 0)
		snprintf(w->failed, sizeof(w->failed),
		    "file %u block %u is wrong", file, block);
}

static void
write_block(struct worker *w, struct draft_file *f, unsigned file,
    unsigned block)
{
	uint8_t p[BLOCK];
	int r;

	w->version[file][block]++;
	fill(w, file, block, p);
	r = draft_write(f, p, BLOCK, where(w, block), 0);
	if (r < 0)
		snprintf(w->failed, sizeof(w->failed), "write: %s",
		    strerror(-r));
}

static void *
work(void *arg)
{
	struct worker *w = arg;
	struct draft_file *f[FILES];
	uint64_t ino[FILES];
	unsigned k, n, block;

	for (n = 0; n < FILES; n++)
		f[n] = io_open(&w->sh->g, paths[n], O_RDWR, &ino[n]);
	for (k = 0; k < ROUNDS && w->failed[0] == '\0'; k++) {
		n = (unsigned)rnd(w, FILES);
		block = (unsigned)rnd(w, BLOCKS);
		if (rnd(w, 2) == 0)
			write_block(w, f[n], n, block);
		check_block(w, f[n], n, block);
		if (rnd(w, 200) == 0)
			(void)draft_fsync(w->sh->g.d, ino[n]);
		if (rnd(w, 50) == 0) {
			io_close(&w->sh->g, f[n], ino[n]);
			f[n] = io_open(&w->sh->g, paths[n], O_RDWR, &ino[n]);
		}
	}
	for (n = 0; n < FILES; n++)
		io_close(&w->sh->g, f[n], ino[n]);
	__atomic_sub_fetch(&w->sh->going, 1, __ATOMIC_ACQ_REL);
	return NULL;
}

static void
check_all(struct shared *sh, struct worker *w)
{
	struct draft_file *f;
	unsigned t, n, block;
	uint64_t ino;

	for (n = 0; n < FILES; n++) {
		f = io_open(&sh->g, paths[n], O_RDONLY, &ino);
		for (t = 0; t < THREADS; t++) {
			for (block = 0; block < BLOCKS; block++) {
				check_block(&w[t], f, n, block);
				if (w[t].failed[0] != '\0')
					fail_msg("%s", w[t].failed);
			}
		}
		io_close(&sh->g, f, ino);
	}
}

static void
test_threads(void **state)
{
	struct worker w[THREADS];
	struct shared sh = {.going = THREADS};
	int64_t time = IO_RIG_T;
	struct draft_file *f;
	uint64_t ino;
	unsigned k;
	int r;

	(void)state;
	io_rig_begin(&sh.g);
	sh.g.o.staging = 400 * KIB;
	sh.g.memory = MIB;
	io_rig_open(&sh.g);
	for (k = 0; k < FILES; k++) {
		f = io_open(&sh.g, paths[k], O_RDWR | O_CREAT, &ino);
		io_write_all(f, "\0", 0, 1);
		io_close(&sh.g, f, ino);
	}
	memset(w, 0, sizeof(w));
	for (k = 0; k < THREADS; k++) {
		w[k].sh = &sh;
		w[k].number = k;
		w[k].state = k + 1;
		assert_int_equal(pthread_create(&w[k].thread, NULL, work,
		    &w[k]), 0);
	}
	while (__atomic_load_n(&sh.going, __ATOMIC_ACQUIRE) > 0) {
		usleep(200000);
		r = draft_publish(sh.g.d, time++);
		if (r < 0 && r != -ENODATA)
			fail_msg("publish: %s", strerror(-r));
	}
	for (k = 0; k < THREADS; k++) {
		pthread_join(w[k].thread, NULL);
		if (w[k].failed[0] != '\0')
			fail_msg("%s", w[k].failed);
	}
	check_all(&sh, w);
	io_rig_close(&sh.g);
	io_rig_open(&sh.g);
	check_all(&sh, w);
	io_rig_end(&sh.g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads),
	};

	log_set_level(LOG_LVL_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
