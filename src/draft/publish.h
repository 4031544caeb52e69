/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_PUBLISH_H
#define DRAFT_PUBLISH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pbs/manifest.h"
#include "pbs/manifest_writer.h"
#include "pbs/names.h"

struct base;
struct digest;
struct draft;
struct enc_key;
struct inode;
struct runs;
struct snapshot_file;
struct source;
struct str;
struct stream_writer;
struct uploads;
struct walk_entry;

/*
 * What the files share that make a snapshot of a draft: plan.c looks at all of
 * it first, emit*.c bring it into the store but for the manifest, publish.c
 * makes it a snapshot, place.c says where inodes are in it.
 */

/** publish_title(d, out): the group, as messages begin with it. */
void publish_title(const struct draft *d, struct str *out);

/** publish_log(d, fmt, ...): why not: an error, the first time. */
void publish_log(const struct draft *d, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/** publish_why(err): what it means to who publishes. */
const char *publish_why(int err);

/* publish_crypt.c */
/** publish_mode(d): of every file in the snapshot. */
enum crypt_mode publish_mode(const struct draft *d);
/** publish_tell_crypt(d): whoever has thought that it is encrypted should hear
 * that it is not; and why all of it is uploaded. */
void publish_tell_crypt(const struct draft *d);

/* What becomes of a name at the top. */
struct plan_top {
	enum archive_kind kind;	/* FIXED, DYNAMIC, BLOB, PXAR, MPXAR */
	char server[NAME_LEN_MAX + 1];
};

struct plan {
	struct plan_top *tops;	/* owned; in the order of the walk */
	size_t n_tops, room;
	/* Of the files below the top of split archives, as they come but for
	 * further names: whether they stay in their chunks. */
	struct runs *runs;	/* owned */
	uint64_t total;		/* bytes of files */
};

/** plan_make(d, p): frozen.  Everything that stands against publishing, each
 * with a message: -EILSEQ, -EIO, -ENODATA; and what is needed later. */
int plan_make(struct draft *d, struct plan *p);
void plan_fini(struct plan *p);
/** plan_top_of(d, name, mode, ret, ret_why): or -EILSEQ with a text. */
int plan_top_of(const struct draft *d, const char *name, uint32_t mode,
    struct plan_top *ret, const char **ret_why);

/* A snapshot that is being written. */
struct emit {
	struct draft *d;		/* borrowed */
	const struct plan *plan;	/* borrowed */
	struct uploads *uploads;	/* borrowed */
	const struct enc_key *key;	/* of chunks and blobs; borrowed; NULL:
					 * plain */
	int64_t time;
	uint8_t *buf;			/* owned: EMIT_BLOCK bytes */
	struct snapshot_file *files;	/* owned, with their data */
	size_t n_files, room;
	struct manifest_upload_stats stats;
	struct catalog_writer *catalog;	/* owned; NULL: no archive of v1 */
	struct emit_tree *tree;		/* owned; the archive that is open */
	uint32_t archive;		/* ordinal of the name at the top */
	uint64_t n_packed;		/* files that plan's runs know */
	uint64_t unreported;		/* progress */
};
#define EMIT_BLOCK ((size_t)4 << 20)

/** emit_all(em): every archive and blob, but for the manifest; afterwards all
 * chunks are in the store.  files is in the manifest's order. */
int emit_all(struct emit *em);
void emit_fini(struct emit *em);
/** emit_stream(em, w, server): ends the stream and adds its index; waits until
 * its chunks are in the store.  w is still the caller's to free. */
int emit_stream(struct emit *em, struct stream_writer *w, const char *server);
int emit_add_blob(struct emit *em, const char *server, const void *p,
    size_t len);
/** emit_progress(em, n): so many more bytes are done. */
void emit_progress(struct emit *em, uint64_t n);
/** emit_place(em, e, pos): where the entry is in the new snapshot. */
int emit_place(struct emit *em, const struct walk_entry *e, uint64_t pos);

/* emit_file.c */
int emit_file(struct emit *em, const struct walk_entry *e,
    const struct plan_top *t);
/** emit_content(em, s, w, natural): all bytes of s at the end of w; whole
 * chunks that are in the store are put in: natural ones where the writer has
 * just cut, which gives the cuts that all of the bytes would have; else any
 * that is worth a cut. */
int emit_content(struct emit *em, struct source *s, struct stream_writer *w,
    bool natural);
/** emit_inject(em, w, digest, size): a whole chunk that is in the store, behind
 * a cut; -ENOENT if it is gone or known to be damaged, and then nothing was
 * cut. */
int emit_inject(struct emit *em, struct stream_writer *w,
    const struct digest *digest, uint64_t size);

/* emit_tree.c: one archive at a time. */
struct emit_tree;
int emit_tree_begin(struct emit *em, const struct walk_entry *e,
    const struct plan_top *t);
int emit_tree_entry(struct emit *em, const struct walk_entry *e);
/** emit_tree_end(em, e): of a directory; that of the root ends the archive. */
int emit_tree_end(struct emit *em, const struct walk_entry *e);
void emit_tree_free(struct emit_tree *t);

/* place.c */
/** place_set(d, i, archive, pos, path): where i is in the new snapshot by that
 * name.  The first of several places counts; names that have another are kept
 * for parted_tell. */
int place_set(struct draft *d, struct inode *i, uint32_t archive,
    uint64_t pos, const char *path);
/** place_all(d, b): after a restart: by one walk, in the draft that became b.
 * place_rest(d, b): inodes that came up while the snapshot that is now b was
 * made; without the lock. */
int place_all(struct draft *d, struct base *b);
int place_rest(struct draft *d, struct base *b);
/** place_forget(d): it did not become one. */
void place_forget(struct draft *d);

/* parted.c */
/** parted_add(d, i, path): lock held. */
int parted_add(struct draft *d, const struct inode *i, const char *path);
void parted_clear(struct draft *d);
/** parted_tell(d): once the snapshot is the base, without the lock and not
 * frozen. */
void parted_tell(struct draft *d);

#endif
