/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HTTP_HEADERS_H
#define HTTP_HEADERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "http/http.h"

/* The headers of a response while they come in, line by line. */
struct headers {
	struct str lines;	/* name NUL value NUL ... */
	size_t n;
	bool complete;		/* the empty line after them has come */
};

/**
 * headers_add(h, line, len):
 * A line as it was received.  A status line starts anew: what came before was
 * a 1xx response.  0, -EBADMSG, -EFBIG for too many, -ENOMEM.
 */
int headers_add(struct headers *h, const char *line, size_t len);
void headers_fini(struct headers *h);

/** headers_take(h, ret, ret_n): all of them in one malloc'ed block; names in
 * lower case.  NULL if there are none. */
int headers_take(struct headers *h, struct http_header **ret, size_t *ret_n);

#endif
