/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_PICK_H
#define MAINT_PICK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "repo/edit.h"

/*
 * Which snapshots somebody means.
 */
enum pick_kind {
	PICK_NS,	/* group.ns, and all namespaces in it; "": all */
	PICK_GROUP,
	PICK_SNAP,
};

struct pick {
	enum pick_kind kind;
	struct group_name group;
	int64_t time;
};

/** pick_has_ns(p, n, path), pick_has_group(...), pick_has_snap(...): whether
 * that is among them; a namespace only as a whole.  Without picks all is. */
bool pick_has_ns(const struct pick *p, size_t n, const char *path);
bool pick_has_group(const struct pick *p, size_t n,
    const struct tree_group *g);
bool pick_has_snap(const struct pick *p, size_t n, const struct tree_snap *s);

/** pick_is_there(p, t): whether the tree has what was picked. */
bool pick_is_there(const struct pick *p, const struct tree *t);

/** pick_path(s, file, out): "ns/a/host/web1/2024-01-01T00:00:00Z/file"; file
 * NULL: the snapshot's. */
struct str;
void pick_path(const struct tree_snap *s, const char *file, struct str *out);
/** pick_group_name(g, ret): as the calls that change something want it. */
void pick_group_name(const struct tree_group *g, struct group_name *ret);

#endif
