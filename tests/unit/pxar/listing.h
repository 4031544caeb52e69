/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_PXAR_LISTING_H
#define UNIT_PXAR_LISTING_H

struct pxar;
struct str;

/**
 * listing_write(a, out):
 * One line per entry of the archive, parents before children, children in the
 * order of the archive; fields between tabs.  "!" lines name what is damaged.
 * tests/data/README tells the fields.  0, or the first error that is not
 * damage.
 */
int listing_write(struct pxar *a, struct str *out);

#endif
