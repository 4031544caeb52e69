/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_SNAP_PATH_H
#define CMD_SNAP_PATH_H

#include <stdbool.h>
#include <stdint.h>

#include "repo/edit.h"

struct str;

/*
 * What a path of the shown tree names: "host/web1", with "ns/NAME/" before it
 * for each namespace, and for a snapshot its time after it.
 */

/** snap_path_ns(path, out): "ns/a/ns/b" is namespace a/b; out has NS_LEN_MAX +
 * 1 bytes.  0 or -EINVAL. */
int snap_path_ns(const char *path, char *out);
/** snap_path_group(path, ret), snap_path_snap(path, ret, ret_time): 0, or
 * -EINVAL for a path that is none. */
int snap_path_group(const char *path, struct group_name *ret);
int snap_path_snap(const char *path, struct group_name *ret,
    int64_t *ret_time);

struct snap_path {
	enum snap_path_kind {
		SNAP_PATH_NS,		/* only group.ns; "" for "/" */
		SNAP_PATH_GROUP,
		SNAP_PATH_SNAP,
	} kind;
	struct group_name group;
	int64_t time;
};

/** snap_path_any(path, ret): whichever it is; 0 or -EINVAL. */
int snap_path_any(const char *path, struct snap_path *ret);
/** snap_path_text(p, out): the path of the shown tree; "/" for the root. */
int snap_path_text(const struct snap_path *p, struct str *out);
/** snap_path_is_below(path, ns): whether the namespace path is ns or in it: "ab"
 * is not in "a". */
bool snap_path_is_below(const char *path, const char *ns);

#endif
