/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_GC_TEXT_H
#define CMD_GC_TEXT_H

#include <stdbool.h>

struct gc_result;

/** gc_text_print(r, dry_run, complete): the figures of a collection, for
 * people, in the words of Proxmox Backup where it has them; of one that did not
 * come to its end only what it removed. */
void gc_text_print(const struct gc_result *r, bool dry_run, bool complete);

#endif
