/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_VERIFY_SHOW_H
#define CMD_VERIFY_SHOW_H

#include <jansson.h>

#include "cmd/progress.h"
#include "maint/verify.h"

struct options;
struct store_counts;

/*
 * What a verification tells, for people as it comes, or for programs at the
 * end.
 */
#define VERIFY_SHOW_MAX 100000	/* findings and paths for programs */

struct verify_show {
	const struct options *o;	/* borrowed */
	struct progress progress;
	json_t *snaps, *findings, *paths;	/* owned; NULL: for people */
	uint64_t left_out;
	bool failed;			/* no memory */
};

int verify_show_begin(struct verify_show *s, const struct options *o);
/** verify_show_opts(s, v): sets what v tells to whom. */
void verify_show_opts(struct verify_show *s, struct verify_opts *v);
/** verify_show_end(s, store, v, err, res, cost): what it came to; -ENOMEM. */
int verify_show_end(struct verify_show *s, const char *store,
    const struct verify_opts *v, int err, const struct verify_result *res,
    const struct store_counts *cost);
void verify_show_fini(struct verify_show *s);

#endif
