/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_GC_REPORT_H
#define MAINT_GC_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "maint/gc.h"

/* What a collection found, in Proxmox Backup's terms. */
struct gc_figures {
	/* Chunks that stay because something refers to them. */
	uint64_t disk_chunks, disk_bytes;
	uint64_t still_bad;
	double deduplication;	/* 1 if there is nothing */
	uint64_t average_chunk;	/* bytes; 0 if there is none */
};
void gc_figures(const struct gc_result *r, struct gc_figures *ret);

/** gc_result_json(r, dry_run): all of it, for --json and status.json; NULL: no
 * memory. */
json_t *gc_result_json(const struct gc_result *r, bool dry_run);

/** gc_status_json(r, upid): as a server keeps it in ".gc-status"; upid: of the
 * task.  NULL: no memory. */
json_t *gc_status_json(const struct gc_result *r, const char *upid);

#endif
