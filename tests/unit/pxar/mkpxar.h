/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_PXAR_MKPXAR_H
#define UNIT_PXAR_MKPXAR_H

#include <stddef.h>
#include <stdint.h>

struct pxar_source;

/*
 * Writes pxar archives in memory, record by record, so that tests can make
 * what no honest writer would.  Out of memory ends the program.
 *
 *	mk_init(&m, 1);
 *	mk_root(&m, &attr);
 *	mk_file(&m, "a.txt", &attr, "hi\n", 3);
 *	mk_dir(&m, "sub", &attr);
 *	mk_up(&m);
 *	mk_finish(&m);
 */
struct mk_bytes {
	uint8_t *p;	/* owned */
	size_t len, size;
};

struct mk_item {
	uint64_t hash, offset, size;	/* offset: of FILENAME, from the start */
};

struct mk_level {
	uint64_t begin;		/* FILENAME, or 0 for the root */
	uint64_t entry;		/* what the tail goes back to */
	uint64_t hash;		/* of its name */
	struct mk_item *items;	/* owned */
	size_t n, size;
};

#define MK_DEPTH 600
struct mk {
	int version;
	struct mk_bytes main, payload;
	struct mk_bytes pending;	/* attributes of the next ENTRY */
	struct mk_level level[MK_DEPTH];
	unsigned depth;		/* levels in use */
	uint64_t last_goodbye;	/* where the table last written is */
	/* Reads of mk_source. */
	unsigned long reads;
	unsigned long bytes;
	unsigned long fail_at;	/* this read fails with -EIO; 0 is none */
};

struct mk_attr {
	uint64_t mode;
	uint64_t flags;
	uint32_t uid, gid;
	int64_t sec;
	uint32_t nsec;
	int old;		/* write an ENTRY_V1 */
};

/* Plain attributes with a mode. */
#define MK(m) (&(const struct mk_attr){.mode = (m)})

void mk_init(struct mk *m, int version);
void mk_fini(struct mk *m);

/* Raw parts. */
void mk_put(struct mk_bytes *b, const void *p, size_t len);
void mk_put64(struct mk_bytes *b, uint64_t v);
void mk_head(struct mk_bytes *b, uint64_t type, uint64_t content);
void mk_record(struct mk_bytes *b, uint64_t type, const void *p, size_t len);
void mk_entry(struct mk *m, const struct mk_attr *a);
/** mk_name(m, name, len): a FILENAME record; its offset. */
uint64_t mk_name(struct mk *m, const char *name, size_t len);
/** mk_add(m, name, len, begin, extra): the item of what was written from begin
 * on, with a size that is extra larger. */
void mk_add(struct mk *m, const char *name, size_t len, uint64_t begin,
    uint64_t extra);

/* Attributes of the entry that comes next. */
void mk_xattr(struct mk *m, const char *name, const void *value, size_t len);
void mk_numbers(struct mk *m, uint64_t type, const uint64_t *v, size_t n);

/* Entries; each returns the offset of its FILENAME. */
void mk_prelude(struct mk *m, const char *text);
void mk_root(struct mk *m, const struct mk_attr *a);
uint64_t mk_file(struct mk *m, const char *name, const struct mk_attr *a,
    const void *data, size_t len);
uint64_t mk_symlink(struct mk *m, const char *name, const struct mk_attr *a,
    const char *target);
uint64_t mk_device(struct mk *m, const char *name, const struct mk_attr *a,
    uint64_t major, uint64_t minor);
uint64_t mk_special(struct mk *m, const char *name, const struct mk_attr *a);
uint64_t mk_link(struct mk *m, const char *name, uint64_t target,
    const char *path);
uint64_t mk_dir(struct mk *m, const char *name, const struct mk_attr *a);
/** mk_up(m): ends the directory; the offset of its table. */
uint64_t mk_up(struct mk *m);
/** mk_finish(m): ends all that is open, and the payload stream. */
void mk_finish(struct mk *m);

/** mk_source(m): reads the main stream and counts; a read outside of it ends
 * the program. */
struct pxar_source mk_source(struct mk *m);
struct pxar_source mk_payload_source(struct mk *m);

#endif
