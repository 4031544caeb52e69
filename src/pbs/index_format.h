/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_INDEX_FORMAT_H
#define PBS_INDEX_FORMAT_H

#include <stdint.h>

/* Format document sections 3.1 and 3.2; for the reader and the writer. */
#define INDEX_MAGIC_LEN 8
#define INDEX_UUID_LEN 16
#define INDEX_OFF_UUID 8
#define INDEX_OFF_CTIME 24
#define INDEX_OFF_CSUM 32
#define INDEX_OFF_SIZE 64		/* fixed only */
#define INDEX_OFF_CHUNK_SIZE 72		/* fixed only */
#define INDEX_FIXED_ENTRY 32		/* digest */
#define INDEX_DYNAMIC_ENTRY 40		/* end, digest */

static const uint8_t index_magic_fixed[INDEX_MAGIC_LEN] = {
    0x2f, 0x7f, 0x41, 0xed, 0x91, 0xfd, 0x0f, 0xcd};
static const uint8_t index_magic_dynamic[INDEX_MAGIC_LEN] = {
    0x1c, 0x91, 0x4e, 0xa5, 0x19, 0xba, 0xb3, 0xcd};

#endif
