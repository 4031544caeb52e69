/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef S3_CLIENT_H
#define S3_CLIENT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "http/http.h"
#include "s3/s3.h"
#include "s3/url.h"

struct rate;

/* Private to s3/: the client and one request of it. */
struct s3 {
	struct s3_opts o;	/* strings below; the rest as given */
	char *region, *bucket;	/* owned */
	struct url_base url;
	char *service;		/* owned: the same for all buckets of it */
	struct http *http;	/* owned */
	struct rate *rate;	/* owned; NULL: no limit */
	unsigned attempts;	/* at most, the first included */
	unsigned backoff_ms;	/* at most, before the second attempt */
	uint64_t serial;	/* tells clients apart for s3_last_error */
	struct s3_counts counts;	/* atomics */

	pthread_mutex_t lock;	/* guards all below */
	pthread_cond_t stopped;
	bool stop;
	bool skew_known;
	int64_t skew_s;
};

struct req {
	enum s3_verb verb;
	const char *what;	/* for the log: "read", "write", ... */
	const char *method;
	const char *key;	/* not encoded; NULL: the bucket itself */
	const char *query;	/* canonical; NULL: none */
	/* Names in lower case.  Signed unless a proxy may change them. */
	const struct http_header *headers;
	size_t n_headers;
	const void *body;	/* borrowed */
	size_t body_len;
	size_t max_body;	/* of a success */
	uint64_t expect;	/* bytes of a usual success; scales the time */
	deadline_t deadline;
	unsigned timeout_ms;	/* 0: the client's */
	/* Look into a 2xx response: 0 if it is a good one, otherwise *e has
	 * the cause (PROTOCOL: truncated or garbled). */
	int (*check)(void *arg, const struct http_response *r,
	    struct s3_error *e);
	void *arg;
	bool retry_conflict;	/* any 409 is worth another attempt */
	bool silent;		/* the caller logs the error */
};

/**
 * req_run(c, q, ret, e):
 * Send, with retries.  0 for a success, 1 for 404 or 412: then the caller owns
 * *ret.  Otherwise -errno, with the cause in *e, logged unless q->silent.
 */
int req_run(struct s3 *c, const struct req *q, struct http_response *ret,
    struct s3_error *e);

/** req_fail(c, q, e, err): log and remember; returns err. */
int req_fail(struct s3 *c, const struct req *q, const struct s3_error *e,
    int err);

/** req_backoff(c, attempt, at_least_ms, deadline):
 * Wait with exponential backoff and full jitter before the attempt (1: the
 * first repetition).  0, -ETIMEDOUT at once if the deadline comes before,
 * -ESHUTDOWN. */
int req_backoff(struct s3 *c, unsigned attempt, uint64_t at_least_ms,
    deadline_t deadline);

void count_request(struct s3 *c, enum s3_verb v, enum s3_outcome o);
void count_bytes(struct s3 *c, uint64_t sent, uint64_t received);
void count_retry(struct s3 *c);

#endif
