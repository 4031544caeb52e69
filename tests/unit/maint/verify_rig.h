/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_MAINT_VERIFY_RIG_H
#define UNIT_MAINT_VERIFY_RIG_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/str.h"
#include "maint/verify.h"

#include "../draft/scratch_dir.h"
#include "../vfs/world.h"

struct agent;
struct repo;
struct slow_store;

/*
 * Verifications of a store in memory whose answers can be disturbed; what they
 * say is text, a line for each finding, path and snapshot.
 */
struct rig {
	struct scratch_dir dir;
	struct slow_store *s;	/* goes with the repository */
	struct repo *repo;
	struct agent *agent;
	struct str text;
	struct verify_opts o;	/* for the next run */
	struct verify_result res;
	char upid[VERIFY_UPID_MAX];
	uint64_t progress;
};

/** rig_open(g, s, rules): a repository over s, with faults; rules may be NULL.
 * It has an agent that changes the store. */
void rig_open(struct rig *g, struct slow_store *s, const char *rules);
void rig_close(struct rig *g);
/** rig_rules(g, rules): other faults from now on. */
void rig_rules(struct rig *g, const char *rules);
/** rig_run(g, level): fails unless it returns 0; the text, until the next. */
const char *rig_run(struct rig *g, enum verify_level level);
/** rig_is(g, level, text): asserts what is told. */
void rig_is(struct rig *g, enum verify_level level, const char *text);

/** rig_flip(s, key, off): one bit of the stored byte, from the end if
 * negative.  rig_remove(s, key).  rig_has(s, key). */
void rig_flip(struct slow_store *s, const char *key, long off);
void rig_remove(struct slow_store *s, const char *key);
bool rig_has(struct slow_store *s, const char *key);
/** rig_chunks(s): how many there are. */
size_t rig_chunks(struct slow_store *s);

#endif
