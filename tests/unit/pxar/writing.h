/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_PXAR_WRITING_H
#define UNIT_PXAR_WRITING_H

#include "../cm.h"

#include <string.h>
#include <sys/stat.h>

#include "mkpxar.h"
#include "pbs/pxar_writer.h"

/* What the tests of the writer share: an archive that goes into memory. */
#define E(m, ...) (&(const struct pxar_entry){.mode = (m), __VA_ARGS__})
#define DIR E(S_IFDIR | 0755)
#define FIFO E(S_IFIFO | 0600)

extern struct mk_bytes out;

/** gather(arg, p, len): a sink; arg is a struct mk_bytes. */
int gather(void *arg, const void *p, size_t len);
/** begin(version): a new writer into out; it has its root. */
struct pxar_writer *begin(int version);
/** tear_down(state): frees out. */
int tear_down(void **state);

#endif
