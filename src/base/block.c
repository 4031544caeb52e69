/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/block.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/lock.h"

/* Beyond a power of two, for what comes with the bytes: a chunk of an image is
 * 4 MiB, and must not take 8. */
#define EXTRA ((size_t)4096)
#define TRIM_MIN ((size_t)64 * 1024)	/* is worth a call */
#define ROOM_MAX (SIZE_MAX / 4)
#define KEPT_N (BLOCK_KEPT_MAX / BLOCK_MIN)

/* Who looks for wrong uses of memory must see each block end where it was asked
 * to, and go when it is freed. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define IS_CHECKED 1
#else
#define IS_CHECKED 0
#endif

struct block {
	void *p;	/* owned */
	size_t room;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Guarded by the lock; the oldest first. */
static struct block kept[KEPT_N];
static size_t n_kept, bytes_kept;

size_t
block_room(size_t size)
{
	size_t room = BLOCK_MIN;

	if (IS_CHECKED || size > ROOM_MAX)
		return size;
	while (room + EXTRA < size)
		room *= 2;
	return room + EXTRA;
}

/* With the lock. */
static void *
take_out(size_t i)
{
	void *p = kept[i].p;

	n_kept--;
	bytes_kept -= kept[i].room;
	for (; i < n_kept; i++)
		kept[i] = kept[i + 1];
	return p;
}

/* The one that was used last is the one that the processor still knows. */
static void *
find(size_t room)
{
	LOCK(&lock);

	for (size_t i = n_kept; i > 0; i--)
		if (kept[i - 1].room == room)
			return take_out(i - 1);
	return NULL;
}

void *
block_new(size_t room)
{
	void *p = find(room);

	return p != NULL ? p : malloc(room);
}

/* NULL, or one that has to go for it first: what was not used for longest. */
static void *
keep(void *p, size_t room)
{
	LOCK(&lock);

	if (n_kept == KEPT_N || bytes_kept + room > BLOCK_KEPT_MAX)
		return take_out(0);
	kept[n_kept++] = (struct block){p, room};
	bytes_kept += room;
	return NULL;
}

void
block_free(void *p, size_t room)
{
	void *old;

	if (IS_CHECKED || room > BLOCK_KEPT_MAX) {
		free(p);
		return;
	}
	while ((old = keep(p, room)) != NULL)
		free(old);
}

void
block_trim(void *p, size_t room, size_t used)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = ((uintptr_t)p + used + page - 1) / page * page;
	uintptr_t end = ((uintptr_t)p + room) / page * page;

	/* If it cannot be, it is not. */
	if (!IS_CHECKED && from + TRIM_MIN <= end)
		(void)madvise((void *)from, end - from, MADV_DONTNEED);
}
