/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_CATALOG_H
#define PBS_CATALOG_H

#include <stddef.h>
#include <stdint.h>

struct buf;

/*
 * catalog.pcat1: names, types, sizes and times of v1 archives.  Format
 * document section 6.
 */
enum catalog_type {
	CATALOG_DIR = 'd',
	CATALOG_FILE = 'f',
	CATALOG_SYMLINK = 'l',
	CATALOG_HARDLINK = 'h',
	CATALOG_BLOCK = 'b',
	CATALOG_CHAR = 'c',
	CATALOG_FIFO = 'p',
	CATALOG_SOCKET = 's',
};

struct catalog_entry {
	enum catalog_type type;
	const char *name;	/* borrowed from the catalog; not terminated */
	size_t name_len;
	uint64_t dir;		/* CATALOG_DIR: position of its table */
	uint64_t size;		/* CATALOG_FILE */
	int64_t mtime;		/* CATALOG_FILE, epoch seconds */
};

/** catalog_root(p, len, ret): position of the root table.  0 or -EBADMSG. */
int catalog_root(const void *p, size_t len, uint64_t *ret);

/**
 * catalog_table(p, len, pos, fn, arg):
 * Call fn for each entry of the table at pos.  A child's table always lies
 * before its parent's, so a walk ends; but a hostile catalog can lead to one
 * table by many ways, so who walks bounds what is visited.  -EBADMSG for
 * damage, possibly after some entries; a non-zero return of fn ends the walk
 * and is returned.
 */
typedef int catalog_fn(void *arg, const struct catalog_entry *e);
int catalog_table(const void *p, size_t len, uint64_t pos, catalog_fn *fn,
    void *arg);

/** catalog_has_links(p, len, archive): whether it knows of hard links in the
 * archive of that server name: 1 or 0; -ENOENT if it does not know the archive;
 * -EBADMSG; -ENOMEM. */
int catalog_has_links(const void *p, size_t len, const char *archive);

/*
 * Writing one: directories are opened and closed in order.  The outermost are
 * the archives, by server name; nothing else may be beside them (-EINVAL, as
 * for a name that no directory could hold).
 */
struct catalog_writer;
int catalog_writer_new(struct catalog_writer **ret);
int catalog_writer_open(struct catalog_writer *w, const char *name, size_t len);
int catalog_writer_close(struct catalog_writer *w);
int catalog_writer_add(struct catalog_writer *w, const struct catalog_entry *e);
/** catalog_writer_finish(w, ret): all directories are closed; the stream. */
int catalog_writer_finish(struct catalog_writer *w, struct buf **ret);
void catalog_writer_free(struct catalog_writer *w);

#endif
