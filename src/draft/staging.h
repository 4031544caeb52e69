/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_STAGING_H
#define DRAFT_STAGING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

/*
 * Bytes on the local disk that are not in the store yet: one sparse file for
 * each changed inode, DIR/data/xx/<ino>.  What all drafts hold is bounded
 * together; who wants more waits until something was uploaded.  A file counts
 * 4 KiB beside its blocks.  Never evicted.  Any thread.
 */
struct staging;

/** staging_new(limit, floor, ret): shared by all drafts. */
int staging_new(uint64_t limit, uint64_t floor, struct staging **ret);
void staging_free(struct staging *s);
/** staging_shutdown(s): who waits for room is told -ESHUTDOWN. */
void staging_shutdown(struct staging *s);

/** staging_reserve(s, bytes, deadline, dir): room for so much more on the file
 * system of dir.  deadline 1: do not wait (-EAGAIN).  First come, first served.
 * -ENOSPC when the time is over; at once for more than the limit, or if the
 * floor is reached and nothing is staged that could be sent away. */
int staging_reserve(struct staging *s, uint64_t bytes, deadline_t deadline,
    int dir);
void staging_release(struct staging *s, uint64_t bytes);
/** staging_charge(s, bytes): what a journal says is there already. */
void staging_charge(struct staging *s, uint64_t bytes);

/** staging_pressure(s): 0 plenty of room, 1 more than half is used, 2 somebody
 * waits or soon will. */
int staging_pressure(struct staging *s);
/** staging_wait(s, ms): until pressure rises or that time is over.  A rise
 * since the last wait ended counts, so none is missed in between. */
void staging_wait(struct staging *s, unsigned ms);
/** staging_wake(s): end such a wait, or the next one. */
void staging_wake(struct staging *s);
struct staging_stats {
	uint64_t used, limit;
	unsigned waiting;
};
void staging_stats(struct staging *s, struct staging_stats *ret);

/* The files; dir is that of the draft. */
#define STAGING_FILE_COST 4096
/** staging_file(dir, ino, create): a descriptor, read and write; -ENOENT. */
int staging_file(int dir, uint64_t ino, bool create);
/** staging_sync_name(dir, ino): the name of the file survives the host, which
 * syncing the file alone does not promise; once for each that was made. */
int staging_sync_name(int dir, uint64_t ino);
/** staging_remove(dir, ino): absent is 0. */
int staging_remove(int dir, uint64_t ino);
/** staging_punch(fd, off, len): gives the blocks back; whole ones, so include
 * bytes beside them that nobody needs.  -EOPNOTSUPP where the file system
 * cannot. */
int staging_punch(int fd, uint64_t off, uint64_t len);
/** staging_sweep(dir, keep, arg): removes files of inodes that keep says false
 * to, and what is none of ours is left alone. */
int staging_sweep(int dir, bool (*keep)(void *arg, uint64_t ino), void *arg);

#endif
