/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VFS_OUTAGE_H
#define VFS_OUTAGE_H

#include "crypt/digest.h"

struct outages;
struct store;

/*
 * Chunks and names that could not be had a moment ago.  The kernel asks again
 * for every page of a read that failed, one after the other and for each who
 * waits, as it does for names; each would wait for the deadline anew.  For a
 * moment, what failed fails at once, unless the store has said anything since.
 */
int outages_new(struct store *s, struct outages **ret);
void outages_free(struct outages *o);
/** outage_note(o, d, err): getting the chunk ended with err; of a name it is
 * the digest of parent and name. */
void outage_note(struct outages *o, const struct digest *d, int err);
/** outage_of(o, d): the error if that was just now, or 0. */
int outage_of(struct outages *o, const struct digest *d);

#endif
