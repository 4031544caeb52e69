/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * The local disk is full when the journal is to be told of an upload.  The
 * linker puts this wrapper before the call that sets room aside.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/num.h"
#include "draft/draft_priv.h"
#include "draft_world.h"

#define SIZE ((size_t)24 * MIB)

static atomic_int refuse;	/* so many transactions */
static atomic_int refused;

int __real_fallocate(int fd, int mode, off_t off, off_t len);
int __wrap_fallocate(int fd, int mode, off_t off, off_t len);

int
__wrap_fallocate(int fd, int mode, off_t off, off_t len)
{
	if (mode != FALLOC_FL_KEEP_SIZE)
		return __real_fallocate(fd, mode, off, len);
	/* Never more than one transaction at a time, so that each is asked
	 * for. */
	if (len >= 65536)
		goto full;
	if (atomic_load(&refuse) > 0) {
		atomic_fetch_sub(&refuse, 1);
		atomic_fetch_add(&refused, 1);
		goto full;
	}
	return __real_fallocate(fd, mode, off, len);
full:
	errno = ENOSPC;
	return -1;
}

/* What no chunker finds twice. */
static uint8_t *
noise(void)
{
	uint8_t *p = malloc(SIZE);
	uint64_t x = 88172645463325252u;

	assert_non_null(p);
	for (size_t i = 0; i < SIZE; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(p + i, &x, 8);
	}
	return p;
}

static int
upload(struct draft_world *w, const char *path)
{
	struct stat st = dw_stat(w, path);
	struct inode *i;
	int r;

	{
		LOCK(&w->d->lock);
		i = inode_find(w->d, st.st_ino);
	}
	assert_non_null(i);
	r = spill_inode(w->d, i);
	{
		LOCK(&w->d->lock);
		inode_unref(w->d, i);
	}
	inode_reap(w->d);
	return r;
}

static uint64_t
staged(struct draft_world *w)
{
	struct drafts_stats st;

	drafts_stats(w->ds, &st);
	return st.staged;
}

static void
assert_content(struct draft_world *w, const char *path, const uint8_t *want)
{
	uint8_t *p = malloc(SIZE);

	assert_non_null(p);
	assert_int_equal(dw_read(w, path, p, SIZE, 0), SIZE);
	assert_memory_equal(p, want, SIZE);
	free(p);
}

/* One chunk is not recorded and its neighbours are: what they give back of the
 * blocks that they share with it is not theirs alone. */
static void
an_upload_that_is_not_recorded(void **state)
{
	uint8_t *p = noise();
	struct draft_world w;
	deadline_t until;

	(void)state;
	draft_world_open(&w, draft_world_empty());
	assert_int_equal(dw_make(&w, "file", S_IFREG | 0644), 0);
	for (size_t off = 0; off < SIZE; off += MIB)
		assert_int_equal(dw_write(&w, "file", p + off, MIB, off), 0);
	atomic_store(&refuse, 1);
	(void)upload(&w, "file");
	assert_int_equal(atomic_load(&refused), 1);
	/* Until most has been given back. */
	until = deadline_in(20000);
	while (staged(&w) > SIZE * 2 / 3 && deadline_left(until) > 0)
		usleep(10000);
	assert_true(staged(&w) <= SIZE * 2 / 3);
	usleep(100000);
	assert_content(&w, "file", p);
	draft_world_again(&w);
	assert_content(&w, "file", p);
	/* And it is tried again. */
	assert_int_equal(upload(&w, "file"), 0);
	assert_content(&w, "file", p);
	draft_world_close(&w);
	free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_upload_that_is_not_recorded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
