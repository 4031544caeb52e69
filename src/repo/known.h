/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_KNOWN_H
#define REPO_KNOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/digest.h"

struct index;

/*
 * Chunks that the store has for certain, so that they are not uploaded again:
 * those of indices of finished snapshots, and those whose upload was answered.
 * 40 bytes of memory for each, up to a bound; beyond it the oldest half is
 * forgotten, which costs uploads and nothing else.  Any thread.
 *
 * A file keeps what was uploaded over restarts: fixed-size records, each with
 * a checksum, appended; what cannot be read is passed over.  generation says
 * which life of the store it belongs to (who owns it, since when): a file of
 * another generation is begun anew, because somebody else may have collected
 * garbage since.
 */
struct known;

#define KNOWN_MAX_DEFAULT ((size_t)16 << 20)	/* digests */

/** known_new(path, generation, max, ret): path NULL: memory only. */
int known_new(const char *path, const char *generation, size_t max,
    struct known **ret);
void known_free(struct known *k);
bool known_has(struct known *k, const struct digest *d);
/** known_add(k, d): uploaded; goes into the file.  Failure to write is a
 * warning, once. */
void known_add(struct known *k, const struct digest *d);
/** known_add_index(k, x, era): all of them; not into the file.  era is what
 * known_era said before the caller saw that the snapshot of x is there.  1 if
 * chunks were condemned since: some of x may be among them, and the caller has
 * to see again that the snapshot is there. */
uint64_t known_era(struct known *k);
int known_add_index(struct known *k, const struct index *x, uint64_t era);
/** known_add_listed(k, d, era): a listing has it that began after known_era said
 * that.  As known_add_index. */
int known_add_listed(struct known *k, const struct digest *d, uint64_t era);
/** known_remove(k, d): it is gone. */
void known_remove(struct known *k, const struct digest *d);
/** known_condemn(k, d, n): they are about to be deleted: known no more, also
 * in the file after a crash of the host.  -ENOMEM: nothing was done.  Other
 * errors: they are known no more, but perhaps again to the next process, so
 * nothing may be deleted. */
int known_condemn(struct known *k, const struct digest *d, size_t n);
/** known_doubt(k, d): who read it found it missing or damaged.  As
 * known_remove, and no index makes it known again, only an upload.
 * known_in_doubt(k, d): whether that is so; of many the oldest are forgotten. */
void known_doubt(struct known *k, const struct digest *d);
bool known_in_doubt(struct known *k, const struct digest *d);
size_t known_count(struct known *k);

#endif
