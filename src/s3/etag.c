/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3/etag.h"

#include <string.h>

void
etag_set(char *out, size_t size, const char *text)
{
	size_t len = strlen(text);

	if (len >= 2 && text[0] == '"' && text[len - 1] == '"') {
		text++;
		len -= 2;
	}
	/* Cut off it could be that of another version: better none. */
	if (len >= size)
		len = 0;
	memcpy(out, text, len);
	out[len] = '\0';
}
