/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef S3_ERROR_H
#define S3_ERROR_H

#include <stdbool.h>

#include "http/http.h"
#include "s3/s3.h"

/* What a cause means to the caller and to the retry loop. */
struct error_class {
	int err;	/* negative errno */
	bool retry;	/* the same request may succeed a moment later */
};

/** error_class(e): of e->cause, e->status and e->code. */
struct error_class error_class(const struct s3_error *e);

/** error_from_transport(r, e): of a transfer that brought no response. */
void error_from_transport(const struct http_response *r, struct s3_error *e);

/**
 * error_from_response(r, e):
 * Of a response with a status that is no success: headers and, if it is one,
 * the <Error> document in the body.  Returns whether the answer looks like one
 * of an S3 server: an empty body or an <Error>.
 */
bool error_from_response(const struct http_response *r, struct s3_error *e);

/** error_from_body(x, e): of an <Error> that came with a success status, which
 * is in e already. */
struct xml_error;
void error_from_body(const struct xml_error *x, struct s3_error *e);

/** error_set_cause(e): from status, code, message and region. */
void error_set_cause(struct s3_error *e);

#endif
