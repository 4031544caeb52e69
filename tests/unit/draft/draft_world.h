/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_DRAFT_WORLD_H
#define UNIT_DRAFT_WORLD_H

#include <sys/stat.h>

#include "draft/draft.h"
#include "scratch_dir.h"

struct known;
struct mk;
struct repo;
struct slow_store;
struct uploads;

/* Drafts over a store in memory, with a state directory of their own. */
struct draft_world {
	struct scratch_dir dir;
	struct slow_store *s;	/* goes with the repository */
	struct repo *repo;
	struct known *known;
	struct uploads *uploads;
	struct drafts *ds;
	struct draft *d;	/* of host/h1 */
};

/** draft_world_open(w, s): over that store. */
void draft_world_open(struct draft_world *w, struct slow_store *s);
void draft_world_close(struct draft_world *w);
/** draft_world_again(w): as if the process had been killed at this moment: goes
 * on with a copy of the state directory as it is. */
void draft_world_again(struct draft_world *w);

/** draft_world_empty(): a store with the group host/h1 and no snapshot.
 * draft_world_tree(version): one whose snapshot has "root": directories d0 to
 * d3, each with a0 to a3, which have files f0 to f3; every f0 has two more
 * names, "hard" in its directory's parent and "hardN" in the root. */
struct slow_store *draft_world_empty(void);
struct slow_store *draft_world_tree(int version);

/* By path, "" for the root; errors are negative errno. */
int dw_find(struct draft_world *w, const char *path, struct stat *ret);
/** dw_parent(w, path, ret, ret_name): the directory, held: dw_drop. */
int dw_parent(struct draft_world *w, const char *path, uint64_t *ret,
    const char **ret_name);
void dw_drop(struct draft_world *w, uint64_t ino);
/** dw_stat(w, path): fails if nothing is there. */
struct stat dw_stat(struct draft_world *w, const char *path);
int dw_make(struct draft_world *w, const char *path, mode_t mode);
int dw_symlink(struct draft_world *w, const char *path, const char *target);
int dw_unlink(struct draft_world *w, const char *path);
int dw_rmdir(struct draft_world *w, const char *path);
int dw_link(struct draft_world *w, const char *from, const char *to);
int dw_rename(struct draft_world *w, const char *from, const char *to,
    unsigned how);
int dw_chmod(struct draft_world *w, const char *path, mode_t mode);
int dw_truncate(struct draft_world *w, const char *path, uint64_t size);
int dw_write(struct draft_world *w, const char *path, const void *p,
    size_t len, uint64_t off);
/** dw_read(w, path, p, len, off): bytes, or -errno. */
ssize_t dw_read(struct draft_world *w, const char *path, void *p, size_t len,
    uint64_t off);
int dw_set(struct draft_world *w, const char *path, const char *name,
    const char *value);
/** dw_get(w, path, name): malloc'ed text; NULL if there is none. */
char *dw_get(struct draft_world *w, const char *path, const char *name);
/** dw_list(w, path): names, sorted, each with a space after; malloc'ed. */
char *dw_list(struct draft_world *w, const char *path);

#endif
