/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_COST_H
#define CMD_COST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct options;
struct store_counts;
struct str;

/*
 * What a command has cost, or would: requests, bytes, and money if the options
 * have prices.
 */

bool cost_has_prices(const struct options *o);

/** cost_text(o, c, out): "12 GET, 3 LIST, 1.2 MiB read, 0.0000198 EUR". */
void cost_text(const struct options *o, const struct store_counts *c,
    struct str *out);

/** cost_json(o, c): requests by verb, retries, bytes, price; NULL: no memory.
 * price is null without prices, else amount, a text that is exact to 1e-9,
 * and currency. */
json_t *cost_json(const struct options *o, const struct store_counts *c);

/** cost_text_json(before, after, out): as cost_text, of what cost_json made
 * elsewhere: what came after before, which may be NULL. */
void cost_text_json(const json_t *before, const json_t *after,
    struct str *out);

/** cost_print(o, c): the last line of a command, unless --quiet.
 * cost_print_mount(o, before, after): of one that a mount has worked for: its
 * status.json, or what else has a "cost"; before NULL: all that it has cost.
 * Nothing if after is NULL or has none. */
void cost_print(const struct options *o, const struct store_counts *c);
void cost_print_mount(const struct options *o, const json_t *before,
    const json_t *after);
/** cost_json_mount(before, after): the same for programs; null if there is
 * none. */
json_t *cost_json_mount(const json_t *before, const json_t *after);

/** cost_add(sum, c): of several stores, or of several steps.
 * cost_sub(sum, c): what came after c was counted. */
void cost_add(struct store_counts *sum, const struct store_counts *c);
void cost_sub(struct store_counts *sum, const struct store_counts *c);

/**
 * cost_estimate(o, would):
 * A dry run says on a line before its own cost what it has left out; would is
 * that alone, in requests and bytes.  With --json that goes in as
 * "estimate": cost_json(o, would).
 * cost_deletes(o, n): requests that delete n objects.
 */
void cost_estimate(const struct options *o, const struct store_counts *would);
uint64_t cost_deletes(const struct options *o, uint64_t n);

#endif
