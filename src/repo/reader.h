/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_READER_H
#define REPO_READER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct chunk_id;
struct chunks;
struct enc_key;
struct index;
struct index_chunk;

/*
 * The stream behind an index as random-access bytes.  Immutable after
 * reader_new but for its own counters; any thread.
 */
struct reader;

/** reader_new(c, x, ret): c is borrowed, a reference of x is taken. */
int reader_new(struct chunks *c, struct index *x, struct reader **ret);
/** reader_new_with(c, x, key, ret): of an encrypted archive; key is borrowed
 * for as long as c is. */
int reader_new_with(struct chunks *c, struct index *x,
    const struct enc_key *key, struct reader **ret);
struct reader *reader_ref(struct reader *r);
void reader_unref(struct reader *r);
uint64_t reader_size(const struct reader *r);
struct index *reader_index(const struct reader *r);	/* borrowed */
/** reader_chunk_id(r, x): what to ask the chunks for. */
struct chunk_id reader_chunk_id(const struct reader *r,
    const struct index_chunk *x);

/** reader_pread(r, p, len, off, flags): all of it, or an error; -EBADMSG also
 * past the end.  REPO_NOWAIT is understood. */
int reader_pread(struct reader *r, void *p, size_t len, uint64_t off,
    unsigned flags);

/**
 * reader_read(r, off, len, fn, arg):
 * [off, off + len) lies within the stream (else -EINVAL).  At most
 * READER_IOV_MAX pieces; they are the chunks themselves, not copies, unless
 * the chunks are tiny.  fn is called once, on any thread,
 * perhaps before this returns; the memory behind iov is valid until fn
 * returns.  All or nothing: one bad chunk fails the call.
 */
#define READER_IOV_MAX 64
typedef void reader_fn(void *arg, int err, const struct iovec *iov, int n);
void reader_read(struct reader *r, uint64_t off, size_t len, reader_fn *fn,
    void *arg);

/*
 * Readahead for one open file: grows while reads follow each other, stops when
 * they do not.  Within [begin, end) of the stream, so that it never runs from
 * one file of an archive into the next.
 */
struct readahead {
	uint64_t begin, end;	/* set by readahead_init */
	uint64_t next;		/* where a sequential read would go on */
	uint64_t ahead;		/* asked for up to here */
	unsigned window;	/* chunks */
	unsigned streak;
};
void readahead_init(struct readahead *ra, uint64_t begin, uint64_t end);
/** readahead_update: call before each read; the caller serialises. */
void readahead_update(struct readahead *ra, struct reader *r, uint64_t off,
    size_t len);

/** reader_hole(r, off, ret_end): 1 if off lies in a chunk of zeros known by
 * its digest, 0 if in data; *ret_end is where that ends, which takes a look at
 * all chunks up to there; NULL: not asked for. */
int reader_hole(struct reader *r, uint64_t off, uint64_t *ret_end);

#endif
