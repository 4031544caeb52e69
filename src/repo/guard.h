/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_GUARD_H
#define REPO_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/digest.h"

struct known;

/*
 * What keeps garbage collection from a chunk that somebody is about to refer
 * to.  doc/GC.md has the protocol and why it is right; in short:
 *
 * Whoever comes to refer to a chunk marks its digest before he looks whether
 * the store has it, and keeps the mark until what refers to it (an index with
 * its manifest, a record in a journal) is durable.  A collector says that it
 * begins before it looks for references; from then on no mark goes until it
 * has ended.  It condemns a batch of digests before it deletes them: one that
 * is marked it may not have; one that it may is known no more, and who wants to
 * mark it waits until the delete was answered.
 *
 * One guard is in the process that has claimed the store; a collector in
 * another process asks it (maint/agent.h).  Any thread.
 */
struct guard;

/* How long after a delete that nobody has seen answered the store may still
 * carry it out.  A collector counts the deadline of a delete, which is that at
 * most, from before it asked to condemn: so what it was told is never too old
 * when it sends the delete. */
#define GUARD_GRACE_MS 90000
#define GUARD_DELETE_MS 60000
#define GUARD_BATCH_MAX 1000

/** guard_new(path, known, ret): path is a file that keeps what is being
 * deleted over the death of this process; NULL: not kept.  What it says waits
 * out its grace; if it is damaged, every chunk does.  known is borrowed, or
 * NULL. */
int guard_new(const char *path, struct known *known, struct guard **ret);
/** guard_distrust(g): somebody else may have collected garbage a moment ago,
 * and his deletes may be on their way: every mark waits out a grace from now
 * on. */
void guard_distrust(struct guard *g);
/** guard_set_grace(g, ms): for tests, also of what waits already. */
void guard_set_grace(struct guard *g, uint64_t ms);
/** guard_shutdown(g): who waits is told -ESHUTDOWN. */
void guard_shutdown(struct guard *g);
void guard_free(struct guard *g);

/**
 * guard_hold(g), guard_release(g, hold): around everything from the first mark
 * to the moment when what refers to the chunks is durable, or was given up.
 * Marks belong to no hold: one goes after all holds that were there when it was
 * made are released, and no collector is at work.  Any number at once; hold is
 * never 0, and 0 need not be released.  These and guard_mark take a g of NULL
 * for a store that nobody collects in.
 */
uint64_t guard_hold(struct guard *g);
void guard_release(struct guard *g, uint64_t hold);
/** guard_mark(g, d): within a hold, before asking whether it is known; waits
 * while it is being deleted, which never takes a lock of who marks.  0,
 * -ENOMEM, -ESHUTDOWN. */
int guard_mark(struct guard *g, const struct digest *d);
bool guard_is_marked(struct guard *g, const struct digest *d);
/** guard_waiting(g): how many wait for a delete in guard_mark. */
unsigned guard_waiting(struct guard *g);

/** guard_begin(g): before the collector looks for the first reference.  -EBUSY
 * if another one is at work. */
int guard_begin(struct guard *g);
/** guard_condemn(g, d, n, spared): at most GUARD_BATCH_MAX, after the last
 * batch was settled (-EINVAL); spared[i] is set for those that must stay, and
 * cleared for others.  What is condemned is written down, and known no more,
 * before this returns; on error nothing is condemned.  After several batches
 * without an answer it waits until the oldest one's grace is over. */
int guard_condemn(struct guard *g, const struct digest *d, size_t n,
    bool *spared);
/** guard_settle(g, answered): whether the store has answered for all of the
 * batch, with the first try; if not, the batch waits out its grace.  0, 1 if
 * none was condemned. */
int guard_settle(struct guard *g, bool answered);
/** guard_end(g): in any case, also for a collector that is gone; settles a
 * batch that is left as not answered. */
void guard_end(struct guard *g);
bool guard_is_collecting(struct guard *g);

#endif
