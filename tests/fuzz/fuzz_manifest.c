/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "pbs/blob.h"
#include "pbs/manifest.h"

static void
parse(const void *p, size_t len)
{
	const char *why = NULL;
	struct manifest *m;
	int r;

	r = manifest_parse(p, len, &m, &why);
	FUZZ_CHECK(r == 0 || (r == -EBADMSG && why != NULL));
	if (r != 0)
		return;
	FUZZ_CHECK(name_is_safe(m->id, strlen(m->id)));
	FUZZ_CHECK(m->time >= 0 && m->type < BACKUP_TYPES);
	for (size_t i = 0; i < m->n_files; i++) {
		const struct manifest_file *f = &m->files[i];

		FUZZ_CHECK(archive_kind(f->name) != ARCHIVE_OTHER);
		FUZZ_CHECK(f->size <= INT64_MAX);
		FUZZ_CHECK(manifest_find(m, f->name) == f);
		FUZZ_CHECK(crypt_mode_name(f->crypt) != NULL);
	}
	FUZZ_CHECK(manifest_find(m, "index.json.blob") == NULL);
	manifest_unref(m);
}

/* The input is the JSON text, or a whole blob. */
int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	struct buf *b;

	parse(p, len);
	if (blob_encode(p, len, false, &b) < 0)
		return 0;
	parse(b->data, b->len);
	buf_unref(b);
	return 0;
}
