/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_PRESENT_H
#define MAINT_PRESENT_H

#include <stdatomic.h>
#include <stdint.h>

struct known;
struct store;
struct tree;

/** present_list(s, k, stop, ret_n): makes known which chunks a listing of the
 * store has.  0, -ECANCELED, or the store's error. */
int present_list(struct store *s, struct known *k, const atomic_bool *stop,
    uint64_t *ret_n);
/** present_pages(t): about how many requests that takes at most, by the indices
 * that there are. */
uint64_t present_pages(const struct tree *t);

#endif
