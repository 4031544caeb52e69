/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_DRAFTS_H
#define DRAFT_DRAFTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct base;
struct draft;
struct drafts;
struct group_name;

/*
 * One draft from its beginning to its end; what drafts.c and the state
 * directory share.
 */

/** draft_new(ds, g, slot, ret): a view of nothing yet; in no list. */
int draft_new(struct drafts *ds, const struct group_name *g, uint32_t slot,
    struct draft **ret);
void draft_free(struct draft *d);
/** draft_forget_graves(d): nothing is done about what inodes left behind. */
void draft_forget_graves(struct draft *d);
/** draft_set_base(d, base): lock held; gives its archives numbers and takes a
 * reference.  -EOVERFLOW when there are no more. */
int draft_set_base(struct draft *d, struct base *base);
/** draft_number_base(d, base): lock held; the numbers alone. */
int draft_number_base(struct draft *d, struct base *base);
/** draft_latest(ds, g, ret): the latest snapshot as a base; an empty one if
 * there is none; -ENOENT if there is no such group. */
int draft_latest(struct drafts *ds, const struct group_name *g,
    struct base **ret);
/** draft_base_at(ds, g, time, ret): that finished snapshot; -ENOENT. */
int draft_base_at(struct drafts *ds, const struct group_name *g, int64_t time,
    struct base **ret);

#define STATE_NAME_LEN 16
#define STATE_STORE_MAX 8192	/* the file "store" */
/** state_name(identity, out): of a store's directory in the state directory. */
void state_name(const char *identity, char out[STATE_NAME_LEN + 1]);
/** state_parse_slot(name, ret): whether that is a draft's directory. */
bool state_parse_slot(const char *name, uint32_t *ret);
/** draft_parse_group(text, ret): "ns:type/id", as a journal has it; -EBADMSG. */
int draft_parse_group(const char *text, struct group_name *ret);
/** state_open(ds): the directory of the store, locked.  -EBUSY. */
int state_open(struct drafts *ds);
/** state_load(ds): all drafts that are in it. */
int state_load(struct drafts *ds);
/** draft_load(ds, slot, ret): lock not held: replays the journal of a slot;
 * NULL in *ret if nothing was changed in it. */
int draft_load(struct drafts *ds, uint32_t slot, struct draft **ret);
/** drafts_add(ds, d): lock held: into the lists.  -EEXIST. */
int drafts_add(struct drafts *ds, struct draft *d);
/** drafts_find(ds, g): lock held: that of a group, or NULL. */
struct draft *drafts_find(struct drafts *ds, const struct group_name *g);
/** drafts_list(ds, ret): how many there are, in a new array, which is NULL
 * without memory.  They stay as long as ds: what was copied under the lock may
 * be used without it. */
size_t drafts_list(struct drafts *ds, struct draft ***ret);

#endif
