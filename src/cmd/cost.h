/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_COST_H
#define CMD_COST_H

#include <jansson.h>

struct options;
struct store_counts;
struct str;

/** cost_text(c, out): "3 LIST, 12 GET, 1.2 MiB read". */
void cost_text(const struct store_counts *c, struct str *out);

/** cost_json(c): requests by verb, retries, bytes; NULL: no memory. */
json_t *cost_json(const struct store_counts *c);

/** cost_print(o, c): the last line of a command, unless --quiet. */
void cost_print(const struct options *o, const struct store_counts *c);

#endif
