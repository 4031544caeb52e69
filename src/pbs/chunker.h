/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_CHUNKER_H
#define PBS_CHUNKER_H

#include <stddef.h>
#include <stdint.h>

/*
 * Buzhash chunker: where Proxmox Backup cuts a stream.  Format document
 * section 4.  The cuts depend on the bytes alone, not on how they come in.
 */
#define CHUNKER_AVG_DATA (4u << 20)
#define CHUNKER_AVG_CATALOG (512u << 10)

struct chunker {
	uint32_t hash;
	uint32_t fill;		/* bytes in the window */
	uint64_t n;		/* bytes in the current chunk */
	uint64_t min, max;
	uint32_t mask, limit;
	uint8_t window[64];
};

/** chunker_init(c, avg): avg is a power of two, at least 256. */
void chunker_init(struct chunker *c, size_t avg);

/**
 * chunker_scan(c, p, len):
 * 0 if all len bytes belong to the current chunk; otherwise the number of
 * bytes (1..len) after which it ends, and the state is that of a new chunk.
 */
size_t chunker_scan(struct chunker *c, const void *p, size_t len);

/*
 * The payload stream of a split archive: a cut at the start of a file is
 * preferred to one by hash.
 */
struct payload_chunker;
int payload_chunker_new(size_t avg, struct payload_chunker **ret);
void payload_chunker_free(struct payload_chunker *c);
/** payload_chunker_suggest(c, off): a file starts at this stream offset;
 * offsets increase (-EINVAL).  To be known before the bytes ahead of it are
 * scanned, at best a minimal chunk before. */
int payload_chunker_suggest(struct payload_chunker *c, uint64_t off);
/** payload_chunker_scan: as chunker_scan. */
size_t payload_chunker_scan(struct payload_chunker *c, const void *p,
    size_t len);

#endif
