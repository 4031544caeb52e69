/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_DRAFT_PRIV_H
#define DRAFT_DRAFT_PRIV_H

#include <pthread.h>
#include <sys/queue.h>

#include <bsd/sys/tree.h>

#include "draft/base.h"
#include "draft/draft.h"
#include "draft/record.h"

struct base_view;
struct chunk_keys;
struct content;
struct io;
struct journal;
struct learn;
struct replay;
struct spill;
struct stage_file;
struct staging;
struct str;

/* What is left of an inode, or of what it held, for who may do I/O. */
struct grave {
	STAILQ_ENTRY(grave) link;
	uint64_t ino, staged;
};

/* A name that is another file in the snapshot than the one it was known as. */
struct parted {
	STAILQ_ENTRY(parted) link;
	uint64_t ino;
	char path[];		/* from the draft's root */
};

/*
 * Numbers: bit 62 says draft; bits 44..60 which draft (slot); bit 61 an inode
 * made in it, numbered by a counter, otherwise one of a base, whose archives
 * get ranges one after the other as bases come.
 */
#define DRAFT_INO ((uint64_t)1 << 62)
#define DRAFT_INO_NEW ((uint64_t)1 << 61)
#define DRAFT_SLOT_SHIFT 44
#define DRAFT_SLOTS (1u << 17)
#define DRAFT_INO_MASK (((uint64_t)1 << DRAFT_SLOT_SHIFT) - 1)

/* A name in a directory that is not, or not any more, as in its base. */
struct dentry {
	RB_ENTRY(dentry) by_name;
	RB_ENTRY(dentry) by_id;
	uint64_t id;		/* for cookies: grows; never used again */
	struct inode *child;	/* counted; NULL: nothing has this name */
	bool hides;		/* the base directory has this name */
	uint16_t len;
	char name[];		/* terminated */
};
RB_HEAD(dentries, dentry);
RB_HEAD(dentries_by_id, dentry);

struct inode_xattr {
	char *name;		/* owned */
	uint8_t *value;		/* owned */
	size_t len;
};

/*
 * An inode that somebody knows of: the kernel, an open file, a name in a
 * dentry, a child directory, the journal.  Those of a base that nobody has
 * changed or holds are not there at all.
 */
struct inode {
	RB_ENTRY(inode) by_ino;
	RB_ENTRY(inode) by_base;	/* if archive */
	uint64_t ino;
	unsigned refs;		/* all reasons together; 0: freed */
	uint64_t nlookup;	/* of them, the kernel's: counted as one */
	unsigned nopen;		/* of them */
	unsigned nwrite;	/* open for writing */

	/* Where it is in the base, or NULL.  Keeps a reference of the base. */
	struct base_archive *archive;
	uint64_t pos;

	/* True once it is in the journal, which then counts as a reference
	 * unless nlink is 0. */
	bool logged;
	bool own_attr;		/* attributes differ from the base's */
	bool own_meta;		/* xattrs are those below, not the base's */
	bool has_meta;		/* the base entry has some */
	bool meta_known;	/* xattrs are those below, of whomever */
	/* Size, has_meta and what is not its own were read from the base.
	 * After a replay they were not: inode_load.  Whatever came by a name
	 * is. */
	bool loaded;

	uint32_t mode, uid, gid, nlink;
	bool nlink_known;	/* false: of a base file not counted yet */
	uint64_t rdev, pxar_flags;
	struct timespec mtime, ctime;
	uint64_t size;		/* regular file, symlink */
	char *target;		/* owned: a symlink's */
	struct inode_xattr *xattrs;	/* owned; sorted by name */
	size_t n_xattrs;

	/* Counted.  Of a directory: NULL for the root, when removed, and after
	 * a replay as long as nobody has come by its name in the base.  Of
	 * others a directory that it was last found in, to know its archive. */
	struct inode *parent;
	/* Directories. */
	struct dentries names;
	struct dentries_by_id ids;
	size_t n_children, n_hidden;	/* dentries with child; that hide */

	/* Regular files: NULL while the content is that of the base (or
	 * nothing, without a base). */
	struct content *content;
	struct stage_file *stage;	/* its descriptor, or NULL; stage.c */
	bool staged_file;	/* a staging file exists */
	bool summed;		/* content is in the draft's sums */
	struct base_view *view;	/* where bytes of the base are, once asked; or
				 * NULL; view.c */
	uint64_t write_end;	/* of the last write */
	uint64_t read_end;	/* of reads that may need the store */
	unsigned read_streak;
	int error;		/* of a write, until draft_flush has told it */
	uint64_t written_at;	/* ms: the last write */
	unsigned rewrites;	/* of what had been uploaded: leave it alone */
	/* Shared while staging bytes are read or written, exclusive while they
	 * are given back.  Taken before the draft's lock. */
	pthread_rwlock_t data;

	/* While a snapshot is made: where the entry is in the new one. */
	uint32_t new_archive;
	uint64_t new_pos;
	bool placed;
	unsigned counted;	/* references that draft_reset found */
};
RB_HEAD(inodes_by_ino, inode);
RB_HEAD(inodes_by_base, inode);

struct draft {
	struct drafts *all;
	struct group_name group;
	uint32_t slot;
	int dir;		/* owned; its directory; -1: none yet */
	LIST_ENTRY(draft) link;
	RB_ENTRY(draft) by_group;

	pthread_mutex_t lock;	/* guards all below and what is in inodes; held
				 * for moments; not across I/O, other than
				 * journal_add */
	pthread_cond_t cond;
	struct journal *journal;	/* made with the first change */
	struct base *base;	/* owned reference */
	struct inodes_by_ino inos;
	struct inodes_by_base bases;
	struct inode *root;
	uint64_t next_new;	/* numbers */
	uint64_t next_base;
	uint64_t next_dentry;
	uint64_t seq;		/* of changes of content: grows */
	bool changed;		/* since the base: something to publish */
	int64_t changed_at;	/* epoch seconds: the oldest change */
	uint64_t touched_ms;	/* the last change */
	uint64_t staged, chunked;	/* bytes, over all inodes */
	unsigned inside;	/* changes under way */
	unsigned frozen;	/* no new ones start */
	bool publishing;
	bool removed;		/* its group is gone */
	bool replaced;		/* it is a view of another snapshot, and
				 * drafts_refreshed has not told so */
	uint64_t done, total;
	/* A REC_PUBLISHING without an outcome: asked for before anything else
	 * may happen. */
	bool unsettled;
	int64_t unsettled_time;
	struct digest unsettled_manifest;
	int64_t learned;	/* the base whose chunks were made known */
	unsigned idle_failed;	/* times that it could not be published, and */
	uint64_t idle_after;	/* ms: not before */
	bool quiet;		/* why it cannot be published was said before */
	uint64_t unsynced;	/* journal: highest seq that was added */
	bool making;		/* somebody makes the journal */
	bool compacting;	/* or writes it anew: as if frozen */
	struct replay *replay;	/* while its journal is read */
	STAILQ_HEAD(, parted) parted;	/* while a snapshot is made */
	STAILQ_HEAD(, grave) graves;	/* to be given to inode_bury */
	uint64_t compact_at;	/* bytes of the journal */
	LIST_HEAD(, draft_dir) dirs;	/* open ones */
};

struct drafts {
	struct repo *repo;
	struct drafts_opts opts;	/* strings are not kept */
	int dir;		/* owned; of this store, locked */
	struct staging *staging;
	struct io *io;
	struct spill *spill;
	struct learn *learn;
	struct chunk_keys *keys;
	pthread_t idle;		/* publishes what nobody writes any more */
	bool has_idle;
	bool finishing;		/* that one ends; guarded by lock */
	unsigned publishing;	/* drafts; atomic */
	pthread_mutex_t lock;	/* guards the list */
	pthread_cond_t cond;
	LIST_HEAD(, draft) list;
	RB_HEAD(drafts_by_group, draft) groups;
	struct draft **slots;	/* owned; by number; NULL: free */
	uint32_t n_slots, free_from;
	bool stop;
};

RB_PROTOTYPE(dentries, dentry, by_name, dentry_cmp_name)
RB_PROTOTYPE(dentries_by_id, dentry, by_id, dentry_cmp_id)
RB_PROTOTYPE(drafts_by_group, draft, by_group, drafts_cmp_group)
RB_PROTOTYPE(inodes_by_ino, inode, by_ino, inode_cmp_ino)
RB_PROTOTYPE(inodes_by_base, inode, by_base, inode_cmp_base)

/*
 * enter.c: changes and who keeps them out.
 */
/** draft_enter(d, flags): before a change: 0; -EAGAIN with DRAFT_NOWAIT while
 * frozen; -ESHUTDOWN; -EIO if an unsettled snapshot could not be settled.
 * Makes the journal if there is none.  Then draft_leave. */
int draft_enter(struct draft *d, unsigned flags);
void draft_leave(struct draft *d);
/** draft_try_settle(d): if a publishing has no outcome yet, and nobody is at it:
 * asks for it.  May wait for the store. */
int draft_try_settle(struct draft *d);
/** draft_freeze(d): waits until nobody is inside; nobody enters until
 * draft_thaw. */
void draft_freeze(struct draft *d);
void draft_thaw(struct draft *d);

/*
 * dentry.c: names in a directory.  With the lock held.
 */
struct dentry *dentry_find(const struct inode *dir, const char *name,
    size_t len);
/** dentry_next_id(dir, id): the first with a greater one, or NULL. */
struct dentry *dentry_next_id(const struct inode *dir, uint64_t id);
/** dentry_new(name, len): in no directory yet; NULL: no memory. */
struct dentry *dentry_new(const char *name, size_t len);
/** dentry_set(d, dir, fresh, child, hides): the name of *fresh, which was made
 * for it, is child (NULL: nothing) from now on.  Takes *fresh or frees it.  The
 * parent of a directory is the caller's business. */
void dentry_set(struct draft *d, struct inode *dir, struct dentry **fresh,
    struct inode *child, bool hides);
/** dentry_clear(d, dir): all of them. */
void dentry_clear(struct draft *d, struct inode *dir);
/** dentry_forget(dir): the same, but their inodes are not touched: they go as
 * well. */
void dentry_forget(struct inode *dir);

/*
 * tree.c: inodes.  With the lock held.
 */
/** inode_find(d, ino): with a reference, or NULL. */
struct inode *inode_find(struct draft *d, uint64_t ino);
struct inode *inode_ref(struct inode *i);
/** inode_unref(d, i): may free it.  Of an inode without names and users the
 * staging file and its room go too, by inode_reap. */
void inode_unref(struct draft *d, struct inode *i);
/** inode_reap(d): without the lock: what became free since the last time loses
 * its staging file.  draft_leave and draft_forget do it; who else may have let
 * go of the last reference does it too. */
void inode_reap(struct draft *d);
/** inode_get(d, ino), inode_put(d, i): inode_find, and inode_unref with
 * inode_reap, for who does not hold the lock. */
struct inode *inode_get(struct draft *d, uint64_t ino);
void inode_put(struct draft *d, struct inode *i);
/** inode_get_with(d, ino, load, flags, ret): without the lock: a reference of
 * one for which load (inode_load, inode_load_meta) was fine; -ESTALE. */
typedef int inode_load_fn(struct draft *d, struct inode *i, unsigned flags);
int inode_get_with(struct draft *d, uint64_t ino, inode_load_fn *load,
    unsigned flags, struct inode **ret);
/** inode_load(d, i, flags): without the lock: see loaded. */
int inode_load(struct draft *d, struct inode *i, unsigned flags);
/** inode_count(d, i, flags): without the lock: nlink_known from then on.  Takes
 * BASE_CHEAP. */
int inode_count(struct draft *d, struct inode *i, unsigned flags);
/** inode_new(d, ino, ret): not in any directory; one reference.  -EEXIST. */
int inode_new(struct draft *d, uint64_t ino, struct inode **ret);
/** inode_free(d, i): whatever refers to it: only when all go. */
void inode_free(struct draft *d, struct inode *i);
/** inode_place(d, i, a, pos): it is that entry of the base; a may be NULL. */
void inode_place(struct draft *d, struct inode *i, struct base_archive *a,
    uint64_t pos);
/** inode_of_base(d, a, pos, e, ret): the one for that entry, made if need be
 * from e (read with or without meta); a reference. */
int inode_of_base(struct draft *d, struct base_archive *a, uint64_t pos,
    const struct pxar_entry *e, struct inode **ret);
/** inode_at(d, a, pos): the one that is that entry, with a reference, or
 * NULL. */
struct inode *inode_at(struct draft *d, const struct base_archive *a,
    uint64_t pos);
/** inode_keep(d, i): it is in the journal from now on, which holds a
 * reference. */
void inode_keep(struct draft *d, struct inode *i);
/** inode_nameless(d, i): its last name has gone: so has what the journal knew
 * of it. */
void inode_nameless(struct draft *d, struct inode *i);
/** inode_set_parent(d, i, dir): NULL: none. */
void inode_set_parent(struct draft *d, struct inode *i, struct inode *dir);
/** inode_hold(i): the kernel knows of one more name. */
void inode_hold(struct inode *i);
void inode_stat(const struct draft *d, const struct inode *i,
    struct stat *ret);
/** inode_retarget(d, i, a, pos): it is that entry of another base now, with
 * nothing of its own; its number stays. */
void inode_retarget(struct draft *d, struct inode *i, struct base_archive *a,
    uint64_t pos);
/** inode_path(d, i, out): for messages: from the draft's root; "?" where it is
 * not known. */
void inode_path(struct draft *d, struct inode *i, struct str *out);

/*
 * log.c: what is added to the journal.
 */
/** draft_log(d, txn, ret_seq): lock held, inside; the caller applies the change
 * right after, under the same lock; later, without the lock,
 * journal_commit(seq).  Notes that the draft has changed.  An inode with nlink
 * 0 is not in the journal any more (REC_DROP went with its last name) and no
 * record may name it; an empty txn is fine: seq 0. */
int draft_log(struct draft *d, const struct str *txn, uint64_t *ret_seq);
/** log_head(d, b, flags, txn): what a journal begins with: whose it is, and the
 * base.  Without the lock; may ask the store for the base's manifest. */
int log_head(struct draft *d, struct base *b, unsigned flags,
    struct str *txn);
/** log_touch(d, dir, now, txn): that dir was changed then. */
int log_touch(struct draft *d, const struct inode *dir,
    const struct timespec *now, struct str *txn);
/** log_chunk(d, ino, p, txn): that the piece is in its chunk. */
int log_chunk(const struct draft *d, uint64_t ino, const struct piece *p,
    struct str *txn);
int log_drop(const struct inode *i, struct str *txn);
/** log_name(d, dir, name, len, child, hides, txn): child NULL: nothing. */
int log_name(const struct inode *dir, const char *name, size_t len,
    const struct inode *child, bool hides, struct str *txn);
/** log_inode(d, i, txn): its REC_INODE, and REC_META if own_meta; for one that
 * is logged already log_attr, its REC_INODE, is enough.  Nothing if nlink is 0.
 * All attributes are its own from then on: it must be loaded.  Then, when
 * draft_log was fine, inode_keep. */
int log_inode(struct draft *d, const struct inode *i, struct str *txn);
int log_attr(struct draft *d, const struct inode *i, struct str *txn);

/*
 * compact.c, reset.c, replay.c: all of the journal.
 */
#define JOURNAL_COMPACT_MIN ((uint64_t)8 << 20)
/** draft_compact(d): rewrites the journal if it has grown well beyond what it
 * says; freezes meanwhile. */
int draft_compact(struct draft *d);
/** draft_reset(d, base): frozen, lock not held: the journal says: a view of
 * base, nothing changed; the memory too, except for inodes that are held,
 * which the caller has given their new places (placed; taken back here).
 * Takes a reference of base.  Staging files and room of what is in base are
 * given back.  -EAGAIN, and nothing was done, if somebody came to hold an
 * inode that has a name and no place yet: the caller places it and calls
 * again.  Those without a name (nlink known to be 0) stay what they are. */
int draft_reset(struct draft *d, struct base *base);
/** draft_replay(arg, p, len): a journal_replay_fn; arg is the draft. */
int draft_replay(void *arg, const void *p, size_t len);
/** draft_replay_begin(d), draft_replay_end(d, err): around it; err is what
 * reading the journal came to, and is returned if there is no other error. */
int draft_replay_begin(struct draft *d);
int draft_replay_end(struct draft *d, int err);

/*
 * meta.c: xattrs of an inode, whether its own or the base's.
 */
/** inode_load_meta(d, i, flags): so that own_meta can be set: reads those of
 * the base into xattrs.  Without the lock. */
int inode_load_meta(struct draft *d, struct inode *i, unsigned flags);
/** inode_entry(d, i, flags, ret): what a pxar writer is given for it: all
 * attributes and meta.  Without the lock; pxar_entry_fini. */
int inode_entry(struct draft *d, struct inode *i, unsigned flags,
    struct pxar_entry *ret);

/*
 * attr.c
 */
/** attr_apply(i, c): lock held: all of c but the size, and ctime. */
void attr_apply(struct inode *i, const struct draft_change *c);
/** attr_kill_priv(d, i, flags): inside, without the lock, before bytes of a
 * file change: set-id bits and capabilities go, in a transaction of their own.
 * Costs a look at the inode if there are none. */
int attr_kill_priv(struct draft *d, struct inode *i, unsigned flags);

/*
 * dir.c
 */
/** draft_base_dir(d, i, flags, ret): the base directory behind a directory's
 * inode, or NULL in *ret if it has none. */
int draft_base_dir(struct draft *d, struct inode *i, unsigned flags,
    struct pxar_dir **ret);

/*
 * io.c, io_fill.c, recover.c, resize.c: content.  Without the lock, if nothing
 * else is said; what these share is in io.h.
 */
int io_start(struct drafts *ds, struct io **ret);
void io_stop(struct io *io);	/* shutdown: what waits ends soon */
void io_free(struct io *io);
/** inode_own(d, i, txn): lock held, inside: gives it a content of its own that
 * begins as the base's; adds REC_OWN.  Its size is known. */
int inode_own(struct draft *d, struct inode *i, struct str *txn);
/** io_read(d, i, p, len, off): all of it within the size; -EIO where it was
 * lost, -EBADMSG, -ENOENT of a chunk, errors of the store.  Waits. */
int io_read(struct draft *d, struct inode *i, void *p, size_t len,
    uint64_t off);
/** inode_disown(d, i, ret_room): lock held: it has no content of its own any
 * more: frees all that this part keeps of it, and takes it out of d's sums.
 * True if there is a staging file: inode_bury, once the lock is let go of.  For
 * who frees an inode or makes it the base's again. */
bool inode_disown(struct draft *d, struct inode *i, uint64_t *ret_room);
/** io_recover(d, i): after a replay: opens the accounts of its staging file;
 * where that is missing or short, pieces are lost, with a message. */
int io_recover(struct draft *d, struct inode *i);
/** io_truncate(d, i, size, c): the part of draft_setattr that is about size,
 * with the other attributes of c (NULL: none) in the same transaction, by
 * attr_apply.  Not inside yet: enters itself. */
int io_truncate(struct draft *d, struct inode *i, uint64_t size,
    const struct draft_change *c, unsigned flags);

/*
 * spill*.c: uploads what is staged before it is published, and gives back what
 * nobody needs; spill.h is their own.
 */
int spill_start(struct drafts *ds, struct spill **ret);
void spill_stop(struct spill *s);	/* shutdown */
void spill_free(struct spill *s);
/** spill_wrote(d, i): more was staged; the lock is not held. */
void spill_wrote(struct draft *d, struct inode *i);
/** inode_bury(d, ino, staged): gives back its staging file and that much room,
 * once the journal says durably that it is gone.  Without the lock. */
void inode_bury(struct draft *d, uint64_t ino, uint64_t staged);
/** spill_suspend(d): nothing of d is under way any more, nor will be until
 * spill_resume. */
void spill_suspend(struct draft *d);
void spill_resume(struct draft *d);
/** spill_keep_out(ds), spill_let_in(ds): in between no journal is synced and no
 * staging file removed by the spill. */
void spill_keep_out(struct drafts *ds);
void spill_let_in(struct drafts *ds);
/** spill_inode(d, i): all of its content into the store, and that into the
 * journal: fsync=store. */
int spill_inode(struct draft *d, struct inode *i);

/*
 * publish.c, idle.c: making a snapshot; publish.h is their own.
 */
/** publish_settle(d): asks for the outcome of an unsettled publishing. */
int publish_settle(struct draft *d);
/** publish_if_changed(d): as of now. */
int publish_if_changed(struct draft *d);
int publish_idle_start(struct drafts *ds);
/** publish_idle_stop(ds): waits for the snapshot that is being published. */
void publish_idle_stop(struct drafts *ds);

#endif
