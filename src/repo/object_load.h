/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_OBJECT_LOAD_H
#define REPO_OBJECT_LOAD_H

#include "base/clock.h"
#include "repo/objects.h"

struct manifest;

/* One fetch of one object: no state, no lock. */
struct object_load {
	struct store *store;
	struct damage *damage;
	const struct keyring *keys;	/* may be NULL */
	const struct object_id *id;
	bool local;		/* -EAGAIN rather than wait for the store */
	deadline_t deadline;
	/* What the manifest says; called once the object is there, so that
	 * both are fetched side by side.  May be NULL. */
	int (*expect)(void *arg, struct object_expect *ret);
	void *arg;
};

/**
 * object_load(l, ret, ret_cost):
 * Fetches, parses and checks; if it is damaged, once more past all caches;
 * if it still is, it goes into the damage list and -EBADMSG comes back, or
 * -OBJECT_EFORGED.
 * *ret_cost is about how much memory the value takes.
 */
int object_load(const struct object_load *l, void **ret, uint64_t *ret_cost);

void *object_ref(enum object_kind kind, void *value);
void object_unref(enum object_kind kind, void *value);

/** object_expect_from(m, name, ret): the manifest's entry; .known is false if
 * it has none. */
void object_expect_from(const struct manifest *m, const char *name,
    struct object_expect *ret);

#endif
