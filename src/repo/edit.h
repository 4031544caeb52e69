/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_EDIT_H
#define REPO_EDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pbs/names.h"
#include "repo/tree.h"

struct buf;
struct manifest;
struct repo;
struct store;

/*
 * Changes of a datastore, each in the order that leaves it valid whenever it
 * stops: format document sections 1.3, 9.5 and 12.3.  Each ends with a new
 * tree in the repository, made from the old one without listing again.  Any
 * thread; two changes of one group are made one after the other.
 * -EROFS if the store is read-only.  Failures are logged with object and why.
 */

struct group_name {
	char ns[NS_LEN_MAX + 1];
	enum backup_type type;
	char id[NAME_LEN_MAX + 1];
};

/** edit_find_group(t, g), edit_find_snap(t, g, time): borrowed from the tree,
 * or NULL; the snapshot may be unfinished. */
const struct tree_group *edit_find_group(const struct tree *t,
    const struct group_name *g);
const struct tree_snap *edit_find_snap(const struct tree *t,
    const struct group_name *g, int64_t time);

/** repo_create_ns(r, path): its marker, and those of missing parents first.
 * -EEXIST, -EINVAL (name, depth), -ENAMETOOLONG. */
int repo_create_ns(struct repo *r, const char *path);
/** repo_remove_ns(r, path): -ENOTEMPTY if it has groups or namespaces. */
int repo_remove_ns(struct repo *r, const char *path);
/** repo_check_owner(owner): 0; -EINVAL if it is no user id, with a message. */
int repo_check_owner(const char *owner);
/** repo_create_group(r, g, owner): the owner's file; -EEXIST, -EINVAL also for
 * an owner that is no user id.  A namespace that is not there: -ENOENT. */
int repo_create_group(struct repo *r, const struct group_name *g,
    const char *owner);
/** repo_remove_group(r, g): -ENOTEMPTY while there are snapshots. */
int repo_remove_group(struct repo *r, const struct group_name *g);
/** repo_forget_group(r, g): all that is below the group's own prefix: its
 * snapshots, manifests first, then its notes, and the owner last, so that it
 * can be done again after a crash.  What the store has counts, not what the
 * tree shows: so it also removes the notes that a server has left of a group.
 * -EPERM if a snapshot is protected, -EBUSY if a server on this host is at one:
 * then the others are gone, and the group stays; likewise -ENOTEMPTY with
 * something in it that no group has, which is left alone.  -ENOENT if there is
 * nothing at all. */
int repo_forget_group(struct repo *r, const struct group_name *g);

/** repo_set_notes(r, g, text, len): the group's; len 0 removes them. */
int repo_set_notes(struct repo *r, const struct group_name *g,
    const char *text, size_t len);
/** repo_set_snap_notes(r, g, time, text): in the manifest; "" removes them.
 * What is in the store is read anew first. */
int repo_set_snap_notes(struct repo *r, const struct group_name *g,
    int64_t time, const char *text);
/** repo_set_verify(r, g, time, upid, state): in the manifest, likewise: what a
 * verification has found, "ok" or "failed", and which one it was, as Proxmox
 * Backup names tasks; -EINVAL for another state or name. */
int repo_set_verify(struct repo *r, const struct group_name *g,
    int64_t time, const char *upid, const char *state);
/** repo_protect(r, g, time, on). */
int repo_protect(struct repo *r, const struct group_name *g, int64_t time,
    bool on);
/** repo_forget(r, g, time): -EPERM if it is protected, which is asked of the
 * store itself.  The manifest goes first, so that what is left after a crash
 * is no snapshot; exactly the keys that are listed below the snapshot's own
 * prefix, with its slash, are deleted. */
int repo_forget(struct repo *r, const struct group_name *g, int64_t time);

/*
 * Publishing.  Chunks are in the store already.
 */
struct snapshot_file {
	char name[NAME_LEN_MAX + 1];	/* server name */
	struct buf *data;	/* an index's or a blob's file, encoded */
	uint64_t size;		/* as a manifest says it */
	struct digest csum;
};

struct snapshot_new {
	struct group_name group;
	int64_t time;
	const struct snapshot_file *files;	/* in the manifest's order */
	size_t n_files;
	struct buf *manifest;		/* the blob: put last */
	bool protect;			/* from the first moment on */
};

/**
 * repo_publish(r, s):
 * All files side by side, then the manifest.  -EEXIST if there is a finished
 * snapshot of that time.  If the answer to the manifest's put is lost, the
 * store is asked; *ret_unknown is set if that failed too: the snapshot may be
 * there.  After other errors what was put is deleted again, best effort.
 */
int repo_publish(struct repo *r, const struct snapshot_new *s,
    bool *ret_unknown);
/** repo_publish_outcome(r, g, time, digest): after a crash: 1 if the store has
 * a manifest with that SHA-256 of its bytes, and the tree shows it; 0 if not:
 * then leftovers without a manifest are gone; -errno: not known. */
int repo_publish_outcome(struct repo *r, const struct group_name *g,
    int64_t time, const struct digest *manifest);

/* What became of objects, for a new tree. */
struct repo_edit {
	const char *key;
	bool gone;
	uint64_t size;
	int64_t mtime;
	const char *etag;
};
/** repo_apply(r, e, n): the tree as it is after these changes. */
int repo_apply(struct repo *r, const struct repo_edit *e, size_t n);

#endif
