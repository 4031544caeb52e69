/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HTTP_XFER_H
#define HTTP_XFER_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "http/headers.h"
#include "http/http.h"

struct rate;
struct tls_pin;

/*
 * Bytes per second over all transfers of one direction.  Only the I/O thread
 * uses it: a transfer that would be too fast is paused, so the thread never
 * waits for one.
 */
struct xfer_limit {
	struct rate *rate;	/* owned; NULL: no limit */
	uint64_t open_at;	/* clock_mono_ms() from which bytes may flow */
};

/* What all transfers of a client share.  Read-only but for the limits. */
struct xfer_env {
	struct http_opts o;		/* strings owned by the client */
	struct tls_pin *pin;		/* owned by the client; NULL: no pin */
	struct xfer_limit in, out;
};

/*
 * One transfer.  It belongs to the calling thread until it is handed to the
 * I/O thread and again after that has marked it as done.
 */
struct xfer {
	struct xfer_env *env;			/* borrowed */
	const struct http_request *req;		/* borrowed */
	struct http_response *res;		/* borrowed */
	CURL *easy;				/* owned */
	struct curl_slist *headers;		/* owned */
	struct headers response_headers;
	size_t sent;		/* bytes of the request body handed out */
	size_t got;		/* bytes of the response body in res->body */
	bool paused;
	/* What a callback found; wins over what curl makes of the abort. */
	enum http_error verdict;
	char why[256];
	char errbuf[CURL_ERROR_SIZE];
};

/**
 * xfer_init(x, env, easy, req, res):
 * Prepare easy, which x takes over, for the request.  0, -EINVAL for a request
 * that cannot be sent, -ENOMEM.
 */
int xfer_init(struct xfer *x, struct xfer_env *env, CURL *easy,
    const struct http_request *req, struct http_response *res);
void xfer_fini(struct xfer *x);

/** xfer_start(x): set the time limit, which runs from now.  -ETIMEDOUT. */
int xfer_start(struct xfer *x);

/** xfer_resume_at(x): when a paused transfer may go on, clock_mono_ms(). */
uint64_t xfer_resume_at(const struct xfer *x);
void xfer_resume(struct xfer *x);

/** xfer_finish(x, rc): fill in the response from the outcome. */
void xfer_finish(struct xfer *x, CURLcode rc);
/** xfer_fail(x, error, detail): the outcome is this. */
void xfer_fail(struct xfer *x, enum http_error error, const char *detail);

#endif
