/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VFS_ARCHIVE_H
#define VFS_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct links;
struct node;
struct pxar;
struct reader;
struct vfs;

/*
 * An open pxar archive: its stream, its parser, and what was learnt about its
 * links.  Independent of the hierarchy, so that an open file outlives a
 * refresh.  Archives that nobody uses stay open, the last ARCHIVES_IDLE of
 * them, and fewer if their links take more than ARCHIVES_IDLE_BYTES.
 */
struct archive;
struct archives;

#define ARCHIVES_IDLE 64
#define ARCHIVES_IDLE_BYTES ((size_t)64 << 20)

int archives_new(struct archives **ret);
void archives_free(struct archives *c);

/**
 * archive_get(v, n, flags, ret):
 * The archive at a NODE_FILE, opened if need be; a reference for the caller.
 * Its root's attributes are known (n->archive->root) afterwards.  -ENOKEY;
 * -EBADMSG; -EAGAIN with VFS_NOWAIT.
 */
int archive_get(struct vfs *v, const struct node *n, unsigned flags,
    struct archive **ret);
void archive_unref(struct archive *a);

/** archive_id(a): different for every opening. */
uint64_t archive_id(const struct archive *a);
uint64_t archive_base(const struct archive *a);
/** archive_has(a, pos): a number can be made of that position. */
bool archive_has(const struct archive *a, uint64_t pos);
/** archive_pxar(a, flags): the parser that waits, or not; borrowed. */
struct pxar *archive_pxar(struct archive *a, unsigned flags);
struct reader *archive_reader(struct archive *a);	/* borrowed */
struct links *archive_links(struct archive *a);		/* borrowed */
/**
 * archive_payload(v, a, n, flags, ret): the payload stream of a split archive;
 * n is its node.  A reference for the caller.
 */
int archive_payload(struct vfs *v, struct archive *a, const struct node *n,
    unsigned flags, struct reader **ret);

/**
 * archive_error(a, r):
 * Passes r on, after noting a damaged structure (-EBADMSG) in the damage list.
 */
int archive_error(struct archive *a, int r);

#endif
