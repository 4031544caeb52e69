/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_NAMES_H
#define DRAFT_NAMES_H

#include "draft/spot.h"

struct str;
struct timespec;

/*
 * What removing a name and renaming over it share.
 */

/** names_log_loss(d, i, now, txn): a name of i goes. */
int names_log_loss(struct draft *d, const struct inode *i,
    const struct timespec *now, struct str *txn);
/** names_lose(d, i, now): lock held: after that was logged. */
void names_lose(struct draft *d, struct inode *i, const struct timespec *now);
/** names_check_empty(d, dir, flags): -ENOTEMPTY; inside, without the lock.  By
 * the time the lock is held n_children is to be looked at once more. */
int names_check_empty(struct draft *d, struct inode *dir, unsigned flags);
/** names_top(d, dir): the directory at the top that dir is or lies in:
 * borrowed; NULL for the root, and where that is not known. */
struct inode *names_top(const struct draft *d, struct inode *dir);

#endif
