/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_TREE_DIFF_H
#define REPO_TREE_DIFF_H

#include "repo/repo.h"
#include "repo/tree.h"

/** tree_diff(old, new, ret): counts what came, went and changed.  A namespace
 * and a change of protection count as an object. */
void tree_diff(const struct tree *old, const struct tree *new,
    struct repo_changes *ret);
/** tree_diff_tell(old, new, ret, fn, arg): likewise, and by name; fn may be
 * NULL. */
void tree_diff_tell(const struct tree *old, const struct tree *new,
    struct repo_changes *ret, repo_change_fn *fn, void *arg);

#endif
