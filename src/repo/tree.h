/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_TREE_H
#define REPO_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "pbs/names.h"

/*
 * The datastore's hierarchy as one listing of .cnt/ told it.  A tree never
 * changes once it is built, so any thread may walk it as long as it holds a
 * reference; a refresh builds another one.  Everything in it is owned by the
 * tree.  Objects that fit no rule of the format are counted and left alone.
 */
struct tree_file {
	const char *name;	/* server name, as "root.pxar.didx" */
	uint64_t size;		/* of the object */
	int64_t mtime;
	const char *etag;	/* "" if unknown */
	struct tree_snap *snap;		/* NULL: owner or notes of the group */
	struct tree_group *group;
};

struct tree_snap {
	int64_t time;
	char name[CLOCK_UTC_LEN + 1];	/* "2024-01-01T00:00:00Z" */
	bool finished;		/* has a manifest */
	bool protected;
	struct tree_file *files;	/* sorted by name; without .protected */
	size_t n_files;
	struct tree_group *group;
};

struct tree_group {
	enum backup_type type;
	const char *id;
	const struct tree_file *owner, *notes;	/* or NULL */
	struct tree_snap *snaps;	/* sorted by time */
	size_t n_snaps;
	struct tree_ns *ns;
};

struct tree_ns {
	const char *name;	/* "" for the root */
	const char *path;	/* "a/b"; "" for the root */
	struct tree_ns *parent;	/* NULL for the root */
	bool marked;		/* has a marker; or else it is only in the way
				 * to what is in it */
	struct tree_ns **children;	/* sorted by name */
	size_t n_children;
	struct tree_group *groups;	/* sorted by type, then id */
	size_t n_groups;
};

struct tree {
	unsigned refs;		/* private: atomic */
	struct tree_ns *root;
	struct tree_ns *all_ns;	/* every namespace, parents before children,
				 * in the order of tree_ns_cmp; first the root */
	size_t n_ns;
	size_t n_groups, n_snaps, n_files;
	/* Objects that are none of the format's are left alone: how many, and
	 * the keys of some, sorted; they need not be valid ones. */
	size_t n_ignored;
	const char **ignored;
	size_t n_ignored_keys;
	int64_t listed_at;	/* epoch seconds */
};

#define TREE_IGNORED_MAX 1000	/* keys that are kept of them */

/*
 * A group is in the tree if it has an owner or a snapshot: Proxmox Backup
 * leaves the notes of a forgotten group behind.
 */

/* Building: keys (below the datastore's prefix) in any order. */
struct tree_builder;
int tree_builder_new(struct tree_builder **ret);
int tree_builder_add(struct tree_builder *b, const char *key, uint64_t size,
    int64_t mtime, const char *etag);
/** tree_builder_ignore(b, key, n): n objects that are ignored, of which one is
 * key; NULL: of none is the key known. */
int tree_builder_ignore(struct tree_builder *b, const char *key, size_t n);
/** tree_builder_finish(b, ret): frees b in any case. */
int tree_builder_finish(struct tree_builder *b, struct tree **ret);
void tree_builder_free(struct tree_builder *b);

struct tree *tree_ref(struct tree *t);
void tree_unref(struct tree *t);

const struct tree_ns *tree_find_ns(const struct tree *t, const char *path);
const struct tree_group *tree_find_group(const struct tree_ns *ns,
    enum backup_type type, const char *id);
const struct tree_snap *tree_find_snap(const struct tree_group *g,
    int64_t time);
const struct tree_file *tree_find_file(const struct tree_snap *s,
    const char *name);
/** tree_latest(g): the newest finished snapshot, or NULL. */
const struct tree_snap *tree_latest(const struct tree_group *g);

/** tree_ns_cmp(a, b): the order of namespace paths: by component. */
int tree_ns_cmp(const char *a, const char *b);
/** tree_group_cmp(a, b): the order of groups within a namespace. */
int tree_group_cmp(const struct tree_group *a, const struct tree_group *b);

/** tree_file_key(f, out): the object's key. */
int tree_file_key(const struct tree_file *f, char out[KEY_MAX + 1]);

#endif
