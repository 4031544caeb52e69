/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_REPO_SLOW_STORE_H
#define UNIT_REPO_SLOW_STORE_H

#include <pthread.h>
#include <stdbool.h>

#include "store/store.h"

/*
 * A filter that counts, holds back, damages and refuses on order, as a network
 * does.  Fields may be set at any time under the lock.
 */
struct slow_store {
	struct store s;
	pthread_mutex_t lock;
	pthread_cond_t change;
	/* Orders: */
	bool local;		/* can answer without a network */
	bool hold;		/* gets wait until this ends, or to the deadline */
	const char *pass;	/* NULL, or gets of these keys wait no longer */
	bool hang_list;
	int error;		/* of the next error_count gets and lists */
	unsigned error_count;
	int fresh_error;	/* of gets that pass caches */
	unsigned flip_count;	/* gets that get a flipped byte */
	bool flip_fresh;	/* also those that pass caches */
	const char *only;	/* NULL, or gets of other keys are not touched */
	bool hold_put;		/* puts wait until this ends */
	int put_error;		/* of the next put_error_count puts */
	unsigned put_error_count;
	unsigned put_percent;	/* of puts that fail with -EIO by chance, half
				 * of them when it is done already */
	bool touchable;		/* keeps what is touched, as a directory */
	bool down;
	/* Counts; gets that ended in -EAGAIN for STORE_LOCAL are only looks. */
	unsigned gets, looks, fresh, lists, stats, good, bad;
	unsigned now, most;	/* gets at the same time */
	unsigned puts, put_done, touches;
	unsigned put_now, put_most;
	uint64_t put_bytes;	/* of those that were done */
	unsigned lazy;		/* of puts */
	uint32_t chance;	/* private */
	char log[64][80];	/* the keys of the first gets, cut short */
};

/* Over a store in memory. */
struct slow_store *slow_store_new(void);
void slow_store_set(struct slow_store *s, bool *field, bool value);
void slow_store_fail(struct slow_store *s, int error, unsigned count);
unsigned slow_store_count(struct slow_store *s, const unsigned *field);
/* Waits until *field is at least n; fails the test after 10 s. */
void slow_store_await(struct slow_store *s, const unsigned *field, unsigned n);
void slow_store_put(struct slow_store *s, const char *key, const void *p,
    size_t len);

#endif
