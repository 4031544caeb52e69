/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_REPO_H
#define REPO_REPO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct chunks;
struct index;
struct keyring;
struct manifest;
struct reader;
struct store;
struct tree;
struct tree_file;
struct tree_snap;

/*
 * A datastore: its hierarchy, and the small objects in it.  Any thread.
 */
struct repo;

struct repo_opts {
	const char *name;	/* for messages; NULL: "the store" */
	/* Where the last listing is kept, so that a mount works while the
	 * store is away; NULL: not kept. */
	const char *listing;
	/* Where a backup server on this host has its locks of this datastore;
	 * NULL: there is none. */
	const char *lock_dir;
	/* Begin with the kept listing if there is one, without asking the
	 * store: repo_refresh then tells what changed since. */
	bool kept_first;
	/* What encrypted and signed snapshots are read with; borrowed, a
	 * reference is taken; NULL: none. */
	struct keyring *keys;
	uint64_t memory;	/* bytes for decoded chunks; 0: 256 MiB */
	unsigned fetchers;	/* chunks fetched at once; 0: 16 */
	unsigned decoders;	/* 0: one a processor */
	unsigned timeout_ms;	/* until a read fails; 0: 60 s */
};

/**
 * repo_open(s, o, ret):
 * Takes s over, also on error.  Lists .cnt/; if the store cannot be reached
 * and there is a kept listing, that is used, with a warning.  -ENOENT with a
 * message if there is no datastore.
 */
int repo_open(struct store *s, const struct repo_opts *o, struct repo **ret);
/** repo_shutdown(r): what waits for the store fails soon. */
void repo_shutdown(struct repo *r);
void repo_free(struct repo *r);

struct store *repo_store(struct repo *r);	/* borrowed */
struct chunks *repo_chunks(struct repo *r);	/* borrowed */
struct damage *repo_damage(struct repo *r);	/* borrowed */
/** repo_tree(r): the hierarchy as last listed; a reference for the caller. */
struct tree *repo_tree(struct repo *r);
/** repo_is_outage(err): a negative errno that says nothing of the datastore,
 * only that the store did not answer. */
bool repo_is_outage(int err);
/** repo_is_offline(r): the last listing came from the kept one. */
bool repo_is_offline(struct repo *r);

struct repo_changes {
	/* Objects; a namespace counts as one, a change of protection as a
	 * changed one. */
	size_t added, removed, changed;
	size_t snaps_added, snaps_removed;
};
/** repo_refresh(r, ret): lists again and replaces the tree.  ret may be NULL.
 * On error the old tree stays. */
int repo_refresh(struct repo *r, struct repo_changes *ret);

/*
 * What differs, by the path that a mount shows: namespaces, in them groups, in
 * those snapshots.  A group has changed if its owner or notes have, a snapshot
 * if any of its files or its protection has.  An object that is none of the
 * format's is told by its key, when it was not there before.
 */
enum repo_change { REPO_ADDED, REPO_REMOVED, REPO_CHANGED };
enum repo_change_kind { REPO_NS, REPO_GROUP, REPO_SNAP, REPO_IGNORED };
typedef void repo_change_fn(void *arg, enum repo_change what,
    enum repo_change_kind kind, const char *path);
const char *repo_change_name(enum repo_change what);
const char *repo_change_kind_name(enum repo_change_kind kind);
/** repo_refresh_tell(r, ret, fn, arg): and fn is told of each.  ret is needed. */
int repo_refresh_tell(struct repo *r, struct repo_changes *ret,
    repo_change_fn *fn, void *arg);
/** repo_tell_all(r, ret, fn, arg): as if there had been nothing before. */
int repo_tell_all(struct repo *r, struct repo_changes *ret, repo_change_fn *fn,
    void *arg);

enum repo_flags {
	REPO_NOWAIT = 1,	/* -EAGAIN rather than wait for the store */
};

/**
 * Small objects, fetched when first needed; those used last stay in memory
 * within a bound, so hold on to what is in use.  Each returns a reference for
 * the caller.  Errors: -EAGAIN with REPO_NOWAIT; -EBADMSG after a second fetch
 * was no better, and it is in the damage list; -OBJECT_EFORGED (see objects.h)
 * likewise for a manifest whose signature is wrong, and for all that is in its
 * snapshot; -ENOENT if the store has no such object; -EIO and friends of the
 * store.
 */
int repo_manifest(struct repo *r, const struct tree_snap *s, unsigned flags,
    struct manifest **ret);
/** repo_index(r, f, flags, ret): compared with the manifest, if that is good and
 * knows it. */
int repo_index(struct repo *r, const struct tree_file *f, unsigned flags,
    struct index **ret);
/** repo_blob(r, f, flags, ret): decoded, and compared likewise.  -ENOKEY if
 * encrypted and its key is not there. */
int repo_blob(struct repo *r, const struct tree_file *f, unsigned flags,
    struct buf **ret);
/** repo_reader(r, f, flags, ret): the stream behind that index.  -ENOKEY if
 * it is encrypted and its key is not there.  One whose manifest says nothing of
 * it is taken for a plain one; its chunks will tell. */
int repo_reader(struct repo *r, const struct tree_file *f, unsigned flags,
    struct reader **ret);
/** repo_keys(r): borrowed; NULL: none. */
const struct keyring *repo_keys(struct repo *r);
/** repo_text(r, f, flags, ret): owner or notes as stored, at most 1 MiB. */
int repo_text(struct repo *r, const struct tree_file *f, unsigned flags,
    struct buf **ret);
/** repo_prefetch_snap(r, s): starts fetching manifest and blobs side by side,
 * so that those who then ask wait once. */
void repo_prefetch_snap(struct repo *r, const struct tree_snap *s);

#endif
