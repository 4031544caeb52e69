/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_DAMAGE_H
#define REPO_DAMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/digest.h"

struct str;

/*
 * What was found damaged or missing since start, for .pbs3fs/errors.  Bounded
 * in number and, as names come from the store, in bytes: what is beyond one of
 * the bounds is counted and not kept.  Any thread.
 */
#define DAMAGE_MAX 4096
#define DAMAGE_PATHS_MAX 64	/* per chunk */
#define DAMAGE_PATH_LEN 4096	/* of a path; the rest is left out */
#define DAMAGE_BYTES_MAX ((size_t)8 << 20)	/* of all that is kept */

struct damage;

int damage_new(struct damage **ret);
void damage_free(struct damage *d);

/** damage_chunk(d, digest, why): why is copied, as "crc is wrong". */
void damage_chunk(struct damage *d, const struct digest *digest,
    const char *why);
/** damage_listen(d, fn, arg): fn is told of each chunk from now on, on the
 * thread that found it, and every time that it is found.  NULL: nobody is, and
 * on return nobody is being told any more. */
typedef void damage_chunk_fn(void *arg, const struct digest *digest);
void damage_listen(struct damage *d, damage_chunk_fn *fn, void *arg);
/** damage_chunk_path(d, digest, path, off, len): a file that needs it, and
 * where; nothing happens if the chunk is not known as damaged. */
void damage_chunk_path(struct damage *d, const struct digest *digest,
    const char *path, uint64_t off, uint64_t len);
/** damage_has_chunk(d, digest): as far as it is among what is kept. */
bool damage_has_chunk(struct damage *d, const struct digest *digest);
/** damage_object(d, key, why): an index, blob, manifest or archive. */
void damage_object(struct damage *d, const char *key, const char *why);
/** damage_count(d): of chunks and objects, also those beyond the maximum. */
size_t damage_count(struct damage *d);

/** damage_text(d, out): one line per finding, names escaped, end exclusive:
 *  chunk <digest> <why>
 *      <path> bytes <off>-<end>
 *      (<n> more)
 *  object <key> <why>
 *  (<n> more)
 * The last line of a chunk, and of all, is there if some were not kept. */
void damage_text(struct damage *d, struct str *out);

#endif
