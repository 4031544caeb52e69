/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef STORE_FAULT_SCRIPT_H
#define STORE_FAULT_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

/* The rules of store_fault_new. */
enum fault_action {
	FAULT_ERROR,
	FAULT_DELAY,
	FAULT_HANG,
	FAULT_TRUNCATE,
	FAULT_FLIP,
	FAULT_ABSENT,
	FAULT_LOST,
	FAULT_KILL,
	FAULT_KILL_AFTER,
};

struct fault_order {
	enum fault_action action;
	int error;	/* of FAULT_ERROR: -errno */
	uint64_t arg;	/* milliseconds, bytes, offset */
};

struct fault_script;

/** fault_script_parse(text, name, ret): name is that of the file.  -EINVAL with
 * a message logged that names the line. */
int fault_script_parse(const char *text, const char *name,
    struct fault_script **ret);
void fault_script_free(struct fault_script *f);

/**
 * fault_script_next(f, verb, key, ret):
 * What to do to this call, which is counted.  0, or 1 if nothing.
 * fault_script_has(f, verb, key): whether a call now might be disturbed; does
 * not count.  The caller serialises.
 */
int fault_script_next(struct fault_script *f, enum store_verb verb,
    const char *key, struct fault_order *ret);
bool fault_script_has(const struct fault_script *f, enum store_verb verb,
    const char *key);

#endif
