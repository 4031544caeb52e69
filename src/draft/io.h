/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_IO_H
#define DRAFT_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "draft/base.h"
#include "draft/content.h"
#include "draft/record.h"

struct draft;
struct inode;
struct str;
struct work;

/*
 * What reading and writing share.
 *
 * A block with STAGED bytes in it counts in the room of the staging area, as
 * what it takes of the disk.  One that has none any more keeps its room until
 * it was given back, and that waits until the journal says durably that nobody
 * needs it: spill_garbage.
 */

/*
 * stage.c: descriptors of staging files.  Counted; that of an open file stays.
 */
struct stage_file {
	int fd;			/* owned */
	unsigned refs;		/* guarded by the draft's lock; inode.stage is
				 * not counted */
	bool named;		/* guarded likewise: its name is durable */
};

/** stage_get(d, i, room, ret): i->data is held.  room: make the file if there
 * is none, its cost is taken from there as far as it goes; NULL: -ENOENT. */
int stage_get(struct draft *d, struct inode *i, uint64_t *room,
    struct stage_file **ret);
void stage_put(struct draft *d, struct inode *i, struct stage_file *f);
/** stage_idle(d, i): lock held: what to close if nobody uses it, or -1. */
int stage_idle(struct inode *i);
/** stage_forget(i): lock held: it has no staging file any more. */
void stage_forget(struct inode *i);
int stage_pwrite(struct stage_file *f, const void *p, size_t len,
    uint64_t off);

/*
 * view.c: where the bytes of the base file are.
 */
struct base_view {
	unsigned refs;		/* atomic */
	struct base *base;	/* owned reference */
	struct base_archive *archive;	/* of base */
	uint64_t pos;
	struct base_content c;	/* owned */
};

/** view_get(d, i, flags, ret): of an inode that has a base.  A reference. */
int view_get(struct draft *d, struct inode *i, unsigned flags,
    struct base_view **ret);
/** view_now(i): lock held: a reference, or NULL if it was not asked for yet. */
struct base_view *view_now(struct inode *i);
struct base_view *view_ref(struct base_view *v);
void view_unref(struct base_view *v);
/** view_read(v, p, len, off, flags): offsets of the file. */
int view_read(struct base_view *v, void *p, size_t len, uint64_t off,
    unsigned flags);

/*
 * io.c
 */
/** inode_is_orphan(i): lock held: no name is left, so nothing is recorded. */
bool inode_is_orphan(const struct inode *i);
/** inode_size_now(i): lock held. */
uint64_t inode_size_now(const struct inode *i);
void io_now(struct timespec *ret);
/** io_add_range(txn, kind, i, off, len): a record about bytes, with mtime. */
int io_add_range(struct str *txn, enum record_kind kind,
    const struct inode *i, uint64_t off, uint64_t len);
/** io_queue(d, w): on the pool of reads that wait. */
int io_queue(struct draft *d, struct work *w);

enum io_flags {
	IO_SPILL = 0x100,	/* says nothing of what is read next */
};
/** io_fill(d, i, p, len, off, flags, ret_len): up to the end of the file.
 * With DRAFT_NOWAIT -EAGAIN instead of waiting for the store. */
int io_fill(struct draft *d, struct inode *i, void *p, size_t len,
    uint64_t off, unsigned flags, size_t *ret_len);

/*
 * A change of content: what it was before, for the sums of draft and room.
 * Lock held from io_begin to io_end.
 */
struct io_change {
	struct str *txn;	/* borrowed */
	bool made;		/* the content, by this change */
	bool own_attr;		/* what to go back to: */
	struct timespec mtime, ctime;
	uint64_t staged, chunked, room;
};
/** io_begin(d, i, txn, c): a content of its own, own_attr, the time; records
 * that make it known to the journal.  Nothing is recorded of an orphan. */
int io_begin(struct draft *d, struct inode *i, struct str *txn,
    struct io_change *c);
/** io_log(d, i, c, err, ret_seq): err 0: into the journal; if that fails, or
 * with an err, all is as before io_begin.  Returns err or the journal's. */
int io_log(struct draft *d, struct inode *i, struct io_change *c, int err,
    uint64_t *ret_seq);
/** io_end(d, i, c, room): sums; what is staged more is taken from room.  How
 * many bytes are staged less: for spill_garbage. */
uint64_t io_end(struct draft *d, struct inode *i, const struct io_change *c,
    uint64_t *room);
/** io_lose(d, i, off, len, err): inside, no lock: these bytes were to be
 * written. */
void io_lose(struct draft *d, struct inode *i, uint64_t off, uint64_t len,
    int err);

/*
 * spill_clean.c
 */
/** spill_garbage(d, ino, off, len, bytes): that range may hold blocks which
 * are not STAGED any more, and bytes of room for them. */
void spill_garbage(struct draft *d, uint64_t ino, uint64_t off, uint64_t len,
    uint64_t bytes);
/** spill_exhume(d, ino): a staging file of that name is about to be made: one
 * that waits to be buried goes now. */
int spill_exhume(struct draft *d, uint64_t ino);

#endif
