/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_PXAR_WRITER_PRIV_H
#define PBS_PXAR_WRITER_PRIV_H

#include <stddef.h>
#include <stdint.h>

#include "pbs/pxar_out.h"

/* What the pxar_writer*.c files share. */

/* An item of a GOODBYE record to be. */
struct pxar_item {
	uint64_t hash;
	uint64_t begin;		/* the FILENAME record, from the start */
	uint64_t size;
};

/** pxar_writer_goodbye(o, items, n, entry): the record of a directory whose
 * tail goes back to entry; sorts the items in place. */
void pxar_writer_goodbye(struct pxar_out *o, struct pxar_item *items, size_t n,
    uint64_t entry);

/** pxar_writer_check_meta(m): 0, -EINVAL, -ENAMETOOLONG, -E2BIG.
 * pxar_writer_meta(o, m): its records; it has been checked. */
int pxar_writer_check_meta(const struct pxar_meta *m);
void pxar_writer_meta(struct pxar_out *o, const struct pxar_meta *m);

#endif
