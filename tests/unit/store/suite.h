/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_STORE_SUITE_H
#define UNIT_STORE_SUITE_H

#include "base/buf.h"
#include "store/store.h"

/*
 * What every store must do, whatever is behind it: a table of checks, each run
 * on an empty store of its own.
 */
struct suite_check {
	const char *name;
	void (*fn)(struct store *s);
};
extern const struct suite_check suite_checks[];
extern const size_t suite_n_checks;

/* Shorthands that fail the test when the store does. */
void must_put(struct store *s, const char *key, const char *text);
void must_have(struct store *s, const char *key, const char *text);
void must_lack(struct store *s, const char *key);
/* The keys as one text: "a b c". */
void must_list(
    struct store *s, const char *prefix, const char *after, const char *keys);

#endif
