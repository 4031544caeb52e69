/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_JOURNAL_H
#define DRAFT_JOURNAL_H

#include <stddef.h>
#include <stdint.h>

/*
 * A file of transactions: each is replayed as a whole or not at all.  A frame
 * is length, checksum (XXH3, seeded by its position) and payload.  Appended
 * only; rewritten as a whole from time to time.
 *
 * Appending is in two steps, so that the caller can fix the order under its
 * own lock and wait without it.  Many that wait are written by one.
 */
struct journal;

#define JOURNAL_FRAME_MAX ((size_t)16 << 20)

/** A transaction, in order; a non-zero return ends the replay and is returned.
 */
typedef int journal_replay_fn(void *arg, const void *p, size_t len);

/**
 * journal_open(dir, name, fn, arg, ret):
 * Creates it if there is none; replays what is there.  Torn frames at the end,
 * as a crash leaves them, are cut off; damage before is -EBADMSG, a journal of
 * a later version of this program -EPROTONOSUPPORT; both have been logged, and
 * nothing was changed.  dir is borrowed for as long as the journal; nobody else
 * has the file open, and name.new beside it is the journal's own.
 */
int journal_open(int dir, const char *name, journal_replay_fn *fn, void *arg,
    struct journal **ret);
/** journal_seal(j): journal_sync of all, and the header says so: whatever is
 * missing of it later is damage and not a crash's. */
int journal_seal(struct journal *j);
/** journal_close(j): writes what was added, without syncing.  NULL is fine. */
void journal_close(struct journal *j);

/** journal_add(j, p, len, ret_seq): the next transaction, 1 to
 * JOURNAL_FRAME_MAX bytes (-EINVAL).  Room for it is set aside on disk first:
 * -ENOSPC and the like come here, and nothing was added.  -EIO for ever after a
 * write has failed.  Nothing reaches the file before somebody commits. */
int journal_add(struct journal *j, const void *p, size_t len,
    uint64_t *ret_seq);
/** journal_commit(j, seq): it has been written, and survives this process.
 * journal_sync(j, seq): it survives the host.  seq 0: all that was added. */
int journal_commit(struct journal *j, uint64_t seq);
int journal_sync(struct journal *j, uint64_t seq);
/** journal_rewrite(j, p, lens, n): these transactions, one behind the other in
 * p, instead of all so far; atomic and durable.  Nobody adds meanwhile; who
 * waits for a commit has it with this.  On error all is as it was, unless it is
 * -EIO for ever. */
int journal_rewrite(struct journal *j, const void *p, const size_t *lens,
    size_t n);
uint64_t journal_size(struct journal *j);	/* bytes */

/** journal_kill_at(n): as drafts_opts.kill_at; counts writes of all journals of
 * the process from then on.  Creating and rewriting is two: of the new file,
 * and of its name. */
void journal_kill_at(unsigned n);

#endif
