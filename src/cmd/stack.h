/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_STACK_H
#define CMD_STACK_H

#include "cmd/target.h"
#include "store/store.h"

struct buf;
struct claim;
struct drafts;
struct enc_key;
struct keyring;
struct options;
struct repo;
struct s3;
struct s3_cred;
struct vfs;

/*
 * Everything between a command and its store.  Filled from the bottom up by
 * the calls below, as far as a command needs it; stack_close takes down what
 * there is.  Each logs its error and returns an exit status.
 */
struct stack {
	struct options *o;	/* borrowed */
	bool write;		/* for the caller to set: no filter keeps what
				 * changes something from the store */
	struct target t;
	struct s3_cred *cred;	/* owned */
	struct s3 *s3;		/* borrowed; NULL for a directory */
	struct keyring *keys;	/* owned; NULL: none */
	const struct enc_key *key;	/* of new snapshots; borrowed from keys;
					 * NULL: plain */
	struct buf *key_blob;	/* owned: it, for the master key; or NULL */
	struct store *store;	/* owned by repo once there is one */
	struct repo *repo;	/* owned */
	struct claim *claim;	/* owned; NULL: not claimed */
	struct drafts *drafts;	/* borrowed: for the tree; NULL: read-only */
	struct vfs *vfs;	/* owned */
	char *cache_dir;	/* owned; NULL: none */
	struct store_counts cost;	/* of a stack that was closed */
};

/** stack_name(s, o, store): which store it is, nothing opened yet; forgets all
 * that s was. */
int stack_name(struct stack *s, struct options *o, const char *store);
/** stack_open_keys: what keyfile names, for who reads contents; somebody may
 * have to type, so before the store is asked anything. */
int stack_open_keys(struct stack *s);
/** stack_open_key: with which of them new snapshots are encrypted or signed,
 * for who writes. */
int stack_open_key(struct stack *s);
/** stack_open_store: backend, limits, faults, log; no cache. */
int stack_open_store(struct stack *s);
/** stack_open_repo: the cache, and the listing of the datastore; the kept one
 * if there is one and kept_first. */
int stack_open_repo(struct stack *s, bool kept_first);
/** stack_claim(s): to write; before anything is changed, and after the
 * repository was opened, so that there is one.  Returns 0 or -errno, with a
 * message; stack_cannot_write(err): it says that keys or disk do not allow it.
 */
int stack_claim(struct stack *s);
bool stack_cannot_write(int err);
/** stack_identity(s, ret): what the store is, on this host: malloc'ed. */
int stack_identity(const struct stack *s, char **ret);
/** stack_open_vfs: the tree, without subdir unless mounting. */
int stack_open_vfs(struct stack *s, bool mounting);
/** stack_open(s, o, store): all of it, for a command that reads. */
int stack_open(struct stack *s, struct options *o, const char *store);

void stack_counts(const struct stack *s, struct store_counts *ret);
/** stack_close(s): may be called at any stage, and twice. */
void stack_close(struct stack *s);

#endif
