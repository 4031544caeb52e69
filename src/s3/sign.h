/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef S3_SIGN_H
#define S3_SIGN_H

#include <stddef.h>
#include <stdint.h>

#include "http/http.h"

/*
 * AWS signature version 4 for the service s3.  Pure.
 */
#define SIGN_DATE_LEN 16	/* 20250714T142002Z */

/** sign_date(t, out): epoch seconds as x-amz-date has them. */
int sign_date(int64_t t, char out[SIGN_DATE_LEN + 1]);

struct sign_input {
	const char *method;
	const char *path;	/* encoded, from the first slash */
	const char *query;	/* canonical: encoded, sorted, "" if none */
	const struct http_header *headers;	/* to be signed; names in lower
						 * case, any order */
	size_t n_headers;
	const char *payload_hash;	/* 64 hex digits */
	const char *date;		/* as sign_date made it */
	const char *region;
	const char *access, *secret;
};

#define SIGN_HEADERS_MAX 24

/** sign_canonical(in, ret): the canonical request, malloc'ed.  -E2BIG. */
int sign_canonical(const struct sign_input *in, char **ret);
/** sign_request(in, ret): the value of the Authorization header, malloc'ed. */
int sign_request(const struct sign_input *in, char **ret);

#endif
