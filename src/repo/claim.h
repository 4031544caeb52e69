/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_CLAIM_H
#define REPO_CLAIM_H

#include <stdbool.h>

struct store;

/*
 * Who may write into a datastore.
 *
 * A bucket has a marker, ".in-use", with the name of the host that writes; one
 * of another host's is refused with that name, unless it is taken over.  On
 * one host a lock file, named by what the store is, lets one program write; a
 * directory has its own, in <base>/.pbs3fs/lock as well.  A directory also has
 * Proxmox Backup's ".lock", of which every writer holds a shared POSIX record
 * lock, so that garbage collection of a server beside us waits: format
 * document section 1.6.
 */
struct claim;

struct claim_opts {
	const char *name;	/* for messages */
	const char *identity;	/* what the store is: URL or real path */
	const char *base;	/* of a directory; NULL: a bucket */
	const char *run_dir;	/* where lock files are; NULL: /run/pbs3fs, or
				 * of a user's own, $XDG_RUNTIME_DIR/pbs3fs */
	/* Where the open snapshots of this store are, on this host; NULL: it
	 * has none. */
	const char *state;
	/* Whether such a directory has some that were changed: 1, 0; -errno:
	 * that cannot be known, with a message.  NULL: none has. */
	int (*has_open)(const char *state, const char *identity);
	bool takeover;
};

/*
 * Which state directory that is, is written into the store, ".pbs3fs/state",
 * with a number that changes whenever it becomes another one.  As long as the
 * one that is named there is on this host and has open snapshots that were
 * changed, another one is refused (-EBUSY, with its path) unless the store is
 * taken over: what they refer to would be garbage.
 */
/**
 * claim_take(s, o, ret):
 * -EBUSY another program on this host writes; -EUSERS another host's marker:
 * each with a message and a hint (-o ro, --takeover).  A bucket without a
 * marker gets one.  s is borrowed.
 */
int claim_take(struct store *s, const struct claim_opts *o, struct claim **ret);
/** claim_check(c): before what one relies on from now on is made visible: that
 * no other host has taken the bucket over since: -EUSERS, with a message. */
int claim_check(struct claim *c);
/** claim_generation(c): a text that changes when the bucket had another owner
 * in between, or either another state directory; "dir" for a directory without
 * one. */
const char *claim_generation(const struct claim *c);
/** claim_hold(c), claim_drop(c): counted; while anybody holds, the directory's
 * ".lock" is locked shared.  -EAGAIN if garbage collection has it.  For a
 * bucket nothing. */
int claim_hold(struct claim *c);
void claim_drop(struct claim *c);
/** claim_collect(c), claim_collected(c): around garbage collection: the
 * directory's ".lock" is ours alone, so that no backup server writes or
 * collects; who holds in this process goes on.  -EAGAIN while a server is at
 * work.  For a bucket claim_check. */
int claim_collect(struct claim *c);
void claim_collected(struct claim *c);
void claim_free(struct claim *c);
/** claim_socket(run_dir, identity, ret): where who has claimed that store may
 * listen for others of this host: beside the lock file; malloc'ed.  The
 * directory is private, and made if missing. */
int claim_socket(const char *run_dir, const char *identity, char **ret);

/** datastore_create_dir(base, ret_made): a directory datastore with all 65536
 * chunk directories, modes and owner (backup, if there is such a user and we
 * are root) that Proxmox Backup insists on.  -ENOTEMPTY, -EEXIST. */
int datastore_create_dir(const char *base);
/** datastore_create_bucket(s, o): refuses one that is in use elsewhere
 * (-EUSERS) or has content already (-EEXIST); writes the marker. */
int datastore_create_bucket(struct store *s, const struct claim_opts *o);

#endif
