/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_MANIFEST_WRITER_H
#define PBS_MANIFEST_WRITER_H

#include <stdint.h>

#include "pbs/manifest.h"

struct buf;
struct enc_key;

/*
 * Making index.json.blob.  Format document section 5.
 */

struct manifest_upload_stats {	/* unprotected.chunk_upload_stats */
	uint64_t count, size, compressed_size, duplicates;
};

/**
 * manifest_make(m, key, stats, ret):
 * The blob of a new manifest; of m are used: type, id, time, files (in that
 * order), notes.  key, or NULL: signs it and names its fingerprint.  stats may
 * be NULL.  Text as Proxmox Backup prints it: keys sorted, two spaces.
 * -EINVAL if a name is no archive name or comes twice, a size is above
 * INT64_MAX, or the notes are no UTF-8; -EFBIG for more than manifest_parse
 * takes; -ENOMEM.
 */
int manifest_make(const struct manifest *m, const struct enc_key *key,
    const struct manifest_upload_stats *stats, struct buf **ret);

/**
 * manifest_edit(m, change, ret):
 * The blob of m with changes in its unprotected part alone; everything else,
 * known or not, stays as it was, and so a signature stays valid.  -EINVAL for
 * a state that is none of a manifest's, an upid that Proxmox Backup would not
 * read, notes that are no UTF-8, and an unprotected part that is no object;
 * -EFBIG, -ENOMEM.
 */
struct manifest_change {
	const char *notes;	/* NULL: leave; "": remove */
	const char *verify_state, *verify_upid;	/* both or neither */
};
int manifest_edit(const struct manifest *m, const struct manifest_change *c,
    struct buf **ret);

#endif
