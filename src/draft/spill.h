/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_SPILL_H
#define DRAFT_SPILL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <bsd/sys/tree.h>

#include "draft/content.h"
#include "repo/uploads.h"

struct buf;
struct draft;
struct drafts;
struct inode;

/*
 * Uploading ahead of publishing.  One thread looks at what was written,
 * decides, reads, and brings what came of uploads into contents and journals;
 * hashing, packing and sending are others' work (repo/uploads.h).
 *
 * What is uploaded is first of all what can stand in a new index as it is:
 * slots of images, chunks that the chunker would cut, whole small files one
 * behind the other.  Only if that does not make room, any bytes are gathered
 * in chunks, which will have to be read again for the index.
 */

#define SPILL_CHUNK ((uint64_t)4 << 20)
#define SPILL_CHUNK_MAX ((uint64_t)16 << 20)
/* A file in a tree that is at least so long is cut like a stream. */
#define SPILL_LARGE ((uint64_t)8 << 20)
/* Who was not written for so long has been written for now. */
#define SPILL_IDLE_MS 5000
#define SPILL_COLD_MS 2000

enum spill_mode {
	SPILL_EAGER,	/* what lies behind the writer */
	SPILL_TIGHT,	/* of everything, what is complete */
	SPILL_URGENT,	/* also where it is being written */
	SPILL_ALL,	/* all of this file: fsync=store */
};

enum spill_kind {
	SPILL_IMAGE,	/* slots of 4 MiB */
	SPILL_STREAM,	/* a top-level stream, or a large file in a tree */
	SPILL_SMALL,	/* a file in a tree */
	SPILL_BLOB,	/* a top-level file that will be a blob */
};

/* A file with staged bytes.  Its inode is looked up when needed. */
struct spill_item {
	RB_ENTRY(spill_item) link;
	TAILQ_ENTRY(spill_item) order;
	struct draft *d;
	uint64_t ino;
	uint64_t when;		/* ms: the last write */
	struct spill_queue *queue;	/* that it is in */
	LIST_HEAD(, spill_part) flying;	/* of the spill's thread */
	uint64_t cursor;	/* images: where looking goes on */
	uint64_t barren, barren_end;	/* streams: [,) without a cut */
};
RB_HEAD(spill_items, spill_item);

/* Oldest write first. */
struct spill_queue {
	TAILQ_HEAD(spill_order, spill_item) head;
};

/* Bytes of a file that are being uploaded. */
struct spill_part {
	LIST_ENTRY(spill_part) link;
	struct spill_item *item;	/* there as long as the part */
	struct piece p;		/* what it becomes */
	uint64_t seq;		/* by content_mark, before it was read */
};

struct spill_job {
	struct upload up;	/* first */
	STAILQ_ENTRY(spill_job) link;
	struct spill *s;
	struct draft *d;
	struct spill_draft *sd;	/* NULL until it is counted there */
	struct buf *plain;	/* owned */
	uint64_t bytes;		/* staged, of all parts */
	int err;
	uint64_t hold;		/* of the guard; 0: none */
	bool lasting;		/* the chunk survives the host */
	size_t n;
	struct spill_part parts[];
};
STAILQ_HEAD(spill_jobs, spill_job);

/* What the thread knows of a draft. */
struct spill_draft {
	LIST_ENTRY(spill_draft) link;
	struct draft *d;
	unsigned suspended;
	bool busy;		/* the thread is at it */
	unsigned flying;	/* jobs */
	bool holds;		/* the claim; of the thread */
	uint64_t ask_at;	/* ms: of the thread: spill_ask.c; 0 */
};

/* Blocks that nobody needs once the journal is durable. */
struct spill_range {
	STAILQ_ENTRY(spill_range) link;
	struct draft *d;
	uint64_t ino, off, len;
	uint64_t bytes;		/* of room */
};
STAILQ_HEAD(spill_ranges, spill_range);

/* A staging file likewise. */
struct spill_grave {
	RB_ENTRY(spill_grave) link;
	struct draft *d;
	uint64_t ino;
	uint64_t staged;
	bool busy;
};
RB_HEAD(spill_graves, spill_grave);

/* Somebody waits until all of a file is in the store. */
struct spill_request {
	LIST_ENTRY(spill_request) link;
	struct draft *d;
	uint64_t ino, seq;
	bool done;
	int err;
};

struct pack_walk;

struct spill {
	struct drafts *ds;	/* borrowed */
	pthread_t thread;
	pthread_mutex_t lock;	/* guards all to the next comment */
	pthread_cond_t cond;	/* of suspending, requests, graves, stopping */
	bool stop;
	struct spill_items items;
	struct spill_queue fresh;	/* written since they were looked at */
	struct spill_queue large;	/* nothing to do but under pressure */
	struct spill_queue small;	/* the same, too small to be cut */
	LIST_HEAD(, spill_draft) drafts;
	struct spill_jobs done;
	struct spill_ranges ranges;
	struct spill_graves graves;
	LIST_HEAD(, spill_request) requests;
	uint64_t litter_since;	/* ms: the oldest range or grave; 0 */
	bool asking;		/* a thread is at it */
	bool cleaning;		/* so is the spill's */
	unsigned kept_out;	/* of cleaning */

	/* The thread's own: */
	bool running;
	struct spill_jobs parked;	/* done, but the draft is frozen */
	struct spill_job *stalled;	/* to be submitted again */
	uint64_t flying;	/* bytes staged */
	uint64_t retry_at, delay;	/* ms: after a failure */
	uint64_t desperate_at;	/* ms: when to gather anything at all; 0 */
	uint64_t hold_at;	/* ms: when to try to get the claim again */
	bool asks;		/* an outcome is to be asked for */
	uint8_t *scratch;	/* owned: SPILL_CHUNK_MAX */
	struct pack_walk *walk;	/* owned, or NULL */
	uint64_t walk_at[2];	/* ms: not before; [1] where it is urgent */
};

/* spill_item.c */
/** spill_item_get(s, d, ino): made if need be; NULL without memory. */
struct spill_item *spill_item_get(struct spill *s, struct draft *d,
    uint64_t ino);
/** spill_item_look(s, item): it is to be looked at again. */
void spill_item_look(struct spill *s, struct spill_item *item);
/** spill_item_pass(s, item): nothing can be done about it now, and it must not
 * keep others from being looked at. */
void spill_item_pass(struct spill *s, struct spill_item *item);
/** spill_item_move(item, q), spill_item_free(s, item): the lock is held. */
void spill_item_move(struct spill_item *item, struct spill_queue *q);
void spill_item_free(struct spill *s, struct spill_item *item);
struct spill_draft *spill_draft_get(struct spill *s, struct draft *d);
/** spill_is_backing_off(s): after a failure nothing is tried for a while. */
bool spill_is_backing_off(const struct spill *s);
/** spill_begin(s, d): false if it is suspended, or if what is staged of it may
 * have been published already.  Then spill_end. */
bool spill_begin(struct spill *s, struct draft *d);
void spill_end(struct spill *s, struct draft *d);
/** spill_has_room(s): for one more job. */
bool spill_has_room(const struct spill *s);

/* spill_work.c: of the thread, as all that follows. */
void spill_work(struct spill *s);
/** spill_item_over(s, item, i, when): nothing of i, which may be NULL, was left
 * to upload at that last write: true if the item is gone.  A staging file that
 * nobody needs goes, too. */
bool spill_item_over(struct spill *s, struct spill_item *item, struct inode *i,
    uint64_t when);
/** spill_end_requests(s): those whose upload has failed, or all at the end. */
void spill_end_requests(struct spill *s);

/* spill_ask.c */
/** spill_ask(s): lets somebody ask for the outcome of publishing, where that is
 * not known. */
void spill_ask(struct spill *s);

/* spill_job.c */
int spill_job_new(struct spill *s, struct draft *d, size_t n,
    struct spill_job **ret);
void spill_job_free(struct spill_job *j);
/** spill_drop(s, j): it is over. */
void spill_drop(struct spill *s, struct spill_job *j);
/** spill_hold(s, sd): the claim; -EBUSY while garbage is being collected. */
int spill_hold(struct spill *s, struct spill_draft *sd);
/** spill_read(d, i, off, len, p, ret_seq): bytes that are all STAGED or holes;
 * -ESTALE if some are not. */
int spill_read(struct draft *d, struct inode *i, uint64_t off, uint64_t len,
    uint8_t *p, uint64_t *ret_seq);
/** spill_submit(s, j): takes j over.  -EAGAIN: it will be done later, and no
 * more is to be made before. */
int spill_submit(struct spill *s, struct spill_job *j);
/** spill_upload_range(s, item, plain, off, seq, flags): one part, one chunk;
 * takes a reference of plain. */
int spill_upload_range(struct spill *s, struct spill_item *item,
    struct buf *plain, uint64_t off, uint64_t seq, unsigned flags);
/** spill_settle(s): what uploads brought; true if there was anything. */
bool spill_settle(struct spill *s);

/* spill_stream.c: what can stand in an index. */
struct spill_look {
	enum spill_kind kind;
	uint64_t size, staged, write_end;
	bool idle;		/* not written for a while, or closed */
	bool hot;		/* rewritten again and again */
	bool closed;		/* for writing */
};
/** spill_look(s, item, i, ret): takes the lock. */
void spill_look(struct spill_item *item, struct inode *i,
    struct spill_look *ret);
/** spill_next_run(item, i, from, max, ret_off, ret_len): the first staged
 * bytes from there on that are not flying, max at most; -ENXIO. */
int spill_next_run(struct spill_item *item, struct inode *i, uint64_t from,
    uint64_t max, uint64_t *ret_off, uint64_t *ret_len);
/** spill_natural(s, item, i, look, mode): 0, or -EAGAIN: enough is under way. */
int spill_natural(struct spill *s, struct spill_item *item, struct inode *i,
    const struct spill_look *look, enum spill_mode mode);

/* spill_pack.c: several pieces in one chunk. */
/** spill_pack(s, d, mode, want): between spill_begin and spill_end: small files
 * in the order of an archive; how many bytes were submitted. */
uint64_t spill_pack(struct spill *s, struct draft *d, enum spill_mode mode,
    uint64_t want);
void spill_pack_stop(struct spill *s);
/** spill_gather(s, want): whatever is staged, oldest first. */
uint64_t spill_gather(struct spill *s, uint64_t want);
/** spill_gather_file(s, item, i): the rest of one file. */
int spill_gather_file(struct spill *s, struct spill_item *item,
    struct inode *i);

/* spill_clean.c */
/** spill_clean(s): gives back what can be. */
void spill_clean(struct spill *s);

#endif
