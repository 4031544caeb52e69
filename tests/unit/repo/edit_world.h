/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_REPO_EDIT_WORLD_H
#define UNIT_REPO_EDIT_WORLD_H

#include <pthread.h>
#include <stdbool.h>

#include "repo/edit.h"
#include "repo/repo.h"
#include "store/store.h"

/*
 * A datastore with neighbours whose names begin alike, in memory or in a
 * directory, behind a filter that counts and fails on order.
 */
enum fail_mode {
	FAIL_BEFORE,		/* nothing is done */
	FAIL_LOST,		/* done, yet reported as failed */
	FAIL_ALL_AFTER,		/* it and all that follow */
	FAIL_LOST_ALL_AFTER,	/* done, but not reported; then nothing works */
	FAIL_MODES
};

struct trip {
	struct store s;
	pthread_mutex_t lock;
	unsigned n[STORE_VERBS];	/* calls */
	unsigned calls;			/* that can fail */
	unsigned fail_at;		/* the call to fail, from 1; 0: none */
	enum fail_mode mode;
	int error;			/* what failing says */
	pthread_cond_t change;
	bool hold_list;			/* a listing is done, but not told of
					 * until this ends */
	char first_deleted[512];
	char last_put[512];
};

struct world {
	char dir[128];		/* scratch */
	bool is_dir;
	struct trip *trip;	/* borrowed: in repo */
	struct repo *repo;
};

#define W_TIME 1704067200	/* 2024-01-01T00:00:00Z */
extern const struct group_name w_group, w_prefix, w_nested, w_inner;

/** world_open(w, is_dir): groups host/web1 with two snapshots (the second one
 * protected), host/web10, host/web1 in namespaces a, ab and a/b. */
void world_open(struct world *w, bool is_dir);
void world_close(struct world *w);
/** world_await(w, v, n): until there were n such calls. */
void world_await(struct world *w, enum store_verb v, unsigned n);
/** world_hold_list(w, hold): sets hold_list. */
void world_hold_list(struct world *w, bool hold);
/** world_reset(w): counts are 0, nothing fails. */
void world_reset(struct world *w);

/* What is in the store: keys and contents in one digest each. */
struct picture {
	struct picture_entry {
		char key[512];
		struct digest d;
	} *v;
	size_t n;
};
void picture_take(struct world *w, struct picture *p);
void picture_free(struct picture *p);
/** picture_compare(a, b, except): asserts that all is the same but what is
 * below that prefix (NULL: none). */
void picture_compare(const struct picture *a, const struct picture *b,
    const char *except);
bool picture_has(const struct picture *p, const char *key);

/** world_check(w): asserts that what the store has is valid: the files of each
 * finished snapshot are there, and are what its manifest says; each group has
 * an owner. */
void world_check(struct world *w);
/** world_shows_all(w): asserts that a listing finds nothing that the tree does
 * not have. */
void world_shows_all(struct world *w);

/* A snapshot to publish, of one index and two blobs. */
struct new_snap {
	struct snapshot_new s;
	struct snapshot_file files[3];
};
void new_snap_init(struct new_snap *n, const struct group_name *g,
    int64_t time, const char *text);
void new_snap_fini(struct new_snap *n);

const struct tree_snap *world_snap(struct tree *t, const struct group_name *g,
    int64_t time);

#endif
