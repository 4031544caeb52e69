/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef S3_S3_H
#define S3_S3_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

struct buf;
struct s3_cred;

/*
 * One bucket on one endpoint.  Every call blocks until it is answered, has
 * failed for good, or its deadline is over; retries are inside.  Any thread.
 * Keys are bytes in UTF-8, not encoded, without a leading slash.
 */
struct s3;

struct s3_opts {
	/* "https://host[:port]", "host", with {{bucket}} and {{region}}; http://
	 * only with insecure_http. */
	const char *endpoint;
	unsigned port;			/* 0: of the endpoint or scheme */
	const char *region;		/* NULL: us-east-1 */
	const char *bucket;
	bool path_style;
	bool insecure_http;
	const char *ca_file;
	const char *fingerprint;	/* "aa:bb:..."; NULL: none */
	const char *proxy;
	struct s3_cred *cred;		/* borrowed for the lifetime; NULL: anonymous */
	unsigned timeout_ms;		/* per request; 0: 30 s; plus size / 64 KiB/s */
	unsigned list_timeout_ms;	/* per page of a listing, all attempts; 0: any */
	unsigned connect_timeout_ms;
	unsigned retries;		/* attempts after the first; 0: 4 */
	bool no_retries;
	double request_rate;		/* requests/s; 0: no limit */
	uint64_t rate_in, rate_out;	/* bytes/s */
	unsigned max_connections;
	/* Quirks, by capability and not by brand. */
	bool skip_if_none_match;	/* put-if-absent is refused: plain PUT */
	bool no_multi_delete;		/* DeleteObjects is refused: single DELETE */
};

/** s3_new: -EINVAL with a message logged that names the option. */
int s3_new(const struct s3_opts *o, struct s3 **ret);
/** s3_shutdown(c): requests under way and later ones fail with -ESHUTDOWN. */
void s3_shutdown(struct s3 *c);
void s3_free(struct s3 *c);

/*
 * What went wrong, told apart as far as a person can do something about it.
 */
enum s3_cause {
	S3_CAUSE_NONE,
	S3_CAUSE_DNS,
	S3_CAUSE_CONNECT,
	S3_CAUSE_TLS,
	S3_CAUSE_TIMEOUT,
	S3_CAUSE_CLOCK,		/* RequestTimeTooSkewed */
	S3_CAUSE_BAD_KEY,	/* InvalidAccessKeyId, SignatureDoesNotMatch */
	S3_CAUSE_EXPIRED,	/* token */
	S3_CAUSE_DENIED,
	S3_CAUSE_NO_BUCKET,
	S3_CAUSE_REGION,	/* region in s3_error.region if the server told */
	S3_CAUSE_ARCHIVED,	/* InvalidObjectState: cold storage class */
	S3_CAUSE_THROTTLED,
	S3_CAUSE_SERVER,	/* 5xx */
	S3_CAUSE_QUOTA,
	S3_CAUSE_UNSUPPORTED,	/* NotImplemented and the like */
	S3_CAUSE_CONFLICT,	/* 409 */
	S3_CAUSE_PROTOCOL,	/* an answer that makes no sense */
	S3_CAUSE_OTHER,
};

struct s3_error {
	enum s3_cause cause;
	int status;		/* HTTP, 0 if there was no answer */
	char code[64];		/* of the XML error, or "" */
	char message[256];
	char request_id[80];
	char region[64];
};

/** s3_error_hint(e): one sentence that says what to do; "" if there is none. */
const char *s3_error_hint(const struct s3_error *e);
/** s3_error_text(e, out, len): cause, status, code, message, request id. */
void s3_error_text(const struct s3_error *e, char *out, size_t len);

/*
 * Errors of the calls below: -ETIMEDOUT, -EHOSTDOWN (no connection, DNS, 5xx
 * after all retries), -EACCES (key, permission), -EAGAIN (throttled after all
 * retries), -ENODATA (archived), -EDQUOT, -EOPNOTSUPP, -EBUSY (409), -EPROTO,
 * -EKEYREJECTED (TLS), -ESHUTDOWN, -ENOMEM, -EIO.  Each failure is logged
 * once, here, with key, status, code and request id, and kept in s3_last_error.
 */
struct s3_object {
	uint64_t size;
	int64_t mtime;		/* epoch seconds, 0 if the server did not say */
	char etag[72];		/* without quotes; "" if none */
	char storage_class[24];	/* "" for the standard one */
};

struct s3_range {
	uint64_t off, len;
};

/** s3_get(c, key, range, max, deadline, ret, ret_obj): range may be NULL,
 * ret_obj may be NULL.  0, 1 if absent.  The body has the announced length. */
int s3_get(struct s3 *c, const char *key, const struct s3_range *range,
    size_t max, deadline_t deadline, struct buf **ret,
    struct s3_object *ret_obj);
/** s3_head: 0, or 1 if absent. */
int s3_head(struct s3 *c, const char *key, deadline_t deadline,
    struct s3_object *ret);
/** s3_put: if_absent: 1 if the object exists (412).  409 is retried with
 * backoff and in the end put unconditionally. */
int s3_put(struct s3 *c, const char *key, const void *p, size_t len,
    bool if_absent, deadline_t deadline, struct s3_object *ret);
/** s3_delete: 0, also if it was absent. */
int s3_delete(struct s3 *c, const char *key, deadline_t deadline);
/** s3_copy: server-side, within the bucket.  1 if the source is absent. */
int s3_copy(struct s3 *c, const char *from, const char *to,
    deadline_t deadline);
/** s3_copy_from(c, source, from, to, deadline): server-side, from the bucket of
 * source, by the keys of c.  1 if there is no such object; -EOPNOTSUPP, without
 * a message, if the two are not one service with one owner's keys, or if the
 * server will not: then nothing was done, and no other copy is worth trying. */
int s3_copy_from(struct s3 *c, struct s3 *source, const char *from,
    const char *to, deadline_t deadline);
/** s3_head_bucket: 0, or the error. */
int s3_head_bucket(struct s3 *c, deadline_t deadline);

/**
 * s3_list(c, prefix, start_after, fn, arg, page_timeout_ms):
 * Every object whose key begins with prefix, page by page, in the server's
 * order; a non-zero return of fn ends it and is returned.  Each page has that
 * much time; 0: timeout_ms.  Entries without a key or with one outside of the prefix are refused.
 */
typedef int s3_list_fn(void *arg, const char *key, const struct s3_object *o);
int s3_list(struct s3 *c, const char *prefix, const char *start_after,
    s3_list_fn *fn, void *arg, unsigned page_timeout_ms);

/**
 * s3_delete_many(c, keys, n, fn, arg, deadline):
 * In requests of at most 1000.  fn is told of each key that was not deleted.
 * 0 only if all are gone; otherwise -EIO or the request's own error.
 */
typedef void s3_delete_fn(void *arg, const char *key, const char *code,
    const char *message);
int s3_delete_many(struct s3 *c, const char *const *keys, size_t n,
    s3_delete_fn *fn, void *arg, deadline_t deadline);

/** s3_last_error(c, ret): a copy; the calling thread's last failed call. */
void s3_last_error(struct s3 *c, struct s3_error *ret);
/** s3_clock_skew(c, ret_s): server time - ours, by the last Date; 1 if unknown */
int s3_clock_skew(struct s3 *c, int64_t *ret_s);

/* Requests by verb and outcome, bytes of bodies.  Attempts are counted, so
 * that a retry costs what it costs. */
enum s3_verb {
	S3_VERB_GET, S3_VERB_HEAD, S3_VERB_PUT, S3_VERB_POST, S3_VERB_DELETE,
	S3_VERB_LIST, S3_VERB_COPY, S3_VERBS
};
enum s3_outcome {
	S3_DONE,	/* 2xx */
	S3_ABSENT,	/* 404, 412, 304 */
	S3_REFUSED,	/* other 4xx */
	S3_FAILED,	/* 5xx, transport */
	S3_OUTCOMES
};
struct s3_counts {
	uint64_t requests[S3_VERBS][S3_OUTCOMES];
	uint64_t bytes_sent, bytes_received;
	uint64_t retries;
};
void s3_counts(struct s3 *c, struct s3_counts *ret);
const char *s3_verb_name(enum s3_verb v);

#endif
