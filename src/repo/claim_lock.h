/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_CLAIM_LOCK_H
#define REPO_CLAIM_LOCK_H

/*
 * Lock files of this host, one for each store.  They belong to whoever runs
 * us: users of their own do not see each other's, but for a directory, which
 * has one itself.
 */

/** claim_lock_open(run_dir, identity, ret_fd): the file; run_dir NULL: see
 * claim.h.  Logs what fails. */
int claim_lock_open(const char *run_dir, const char *identity, int *ret_fd);
/** claim_lock_take(fd, name): 0; -EBUSY with a message that says who has it.
 * Held until fd is closed. */
int claim_lock_take(int fd, const char *name);

#endif
