/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_PICK_PATH_H
#define CMD_PICK_PATH_H

struct pick;

/** pick_path_parse(path, ret): what a path of the shown tree picks: "" all,
 * "ns/a" a namespace and all in it, a group, or a snapshot.  0, or -EINVAL
 * with a message. */
int pick_path_parse(const char *path, struct pick *ret);

#endif
