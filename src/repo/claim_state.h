/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_CLAIM_STATE_H
#define REPO_CLAIM_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "repo/claim.h"

struct store;

/*
 * What the store says of the state directory that may have open snapshots of
 * it: {"host":"a","state":"/var/lib/...","number":1,
 * "identity":"s3://..."}.
 */
struct claim_state {
	char *host;	/* owned; NULL: nothing is said */
	char *path;	/* owned */
	char *identity;	/* owned: what the store was called then; or NULL */
	uint64_t number;
};
void claim_state_fini(struct claim_state *s);

/** claim_state_parse(p, len, ret): -EBADMSG, -ENOMEM. */
int claim_state_parse(const void *p, size_t len, struct claim_state *ret);

/** claim_state_lock(o, ret): nobody else works with o->state as long as that
 * descriptor is open, by whatever name the store is to him and wherever his
 * lock file is; -1 if there cannot be such a directory.  -EBUSY, with a
 * message. */
int claim_state_lock(const struct claim_opts *o, int *ret);
/** claim_state_take(s, dir, o, ret_number): makes it o->state from now on,
 * which must not be NULL; in the bucket s, or (dir is not -1) in the directory
 * of ours in a datastore's.  -EBUSY, with a message. */
int claim_state_take(struct store *s, int dir, const struct claim_opts *o,
    uint64_t *ret_number);

#endif
