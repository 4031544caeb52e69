/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_RECORD_H
#define DRAFT_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/digest.h"
#include "draft/content.h"

struct str;

/*
 * What a journal's transactions are made of.  A record says what is so from
 * now on, so that replaying one twice does no harm.
 */
enum record_kind {
	REC_HEAD = 1,	/* first of all: whose journal it is */
	REC_BASE,	/* the snapshot that numbers and BASE pieces are of */
	REC_ARCHIVE,	/* one of its archives: which numbers it owns */
	REC_INODE,	/* attributes of an inode */
	REC_META,	/* all of its xattrs; not given: as in the base */
	REC_NAME,	/* a name in a directory is that inode */
	REC_NO_NAME,	/* a name of the base is gone, or one of ours is */
	REC_OWN,	/* an inode's content begins as that of the base, which
			 * has len bytes */
	REC_STAGED,	/* written */
	REC_LOST,	/* could not be written */
	REC_PUNCH,
	REC_SIZE,
	REC_CHUNK,	/* uploaded */
	REC_DROP,	/* the inode is gone for good */
	REC_PUBLISHING,	/* that manifest is about to be put */
	REC_NOT_PUBLISHED,	/* it was not */
};

/* Journals that tell of no encrypted chunk have version 1. */
#define RECORD_VERSION 2
#define RECORD_VERSION_PLAIN 1
#define RECORD_NAME_MAX 255
#define RECORD_TARGET_MAX 4095
#define RECORD_XATTRS_MAX ((size_t)1 << 20)	/* bytes of REC_META's set */

enum record_inode_flags {
	REC_INODE_BASE = 1,	/* it is the base entry archive:pos */
	REC_INODE_ATTR = 2,	/* its attributes differ from that */
	REC_INODE_NLINK = 4,	/* nlink is exact; else that of the base */
};

enum record_name_flags {
	REC_NAME_HIDES = 1,	/* the base directory has this name */
};

struct record {
	enum record_kind kind;
	uint64_t ino;		/* INODE, META, OWN, STAGED ... DROP; NAME: the
				 * child */
	uint64_t parent;	/* NAME, NO_NAME */
	const char *name;	/* NAME, NO_NAME; HEAD: group as "ns:type/id";
				 * ARCHIVE: server name; INODE: a symlink's
				 * target.  Terminated when decoded; borrowed */
	size_t name_len;
	const void *data;	/* META: name NUL u32 length value, each */
	size_t data_len;
	uint64_t off, len;	/* STAGED, LOST, PUNCH; SIZE, OWN: len */
	int64_t time;		/* BASE, PUBLISHING: snapshot; 0: none */
	uint32_t slot;		/* HEAD */
	uint32_t version;	/* HEAD */
	uint64_t first, span;	/* ARCHIVE: numbers */
	uint32_t archive;	/* ARCHIVE, INODE: ordinal, from 0 */
	uint64_t pos;		/* INODE: in that archive */
	unsigned flags;		/* INODE; NAME, NO_NAME */
	uint32_t mode, uid, gid, nlink;		/* INODE */
	uint64_t rdev, pxar_flags;
	/* INODE; STAGED, LOST, PUNCH, SIZE: mtime alone, of both: so that a
	 * write is one small record.  The inode has own_attr by then. */
	int64_t mtime_sec, ctime_sec;
	uint32_t mtime_nsec, ctime_nsec;
	struct piece chunk;	/* CHUNK: off, len, digest, ...; not its key */
	bool sealed;		/* CHUNK: it is encrypted with the key of */
	struct digest key;	/* that fingerprint */
	struct digest digest;	/* PUBLISHING: SHA-256 of the manifest; ARCHIVE:
				 * its index's csum */
};

/** record_is_known(version): of a HEAD. */
static inline bool
record_is_known(uint32_t version)
{
	return version >= RECORD_VERSION_PLAIN && version <= RECORD_VERSION;
}

/** record_add(out, r): appends it to a transaction; -EINVAL for one that
 * record_next would refuse, which changes nothing; -ENOMEM. */
int record_add(struct str *out, const struct record *r);
/** record_next(p, len, ret): the first record of len > 0 bytes; its length, or
 * -EBADMSG.  Names have no '/' or NUL and are not "." or ".."; ranges do not
 * overflow INT64_MAX; chunk pieces lie within their chunk and are not empty;
 * data of META is what it should be; nanoseconds are less than a second; flags
 * are known; nothing is trusted beyond that.  Any version passes, so that the
 * caller can say which it is. */
int record_next(const void *p, size_t len, struct record *ret);

#endif
