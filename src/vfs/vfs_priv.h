/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VFS_VFS_PRIV_H
#define VFS_VFS_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "repo/change_list.h"
#include "vfs/gen.h"
#include "vfs/vfs.h"

struct archive;
struct archives;
struct dircache;
struct draft_dir;
struct node;
struct nodes;
struct notes;
struct outages;
struct pxar_entry;
struct reports;
struct roots;

/* Names longer than what the kernel takes cannot be shown. */
#define VFS_NAME_MAX 255
/* A damaged chunk below an archive's structure; it has been reported.  Not
 * -EBADMSG, which is what a damaged structure is. */
#define VFS_EDAMAGED EUCLEAN

struct vfs {
	struct repo *repo;		/* borrowed */
	struct vfs_opts opts;		/* strings are not kept, but: */
	struct drafts *drafts;		/* borrowed; NULL: read-only */
	struct draft_dir *held;		/* owned: root, if it is in one */
	char *owner;			/* owned: of new groups */
	char *disk;			/* owned, or NULL */
	uid_t uid;			/* of the hierarchy */
	gid_t gid;
	uint64_t root;			/* the number that VFS_ROOT stands for */
	char *root_path;		/* owned; "" if all is mounted */
	struct archives *archives;	/* owned */
	struct dircache *dirs;		/* owned */
	struct reports *reports;	/* owned */
	struct roots *roots;		/* owned */
	struct outages *outages;	/* owned */
	struct {
		vfs_generate_fn *fn;
		void *arg;
	} gens[GEN_NAMES];
	/* Open snapshots may have become views of other finished ones than
	 * whatever the kernel has pages of. */
	atomic_bool replaced;
	pthread_mutex_t refresh;	/* one at a time; guards no data */
	pthread_mutex_t renew;		/* so is building nodes */
	pthread_cond_t told;		/* nobody is telling */
	pthread_mutex_t lock;		/* guards what follows; for moments */
	struct nodes *nodes;		/* shared */
	struct vfs_refreshes refreshes;
	struct change_list changes;	/* of the last refresh */
	struct vfs_listener listener;
	unsigned telling;		/* threads that are in it */
	LIST_HEAD(, notes) notes;	/* that are open, and their refs */
};

/** vfs_nodes(v): the present hierarchy; a reference for the caller. */
struct nodes *vfs_nodes(struct vfs *v);
/** vfs_number(v, ino): as the outside knows it. */
uint64_t vfs_number(const struct vfs *v, uint64_t ino);

/*
 * What a number names.
 */
struct place {
	struct nodes *nodes;	/* shared: keeps node alive */
	struct node *node;	/* for an entry, its archive's */
	uint64_t pos;		/* of an entry below an archive's root, or 0 */
};
/** place_find(v, ino, ret): 0, -ESTALE. */
int place_find(struct vfs *v, uint64_t ino, struct place *ret);
void place_fini(struct place *p);

/* attr.c */
int attr_node(struct vfs *v, struct nodes *t, struct node *n, unsigned flags,
    struct vfs_attr *ret);
/** attr_entry(v, a, n, e, flags, ret): of an entry of the archive at n. */
int attr_entry(struct vfs *v, struct archive *a, const struct node *n,
    const struct pxar_entry *e, unsigned flags, struct vfs_attr *ret);
/** attr_type(n): its S_IFMT bits; a file's are known after snap_learn. */
mode_t attr_type(const struct node *n);

/* refresh.c */
/** vfs_show(v, replaced): after a change of ours: nodes of the repository's
 * tree.  replaced: unchanged open snapshots may get another finished one behind
 * them. */
int vfs_show(struct vfs *v, bool replaced);

/* keep.c */
/** vfs_keep_groups(v): makes groups again that have gone from the store, if what
 * was changed in their open snapshots is not in it yet. */
void vfs_keep_groups(struct vfs *v);

/* edit.c: in the hierarchy */
int edit_mkdir(struct vfs *v, const struct place *p, const char *name,
    unsigned flags);
int edit_rmdir(struct vfs *v, const struct place *p, const char *name,
    unsigned flags);
/** edit_xattr(v, p, name, p, len, how, flags): value NULL removes it. */
int edit_xattr(struct vfs *v, const struct place *p, const char *name,
    const void *value, size_t len, int how, unsigned flags);
/** edit_refused(p): why nothing can be changed there: -EROFS, -EPERM. */
int edit_refused(const struct place *p);

/* snap.c */
/** snap_learn(v, n, flags): size and secrecy of a NODE_FILE, from the manifest
 * where that is enough.  0 if all is known then. */
int snap_learn(struct vfs *v, struct node *n, unsigned flags);
/** snap_enter(v, snap, flags): what a listing of the snapshot needs. */
int snap_enter(struct vfs *v, struct node *snap, unsigned flags);
/** snap_no_key(v, n): logs that it is encrypted, and with which key; -ENOKEY. */
int snap_no_key(struct vfs *v, const struct node *n);

#endif
