/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3/client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/rate.h"
#include "base/str.h"
#include "crypt/digest.h"
#include "s3/cred.h"
#include "s3/error.h"
#include "s3/sign.h"

/* Slow links must get an object through: this much per second. */
#define SLOWEST_BYTES_PER_S (64 * KIB)
#define ERROR_BODY_MAX (64 * 1024)
#define BACKOFF_MAX_MS 10000
#define RETRY_AFTER_MAX_MS 60000
/* S3 servers refuse requests whose clock is off by more. */
#define SKEW_MAX_S ((int64_t)15 * 60)

/* The last failure of each thread, and of which client. */
static _Thread_local struct {
	uint64_t serial;
	struct s3_error e;
} last_error;

void
s3_last_error(struct s3 *c, struct s3_error *ret)
{
	if (last_error.serial == c->serial)
		*ret = last_error.e;
	else
		memset(ret, 0, sizeof(*ret));
}

int
req_fail(struct s3 *c, const struct req *q, const struct s3_error *e, int err)
{
	struct str name = {0};
	const char *hint = s3_error_hint(e);
	char text[768];

	last_error.serial = c->serial;
	last_error.e = *e;
	if (err == -ESHUTDOWN)
		return err;
	s3_error_text(e, text, sizeof(text));
	if (q->key != NULL)
		str_escape(&name, q->key, strlen(q->key));
	log_limited(LOG_LVL_ERR, "cannot %s s3://%s/%s: %s%s%s", q->what,
	    c->bucket, str_get(&name), text, hint[0] != '\0' ? "\nhint: " : "",
	    hint);
	str_fini(&name);
	return err;
}

/* Wait, but no longer than until shutdown. */
static int
pause_for(struct s3 *c, uint64_t ms, deadline_t deadline)
{
	deadline_t until = deadline_in(ms);

	if (deadline_left(deadline) <= ms)
		return -ETIMEDOUT;
	LOCK(&c->lock);
	while (!c->stop)
		if (cond_wait_until(&c->stopped, &c->lock, until) != 0)
			break;
	return c->stop ? -ESHUTDOWN : 0;
}

int
req_backoff(struct s3 *c, unsigned attempt, uint64_t at_least_ms,
    deadline_t deadline)
{
	uint64_t most = c->backoff_ms, dice = 0, ms;

	for (; attempt > 1 && most < BACKOFF_MAX_MS; attempt--)
		most *= 2;
	most = MIN(most, (uint64_t)BACKOFF_MAX_MS);
	/* Full jitter: clients that failed together do not come back so. */
	if (crypt_random(&dice, sizeof(dice)) < 0)
		dice = most;
	ms = dice % (most + 1);
	count_retry(c);
	return pause_for(c, MAX(ms, at_least_ms), deadline);
}

static uint64_t
retry_after_ms(const struct http_response *r)
{
	const char *text = http_response_header(r, "retry-after");
	int64_t when, now = clock_real_s();
	uint64_t s;

	if (text == NULL)
		return 0;
	if (num_u64(text, &s) < 0) {
		if (clock_parse_http(text, &when) < 0 || when <= now)
			return 0;
		s = (uint64_t)(when - now);
	}
	return MIN(s, (uint64_t)RETRY_AFTER_MAX_MS / 1000) * 1000;
}

static void
note_date(struct s3 *c, const struct http_response *r)
{
	const char *text = http_response_header(r, "date");
	int64_t when;

	if (text == NULL || clock_parse_http(text, &when) < 0)
		return;
	LOCK(&c->lock);
	c->skew_known = true;
	c->skew_s = when - clock_real_s();
}

/* Say by how much the clock is off; without a body it may be the only clue. */
static void
look_at_clock(struct s3 *c, struct s3_error *e)
{
	int64_t skew;
	bool off;

	if (s3_clock_skew(c, &skew) != 0)
		return;
	off = skew > SKEW_MAX_S || skew < -SKEW_MAX_S;
	if (e->cause == S3_CAUSE_DENIED && e->code[0] == '\0' && off)
		e->cause = S3_CAUSE_CLOCK;
	if (e->cause == S3_CAUSE_CLOCK)
		snprintf(e->message, sizeof(e->message),
		    "it is %" PRId64 " s %s the server's",
		    skew < 0 ? -skew : skew, skew < 0 ? "ahead of" : "behind");
}

/* Headers on the wire. */
struct head {
	struct http_header h[SIGN_HEADERS_MAX + 4];
	size_t n;
	char date[SIGN_DATE_LEN + 1];
	char hash[DIGEST_HEX_LEN + 1];
	char *authorization;	/* owned */
};

static void
add_header(struct head *h, const char *name, const char *value)
{
	h->h[h->n].name = name;
	h->h[h->n++].value = value;
}

/* Proxies answer parts of an object on their own and change this one. */
static bool
is_unsigned(const char *name)
{
	return streq(name, "range");
}

static int
sign(struct s3 *c, const struct req *q, const char *path,
    const struct s3_keys *keys, struct head *h)
{
	struct digest d = digest_of(q->body, q->body_len);
	struct sign_input in = {
	    .method = q->method,
	    .path = path,
	    .query = q->query != NULL ? q->query : "",
	    .headers = h->h,
	    .payload_hash = h->hash,
	    .date = h->date,
	    .region = c->region,
	    .access = keys->access,
	    .secret = keys->secret,
	};
	int r;

	r = sign_date(clock_real_s(), h->date);
	if (r < 0)
		return r;
	digest_hex(&d, h->hash);
	add_header(h, "x-amz-date", h->date);
	add_header(h, "x-amz-content-sha256", h->hash);
	if (keys->token[0] != '\0')
		add_header(h, "x-amz-security-token", keys->token);
	in.n_headers = h->n;
	r = sign_request(&in, &h->authorization);
	if (r == 0)
		add_header(h, "authorization", h->authorization);
	return r;
}

static int
make_head(struct s3 *c, const struct req *q, const char *path,
    const struct s3_keys *keys, struct head *h)
{
	size_t i;
	int r = 0;

	memset(h, 0, sizeof(*h));
	if (q->n_headers > SIGN_HEADERS_MAX - 8)
		return -E2BIG;
	add_header(h, "host", c->url.host);
	for (i = 0; i < q->n_headers; i++)
		if (!is_unsigned(q->headers[i].name))
			add_header(h, q->headers[i].name, q->headers[i].value);
	if (keys != NULL)
		r = sign(c, q, path, keys, h);
	for (i = 0; i < q->n_headers; i++)
		if (is_unsigned(q->headers[i].name))
			add_header(h, q->headers[i].name, q->headers[i].value);
	add_header(h, "user-agent", "pbs3fs");
	return r;
}

static deadline_t
attempt_deadline(const struct s3 *c, const struct req *q)
{
	uint64_t ms = q->timeout_ms != 0 ? q->timeout_ms : c->o.timeout_ms;

	ms += (q->body_len + q->expect) / (SLOWEST_BYTES_PER_S / 1000);
	if (deadline_left(q->deadline) < ms)
		return q->deadline;
	return deadline_in(ms);
}

static int
send_once(struct s3 *c, const struct req *q, const struct s3_keys *keys,
    struct http_response *ret)
{
	struct http_request hr = {
	    .method = q->method,
	    .body = q->body,
	    .body_len = q->body_len,
	    .max_body = MAX(q->max_body, (size_t)ERROR_BODY_MAX),
	    .deadline = attempt_deadline(c, q),
	};
	struct str path = {0}, url = {0};
	struct head h;
	int r;

	str_add(&path, c->url.root);
	if (q->key != NULL)
		url_encode(&path, q->key, true);
	str_addf(&url, "%s%s", c->url.origin, str_get(&path));
	if (q->query != NULL)
		str_addf(&url, "?%s", q->query);
	r = str_error(&path) < 0 || str_error(&url) < 0 ? -ENOMEM : 0;
	if (r == 0)
		r = make_head(c, q, str_get(&path), keys, &h);
	if (r == 0) {
		hr.url = str_get(&url);
		hr.headers = h.h;
		hr.n_headers = h.n;
		r = http_perform(c->http, &hr, ret);
		free(h.authorization);
	}
	str_fini(&path);
	str_fini(&url);
	return r;
}

static enum s3_outcome
outcome_of(const struct http_response *r)
{
	if (r->error != HTTP_OK || r->status >= 500)
		return S3_FAILED;
	if (r->status >= 200 && r->status < 300)
		return S3_DONE;
	if (r->status == 404 || r->status == 412 || r->status == 304)
		return S3_ABSENT;
	return S3_REFUSED;
}

/* What has become of an attempt. */
struct verdict {
	int result;		/* as req_run */
	bool retry;
	uint64_t wait_ms;	/* as the server asks */
};

static struct verdict
judge_transport(const struct http_response *r, struct s3_error *e)
{
	struct error_class k;

	error_from_transport(r, e);
	if (r->error == HTTP_E_ABORTED)
		return (struct verdict){-ESHUTDOWN, false, 0};
	if (r->error == HTTP_E_MEMORY)
		return (struct verdict){-ENOMEM, false, 0};
	if (r->error == HTTP_E_TOO_LARGE)
		return (struct verdict){-EFBIG, false, 0};
	k = error_class(e);
	return (struct verdict){k.err, k.retry, 0};
}

static struct verdict
judge(struct s3 *c, const struct req *q, const struct http_response *r,
    struct s3_error *e)
{
	struct error_class k;
	bool genuine;

	if (r->error != HTTP_OK)
		return judge_transport(r, e);
	note_date(c, r);
	if (r->status >= 200 && r->status < 300) {
		int cr;

		memset(e, 0, sizeof(*e));
		e->status = r->status;
		cr = q->check != NULL ? q->check(q->arg, r, e) : 0;
		if (cr == 0)
			return (struct verdict){0, false, 0};
		if (cr == -ENOMEM)
			return (struct verdict){cr, false, 0};
		if (q->key != NULL && streq(e->code, "NoSuchKey"))
			return (struct verdict){1, false, 0};
		k = error_class(e);
		return (struct verdict){k.err, k.retry, retry_after_ms(r)};
	}
	genuine = error_from_response(r, e);
	look_at_clock(c, e);
	if (r->status == 404 && e->cause != S3_CAUSE_NO_BUCKET) {
		/* An error page of a proxy says nothing about the object. */
		if (!genuine) {
			e->cause = S3_CAUSE_PROTOCOL;
		} else if (q->key != NULL) {
			return (struct verdict){1, false, 0};
		} else {
			e->cause = S3_CAUSE_NO_BUCKET;
		}
	}
	if (r->status == 412)
		return (struct verdict){1, false, 0};
	k = error_class(e);
	if (r->status == 409 && q->retry_conflict)
		k.retry = true;
	return (struct verdict){k.err, k.retry, retry_after_ms(r)};
}

static int
get_keys(struct s3 *c, struct s3_keys *keys, struct s3_error *e)
{
	int r;

	if (c->o.cred == NULL)
		return 0;
	r = s3_cred_get(c->o.cred, keys);
	if (r < 0) {
		memset(e, 0, sizeof(*e));
		e->cause = S3_CAUSE_BAD_KEY;
		snprintf(e->message, sizeof(e->message),
		    "no keys can be had: %s", strerror(-r));
		return r == -ENOMEM ? r : -EACCES;
	}
	return 0;
}

static struct verdict
attempt(struct s3 *c, const struct req *q, struct http_response *ret,
    struct s3_error *e)
{
	struct s3_keys keys;
	struct verdict v = {0, false, 0};
	uint64_t start = clock_mono_ms();

	memset(ret, 0, sizeof(*ret));
	v.result = get_keys(c, &keys, e);
	if (v.result < 0)
		return v;
	v.result = send_once(c, q, c->o.cred != NULL ? &keys : NULL, ret);
	explicit_bzero(&keys, sizeof(keys));
	if (v.result < 0) {
		memset(e, 0, sizeof(*e));
		e->cause = S3_CAUSE_OTHER;
		snprintf(e->message, sizeof(e->message), "%s",
		    strerror(-v.result));
		return v;
	}
	count_request(c, q->verb, outcome_of(ret));
	count_bytes(c, ret->bytes_sent, ret->bytes_received);
	v = judge(c, q, ret, e);
	if (e->cause == S3_CAUSE_EXPIRED)
		v.retry = c->o.cred != NULL && s3_cred_refused(c->o.cred);
	log_debug("s3: %s %s: %d %s%s in %" PRIu64 " ms",
	    s3_verb_name(q->verb), q->key != NULL ? q->key : c->bucket,
	    ret->status, e->code, ret->detail, clock_mono_ms() - start);
	return v;
}

static int
wait_turn(struct s3 *c, const struct req *q)
{
	uint64_t ms;
	int r;

	if (c->rate == NULL)
		return 0;
	r = rate_take_within(c->rate, 1, deadline_left(q->deadline), &ms);
	if (r < 0)
		return r;
	return ms > 0 ? pause_for(c, ms, q->deadline) : 0;
}

int
req_run(struct s3 *c, const struct req *q, struct http_response *ret,
    struct s3_error *e)
{
	struct verdict v = {-ETIMEDOUT, false, 0};
	unsigned n;
	int r;

	memset(e, 0, sizeof(*e));
	memset(ret, 0, sizeof(*ret));
	for (n = 1;; n++) {
		r = wait_turn(c, q);
		if (r < 0) {
			if (n == 1 && r == -ETIMEDOUT) {
				e->cause = S3_CAUSE_TIMEOUT;
				snprintf(e->message, sizeof(e->message),
				    "request-rate leaves no time for it");
			}
			/* Otherwise the last attempt tells more. */
			if (n == 1 || r == -ESHUTDOWN)
				v.result = r;
			break;
		}
		v = attempt(c, q, ret, e);
		if (v.result >= 0)
			return v.result;
		http_response_fini(ret);
		if (!v.retry || n >= c->attempts)
			break;
		r = req_backoff(c, n, v.wait_ms, q->deadline);
		if (r == -ESHUTDOWN)
			v.result = r;
		if (r < 0)
			break;
	}
	if (q->silent && v.result != -ESHUTDOWN)
		return v.result;
	return req_fail(c, q, e, v.result);
}
