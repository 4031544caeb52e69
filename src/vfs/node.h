/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VFS_NODE_H
#define VFS_NODE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pbs/names.h"

struct group_name;
struct str;
struct tree;
struct tree_file;
struct tree_group;
struct tree_ns;
struct tree_snap;

/*
 * The hierarchy of the mounted tree, made from one listing: everything down to
 * the files of a snapshot.  What is inside of archives is not in it.
 */
enum node_kind {
	NODE_NS,		/* a namespace, also the root */
	NODE_NS_DIR,		/* "ns" */
	NODE_TYPE,		/* "host", "vm", "ct" */
	NODE_GROUP,
	NODE_CURRENT,		/* the open snapshot; what is in it has numbers
				 * of its own */
	NODE_SNAP,
	NODE_LATEST,		/* symlink */
	NODE_OWNER,
	NODE_NOTES,		/* if writable always: see node_is_shown */
	NODE_FILE,		/* a file of a snapshot */
	NODE_CTL,		/* ".pbs3fs" */
	NODE_CTL_FILE,
};

#define NODE_SIZE_UNKNOWN UINT64_MAX

struct node {
	const char *name;	/* shown; owned by the tree, or own_name */
	struct node *parent;	/* NULL for the root */
	struct node *children;	/* owned; sorted by name */
	uint32_t n_children;
	uint8_t kind;
	uint8_t archive_kind;	/* NODE_FILE: enum archive_kind */
	bool own_name;
	uint32_t salt;
	uint64_t ino;
	int64_t mtime;
	union {
		const struct tree_ns *ns;
		const struct tree_group *group;	/* NODE_GROUP, _CURRENT,
						 * _LATEST */
		const struct tree_snap *snap;
		const struct tree_file *file;	/* NODE_OWNER, _NOTES, _FILE */
	};
	struct node_archive *archive;	/* NODE_FILE that owns numbers */
	/*
	 * What was learnt about it since, never unlearnt: st_size, and whether
	 * it cannot be read without a key.
	 */
	_Atomic uint64_t size;
	atomic_bool secret;
};

/* Attributes of the root directory of an archive that has been opened. */
struct node_root_attr {
	uint32_t mode, uid, gid;
	uint32_t mtime_nsec;
	int64_t mtime_sec;
	bool has_meta;
};

/* A pxar archive: the range of inode numbers of its entries. */
struct node_archive {
	uint64_t base, span;
	uint32_t salt;
	struct node *node;
	const struct tree_file *payload;	/* X.ppxar.didx of a split one */
	_Atomic(struct node_root_attr *) root;	/* owned; set once */
};

struct nodes {
	unsigned refs;		/* private: atomic */
	struct tree *tree;	/* shared: names and files are its own */
	struct node *root;	/* owned */
	struct node **by_ino;	/* all nodes, sorted by number */
	size_t n_nodes;
	struct node_archive *archives;	/* sorted by base */
	size_t n_archives;
	uint64_t bytes;		/* logical size, estimated from the listing */
	int64_t since;		/* the first listing: the time of what has none */
	bool writable;
};

enum nodes_flags {
	NODES_ALL = 1,		/* unfinished snapshots, too */
	NODES_WRITABLE = 2,	/* with current/, and all directories in which
				 * something can be made */
};

/**
 * nodes_build(t, flags, old, ret):
 * What was in old under the same path keeps its number and what is known of it;
 * a file that was replaced gets another number, an archive another range.  So
 * do notes, unless they can be written: then who writes them holds on to the
 * number.  old may be NULL.
 */
int nodes_build(struct tree *t, unsigned flags, struct nodes *old,
    struct nodes **ret);
struct nodes *nodes_ref(struct nodes *t);
void nodes_unref(struct nodes *t);

/** nodes_number(t, old): the part of nodes_build that gives out numbers. */
int nodes_number(struct nodes *t, struct nodes *old);

/** node_next(n): all nodes in path order, parents first. */
struct node *node_next(struct node *n);
/** node_child(n, name), nodes_find(t, ino): or NULL. */
struct node *node_child(const struct node *n, const char *name);
struct node *nodes_find(const struct nodes *t, uint64_t ino);
/** nodes_group(t, g): or NULL. */
struct node *nodes_group(const struct nodes *t, const struct group_name *g);
/** nodes_archive(t, ino): whose range holds ino, or NULL. */
struct node_archive *nodes_archive(const struct nodes *t, uint64_t ino);

/** node_path(n, out): appends the path from the root of the datastore, "" for
 * the root. */
void node_path(const struct node *n, struct str *out);
/** node_snap(n): the snapshot that n is or lies in, or NULL. */
const struct tree_snap *node_snap(const struct node *n);
/** node_is_shown(n): notes that a group does not have are not. */
bool node_is_shown(const struct node *n);
/** node_is_dir(n): for an archive without a key this is false. */
bool node_is_dir(const struct node *n);
bool node_is_archive(const struct node *n);
/** node_same_file(a, b): the same object in the same version. */
bool node_same_file(const struct node *a, const struct node *b);

#endif
