/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../cm.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/num.h"
#include "s3/cred.h"
#include "s3/client.h"
#include "script.h"

#define SIZE 1000

static struct script script;
static struct s3_cred *cred;
static char data[SIZE];

static struct s3_opts
options(void)
{
	return (struct s3_opts){
	    .endpoint = script.url,
	    .bucket = "bkt",
	    .path_style = true,
	    .insecure_http = true,
	    .proxy = "",
	    .cred = cred,
	    .retries = 2,
	};
}

static struct s3 *
client(const struct s3_opts *o)
{
	struct s3_opts standard = options();
	struct s3 *c = NULL;

	script_clear(&script);
	assert_int_equal(s3_new(o != NULL ? o : &standard, &c), 0);
	c->backoff_ms = 20;
	assert_int_equal(s3_put(c, "k", data, SIZE, false, 0, NULL), 0);
	script_clear(&script);
	return c;
}

static int
get(struct s3 *c, deadline_t deadline)
{
	struct buf *b = NULL;
	int r = s3_get(c, "k", NULL, SIZE, deadline, &b, NULL);

	if (r == 0) {
		assert_int_equal(b->len, SIZE);
		assert_memory_equal(b->data, data, SIZE);
	}
	buf_unref(b);
	return r;
}

struct seen {
	unsigned n, with_hint;
	char last[600];
};

static void
see(void *arg, int64_t when, enum log_level lvl, const char *text)
{
	struct seen *s = arg;

	(void)when;
	if (lvl != LOG_LVL_ERR)
		return;
	s->n++;
	s->with_hint += strstr(text, "\nhint: ") != NULL;
	snprintf(s->last, sizeof(s->last), "%s", text);
}

/* Runs first: messages that repeat are held back. */
static void
test_log_once(void **state)
{
	struct s3 *c = client(NULL);
	struct seen s = {0}, s2 = {0};

	(void)state;
	log_recent(see, &s);
	script_rules(&script, "[{\"status\": 503, \"code\": \"SlowDown\", "
			      "\"message\": \"easy\"}]");
	assert_int_equal(get(c, 0), -EAGAIN);
	log_recent(see, &s2);
	assert_int_equal(s2.n, s.n + 1);
	assert_int_equal(s2.with_hint, s.with_hint + 1);
	assert_non_null(strstr(s2.last, "s3://bkt/k"));
	assert_non_null(strstr(s2.last, "503 SlowDown: easy"));
	assert_non_null(strstr(s2.last, "request script-1"));
	/* What is absent is no error. */
	script_rules(&script, "[{\"status\": 404, \"code\": \"NoSuchKey\"}]");
	assert_int_equal(get(c, 0), 1);
	memset(&s, 0, sizeof(s));
	log_recent(see, &s);
	assert_int_equal(s.n, s2.n);
	s3_free(c);
}

/* What the server does to a GET, and what comes of it after how many. */
static const struct {
	const char *rule;
	int want;
	enum s3_cause cause;
	unsigned requests;
} answers[] = {
    {"{\"status\": 500, \"count\": 2}", 0, S3_CAUSE_NONE, 3},
    {"{\"status\": 502, \"count\": 1}", 0, S3_CAUSE_NONE, 2},
    {"{\"status\": 503, \"count\": 1}", 0, S3_CAUSE_NONE, 2},
    {"{\"status\": 504, \"count\": 1}", 0, S3_CAUSE_NONE, 2},
    {"{\"status\": 429, \"count\": 1}", 0, S3_CAUSE_NONE, 2},
    {"{\"status\": 403, \"code\": \"SlowDown\", \"count\": 1}", 0,
	S3_CAUSE_NONE, 2},
    {"{\"status\": 400, \"code\": \"RequestTimeout\", \"count\": 1}", 0,
	S3_CAUSE_NONE, 2},
    {"{\"drop\": \"before\", \"count\": 2}", 0, S3_CAUSE_NONE, 3},
    {"{\"drop\": \"headers\", \"count\": 2}", 0, S3_CAUSE_NONE, 3},
    {"{\"truncate\": 0, \"count\": 2}", 0, S3_CAUSE_NONE, 3},
    {"{\"truncate\": 999, \"count\": 2}", 0, S3_CAUSE_NONE, 3},
    {"{\"status\": 503}", -EHOSTDOWN, S3_CAUSE_SERVER, 3},
    {"{\"status\": 503, \"body\": \"<html>\"}", -EHOSTDOWN,
	S3_CAUSE_SERVER, 3},
    {"{\"status\": 429}", -EAGAIN, S3_CAUSE_THROTTLED, 3},
    {"{\"truncate\": 999}", -EHOSTDOWN, S3_CAUSE_CONNECT, 3},
    {"{\"status\": 505}", -EHOSTDOWN, S3_CAUSE_SERVER, 1},
    {"{\"status\": 403, \"code\": \"AccessDenied\"}", -EACCES,
	S3_CAUSE_DENIED, 1},
    {"{\"status\": 403}", -EACCES, S3_CAUSE_DENIED, 1},
    {"{\"status\": 403, \"code\": \"InvalidAccessKeyId\"}", -EACCES,
	S3_CAUSE_BAD_KEY, 1},
    {"{\"status\": 403, \"code\": \"SignatureDoesNotMatch\"}", -EACCES,
	S3_CAUSE_BAD_KEY, 1},
    {"{\"status\": 403, \"code\": \"RequestTimeTooSkewed\"}", -EACCES,
	S3_CAUSE_CLOCK, 1},
    {"{\"status\": 403, \"clock\": 3600}", -EACCES, S3_CAUSE_CLOCK, 1},
    {"{\"status\": 400, \"code\": \"ExpiredToken\"}", -EACCES,
	S3_CAUSE_EXPIRED, 1},
    {"{\"status\": 403, \"code\": \"InvalidObjectState\"}", -ENODATA,
	S3_CAUSE_ARCHIVED, 1},
    {"{\"status\": 403, \"code\": \"AccessDenied\", \"message\": "
     "\"Transaction cap exceeded, see\"}", -EDQUOT, S3_CAUSE_QUOTA, 1},
    {"{\"status\": 507}", -EDQUOT, S3_CAUSE_QUOTA, 1},
    {"{\"status\": 501, \"code\": \"NotImplemented\"}", -EOPNOTSUPP,
	S3_CAUSE_UNSUPPORTED, 1},
    {"{\"status\": 409, \"code\": \"Odd\"}", -EBUSY, S3_CAUSE_CONFLICT, 1},
    {"{\"status\": 418}", -EIO, S3_CAUSE_OTHER, 1},
    {"{\"status\": 404, \"code\": \"NoSuchBucket\"}", -EIO,
	S3_CAUSE_NO_BUCKET, 1},
    {"{\"status\": 404, \"code\": \"NoSuchKey\"}", 1, S3_CAUSE_NONE, 1},
    {"{\"status\": 404}", 1, S3_CAUSE_NONE, 1},
    /* The page of a proxy is no statement about an object. */
    {"{\"status\": 404, \"body\": \"<html>not here</html>\"}", -EPROTO,
	S3_CAUSE_PROTOCOL, 3},
    {"{\"status\": 301, \"code\": \"PermanentRedirect\", \"headers\": "
     "{\"x-amz-bucket-region\": \"eu-9\"}}", -EIO, S3_CAUSE_REGION, 1},
    {"{\"status\": 400, \"headers\": {\"x-amz-bucket-region\": \"eu-9\"}}",
	-EIO, S3_CAUSE_REGION, 1},
    {"{\"status\": 400, \"code\": \"AuthorizationHeaderMalformed\", "
     "\"region\": \"eu-9\"}", -EIO, S3_CAUSE_REGION, 1},
    {"{\"status\": 307, \"headers\": {\"x-amz-bucket-region\": \"eu-9\", "
     "\"Location\": \"http://127.0.0.1:1/\"}}", -EIO, S3_CAUSE_REGION, 1},
    {"{\"status\": 206, \"body\": \"x\"}", -EPROTO, S3_CAUSE_PROTOCOL, 3},
};

static void
test_answers(void **state)
{
	struct s3 *c = client(NULL);
	char rules[512], text[512];
	struct s3_error e;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(answers); i++) {
		int r;

		script_clear(&script);
		snprintf(rules, sizeof(rules), "[%s]", answers[i].rule);
		script_rules(&script, rules);
		r = get(c, 0);
		if (r != answers[i].want)
			fail_msg("%s: %d", answers[i].rule, r);
		assert_int_equal(script_count(&script, "GET"),
		    answers[i].requests);
		if (r >= 0)
			continue;
		s3_last_error(c, &e);
		if (e.cause != answers[i].cause)
			fail_msg("%s: cause %d", answers[i].rule, e.cause);
		if (e.cause == S3_CAUSE_REGION)
			assert_string_equal(e.region, "eu-9");
		s3_error_text(&e, text, sizeof(text));
		assert_true(text[0] != '\0');
		if (e.cause != S3_CAUSE_SERVER && e.cause != S3_CAUSE_OTHER &&
		    e.cause != S3_CAUSE_CONFLICT)
			assert_true(s3_error_hint(&e)[0] != '\0');
	}
	s3_free(c);
}

static void
test_optional_headers(void **state)
{
	struct s3 *c = client(NULL);
	struct s3_object o;
	struct buf *b;
	int64_t skew;

	(void)state;
	assert_int_equal(s3_clock_skew(c, &skew), 0);
	assert_true(skew >= -2 && skew <= 2);
	script_rules(&script,
	    "[{\"omit\": [\"Date\", \"ETag\", \"Last-Modified\", "
	    "\"Content-Type\", \"x-amz-request-id\"]}]");
	assert_int_equal(s3_get(c, "k", NULL, SIZE, 0, &b, &o), 0);
	assert_int_equal(o.size, SIZE);
	assert_int_equal(o.mtime, 0);
	assert_string_equal(o.etag, "");
	buf_unref(b);
	assert_int_equal(s3_put(c, "k", data, SIZE, false, 0, &o), 0);
	assert_string_equal(o.etag, "");
	script_rules(&script, "[{\"omit\": [\"Content-Length\"]}]");
	assert_int_equal(get(c, 0), 0);
	assert_int_equal(s3_head(c, "k", 0, &o), -EPROTO);
	script_rules(&script, "[{\"clock\": 7200}]");
	assert_int_equal(get(c, 0), 0);
	assert_int_equal(s3_clock_skew(c, &skew), 0);
	assert_true(skew >= 7198 && skew <= 7202);
	s3_free(c);
}

static void
test_ranges(void **state)
{
	static const struct {
		struct s3_range range;
		size_t want;
	} parts[] = {
	    {{0, 10}, 10}, {{990, 10}, 10}, {{990, 100}, 10}, {{0, 1000}, 1000},
	    {{999, 1}, 1}, {{500, 0}, 500}, {{0, 0}, 1000}};
	static const struct s3_range beyond = {1000, 1}, huge = {2, UINT64_MAX};
	struct s3 *c = client(NULL);
	struct s3_object o;
	struct buf *b;
	size_t i, k;

	(void)state;
	for (k = 0; k < 2; k++) {
		for (i = 0; i < ARRAY_SIZE(parts); i++) {
			assert_int_equal(s3_get(c, "k", &parts[i].range, SIZE,
			    0, &b, &o), 0);
			assert_int_equal(b->len, parts[i].want);
			assert_memory_equal(b->data,
			    data + parts[i].range.off, b->len);
			assert_int_equal(o.size, SIZE);
			buf_unref(b);
		}
		assert_true(s3_get(c, "k", &beyond, SIZE, 0, &b, &o) < 0);
		assert_int_equal(
		    s3_get(c, "k", &huge, SIZE, 0, &b, &o), -EINVAL);
		/* And from a server that knows no ranges. */
		script_rules(&script, "[{\"whole\": true}]");
	}
	/* Parts that are not what was asked for. */
	script_rules(&script,
	    "[{\"headers\": {\"Content-Range\": \"bytes 1-10/1000\"}}]");
	assert_int_equal(
	    s3_get(c, "k", &parts[0].range, SIZE, 0, &b, &o), -EPROTO);
	script_rules(&script, "[{\"omit\": [\"Content-Range\"]}]");
	assert_int_equal(
	    s3_get(c, "k", &parts[0].range, SIZE, 0, &b, &o), -EPROTO);
	s3_free(c);
}

static void
test_too_large(void **state)
{
	struct s3 *c = client(NULL);
	char *p = calloc(1, 200000);
	struct buf *b;

	(void)state;
	assert_int_equal(s3_get(c, "k", NULL, SIZE - 1, 0, &b, NULL), -EFBIG);
	assert_int_equal(s3_put(c, "big", p, 200000, false, 0, NULL), 0);
	assert_int_equal(s3_get(c, "big", NULL, 199999, 0, &b, NULL), -EFBIG);
	assert_int_equal(s3_get(c, "big", NULL, 200000, 0, &b, NULL), 0);
	assert_int_equal(b->len, 200000);
	buf_unref(b);
	free(p);
	s3_free(c);
}

static void
test_put(void **state)
{
	struct s3_opts o = options();
	struct s3 *c = client(NULL);
	char *p = calloc(1, 1 << 20), log[16384];
	struct buf *b;
	struct s3_error e;

	(void)state;
	memset(p, 'x', 1 << 20);
	assert_int_equal(s3_put(c, "k", data, SIZE, true, 0, NULL), 1);
	/* A second attempt sends the body again, all of it. */
	script_rules(&script, "[{\"drop\": \"done\", \"count\": 1},"
			      "{\"status\": 500, \"count\": 1}]");
	assert_int_equal(s3_put(c, "m", p, 1 << 20, false, 0, NULL), 0);
	assert_int_equal(s3_get(c, "m", NULL, 1 << 20, 0, &b, NULL), 0);
	assert_memory_equal(b->data, p, 1 << 20);
	buf_unref(b);
	free(p);
	/* A conflict that does not end: put without the condition. */
	script_clear(&script);
	script_rules(&script,
	    "[{\"verb\": \"PUT\", \"status\": 409, \"code\": "
	    "\"ConditionalRequestConflict\", \"count\": 3}]");
	assert_int_equal(s3_put(c, "n", data, 5, true, 0, NULL), 0);
	assert_int_equal(script_count(&script, "PUT"), 4);
	script_call(&script, "GET", "/_log", "", log, sizeof(log));
	assert_null(strstr(log, "checksum"));
	assert_null(strstr(log, "expect"));
	/* A server that does not know the condition, and the quirk for it. */
	script_rules(&script, "[{\"verb\": \"PUT\", \"status\": 501, \"code\": "
			      "\"NotImplemented\"}]");
	assert_int_equal(s3_put(c, "o", data, 5, true, 0, NULL), -EOPNOTSUPP);
	s3_last_error(c, &e);
	assert_int_equal(e.cause, S3_CAUSE_UNSUPPORTED);
	assert_non_null(strstr(s3_error_hint(&e), "skip-if-none-match"));
	s3_free(c);
	o.skip_if_none_match = true;
	c = client(&o);
	assert_int_equal(s3_put(c, "k", data, SIZE, true, 0, NULL), 0);
	s3_free(c);
}

static void
test_copy(void **state)
{
	struct s3 *c = client(NULL);
	char log[16384];

	(void)state;
	assert_int_equal(s3_put(c, "t:1 %3A", data, 5, false, 0, NULL), 0);
	assert_int_equal(s3_copy(c, "t:1 %3A", "u:2", 0), 0);
	script_call(&script, "GET", "/_log", "", log, sizeof(log));
	assert_non_null(strstr(log, "bkt/t%3A1%20%253A\""));
	/* 200 with an error in it is no success. */
	script_clear(&script);
	script_rules(&script, "[{\"verb\": \"COPY\", \"status\": 200, "
			      "\"code\": "
			      "\"InternalError\", \"count\": 2}]");
	assert_int_equal(s3_copy(c, "k", "l", 0), 0);
	assert_int_equal(script_count(&script, "COPY"), 3);
	script_rules(&script, "[{\"verb\": \"COPY\", \"status\": 200, "
			      "\"code\": "
			      "\"AccessDenied\"}]");
	assert_int_equal(s3_copy(c, "k", "l", 0), -EACCES);
	script_rules(&script, "[{\"verb\": \"COPY\", \"status\": 200, "
			      "\"code\": "
			      "\"NoSuchKey\"}]");
	assert_int_equal(s3_copy(c, "k", "l", 0), 1);
	/* Nor is one without a word. */
	script_rules(&script, "[{\"verb\": \"COPY\", \"body\": \"\"}]");
	assert_int_equal(s3_copy(c, "k", "l", 0), -EPROTO);
	script_rules(&script, "[{\"verb\": \"COPY\", \"status\": 403, "
			      "\"code\": "
			      "\"InvalidObjectState\"}]");
	assert_int_equal(s3_copy(c, "k", "l", 0), -ENODATA);
	s3_free(c);
}

static void
test_deadlines(void **state)
{
	struct s3_opts o = options();
	struct s3 *c = client(NULL);
	uint64_t start = clock_mono_ms();
	struct s3_error e;

	(void)state;
	script_rules(&script, "[{\"delay\": 5}]");
	assert_int_equal(get(c, deadline_in(500)), -ETIMEDOUT);
	assert_true(clock_mono_ms() - start < 1500);
	/* The first wait would be over it: the last answer is the error. */
	script_rules(&script, "[{\"status\": 503, \"headers\": "
			      "{\"Retry-After\": \"20\"}}]");
	start = clock_mono_ms();
	assert_int_equal(get(c, deadline_in(3000)), -EHOSTDOWN);
	assert_true(clock_mono_ms() - start < 1000);
	script_rules(&script, "[{\"status\": 503, \"count\": 1, \"headers\": "
			      "{\"Retry-After\": \"2\"}}]");
	start = clock_mono_ms();
	assert_int_equal(get(c, 0), 0);
	assert_true(clock_mono_ms() - start >= 2000);
	s3_free(c);
	/* The time of one attempt. */
	o.timeout_ms = 300;
	o.retries = 1;
	c = client(&o);
	script_rules(&script, "[{\"delay\": 5}]");
	start = clock_mono_ms();
	assert_int_equal(get(c, 0), -ETIMEDOUT);
	assert_true(clock_mono_ms() - start < 3000);
	assert_int_equal(script_count(&script, "GET"), 2);
	s3_last_error(c, &e);
	assert_int_equal(e.cause, S3_CAUSE_TIMEOUT);
	s3_free(c);
}

/* 300 ms would not do for 64 KiB at 128 KiB/s; the size is allowed for. */
static void
test_deadline_grows_with_size(void **state)
{
	struct s3_opts o = options();
	char *p = calloc(1, 65536);
	struct s3 *c;
	struct buf *b;

	(void)state;
	o.timeout_ms = 300;
	o.no_retries = true;
	c = client(&o);
	assert_int_equal(s3_put(c, "m", p, 65536, false, 0, NULL), 0);
	script_rules(&script, "[{\"slow\": 131072}]");
	assert_int_equal(s3_get(c, "m", NULL, 65536, 0, &b, NULL), 0);
	buf_unref(b);
	free(p);
	s3_free(c);
}

static void
test_rate(void **state)
{
	struct s3_opts o = options();
	uint64_t start;
	struct s3 *c;
	int i;

	(void)state;
	o.request_rate = 20;
	c = client(&o);
	start = clock_mono_ms();
	for (i = 0; i < 40; i++)
		assert_int_equal(get(c, 0), 0);
	assert_true(clock_mono_ms() - start > 800);
	s3_free(c);

	/* Who cannot wait for a turn does not delay those who can: a turn comes
	 * every three seconds, and twenty of them would take a minute. */
	o.request_rate = 0.33;
	c = client(&o);
	assert_int_equal(get(c, 0), 0);
	for (i = 0; i < 20; i++)
		assert_int_equal(get(c, deadline_in(1)), -ETIMEDOUT);
	assert_int_equal(get(c, deadline_in(30000)), 0);
	s3_free(c);
}

struct runner {
	pthread_t thread;
	struct s3 *c;
	int result;
};

static void *
runner_main(void *arg)
{
	struct runner *x = arg;
	struct buf *b = NULL;

	x->result = s3_get(x->c, "k", NULL, SIZE, 0, &b, NULL);
	buf_unref(b);
	return NULL;
}

static void
test_shutdown(void **state)
{
	/* While it waits for an answer, and while it waits to try again. */
	static const char *const rules[] = {
	    "[{\"delay\": 5}]",
	    "[{\"status\": 503, \"headers\": {\"Retry-After\": \"30\"}}]"};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rules); i++) {
		struct runner x = {.c = client(NULL)};
		uint64_t start;

		script_rules(&script, rules[i]);
		pthread_create(&x.thread, NULL, runner_main, &x);
		while (script_count(&script, "GET") < 1)
			usleep(10000);
		usleep(100000);
		start = clock_mono_ms();
		s3_shutdown(x.c);
		pthread_join(x.thread, NULL);
		assert_int_equal(x.result, -ESHUTDOWN);
		assert_true(clock_mono_ms() - start < 1000);
		assert_int_equal(get(x.c, 0), -ESHUTDOWN);
		s3_free(x.c);
	}
}

static void
test_counts(void **state)
{
	struct s3 *c = client(NULL);
	struct s3_counts n;

	(void)state;
	script_rules(&script,
	    "[{\"verb\": \"GET\", \"status\": 503, \"count\": 2},"
	    " {\"verb\": \"HEAD\", \"status\": 403}]");
	assert_int_equal(get(c, 0), 0);
	assert_int_equal(s3_head(c, "k", 0, NULL), -EACCES);
	assert_int_equal(s3_delete(c, "k", 0), 0);
	assert_int_equal(get(c, 0), 1);
	s3_counts(c, &n);
	assert_int_equal(n.requests[S3_VERB_GET][S3_DONE], 1);
	assert_int_equal(n.requests[S3_VERB_GET][S3_FAILED], 2);
	assert_int_equal(n.requests[S3_VERB_GET][S3_ABSENT], 1);
	assert_int_equal(n.requests[S3_VERB_HEAD][S3_REFUSED], 1);
	assert_int_equal(n.requests[S3_VERB_DELETE][S3_DONE], 1);
	assert_int_equal(n.requests[S3_VERB_PUT][S3_DONE], 1);
	assert_int_equal(n.retries, 2);
	assert_int_equal(n.bytes_sent, SIZE);
	assert_true(n.bytes_received >= SIZE);
	assert_int_equal(script_count(&script, "GET"), 4);
	assert_string_equal(s3_verb_name(S3_VERB_LIST), "LIST");
	s3_free(c);
}

static void
test_unreachable(void **state)
{
	static const struct {
		const char *endpoint;
		enum s3_cause cause;
		int want;
	} ends[] = {
	    {"http://host.invalid", S3_CAUSE_DNS, -EHOSTDOWN},
	    {"http://127.0.0.1:1", S3_CAUSE_CONNECT, -EHOSTDOWN},
	};
	struct s3_opts o = options();
	struct s3_error e;
	struct s3 *c;
	size_t i;

	(void)state;
	o.no_retries = true;
	for (i = 0; i < ARRAY_SIZE(ends); i++) {
		o.endpoint = ends[i].endpoint;
		assert_int_equal(s3_new(&o, &c), 0);
		assert_int_equal(s3_head_bucket(c, 0), ends[i].want);
		s3_last_error(c, &e);
		assert_int_equal(e.cause, ends[i].cause);
		s3_free(c);
	}
}

static void
test_bad_options(void **state)
{
	struct s3_opts o = options();
	struct s3 *c;

	(void)state;
	o.fingerprint = "aa:bb";
	assert_int_equal(s3_new(&o, &c), -EINVAL);
	o = options();
	o.ca_file = "/nonexistent";
	assert_int_equal(s3_new(&o, &c), -EINVAL);
	o = options();
	o.insecure_http = false;
	assert_int_equal(s3_new(&o, &c), -EINVAL);
	o = options();
	o.bucket = NULL;
	assert_int_equal(s3_new(&o, &c), -EINVAL);
	o = options();
	o.request_rate = -1;
	assert_int_equal(s3_new(&o, &c), -EINVAL);
}

static void
test_anonymous(void **state)
{
	struct s3_opts o = options();
	struct s3 *c;
	char log[8192];

	(void)state;
	o.cred = NULL;
	c = client(&o);
	assert_int_equal(get(c, 0), 0);
	script_call(&script, "GET", "/_log", "", log, sizeof(log));
	assert_non_null(strstr(log, "\"GET\""));
	assert_null(strstr(log, "authorization"));
	s3_free(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_log_once),
	    cmocka_unit_test(test_answers),
	    cmocka_unit_test(test_optional_headers),
	    cmocka_unit_test(test_ranges),
	    cmocka_unit_test(test_too_large),
	    cmocka_unit_test(test_put),
	    cmocka_unit_test(test_copy),
	    cmocka_unit_test(test_deadlines),
	    cmocka_unit_test(test_deadline_grows_with_size),
	    cmocka_unit_test(test_rate),
	    cmocka_unit_test(test_shutdown),
	    cmocka_unit_test(test_counts),
	    cmocka_unit_test(test_unreachable),
	    cmocka_unit_test(test_bad_options),
	    cmocka_unit_test(test_anonymous),
	};
	size_t i;
	int r;

	for (i = 0; i < SIZE; i++)
		data[i] = (char)(i * 7);
	if (!script_start(&script, NULL, false))
		return script_skip();
	if (s3_cred_static("AKID", "topsecret", NULL, &cred) < 0)
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	s3_cred_free(cred);
	script_stop(&script);
	return r;
}
