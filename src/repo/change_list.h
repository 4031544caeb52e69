/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_CHANGE_LIST_H
#define REPO_CHANGE_LIST_H

#include <stddef.h>

#include "repo/repo.h"

/*
 * What a refresh has found, by name; as many as anybody reads.
 */
#define CHANGE_LIST_MAX 500

struct change_list {
	struct change_item {
		enum repo_change what;
		enum repo_change_kind kind;
		char *path;	/* owned */
	} *v;			/* owned */
	size_t n;
	size_t left_out;
};

/** change_list_add(arg, what, kind, path): a repo_change_fn; arg is a list that
 * began with zeroes.  Without memory it is left out. */
void change_list_add(void *arg, enum repo_change what,
    enum repo_change_kind kind, const char *path);
/** change_list_copy(l, ret): 0, -ENOMEM. */
int change_list_copy(const struct change_list *l, struct change_list *ret);
void change_list_fini(struct change_list *l);
/** change_list_warn(l, store): logs the first of the ignored objects that are
 * in it. */
void change_list_warn(const struct change_list *l, const char *store);

#endif
