/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_SNAP_PATH_H
#define CMD_SNAP_PATH_H

#include <stdint.h>

#include "repo/edit.h"

/*
 * What a path of the shown tree names: "host/web1", with "ns/NAME/" before it
 * for each namespace, and for a snapshot its time after it.
 */

/** snap_path_group(path, ret), snap_path_snap(path, ret, ret_time): 0, or
 * -EINVAL for a path that is none. */
int snap_path_group(const char *path, struct group_name *ret);
int snap_path_snap(const char *path, struct group_name *ret,
    int64_t *ret_time);

#endif
