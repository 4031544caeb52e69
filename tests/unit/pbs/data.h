/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_PBS_DATA_H
#define UNIT_PBS_DATA_H

#include "../cm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/io.h"
#include "crypt/digest.h"

/* tests/data/pbs/NAME. */
static inline struct buf *
data_load(const char *name)
{
	const char *top = getenv("TEST_DATA");
	struct buf *b;
	char path[4096];

	assert_non_null(top);
	snprintf(path, sizeof(path), "%s/pbs/%s", top, name);
	if (io_read_file(AT_FDCWD, path, 1 << 20, &b) != 0)
		fail_msg("cannot read %s", path);
	return b;
}

static inline struct digest
data_digest(const char *hex)
{
	struct digest d;

	assert_int_equal(digest_parse(hex, &d), 0);
	return d;
}

static inline void
assert_digest(const void *p, size_t len, const char *hex)
{
	char have[DIGEST_HEX_LEN + 1];
	struct digest d = digest_of(p, len);

	assert_string_equal(digest_hex(&d, have), hex);
}

#endif
