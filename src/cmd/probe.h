/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_PROBE_H
#define CMD_PROBE_H

#include <stdbool.h>
#include <stddef.h>

struct stack;

/*
 * What a store can do, found out by doing it.
 */
enum probe_id {
	PROBE_CONNECT, PROBE_TLS, PROBE_CLOCK, PROBE_LIST, PROBE_DATASTORE,
	PROBE_GET, PROBE_RANGE, PROBE_PUT, PROBE_STAT, PROBE_CONDITIONAL,
	PROBE_COPY, PROBE_DELETE, PROBE_MULTI_DELETE,
	PROBES
};

enum probe_result {
	PROBE_SKIPPED,		/* not tried, or there is no such thing */
	PROBE_YES,
	PROBE_NO,
	PROBE_FAILED,		/* cannot be told: err says why */
};

struct probe {
	enum probe_result result;
	int err;
	char detail[128];	/* for people; "" */
};

/** probe_name(id): "range get"; probe_is_needed(id, write): without it the
 * store is of no use. */
const char *probe_name(enum probe_id id);
bool probe_is_needed(enum probe_id id, bool write);

/** probe_read(s, p): sends nothing but HEAD, LIST and GET. */
void probe_read(struct stack *s, struct probe p[PROBES]);
/** probe_write(s, p): with objects of its own below .pbs3fs/check-<random>/,
 * which are gone afterwards.  0, or -errno if some of them may be left. */
int probe_write(struct stack *s, struct probe p[PROBES]);

#endif
