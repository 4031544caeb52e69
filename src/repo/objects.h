/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_OBJECTS_H
#define REPO_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "crypt/digest.h"
#include "pbs/names.h"

struct damage;
struct enc_key;
struct keyring;
struct store;
struct tree_file;

/*
 * The small objects below .cnt/, parsed and checked.  However many ask for one
 * it is fetched once; those used last stay in memory within a bound.  What is
 * damaged is fetched once more past all caches.  That it is damaged or gone is
 * remembered for some seconds; that the store failed is not.
 */
struct objects;

enum object_kind {
	OBJECT_MANIFEST,	/* struct manifest */
	OBJECT_INDEX,		/* struct index */
	OBJECT_BLOB,		/* struct buf: decoded */
	OBJECT_TEXT,		/* struct buf: as stored, at most 1 MiB */
};

/* Which one, with all that is needed to fetch and check it, so that it does
 * not depend on the tree that told of it. */
struct object_id {
	enum object_kind kind;
	char key[KEY_MAX + 1];
	char etag[72];		/* "": unknown */
	uint64_t size;		/* as listed */
};

/* What the manifest says of it. */
struct object_expect {
	bool known;
	uint64_t size;
	struct digest csum;
	const struct enc_key *key;	/* borrowed: the snapshot's, or NULL */
};

/* Of a manifest, and of all that depends on it: its key is at hand and says
 * that somebody else has signed it. */
#define OBJECT_EFORGED EBADE

struct object_want {
	struct object_id id;
	bool in_manifest;	/* manifest and name are set */
	struct object_id manifest;
	char name[KEY_MAX + 1];	/* server name */
};

/** objects_new(s, damage, keys, timeout_ms, ret): all borrowed; keys may be
 * NULL. */
int objects_new(struct store *s, struct damage *damage,
    const struct keyring *keys, unsigned timeout_ms, struct objects **ret);
/** objects_shutdown(o): who waits is told -ESHUTDOWN.  Shut the store down
 * first. */
void objects_shutdown(struct objects *o);
void objects_free(struct objects *o);

/** object_want_file(w, kind, f): 0 or -ENAMETOOLONG. */
int object_want_file(struct object_want *w, enum object_kind kind,
    const struct tree_file *f);

/** objects_get(o, w, flags, ret): flags are those of repo.h.  The caller owns
 * a reference of the kind's type.  One timeout is for it and its manifest. */
int objects_get(struct objects *o, const struct object_want *w,
    unsigned flags, void **ret);

/** objects_prefetch(o, w): starts fetching it unless it is there. */
void objects_prefetch(struct objects *o, const struct object_want *w);

#endif
