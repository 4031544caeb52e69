/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VFS_INO_H
#define VFS_INO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Inode numbers.  Four domains that never meet:
 *     VFS_ROOT                           the mounted directory
 *     [2^32, 2^62)                       ranges of archives
 *     [2^62, 2^63)                       open snapshots: draft/draft.h
 *     [2^63, 2^63 + 2^62)                the hierarchy
 */
#define INO_ARCHIVE_MIN ((uint64_t)1 << 32)
#define INO_ARCHIVE_END ((uint64_t)1 << 62)
#define INO_ARCHIVE_ALIGN ((uint64_t)1 << 12)
#define INO_SPAN_MAX ((uint64_t)1 << 50)
#define INO_HIER ((uint64_t)1 << 63)
#define INO_HIER_MASK (((uint64_t)1 << 62) - 1)

static inline bool
ino_is_hier(uint64_t ino)
{
	return (ino & INO_HIER) != 0;
}

static inline bool
ino_is_draft(uint64_t ino)
{
	return ino >> 62 == 1;
}

/* Somebody who wants numbers: one for the hierarchy, span for an archive. */
struct ino_claim {
	uint64_t first;		/* the answer */
	uint64_t span;
	uint32_t salt;		/* how often it had to make way */
	bool fixed;		/* first is given and stays */
};

/*
 * The number that claim i wants with that salt, in its domain.  Must be a pure
 * function, or numbers would not survive a remount.
 */
typedef uint64_t ino_hash_fn(void *arg, size_t i, uint32_t salt);

uint64_t ino_hash_hier(const char *path, size_t len, uint32_t salt);
uint64_t ino_hash_archive(const char *path, size_t len, uint32_t salt,
    uint64_t span);

/** ino_span(size): an upper bound of the stream behind a dynamic index of
 * that many bytes, aligned. */
uint64_t ino_span(uint64_t index_size);

/**
 * ino_assign(c, n, fn, arg):
 * Give every claim a range that meets no other.  Of two that want the same the
 * one with the lower number in c keeps it, fixed ones always.  -EOVERFLOW if
 * there is no room.
 */
int ino_assign(struct ino_claim *c, size_t n, ino_hash_fn *fn, void *arg);

#endif
