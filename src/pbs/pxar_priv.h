/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_PXAR_PRIV_H
#define PBS_PXAR_PRIV_H

#include "pbs/pxar.h"
#include "pbs/pxar_format.h"

/*
 * What the pxar_*.c files share.  Dependencies go one way:
 * pxar_win <- pxar_goodbye, pxar_meta <- pxar_entry <- pxar_dir <- pxar_walk,
 * and pxar.c only opens.
 */

struct pxar {
	struct pxar_source src;	/* copied; its arg is borrowed */
	int version;
	uint64_t entry;		/* the root's ENTRY record */
	uint64_t root;		/* the root's GOODBYE record */
	uint64_t prelude_off, prelude_len;
};

/*
 * A moving window over the stream, so that records cost one read of the
 * source and not one each.  Nothing at or past limit is ever handed out;
 * reads ahead of what was asked for end at stop.
 */
#define PXAR_WIN_SIZE 4096
struct pxar_win {
	const struct pxar_source *src;	/* borrowed */
	uint64_t pos;		/* the next byte */
	uint64_t limit;		/* of the record range; at most stop */
	uint64_t stop;		/* at most the size of the stream */
	uint64_t off;		/* where buf lies in the stream */
	size_t len;		/* bytes in buf */
	size_t ahead;		/* least bytes of the next read */
	uint8_t buf[PXAR_WIN_SIZE];
};

/** pxar_win_init(w, src, pos, limit): stop is limit. */
void pxar_win_init(struct pxar_win *w, const struct pxar_source *src,
    uint64_t pos, uint64_t limit);
/** pxar_win_move(w, pos, limit): goes elsewhere, keeps what is in the buffer;
 * limit may be lower than before or up to stop. */
void pxar_win_move(struct pxar_win *w, uint64_t pos, uint64_t limit);
/** pxar_win_peek(w, n, ret): n bytes at pos (at most PXAR_WIN_SIZE), valid
 * until the next call; -EBADMSG past the limit. */
int pxar_win_peek(struct pxar_win *w, size_t n, const uint8_t **ret);
/** pxar_win_read(w, p, len): copies len bytes at pos and moves behind them. */
int pxar_win_read(struct pxar_win *w, void *p, size_t len);

struct pxar_rec {
	uint64_t type;
	uint64_t begin;		/* of the header */
	uint64_t len;		/* of the content, which lies below the limit */
	uint64_t end;
};
/** pxar_win_record(w, ret): the header at pos; moves to the content. */
int pxar_win_record(struct pxar_win *w, struct pxar_rec *ret);

/* A directory's GOODBYE record, checked but for its items. */
struct pxar_goodbye {
	uint64_t pos, end;
	uint64_t count;		/* items without the tail */
	uint64_t entry;		/* the ENTRY record, as it says */
};
/** pxar_goodbye_at(a, w, ret): the record at pos of the window, which may hold
 * all of it afterwards.  -ENOENT where the archive can have none. */
int pxar_goodbye_at(const struct pxar *a, struct pxar_win *w,
    struct pxar_goodbye *ret);
/** pxar_goodbye_before(w, floor, end, ret): the record that ends at end and
 * does not start before floor; moves the window. */
int pxar_goodbye_before(struct pxar_win *w, uint64_t floor, uint64_t end,
    struct pxar_goodbye *ret);

/** pxar_name_is_valid(name, len): what an entry may be called, but for its
 * length.  pxar_name_path_is_valid(path, len): such names joined by '/'. */
bool pxar_name_is_valid(const char *name, size_t len);
bool pxar_name_path_is_valid(const char *path, size_t len);

/** pxar_meta_is(type): a record of xattrs, ACLs, capabilities, quota. */
bool pxar_meta_is(uint64_t type);
/** pxar_meta_add(m, w, rec): takes one in; w stands at the content. */
int pxar_meta_add(struct pxar_meta *m, struct pxar_win *w,
    const struct pxar_rec *rec);

/** pxar_entry_name(w, name, ret_len): the FILENAME record at pos; name has
 * PXAR_NAME_MAX + 1 bytes. */
int pxar_entry_name(struct pxar_win *w, char *name, size_t *ret_len);
/** pxar_entry_body(a, w, flags, e): the ENTRY at pos and what follows up to
 * the content; sets all but pos and begin.  Of a directory end is not set. */
int pxar_entry_body(const struct pxar *a, struct pxar_win *w, unsigned flags,
    struct pxar_entry *e);
/** pxar_entry_link(a, w, link, flags, e): the HARDLINK record at pos, which
 * belongs to the FILENAME record at link: e is the file it refers to. */
int pxar_entry_link(const struct pxar *a, struct pxar_win *w, uint64_t link,
    unsigned flags, struct pxar_entry *e);

/** pxar_dir_read(a, d, i, flags, w, name, ret, ret_link): pxar_dir_entry with
 * a window (of pxar_dir_window) that serves many entries. */
int pxar_dir_read(const struct pxar *a, const struct pxar_dir *d, size_t i,
    unsigned flags, struct pxar_win *w, char *name, struct pxar_entry *ret,
    uint64_t *ret_link);
void pxar_dir_window(const struct pxar *a, const struct pxar_dir *d,
    struct pxar_win *w);
/** pxar_dir_at(d, pos, ret): the last entry that starts at or before pos. */
bool pxar_dir_at(const struct pxar_dir *d, uint64_t pos, size_t *ret);

#endif
