/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_PXAR_H
#define PBS_PXAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * pxar archives, version 1 and the metadata stream (.mpxar) of version 2, by
 * random access.  Format document section 7.
 *
 * A position (pos) names an entry for good: the offset of a file's FILENAME
 * record, or of a directory's GOODBYE record.  The root directory has the
 * position of its GOODBYE record like any other.  From a position alone the
 * entry can be read again, so that inode numbers need no table.
 *
 * Nothing read is trusted: records are bounded by the archive, names are
 * checked, directories cannot contain themselves.  All functions return
 * -EBADMSG for damage, and whatever the source's pread returned.  An archive
 * is immutable after pxar_open; any number of threads may use it if the
 * source allows that.
 */
struct pxar;

#define PXAR_NAME_MAX 4096
#define PXAR_TARGET_MAX 4096
#define PXAR_XATTR_NAME_MAX 255
#define PXAR_XATTR_MAX (PXAR_XATTR_NAME_MAX + 65536)
#define PXAR_FCAPS_MAX 65536
/* Attributes of one entry; a stream that repeats one chunk over and over could
 * otherwise hold any number of them. */
#define PXAR_META_MAX (16u << 20)

/* Where the bytes come from: all of len at off, or an error. */
struct pxar_source {
	int (*pread)(void *arg, void *p, size_t len, uint64_t off);
	void *arg;		/* borrowed */
	uint64_t size;		/* of the stream */
};

int pxar_open(const struct pxar_source *src, struct pxar **ret);
void pxar_close(struct pxar *a);

/** pxar_with_source(a, src): a handle on the same archive that reads through
 * another source (for example with other flags); cheap; closed on its own. */
int pxar_with_source(const struct pxar *a, const struct pxar_source *src,
    struct pxar **ret);

/** pxar_version(a): 1 or 2. */
int pxar_version(const struct pxar *a);
uint64_t pxar_root(const struct pxar *a);
/** pxar_prelude(a, ret_off, ret_len): where a v2 prelude lies; len 0 if none. */
void pxar_prelude(const struct pxar *a, uint64_t *ret_off, uint64_t *ret_len);

struct pxar_acl_id {
	uint32_t id;
	uint32_t perm;		/* r=4 w=2 x=1 */
};

/* The extended part of an entry; offsets into the archive keep it small. */
struct pxar_xattr {
	char *name;		/* owned, terminated */
	uint8_t *value;		/* owned */
	size_t len;
};

#define PXAR_ACL_UNSET UINT64_MAX
/* All that it points to is owned. */
struct pxar_meta {
	struct pxar_xattr *xattrs;	/* as stored; fcaps not among them */
	size_t n_xattrs;
	struct pxar_acl_id *acl_users, *acl_groups;
	size_t n_acl_users, n_acl_groups;
	bool has_group_obj;
	uint32_t group_obj;
	bool has_default;		/* ACL_DEFAULT present */
	uint64_t def_user_obj, def_group_obj, def_other, def_mask;
	struct pxar_acl_id *def_users, *def_groups;
	size_t n_def_users, n_def_groups;
	uint8_t *fcaps;			/* security.capability, or NULL */
	size_t fcaps_len;
	bool has_projid;
	uint64_t projid;
};
void pxar_meta_free(struct pxar_meta *m);

struct pxar_entry {
	uint64_t pos;
	uint32_t mode;		/* st_mode, type and permission bits only */
	uint64_t flags;		/* pxar feature bits */
	uint32_t uid, gid;
	int64_t mtime_sec;	/* floor */
	uint32_t mtime_nsec;	/* 0..999999999 */
	uint64_t size;		/* regular file: content; symlink: target */
	uint64_t content;	/* regular file: offset of content in the main
				 * stream (v1) or of the PAYLOAD header in the
				 * payload stream (v2, is_ref) */
	bool is_ref;
	uint64_t dev_major, dev_minor;
	char *target;		/* symlink: owned, terminated */
	struct pxar_meta *meta;	/* owned; NULL unless asked for or if empty */
	bool has_meta;		/* there are xattrs, ACLs, capabilities, quota */
	/* Where the archive's record range of this entry starts and ends, as far
	 * as it is known: [begin, end) from FILENAME (or ENTRY of the root and
	 * of a directory that pxar_stat found). */
	uint64_t begin, end;
};

enum pxar_read_flags {
	PXAR_META = 1,		/* read xattrs, ACLs, capabilities into meta */
};

/** pxar_entry_fini(e): frees what it owns. */
void pxar_entry_fini(struct pxar_entry *e);

/**
 * pxar_stat(a, pos, flags, ret):
 * The entry at a position; at that of a hard link's own FILENAME record the
 * file that it refers to.  -ENOENT if no entry has that position.
 */
int pxar_stat(struct pxar *a, uint64_t pos, unsigned flags,
    struct pxar_entry *ret);

/*
 * A directory: its goodbye table, sorted by the order of the archive.  Holds
 * 28 bytes per entry.  Immutable; any thread.
 *
 * Entries of one directory never share subdirectories and each lies strictly
 * inside of it, so a walk from any directory ends.
 */
struct pxar_dir;
#define PXAR_DIR_MAX (1u << 24)	/* entries; more is -EOVERFLOW */

int pxar_dir_open(struct pxar *a, uint64_t pos, struct pxar_dir **ret);
struct pxar_dir *pxar_dir_ref(struct pxar_dir *d);
void pxar_dir_unref(struct pxar_dir *d);
size_t pxar_dir_count(const struct pxar_dir *d);
/** pxar_dir_memory(d): bytes it holds, for who bounds them. */
size_t pxar_dir_memory(const struct pxar_dir *d);

/** pxar_dir_range(d, i, ret_begin, ret_end): where entry i can lie in the
 * stream, as far as its table tells: nothing is read. */
void pxar_dir_range(const struct pxar_dir *d, size_t i, uint64_t *ret_begin,
    uint64_t *ret_end);
/** pxar_dir_hash(d, i): of the name of entry i, as its table has it;
 * pxar_name_hash(name, len): of any. */
uint64_t pxar_dir_hash(const struct pxar_dir *d, size_t i);
uint64_t pxar_name_hash(const char *name, size_t len);

/**
 * pxar_dir_entry(a, d, i, flags, name, ret):
 * Entry number i in archive order.  name has PXAR_NAME_MAX + 1 bytes.  For a
 * hard link ret is the file it refers to, and *ret_link is the position of the
 * link's own FILENAME record; otherwise that is 0.
 * A damaged entry is -EBADMSG and the others stay readable.
 */
int pxar_dir_entry(struct pxar *a, const struct pxar_dir *d, size_t i,
    unsigned flags, char *name, struct pxar_entry *ret, uint64_t *ret_link);

/**
 * pxar_dir_find(a, d, name, len, flags, ret):
 * By name; reads only the entries whose hash is that of the name.  -ENOENT.
 */
int pxar_dir_find(struct pxar *a, const struct pxar_dir *d, const char *name,
    size_t len, unsigned flags, struct pxar_entry *ret);

/**
 * pxar_path(a, pos, ret):
 * The path from the root ("a/b", "" for the root) of the entry at pos,
 * malloc'ed; follows record ranges downwards.  -ENOENT if no entry is there,
 * -ENAMETOOLONG above PXAR_PATH_MAX.
 */
#define PXAR_PATH_MAX (1u << 20)
int pxar_path(struct pxar *a, uint64_t pos, char **ret);

/**
 * pxar_links(a, fn, arg):
 * Every hard link of the archive, by one walk over all of its directories:
 * the position of the file that it refers to.  For link counts.  Damaged
 * entries are passed over, as nobody can read them; other errors end the walk,
 * and so does fn by a value other than 0, which is returned.
 */
typedef int pxar_link_fn(void *arg, uint64_t file_pos);
int pxar_links(struct pxar *a, pxar_link_fn *fn, void *arg);

/**
 * pxar_check_payload(src, e):
 * src is the payload stream; e a regular file with is_ref.  Checks the header
 * there and returns the offset of the content.
 */
int pxar_check_payload(const struct pxar_source *src,
    const struct pxar_entry *e, uint64_t *ret_content);

#endif
