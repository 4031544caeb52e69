/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_MANIFEST_PRIV_H
#define PBS_MANIFEST_PRIV_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "pbs/manifest.h"

struct buf;

/* What manifest.c and manifest_writer.c share. */

/* Some 50,000 files. */
#define MANIFEST_VALUES_MAX ((size_t)1 << 18)
_Static_assert(MANIFEST_FILES_MAX * 5 + 1024 < MANIFEST_VALUES_MAX, "fits");

/** manifest_text_is_simple(text, len): whether there are as few arrays, objects
 * and members as memory should be spent on: "{}," takes 80 times its length. */
bool manifest_text_is_simple(const char *text, size_t len);
/** manifest_text_parse(text, ret, ret_why): as manifest_parse. */
int manifest_text_parse(const struct buf *text, json_t **ret,
    const char **ret_why);

#endif
