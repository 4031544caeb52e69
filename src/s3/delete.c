/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "crypt/digest.h"
#include "s3/error.h"
#include "s3/xml.h"

#define KEYS_PER_REQUEST 1000

/* Keys of one request; those that may go in a second try stay in it. */
struct batch {
	const char *keys[KEYS_PER_REQUEST];	/* borrowed */
	size_t n;
};

/* What is told of the keys of an answer. */
struct answer {
	struct batch *batch;
	struct batch *again;	/* NULL: nothing is tried again */
	s3_delete_fn *fn;
	void *arg;
	size_t failed;
};

static void
add_escaped(struct str *s, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '&')
			str_add(s, "&amp;");
		else if (*text == '<')
			str_add(s, "&lt;");
		else if (*text == '>')
			str_add(s, "&gt;");
		else if ((unsigned char)*text < 0x20)
			/* A parser would make blanks of some of them. */
			str_addf(s, "&#%u;", (unsigned char)*text);
		else
			str_addc(s, *text);
	}
}

static int
make_body(const struct batch *b, struct str *s)
{
	size_t i;

	str_add(s,
	    "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	for (i = 0; i < b->n; i++) {
		str_add(s, "<Object><Key>");
		add_escaped(s, b->keys[i]);
		str_add(s, "</Key></Object>");
	}
	str_add(s, "</Delete>");
	return str_error(s);
}

/* The caller's string for a key of the answer: errors are few. */
static const char *
find_key(const struct batch *b, const char *key)
{
	size_t i;

	for (i = 0; i < b->n; i++)
		if (streq(b->keys[i], key))
			return b->keys[i];
	return NULL;
}

static void
on_error(void *arg, const char *key, const char *code, const char *message)
{
	struct answer *a = arg;
	struct s3_error e = {.status = 200};
	const char *mine = find_key(a->batch, key);

	if (streq(code, "NoSuchKey"))
		return;		/* gone is gone */
	snprintf(e.code, sizeof(e.code), "%s", code);
	error_set_cause(&e);
	if (a->again != NULL && mine != NULL && a->again->n < a->batch->n &&
	    error_class(&e).retry) {
		a->again->keys[a->again->n++] = mine;
		return;
	}
	a->failed++;
	if (a->fn != NULL)
		a->fn(a->arg, key, code, message);
}

static int
check_deleted(void *arg, const struct http_response *r, struct s3_error *e)
{
	struct xml_error x;
	int err = xml_deleted(r->body->data, r->body->len, NULL, NULL, &x);

	(void)arg;
	if (err == 0 || err == -ENOMEM)
		return err;
	if (err > 0) {
		error_from_body(&x, e);
		return -EIO;
	}
	e->cause = S3_CAUSE_PROTOCOL;
	snprintf(e->message, sizeof(e->message), "the deletion is not "
						 "confirmed");
	return -EPROTO;
}

static int
post_batch(struct s3 *c, struct answer *a, deadline_t deadline)
{
	char md5[MD5_BASE64_LEN + 1];
	struct http_header h[] = {
	    {"content-md5", md5}, {"content-type", "application/xml"}};
	struct str body = {0};
	struct req q = {
	    .verb = S3_VERB_POST,
	    .what = "delete objects of",
	    .method = "POST",
	    .query = "delete=",
	    .headers = h,
	    .n_headers = ARRAY_SIZE(h),
	    .max_body = XML_SIZE_MAX,
	    .deadline = deadline,
	    .check = check_deleted,
	};
	struct http_response r;
	struct xml_error x;
	struct s3_error e;
	int err = make_body(a->batch, &body);

	if (err == 0) {
		q.body = str_get(&body);
		q.body_len = body.len;
		md5_base64(q.body, q.body_len, md5);
		err = req_run(c, &q, &r, &e);
	}
	str_fini(&body);
	if (err < 0)
		return err;
	if (err == 0)
		err = xml_deleted(r.body->data, r.body->len, on_error, a, &x);
	http_response_fini(&r);
	return err > 0 ? -EPROTO : err;
}

/* A batch, and again what the server was too busy for.  On an error b has the
 * keys of which nothing is known. */
static int
delete_batch(struct s3 *c, struct batch *b, s3_delete_fn *fn, void *arg,
    deadline_t deadline, size_t *failed)
{
	_cleanup_free_ struct batch *again = malloc(sizeof(*again));
	struct answer a = {.batch = b, .fn = fn, .arg = arg};
	unsigned n;
	int r;

	if (again == NULL)
		return -ENOMEM;
	for (n = 1;; n++) {
		again->n = 0;
		a.again = n < c->attempts ? again : NULL;
		r = post_batch(c, &a, deadline);
		if (r < 0 || again->n == 0)
			break;
		memcpy(b, again, sizeof(*b));
		r = req_backoff(c, n, 0, deadline);
		if (r < 0)
			break;
	}
	*failed += a.failed;
	return r;
}

/* None of these was deleted, as far as is known. */
static void
tell_all(struct s3 *c, const char *const *keys, size_t n, s3_delete_fn *fn,
    void *arg)
{
	struct s3_error e;
	size_t i;

	if (fn == NULL)
		return;
	s3_last_error(c, &e);
	for (i = 0; i < n; i++)
		fn(arg, keys[i], e.code, e.message);
}

static int
delete_singly(struct s3 *c, const char *const *keys, size_t n,
    s3_delete_fn *fn, void *arg, deadline_t deadline)
{
	int first = 0, r;
	size_t i;

	for (i = 0; i < n; i++) {
		r = s3_delete(c, keys[i], deadline);
		if (r == -ESHUTDOWN) {
			tell_all(c, keys + i, n - i, fn, arg);
			return r;
		}
		if (r < 0)
			tell_all(c, keys + i, 1, fn, arg);
		if (first == 0)
			first = r;
	}
	return first;
}

int
s3_delete_many(struct s3 *c, const char *const *keys, size_t n,
    s3_delete_fn *fn, void *arg, deadline_t deadline)
{
	_cleanup_free_ struct batch *b = NULL;
	size_t failed = 0, i, part;
	int r = 0;

	if (c->o.no_multi_delete)
		return delete_singly(c, keys, n, fn, arg, deadline);
	b = malloc(sizeof(*b));
	if (b == NULL)
		return -ENOMEM;
	for (i = 0; i < n; i += part) {
		part = MIN(n - i, (size_t)KEYS_PER_REQUEST);
		b->n = part;
		memcpy(b->keys, keys + i, part * sizeof(*keys));
		r = delete_batch(c, b, fn, arg, deadline, &failed);
		if (r < 0) {
			tell_all(c, b->keys, b->n, fn, arg);
			tell_all(c, keys + i + part, n - i - part, fn, arg);
			return r;
		}
	}
	if (failed == 0)
		return 0;
	log_limited(LOG_LVL_ERR, "cannot delete %zu of %zu objects of s3://%s",
	    failed, n, c->bucket);
	return -EIO;
}
