/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_CATALOG_FORMAT_H
#define PBS_CATALOG_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Format document section 6; for the reader and the writer. */
#define CATALOG_MAGIC_LEN 8
#define CATALOG_TAIL_LEN 8	/* position of the root table */
#define CATALOG_NAME_MAX 4095

static const uint8_t catalog_magic[CATALOG_MAGIC_LEN] = {
    0x91, 0xfd, 0x60, 0xf9, 0xc4, 0x67, 0x58, 0xd5};

static inline bool
catalog_name_is_valid(const char *s, size_t len)
{
	if (len == 0 || len > CATALOG_NAME_MAX)
		return false;
	if (s[0] == '.' && (len == 1 || (len == 2 && s[1] == '.')))
		return false;
	return memchr(s, '/', len) == NULL && memchr(s, '\0', len) == NULL;
}

#endif
