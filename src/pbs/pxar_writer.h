/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_PXAR_WRITER_H
#define PBS_PXAR_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pbs/pxar.h"

/*
 * Writes a pxar archive, byte for byte as Proxmox Backup would: version 1, or
 * the metadata stream of version 2, whose files refer to a payload stream that
 * the caller writes.  Format document section 7.
 *
 * Entries come depth first; those of a directory sorted by name bytes, each
 * name once (-EINVAL otherwise).  Bytes go to the sink in order.  Memory is 24
 * bytes and the name's hash for each entry of the directories that are open.
 * An error sticks: every later call returns it.  One thread at a time.
 */
struct pxar_writer;

struct pxar_sink {
	int (*write)(void *arg, const void *p, size_t len);
	void *arg;		/* borrowed */
};

/* What a payload stream begins and ends with, and what precedes each file. */
#define PXAR_PAYLOAD_START_LEN 16
#define PXAR_PAYLOAD_HEADER_LEN 16
void pxar_payload_start(uint8_t out[PXAR_PAYLOAD_START_LEN]);
void pxar_payload_tail(uint8_t out[PXAR_PAYLOAD_START_LEN]);
void pxar_payload_header(uint64_t size, uint8_t out[PXAR_PAYLOAD_HEADER_LEN]);

/** pxar_writer_new(version, sink, ret): version 1 or 2. */
int pxar_writer_new(int version, const struct pxar_sink *sink,
    struct pxar_writer **ret);
void pxar_writer_free(struct pxar_writer *w);

/*
 * An entry's attributes are those of a struct pxar_entry as pxar_stat fills it
 * with PXAR_META: mode, flags, uid, gid, mtime, and meta (borrowed, may be
 * NULL); also target, dev_major and dev_minor where the type has them.  What
 * the format cannot hold is -EINVAL (a name that is empty, "." or "..", or has
 * a '/'; a type that does not fit the call; an empty target), -ENAMETOOLONG
 * (PXAR_NAME_MAX, PXAR_TARGET_MAX, PXAR_XATTR_NAME_MAX), -E2BIG
 * (PXAR_XATTR_MAX, PXAR_FCAPS_MAX, PXAR_META_MAX), -EOVERFLOW (PXAR_DIR_MAX
 * entries in one directory), -EFBIG (half of what an offset can be).
 *
 * *ret_pos, where given, is the position by which pxar_stat finds the entry in
 * the finished archive; that of a directory is known when it is closed.
 */

/** pxar_writer_root(w, e): first of all, once. */
int pxar_writer_root(struct pxar_writer *w, const struct pxar_entry *e);
int pxar_writer_dir(struct pxar_writer *w, const char *name,
    const struct pxar_entry *e);
/** pxar_writer_dir_end(w, ret_pos): of the last one that is open; that of the
 * root ends the archive. */
int pxar_writer_dir_end(struct pxar_writer *w, uint64_t *ret_pos);

/** pxar_writer_file_ref(w, name, e, offset, ret_pos): version 2; e->size bytes
 * of content lie behind the PAYLOAD header at offset in the payload stream.
 * Offsets increase strictly (-EINVAL). */
int pxar_writer_file_ref(struct pxar_writer *w, const char *name,
    const struct pxar_entry *e, uint64_t offset, uint64_t *ret_pos);

/** pxar_writer_file(w, name, e, ret_pos): version 1; exactly e->size bytes
 * follow by pxar_writer_data before anything else (-EINVAL). */
int pxar_writer_file(struct pxar_writer *w, const char *name,
    const struct pxar_entry *e, uint64_t *ret_pos);
int pxar_writer_data(struct pxar_writer *w, const void *p, size_t len);

/** pxar_writer_node(w, name, e, ret_pos): symlink, device, fifo, socket. */
int pxar_writer_node(struct pxar_writer *w, const char *name,
    const struct pxar_entry *e, uint64_t *ret_pos);

/** pxar_writer_hardlink(w, name, pos, path): another name of the regular file
 * at pos, written before; path is that file's from the root ("a/b").  One over
 * PXAR_TARGET_MAX cannot be linked to, only be stored again: -ENAMETOOLONG. */
int pxar_writer_hardlink(struct pxar_writer *w, const char *name,
    uint64_t pos, const char *path);

/** pxar_writer_size(w): bytes given to the sink so far. */
uint64_t pxar_writer_size(const struct pxar_writer *w);
/** pxar_writer_is_done(w): the root has been closed, without any error. */
bool pxar_writer_is_done(const struct pxar_writer *w);

#endif
