/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_KNOWN_FILE_H
#define REPO_KNOWN_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "crypt/digest.h"

/*
 * The file of known chunks: a header that says which generation it belongs to,
 * then records of one size, each with a checksum that is seeded by the header,
 * so that a record proves itself and belongs to this file.  Later ones win.  A
 * place that was never written, or only in part, is no record.
 */
#define KNOWN_HEADER_LEN 64
#define KNOWN_RECORD_LEN (DIGEST_LEN + 8)

enum known_op { KNOWN_NOTHING, KNOWN_ADD, KNOWN_REMOVE };

/** known_file_header(generation, out): a file whose header is another one is
 * of another generation, or no such file.  Returns the seed of its records. */
uint64_t known_file_header(const char *generation,
    uint8_t out[KNOWN_HEADER_LEN]);

/** known_file_encode(op, d, seed, out): op is not KNOWN_NOTHING. */
void known_file_encode(enum known_op op, const struct digest *d, uint64_t seed,
    uint8_t out[KNOWN_RECORD_LEN]);
/** known_file_decode(p, seed, ret): KNOWN_NOTHING if it is no record. */
enum known_op known_file_decode(const uint8_t p[KNOWN_RECORD_LEN],
    uint64_t seed, struct digest *ret);

#endif
