/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_BASE_H
#define DRAFT_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pbs/names.h"
#include "pbs/pxar.h"
#include "repo/edit.h"

struct buf;
struct digest;
struct index;
struct manifest;
struct pxar_dir;
struct reader;
struct repo;
struct tree_snap;

/*
 * The finished snapshot that a draft is a view of.  Immutable but for what is
 * opened when first needed; shared; any thread.  Calls that may ask the store
 * take REPO_NOWAIT.
 */
struct base;

/* A directory or a file at the top. */
struct base_archive {
	struct base *base;
	uint32_t ordinal;	/* in base, from 0 */
	enum archive_kind kind;	/* FIXED, DYNAMIC, PXAR, MPXAR, BLOB */
	char *shown;		/* owned: name at the top */
	char *server;		/* owned: "root.mpxar.didx" */
	uint64_t first, span;	/* inode numbers: set by the draft */
	struct base_archive_data *data;	/* private */
};

/** base_open(r, s, ret): s NULL: an empty one.  Reads nothing yet.  Without
 * manifest, client log, catalog and key blobs.  What base needs of s is
 * copied. */
int base_open(struct repo *r, const struct tree_snap *s, struct base **ret);
struct base *base_ref(struct base *b);
void base_unref(struct base *b);
int64_t base_time(const struct base *b);	/* 0: empty */
size_t base_count(const struct base *b);
/** base_archive(b, i): sorted by shown name; as long as b. */
struct base_archive *base_archive(struct base *b, size_t i);
struct base_archive *base_find(struct base *b, const char *shown);

/** base_manifest(b, flags, ret): of one that is not empty; a reference. */
int base_manifest(struct base *b, unsigned flags, struct manifest **ret);

/** base_csum(a, flags, ret): what the manifest says of its index; all zeros if
 * that says nothing or cannot be read. */
int base_csum(struct base_archive *a, unsigned flags, struct digest *ret);
/** base_expect(a, csum): -EIO for all that asks for an archive whose index is
 * not that one; zeros: any.  Before others know of the base. */
void base_expect(struct base_archive *a, const struct digest *csum);
/** base_open_gone(r, g, time, servers, n, ret): a snapshot that the store does
 * not have any more: archives of those names, sorted as shown; -EIO for all
 * that is asked of them. */
int base_open_gone(struct repo *r, const struct group_name *g, int64_t time,
    char *const *servers, size_t n, struct base **ret);

/** base_is_tree(a). */
bool base_is_tree(const struct base_archive *a);
/** base_span(a): how many numbers its entries need: base_number is below. */
uint64_t base_span(const struct base_archive *a);
/** base_number(a, pos): first + something; different for each entry that is an
 * inode.  The root of a tree, and a file, have the number of base_root. */
uint64_t base_number(const struct base_archive *a, uint64_t pos);
/** base_root(a, flags, ret_pos): 0 for a file. */
int base_root(struct base_archive *a, unsigned flags, uint64_t *ret_pos);

/** base_entry(a, pos, pxar_flags, flags, ret): by pxar_stat; for a file, which
 * has none, made up: mode 0644, its size, the snapshot's time. */
int base_entry(struct base_archive *a, uint64_t pos, unsigned pxar_flags,
    unsigned flags, struct pxar_entry *ret);
/** base_dir(a, pos, flags, ret): cached, least recently used; a reference. */
int base_dir(struct base_archive *a, uint64_t pos, unsigned flags,
    struct pxar_dir **ret);
/** base_lookup(a, pos, name, len, flags, ret): in the directory at pos, without
 * meta.  -ENOENT. */
int base_lookup(struct base_archive *a, uint64_t pos, const char *name,
    size_t len, unsigned flags, struct pxar_entry *ret);
/** base_pxar(a, flags, ret): to call pxar functions with; as long as a. */
int base_pxar(struct base_archive *a, unsigned flags, struct pxar **ret);
/** base_nlink(a, pos, flags, ret): exact; the first call for an archive reads
 * all of its metadata, unless a catalog says that there are no hard links.
 * With BASE_CHEAP -EOVERFLOW rather than read all of a large archive for that. */
#define BASE_CHEAP 0x100u
int base_nlink(struct base_archive *a, uint64_t pos, unsigned flags,
    uint32_t *ret);

/** base_error(a, r): passes r on, after saying what is damaged; -ENOENT, which
 * is not about a name, becomes -EIO. */
int base_error(const struct base_archive *a, int r);

/* Where the content of a regular file is. */
struct base_content {
	struct reader *stream;	/* owned reference; NULL for a blob */
	struct buf *blob;	/* owned reference, or NULL */
	uint64_t off;		/* of the first byte in the stream */
	uint64_t size;
	/* A PAYLOAD header for that size lies in the 16 bytes before off. */
	bool has_header;
};
int base_content(struct base_archive *a, const struct pxar_entry *e,
    unsigned flags, struct base_content *ret);
void base_content_fini(struct base_content *c);

#endif
