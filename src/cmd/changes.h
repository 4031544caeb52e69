/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_CHANGES_H
#define CMD_CHANGES_H

#include <jansson.h>

struct change_list;
struct options;
struct tree;

/*
 * What a refresh has found, on its way to people and programs: between a
 * daemon and who asks it, too.
 */

/** changes_json(l): an array of what, kind and path, without ignored objects;
 * NULL: no memory. */
json_t *changes_json(const struct change_list *l);
/** changes_ignored_json(t): keys of objects that are none of the format's. */
json_t *changes_ignored_json(const struct tree *t);

struct changes_report {
	json_int_t snaps_added, snaps_removed, objects_changed;
	json_int_t left_out;	/* of the list */
	json_int_t n_ignored;
	const json_t *list, *ignored;	/* borrowed */
};
/** changes_print(o, r, cost): takes cost over. */
void changes_print(const struct options *o, const struct changes_report *r,
    json_t *cost);

#endif
