/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../vfs/world.h"
#include "base/buf.h"
#include "base/lock.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/draft_priv.h"
#include "draft_world.h"

/*
 * Many change and read one draft while it is published again and again, and
 * written anew.  Nothing is lost, nobody waits for ever, nothing is left over.
 */
#define THREADS 4
#define ROUNDS 150

struct worker {
	struct draft_world *w;
	pthread_t thread;
	unsigned id, seed;
	unsigned made, gone;	/* names of its own */
};

static atomic_uint running;

static unsigned
rnd(struct worker *k, unsigned n)
{
	k->seed = k->seed * 1103515245u + 12345u;
	return (k->seed >> 16) % n;
}

static void
shared_op(struct worker *k)
{
	static const char *const paths[] = {"root/x", "root/d0/x", "root/d1/x",
	    "root/d0/a0", "root/d1/a0", "root/y", "root/d0/a0/f1",
	    "root/d1/a0/f1", "root/hard0", "root/d1"};
	const char *a = paths[rnd(k, ARRAY_SIZE(paths))];
	const char *b = paths[rnd(k, ARRAY_SIZE(paths))];
	struct stat st;

	switch (rnd(k, 9)) {
	case 0:
		(void)dw_make(k->w, a, S_IFREG | 0644);
		break;
	case 1:
		(void)dw_make(k->w, a, S_IFDIR | 0755);
		break;
	case 2:
		(void)dw_unlink(k->w, a);
		break;
	case 3:
		(void)dw_rename(k->w, a, b, rnd(k, 3) == 0 ? RENAME_EXCHANGE :
		    0);
		break;
	case 4:
		(void)dw_link(k->w, a, b);
		break;
	case 5:
		(void)dw_write(k->w, a, "abc", 3, rnd(k, 100));
		break;
	case 6:
		(void)dw_set(k->w, a, "user.x", "y");
		break;
	case 7:
		(void)dw_rmdir(k->w, a);
		break;
	default:
		(void)dw_find(k->w, a, &st);
		free(dw_list(k->w, "root"));
		break;
	}
}

/* Names that nobody else touches: each call does what it says. */
static void
own_op(struct worker *k)
{
	char path[64], other[64];
	struct stat st;

	snprintf(path, sizeof(path), "own/%u-%u", k->id, k->made);
	snprintf(other, sizeof(other), "own/%u-%u", k->id, k->gone);
	assert_int_equal(dw_make(k->w, path, S_IFREG | 0644), 0);
	assert_int_equal(dw_write(k->w, path, path, strlen(path), 0), 0);
	k->made++;
	if (rnd(k, 2) == 0) {
		assert_int_equal(dw_unlink(k->w, other), 0);
		assert_int_equal(dw_find(k->w, other, &st), -ENOENT);
		k->gone++;
	}
}

static void *
work(void *arg)
{
	struct worker *k = arg;
	unsigned i;

	for (i = 0; i < ROUNDS; i++) {
		shared_op(k);
		own_op(k);
	}
	atomic_fetch_sub(&running, 1);
	return NULL;
}

static void
check_own(struct draft_world *w, const struct worker *k)
{
	char path[64], b[64];
	unsigned n;

	for (n = k->gone; n < k->made; n++) {
		snprintf(path, sizeof(path), "own/%u-%u", k->id, n);
		assert_int_equal(dw_read(w, path, b, sizeof(b), 0),
		    strlen(path));
		assert_memory_equal(b, path, strlen(path));
	}
}

static void
test_threads(void **state)
{
	struct worker k[THREADS];
	struct draft_world w;
	int64_t time = T2;
	unsigned i, made = 0;

	(void)state;
	draft_world_open(&w, draft_world_tree(2));
	assert_int_equal(dw_make(&w, "own", S_IFDIR | 0755), 0);
	atomic_store(&running, THREADS);
	for (i = 0; i < THREADS; i++) {
		k[i] = (struct worker){.w = &w, .seed = i + 1, .id = i};
		assert_int_equal(pthread_create(&k[i].thread, NULL, work,
		    &k[i]), 0);
	}
	while (atomic_load(&running) > 0) {
		assert_int_equal(draft_publish(w.d, time++), 0);
		made++;
		{
			LOCK(&w.d->lock);
			w.d->compact_at = 0;
		}
		(void)draft_compact(w.d);
	}
	for (i = 0; i < THREADS; i++)
		pthread_join(k[i].thread, NULL);
	assert_true(made > 1);
	for (i = 0; i < THREADS; i++)
		check_own(&w, &k[i]);
	draft_world_again(&w);
	for (i = 0; i < THREADS; i++)
		check_own(&w, &k[i]);
	assert_int_equal(draft_publish(w.d, time), 0);
	for (i = 0; i < THREADS; i++)
		check_own(&w, &k[i]);
	assert_int_equal(w.d->staged, 0);
	/* Nobody holds anything. */
	assert_ptr_equal(RB_MIN(inodes_by_ino, &w.d->inos), w.d->root);
	assert_null(RB_NEXT(inodes_by_ino, &w.d->inos, w.d->root));
	draft_world_close(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
