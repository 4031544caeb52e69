/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

struct buf;

/*
 * Where the objects of one datastore are.  Keys are those of the format
 * document section 9.2 without the datastore's prefix: ".chunks/abcd/<hex>",
 * ".cnt/host/web1/owner", ".in-use".  A directory datastore answers to the
 * same keys.  Backends and filters implement struct store_ops; a filter owns
 * the store below it.
 *
 * All calls block and may be made from any thread at once.  After
 * store_shutdown calls fail soon with -ESHUTDOWN.  Errors are logged where
 * object and cause are known, that is in the backend.
 *
 * Durability: when put returns 0 the object is in the store for good, but for
 * a lazy one, which is there for good after the next store_sync.
 */
struct store;

struct store_object {
	uint64_t size;		/* bytes as stored */
	int64_t mtime;		/* epoch seconds, by the store's clock */
	int64_t atime;		/* when it was last read, put or touched; 0:
				 * the store has no such time */
	char etag[72];		/* changes when the content does; "" unknown */
};

enum store_get_flags {
	/* Answer without waiting for a network, or -EAGAIN. */
	STORE_LOCAL = 1,
	/* Not from a cache: what the store itself has. */
	STORE_FRESH = 2,
};

struct store_get {
	size_t max;		/* -EFBIG if the object is larger */
	unsigned flags;
	deadline_t deadline;	/* 0: the store's own */
	const char *etag;	/* of a changeable object: a cache may answer
				 * only if it holds this version; NULL: any
				 * cached version will do */
	/* A range; len 0 (and off 0): the whole object.  One that reaches past
	 * the end gives what is there, one that begins there is -ERANGE. */
	uint64_t off, len;
};

struct store_put {
	bool if_absent;		/* 1 if there is such an object already */
	bool lazy;		/* seen by all at once, but for good only after
				 * store_sync: where that is cheaper */
	deadline_t deadline;
};

typedef int store_list_fn(void *arg, const char *key,
    const struct store_object *o);
typedef void store_delete_fn(void *arg, const char *key, const char *why);

/*
 * What an operation cost.  Outcomes as the backend saw them.
 */
enum store_verb {
	STORE_GET, STORE_PUT, STORE_STAT, STORE_LIST, STORE_DELETE, STORE_COPY,
	STORE_TOUCH, STORE_SYNC, STORE_VERBS
};
struct store_counts {
	uint64_t requests[STORE_VERBS];	/* all attempts: what is paid for */
	uint64_t failed[STORE_VERBS];	/* of them: neither done nor absent */
	uint64_t retries;
	uint64_t bytes_read, bytes_written;
};

/*
 * A backend has all of get, put, stat, list, del and copy, the others if they
 * mean anything there.  A filter leaves NULL what it does not change: the call
 * goes to the store below.
 */
struct store_ops {
	/** 0, 1 if absent, -errno.  ret_obj may be NULL. */
	int (*get)(struct store *s, const char *key, const struct store_get *how,
	    struct buf **ret, struct store_object *ret_obj);
	/** 0, 1 if if_absent and it exists, -errno.  ret_obj may be NULL. */
	int (*put)(struct store *s, const char *key, const void *p, size_t len,
	    const struct store_put *how, struct store_object *ret_obj);
	/** 0, 1 if absent. */
	int (*stat)(struct store *s, const char *key, deadline_t deadline,
	    struct store_object *ret);
	/**
	 * Objects whose key begins with prefix, in byte order of keys, after
	 * start_after (NULL: all).  A prefix must be "" or end in '/'
	 * (-EINVAL): "vm/10" is not "vm/100".  A non-zero return of fn ends
	 * the listing and is returned.  Objects whose names are no valid keys
	 * are left out.
	 */
	int (*list)(struct store *s, const char *prefix,
	    const char *start_after, store_list_fn *fn, void *arg);
	/** 0 if all keys are gone; fn is told of each that is not. */
	int (*del)(struct store *s, const char *const *keys, size_t n,
	    store_delete_fn *fn, void *arg, deadline_t deadline);
	/** Within the store.  1 if the source is absent. */
	int (*copy)(struct store *s, const char *from, const char *to,
	    deadline_t deadline);
	/** Optional: store_copy_from.  source is a backend. */
	int (*copy_from)(struct store *s, struct store *source,
	    const char *key, deadline_t deadline);
	/** Optional, as is sync: store_touch. */
	int (*touch)(struct store *s, const char *key);
	int (*sync)(struct store *s);
	/**
	 * The caller has checked (good) or found damaged (!good) what get
	 * returned, or put has put, for this immutable object; b is its
	 * content.  A cache keeps
	 * good content and drops what was found damaged.
	 */
	void (*verdict)(struct store *s, const char *key, struct buf *b,
	    bool good);
	/** Optional: requests made so far. */
	void (*counts)(struct store *s, struct store_counts *ret);
	/** Optional: seconds that the store's clock is ahead of ours; 1 if
	 * that is not known. */
	int (*skew)(struct store *s, int64_t *ret);
	/** Optional: wake up those who wait in this store, not below it. */
	void (*shutdown)(struct store *s);
	/** Frees this store alone, not those below it. */
	void (*free)(struct store *s);
};

typedef void store_strange_fn(void *arg, const char *name);

/* Embedded first in every implementation. */
struct store {
	const struct store_ops *ops;
	struct store *below;	/* owned; NULL in a backend */
	const char *name;	/* "s3", "dir", "cache", ...: static */
	unsigned down;		/* private: atomic; after store_shutdown */
	store_strange_fn *strange;	/* store_on_strange */
	void *strange_arg;
};

const char *store_verb_name(enum store_verb v);

/* What callers use: they check arguments and pass on. */
int store_get(struct store *s, const char *key, const struct store_get *how,
    struct buf **ret, struct store_object *ret_obj);
int store_put(struct store *s, const char *key, const void *p, size_t len,
    const struct store_put *how, struct store_object *ret_obj);
int store_stat(struct store *s, const char *key, deadline_t deadline,
    struct store_object *ret);
int store_list(struct store *s, const char *prefix, const char *start_after,
    store_list_fn *fn, void *arg);
int store_delete(struct store *s, const char *const *keys, size_t n,
    store_delete_fn *fn, void *arg, deadline_t deadline);
int store_copy(struct store *s, const char *from, const char *to,
    deadline_t deadline);
/** store_copy_from(s, source, key, deadline): the object of that key in another
 * store, which passes through nobody's hands.  0; 1 if it has none;
 * -EOPNOTSUPP where one cannot reach the other: the caller gets and puts. */
int store_copy_from(struct store *s, struct store *source, const char *key,
    deadline_t deadline);
/**
 * store_touch(s, key): keep an object, which is to be referred to, from being
 * collected as garbage.  0; 1 if absent; -EOPNOTSUPP where a store has nothing
 * like it: there only references keep an object.
 * store_sync(s): what has been put so far, lazily too, is there for good.  If it
 * fails once it always will: nobody knows whose objects were lost, so all that
 * were put lazily are to be called lost.
 */
int store_touch(struct store *s, const char *key);
int store_sync(struct store *s);
void store_verdict(struct store *s, const char *key, struct buf *b, bool good);
/** store_on_strange(s, fn, arg): fn is told of each object that a listing
 * leaves out because its name, below the datastore's prefix, is no valid key:
 * on the thread that lists, any number of times.  Before anything is listed.
 */
void store_on_strange(struct store *s, store_strange_fn *fn, void *arg);
/** store_counts(s, ret): of the first store from the top that counts. */
void store_counts(struct store *s, struct store_counts *ret);
/** store_skew(s, ret): how far the store's clock is ahead of ours, seconds: 0
 * if it has none; 1 if it has not been heard of yet. */
int store_skew(struct store *s, int64_t *ret);
void store_shutdown(struct store *s);
/** store_free(s): and all below it.  NULL is allowed. */
void store_free(struct store *s);

/** store_key_is_valid(key): no empty, "." or ".." part, no control
 * characters, at most KEY_MAX bytes.  Other keys are -EINVAL. */
bool store_key_is_valid(const char *key);

#endif
