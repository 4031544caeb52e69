/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_GC_PRIV_H
#define MAINT_GC_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/digest.h"
#include "maint/gc.h"

struct index;
struct marks;
struct store;

/* Shared by the files of garbage collection. */

/* 4 MiB of zeroes.  A server expects it to be there, for it touches it when it
 * begins to collect: it stays, whoever refers to it. */
#define GC_ZERO_CHUNK \
	"bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8"

/* An index that was listed. */
struct gc_index {
	uint64_t size;		/* of the object */
	uint64_t bytes;		/* of the stream, when it is done */
	struct digest source;	/* which content it is; see marks.h */
	bool lasts;		/* source says so for good */
	bool outside;		/* key is a path below the base of a directory
				 * store, and no key */
	bool done;		/* what it refers to is marked */
	const struct gc_index *same;	/* of the same content; or NULL */
	const char *etag;	/* in key's memory */
	char key[];
};

struct gc {
	const struct gc_opts *o;
	struct gc_result *res;
	struct store *store;	/* borrowed */
	const char *base;	/* borrowed: of a directory; NULL: a bucket */
	int base_fd;		/* borrowed */
	struct marks *marks;	/* owned */
	struct gc_index **v;	/* owned, each */
	size_t n, room;
	int64_t before;		/* what was used since is too young to go */
};

/** gc_stopped(g): -ECANCELED when the caller wants no more; else 0. */
int gc_stopped(const struct gc *g);
void gc_event(const struct gc *g, enum gc_event e, const char *key,
    const char *text);
void gc_progress(const struct gc *g, int phase, uint64_t done, uint64_t total);

/** gc_list(g): every index there is, of the scheme or not. */
int gc_list(struct gc *g);
/** gc_add_index(g, key, etag, size, outside) */
int gc_add_index(struct gc *g, const char *key, const char *etag,
    uint64_t size, bool outside);
/** gc_shown(i, out): as people name it: without ".cnt/". */
const char *gc_shown(const struct gc_index *i);

/** gc_read(g, want, fn, arg): reads the indices that are wanted, some at once,
 * and calls fn for each in order.  One that has vanished is passed over; one
 * that is there and cannot be read is an error, with a message.  lasts is
 * cleared of one that is not what was listed. */
typedef bool gc_want_fn(void *arg, const struct gc_index *i);
typedef int gc_read_fn(void *arg, struct gc_index *i, const struct index *x);
int gc_read(struct gc *g, gc_want_fn *want, gc_read_fn *fn, void *arg);

/** gc_mark(g): phase 1, all of it. */
int gc_mark(struct gc *g);

/* What is referred to and not there: the first GC_MISSING_NAMED of them. */
#define GC_MISSING_NAMED 1000
struct gc_missing {
	struct digest v[GC_MISSING_NAMED];	/* ascending */
	bool named[GC_MISSING_NAMED];
	size_t n;
};
/** gc_name_missing(g, m): who refers to them. */
int gc_name_missing(struct gc *g, struct gc_missing *m);

/** gc_sweep(g, missing): phase 2. */
int gc_sweep(struct gc *g, struct gc_missing *missing);

/* Chunks and other objects that are to go, up to GUARD_BATCH_MAX. */
struct gc_batch;
int gc_batch_new(struct gc *g, struct gc_batch **ret);
void gc_batch_free(struct gc_batch *b);
/** gc_batch_add(b, key, d, size): d NULL: of a chunk that was set aside.
 * -errno as gc_batch_flush. */
int gc_batch_add(struct gc_batch *b, const char *key, const struct digest *d,
    uint64_t size);
/** gc_batch_flush(b): deletes what there is. */
int gc_batch_flush(struct gc_batch *b);

/* Of directory stores. */
/** gc_dir_list(g): adds the indices that no key leads to. */
int gc_dir_list(struct gc *g);
/** gc_dir_check_atime(g): -EOPNOTSUPP, with a message, if access times do not
 * follow when they are set. */
int gc_dir_check_atime(struct gc *g);
/** gc_dir_tidy(g): removes what we began to write a day ago or earlier, and
 * died; what others began is theirs. */
int gc_dir_tidy(struct gc *g);
/** gc_dir_status(g): writes what a server shows of the last collection. */
int gc_dir_status(const struct gc *g);

#endif
