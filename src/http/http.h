/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

struct buf;

/*
 * HTTP over libcurl: one I/O thread runs all transfers, any thread may ask
 * for one and waits for it.  Connections are kept and used again.  Knows
 * nothing of S3, never retries, never follows redirects.
 */
struct http;

struct http_opts {
	const char *ca_file;		/* NULL: the system's */
	/* SHA-256 of the server's certificate, 32 bytes: a chain that is not
	 * trusted is accepted if the leaf has it.  NULL: none. */
	const uint8_t *fingerprint;
	const char *proxy;		/* NULL: from the environment; "": none */
	unsigned connect_timeout_ms;	/* 0: 10 s */
	unsigned max_connections;	/* 0: 64 */
	/* A transfer that hardly moves for so long fails even before its
	 * deadline.  0: 60 s. */
	unsigned stall_timeout_ms;
	uint64_t rate_in, rate_out;	/* bytes/s over all transfers; 0: none */
};

int http_new(const struct http_opts *o, struct http **ret);
/** http_shutdown(h): running and later transfers end with HTTP_E_ABORTED. */
void http_shutdown(struct http *h);
void http_free(struct http *h);

/* Why a transfer brought no response. */
enum http_error {
	HTTP_OK,
	HTTP_E_DNS,
	HTTP_E_CONNECT,
	HTTP_E_TLS,		/* handshake, certificate, fingerprint */
	HTTP_E_TIMEOUT,		/* deadline or stall */
	HTTP_E_BROKEN,		/* the connection broke, or the body is short */
	HTTP_E_TOO_LARGE,	/* body or headers over the limit */
	HTTP_E_PROXY,
	HTTP_E_ABORTED,
	HTTP_E_MEMORY,
	HTTP_E_OTHER,
};

struct http_header {
	const char *name;
	const char *value;
};

struct http_request {
	const char *method;		/* GET HEAD PUT POST DELETE */
	const char *url;		/* sent as it is: already encoded */
	const struct http_header *headers;
	size_t n_headers;
	const void *body;		/* borrowed until the call returns */
	size_t body_len;		/* 0 with NULL body: none */
	size_t max_body;		/* of the response */
	deadline_t deadline;
};

struct http_response {
	enum http_error error;
	int status;			/* 0 unless error is HTTP_OK */
	struct buf *body;		/* owned; never NULL if HTTP_OK */
	struct http_header *headers;	/* owned; names in lower case */
	size_t n_headers;
	uint64_t bytes_sent, bytes_received;	/* bodies */
	char detail[256];		/* for people, if error */
};

/**
 * http_perform(h, req, ret):
 * 0 when *ret is filled, also with an error in it; the caller owns it.  Other
 * failures (-ENOMEM) are rare.  A header given with value "" is sent empty;
 * headers that curl would add by itself (Expect, Accept, Content-Type) are not
 * sent unless given.
 */
int http_perform(struct http *h, const struct http_request *req,
    struct http_response *ret);
void http_response_fini(struct http_response *r);
/** http_response_header(r, name): lower-case name; the first value, or NULL. */
const char *http_response_header(const struct http_response *r,
    const char *name);

#endif
