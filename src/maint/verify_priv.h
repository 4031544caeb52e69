/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_VERIFY_PRIV_H
#define MAINT_VERIFY_PRIV_H

#include <pthread.h>
#include <stddef.h>

#include "base/num.h"
#include "base/workq.h"
#include "maint/verify.h"
#include "maint/verify_set.h"
#include "pbs/names.h"
#include "repo/edit.h"
#include "repo/tree.h"

struct buf;
struct enc_key;
struct index;
struct manifest;
struct manifest_file;
struct store;
struct tree;
struct tree_file;

/*
 * What the verify_*.c files share.  One thread runs the verification: it loads
 * snapshots in rounds, hands what has to be fetched to a pool, waits for all of
 * it, and only then says what came of it.
 */

/* What makes a chunk damaged; a value in the set. */
enum chunk_fault {
	FAULT_UNSAID,
	FAULT_EMPTY,
	FAULT_TOO_LARGE,
	FAULT_HEADER,
	FAULT_CRC,
	FAULT_CONTENT,		/* of a plain one */
	FAULT_UNPACK,
	/* From here on it may be good for another archive. */
	FAULT_NOT_ENCRYPTED,
	FAULT_ENCRYPTED,
	FAULT_AUTHENTIC,
};
const char *chunk_fault_text(enum chunk_fault f);

struct bad_chunk {
	struct digest digest;
	bool damaged;		/* or else missing */
	bool quarantine;	/* it is bad by itself */
};

struct verify {
	const struct verify_opts *o;	/* borrowed */
	struct verify_result *res;	/* guarded by lock while jobs run */
	struct store *store;		/* borrowed */
	struct tree *tree;		/* shared */
	struct workq *q;		/* owned */
	unsigned threads, timeout_ms;
	uint64_t memory, set_memory;
	struct verify_one *ones;	/* owned: all finished snapshots */
	unsigned walks;			/* through trees, for paths */
	size_t n_ones, n_wanted;	/* first those that are looked at */
	/* Of a listing: what is looked at in this pass are digests whose first
	 * 16 bits are in [low, high). */
#define VERIFY_PREFIXES 65536u
	unsigned low, high;
	uint64_t left;		/* of them, to be asked for one by one */

	pthread_mutex_t unpack;		/* one blob at a time is unpacked */
	pthread_mutex_t lock;		/* guards all below, and res */
	pthread_cond_t changed;
	struct verify_set set;
	unsigned jobs;			/* under way */
	uint64_t under_way;		/* bytes of them */
	uint64_t progress;		/* not yet told */
	unsigned outages;		/* in a row */
	int fatal;			/* -errno: nothing more is asked */
	struct bad_chunk *bad;		/* owned: found in this round */
	size_t n_bad, bad_size;
};

/** verify_ended(v): 0, or why nothing more is to be done. */
int verify_ended(struct verify *v);
/** verify_start(v, w, cost): runs it on the pool, as soon as there is room;
 * verify_done(v, cost): at its end, the job is not touched any more.
 * verify_wait(v): until nothing is under way. */
int verify_start(struct verify *v, struct work *w, uint64_t cost);
void verify_done(struct verify *v, uint64_t cost);
void verify_wait(struct verify *v);

/* verify_look.c: asking as often as it takes to be sure. */
struct look {
	const char *key;
	size_t max;
	const char *etag;	/* for a first look at the cache; or NULL */
	bool cached;		/* that is allowed */
	/* Whether that is it: 0; -EBADMSG; -errno of ours.  On 0 it may take a
	 * reference. */
	int (*check)(void *arg, struct buf *b);
	void *arg;
};
/** verify_look(v, l, ret_err): *ret_err is why it is unknown: -errno.
 * verify_exists(v, key, ret_err): without reading it: GOOD, MISSING, UNKNOWN. */
enum verdict verify_look(struct verify *v, const struct look *l, int *ret_err);
enum verdict verify_exists(struct verify *v, const char *key, int *ret_err);
/** verify_error_text(err): why something is unknown. */
const char *verify_error_text(int err);

/* An index or blob of a snapshot, or its manifest. */
struct verify_obj {
	char name[NAME_LEN_MAX + 1];
	const struct tree_file *f;	/* NULL: not listed */
	const struct manifest_file *mf;	/* NULL: not in the manifest */
	enum verdict verdict;
	char why[160];
	struct index *x;		/* shared; NULL: none, or no use */
	/* Of its chunks: */
	const struct enc_key *key;	/* borrowed from the keyring */
	bool encrypted;			/* key NULL: but it is not at hand */
};

struct verify_one {
	struct work work;
	struct verify *v;		/* borrowed */
	const struct tree_snap *s;	/* borrowed from the tree */
	struct group_name group;
	char path[KEY_MAX + 1];
	struct manifest *m;		/* shared; NULL: not loaded */
	struct verify_obj *objs;	/* owned; first the manifest */
	size_t n_objs;
	bool wanted, loaded, told, skipped, recorded;
	bool vanished, present;		/* once something of it is missing */
	int err;			/* of ours: -ENOMEM */
	enum verdict verdict;		/* the worst */
	uint64_t unknown, more_findings, more_paths;
};

/* verify_meta.c */
/** verify_load(v, ones, n): the objects of those snapshots, side by side. */
int verify_load(struct verify *v, struct verify_one *ones, size_t n);
void verify_unload(struct verify_one *one);

/* verify_chunk.c */
/** verify_chunk_key(v, obj, d). */
struct set_key verify_chunk_key(const struct verify *v,
    const struct verify_obj *obj, const struct digest *d);
/** verify_chunk_start(v, obj, d, size, read): looks at it, or only whether it
 * is there; what comes of it is in the set afterwards. */
int verify_chunk_start(struct verify *v, const struct verify_obj *obj,
    const struct digest *d, uint32_t size, bool read);

/* verify_judge.c: with nothing under way. */
/** verify_tell(v, one): of its objects. */
void verify_tell(struct verify *v, struct verify_one *one);
/** verify_judge(v, one): what its chunks are. */
int verify_judge(struct verify *v, struct verify_one *one);
/** verify_finish(v, one): counts, records and reports it; -EDQUOT. */
int verify_finish(struct verify *v, struct verify_one *one);

/* verify_paths.c */
struct verify_range {
	uint64_t begin, end;	/* in the stream */
};
/** verify_paths(v, one, obj, ranges, n): sorted, not overlapping; what of the
 * tree in that archive is in them is told. */
int verify_paths(struct verify *v, struct verify_one *one,
    const struct verify_obj *obj, const struct verify_range *ranges, size_t n);

/* verify_names.c: of a snapshot's catalog, which has names that an archive of
 * version 1 cannot tell any more. */
struct verify_names;
struct verify_name {
	uint64_t hash;		/* private */
	const char *name;	/* borrowed from the catalog */
	size_t len;
	bool is_dir, is_file;
	uint64_t size;		/* of a file */
};
/** verify_names_open(v, s, archive): NULL: there is none, or it cannot be
 * read. */
struct verify_names *verify_names_open(struct verify *v,
    const struct tree_snap *s, const char *archive);
void verify_names_close(struct verify_names *n);
/** verify_names_dir(n, path): that directory from now on; verify_names_find(n,
 * hash): what has that hash there; NULL: nothing. */
void verify_names_dir(struct verify_names *n, const char *path);
const struct verify_name *verify_names_find(const struct verify_names *n,
    uint64_t hash);

/* verify_bad.c */
/** verify_bad_chunks(v): of the round: the agent is told, and what is damaged
 * goes into quarantine. */
void verify_bad_chunks(struct verify *v);

/* verify_listed.c */
int verify_listed(struct verify *v);

bool verify_in_pass(const struct verify *v, const struct digest *d);
/** verify_round(v, i, end): how many of ones from i on make a round. */
size_t verify_round(const struct verify *v, size_t i, size_t end);

#endif
