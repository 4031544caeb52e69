/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_LEARN_H
#define DRAFT_LEARN_H

struct draft;
struct drafts;
struct learn;

/*
 * What the store has before anything was uploaded: the chunks of finished
 * snapshots, read off their indices.  Those of a draft's base are known before
 * its first chunk is uploaded, as they are what it is most likely to have
 * again.  Then, in the background, those of the latest snapshot of every group.
 * An index that cannot be had costs uploads and nothing else.
 */
int learn_new(struct drafts *ds, struct learn **ret);
/** learn_free(l): the store was shut down, so that nothing takes long. */
void learn_free(struct learn *l);
/** learn_base(d): before chunks of d are uploaded: waits for the indices of its
 * base.  Once for a base: what turns out to be gone is not believed in again.
 * Any thread, no lock. */
void learn_base(struct draft *d);

#endif
