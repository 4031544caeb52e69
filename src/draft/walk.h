/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_WALK_H
#define DRAFT_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "draft/base.h"

struct draft;
struct inode;

/*
 * All of a frozen draft, base and changes merged, in the order of an archive:
 * depth first, the names of a directory sorted by their bytes.  A directory
 * comes before what is in it and once more after that.  Depth costs no
 * recursion; memory is some 24 bytes and the name for each entry of the
 * directories that are open, and 64 and its path for each file with several
 * names.  Reading goes on meanwhile, and so what nobody has changed may get an
 * inode, or lose it, at any time.  One thread.
 */
struct walk;

/* A file that has several names in one archive. */
struct walk_link {
	char *path;	/* owned: from the archive's root, of the first name */
	uint64_t pos;	/* the caller's */
	/* Private: */
	struct walk_link *next;
	const struct base_archive *archive;
	uint64_t key;
};

enum walk_step {
	WALK_ENTRY,	/* anything but a directory */
	WALK_DIR,
	WALK_DIR_END,	/* of e only the mode is set */
};

struct walk_entry {
	enum walk_step step;
	const char *name;
	const char *path;	/* as seen from the draft's root */
	size_t path_len;
	size_t depth;		/* 1: at the top */
	const char *below;	/* path from the archive's root, which has "" */
	/* Attributes; meta where asked for.  Of a regular file that has a
	 * content of its own, pos and content say nothing. */
	struct pxar_entry e;
	struct inode *inode;	/* a reference of the walk's, or NULL */
	bool own_content;	/* not that of the base, if it is a file */
	/* What it is in the base; NULL: nothing. */
	struct base_archive *archive;
	uint64_t pos;
	/* Of a regular file below the top that has several names; the same for
	 * each of them in one archive. */
	struct walk_link *link;
	bool again;		/* not the first of its names */
	size_t bad;		/* WALK_DIR_END: damaged entries of the base,
				 * which the walk left out */
};

/** walk_new(d, pxar_flags, ret): PXAR_META to have meta. */
int walk_new(struct draft *d, unsigned pxar_flags, struct walk **ret);
void walk_free(struct walk *w);
/** walk_next(w, ret): 0, 1 at the end, -errno with a message.  *ret is valid
 * until the next call. */
int walk_next(struct walk *w, const struct walk_entry **ret);
/** walk_content(e, ret): where the base has the bytes of a regular file, whose
 * archive is not NULL; base_content_fini. */
int walk_content(const struct walk_entry *e, struct base_content *ret);

/*
 * walk_list.c: the names of one directory.
 */
struct walk_name {
	size_t off;		/* of the name, among all names */
	struct inode *child;	/* borrowed; NULL: as in the base */
	size_t base;		/* number there, from 1; or WALK_CHANGED */
};
#define WALK_CHANGED 0
struct walk_list {
	struct walk_name *v;	/* owned; sorted */
	size_t n, room;
	char *names;		/* owned */
	size_t names_len, names_room;
	size_t bad;		/* entries of the base that cannot be read */
};
/** walk_list_root(d, l): the top: archives of the base.
 * walk_list_dir(d, i, p, dir, l): i or dir may be NULL. */
int walk_list_root(struct draft *d, struct walk_list *l);
int walk_list_dir(struct draft *d, struct inode *i, struct pxar *p,
    struct pxar_dir *dir, struct walk_list *l);
void walk_list_fini(struct walk_list *l);
static inline const char *
walk_list_name(const struct walk_list *l, size_t i)
{
	return l->names + l->v[i].off;
}

#endif
