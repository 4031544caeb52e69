/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3/client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"
#include "s3/cred.h"
#include "s3/error.h"
#include "s3/etag.h"
#include "s3/xml.h"

#define CONTENT_TYPE "application/octet-stream"

/* Size, time, etag and class from the headers. */
static void
object_of(const struct http_response *r, struct s3_object *ret)
{
	const char *v;

	memset(ret, 0, sizeof(*ret));
	v = http_response_header(r, "content-length");
	if (v == NULL || num_u64(v, &ret->size) < 0)
		ret->size = r->body->len;
	v = http_response_header(r, "last-modified");
	if (v != NULL && clock_parse_http(v, &ret->mtime) < 0)
		ret->mtime = 0;
	v = http_response_header(r, "etag");
	if (v != NULL)
		etag_set(ret->etag, sizeof(ret->etag), v);
	v = http_response_header(r, "x-amz-storage-class");
	if (v != NULL && !streq(v, "STANDARD"))
		snprintf(ret->storage_class, sizeof(ret->storage_class), "%s",
		    v);
}

static int
bad_answer(struct s3_error *e, const char *why)
{
	e->cause = S3_CAUSE_PROTOCOL;
	snprintf(e->message, sizeof(e->message), "%s", why);
	return -EPROTO;
}

/* "bytes 0-9/100" */
static int
parse_content_range(const char *text, uint64_t *first, uint64_t *last,
    uint64_t *total)
{
	uint64_t v[3];
	static const char after[3] = {'-', '/', '\0'};
	char digits[24];
	size_t i, n;

	if (text == NULL || !str_starts(text, "bytes "))
		return -EINVAL;
	text += strlen("bytes ");
	for (i = 0; i < ARRAY_SIZE(v); i++) {
		n = strspn(text, "0123456789");
		if (n >= sizeof(digits) || text[n] != after[i])
			return -EINVAL;
		snprintf(digits, sizeof(digits), "%.*s", (int)n, text);
		if (num_u64(digits, &v[i]) < 0)
			return -EINVAL;
		text += n + (i < 2 ? 1 : 0);
	}
	if (v[0] > v[1] || v[1] >= v[2])
		return -EINVAL;
	*first = v[0];
	*last = v[1];
	*total = v[2];
	return 0;
}

/* A part of an object: what was asked for and what came. */
struct part {
	const struct s3_range *want;	/* NULL: the whole object */
	uint64_t total;			/* size of the object */
};

static int
check_get(void *arg, const struct http_response *r, struct s3_error *e)
{
	struct part *p = arg;
	uint64_t first, last, end;

	p->total = r->body->len;
	if (r->status != 206)
		/* The whole object, also from a server that knows no ranges. */
		return r->status == 200 ? 0 : bad_answer(e, "odd status");
	if (p->want == NULL)
		return bad_answer(e, "a part, where all was asked for");
	if (parse_content_range(http_response_header(r, "content-range"),
		&first, &last, &p->total) < 0)
		return bad_answer(e, "a part without a proper Content-Range");
	if (first != p->want->off || last - first + 1 != r->body->len)
		return bad_answer(e, "another part than was asked for");
	/* Nothing may be missing but what the object does not have. */
	if (__builtin_add_overflow(p->want->off, p->want->len, &end) ||
	    p->want->len == 0)
		end = p->total;
	if (last + 1 != MIN(end, p->total))
		return bad_answer(e, "less than was asked for");
	return 0;
}

/* Of the whole object, the part. */
static int
cut(const struct s3_range *want, struct buf **b)
{
	uint64_t len;
	struct buf *part;

	if (want->off >= (*b)->len)
		return -ERANGE;
	len = (*b)->len - want->off;
	if (want->len != 0)
		len = MIN(len, want->len);
	part = buf_copy((*b)->data + want->off, (size_t)len);
	if (part == NULL)
		return -ENOMEM;
	buf_unref(*b);
	*b = part;
	return 0;
}

static int
format_range(const struct s3_range *range, char *out, size_t size)
{
	uint64_t last;

	if (range->len == 0) {
		snprintf(out, size, "bytes=%" PRIu64 "-", range->off);
		return 0;
	}
	if (__builtin_add_overflow(range->off, range->len - 1, &last))
		return -EINVAL;
	snprintf(out, size, "bytes=%" PRIu64 "-%" PRIu64, range->off, last);
	return 0;
}

int
s3_get(struct s3 *c, const char *key, const struct s3_range *range, size_t max,
    deadline_t deadline, struct buf **ret, struct s3_object *ret_obj)
{
	char bytes[64];
	struct http_header h = {"range", bytes};
	struct part part = {.want = range};
	struct req q = {
	    .verb = S3_VERB_GET,
	    .what = "read",
	    .method = "GET",
	    .key = key,
	    .headers = &h,
	    .n_headers = range != NULL ? 1 : 0,
	    .max_body = max,
	    .expect = max,
	    .deadline = deadline,
	    .check = check_get,
	    .arg = &part,
	};
	struct http_response r;
	struct s3_error e;
	int err;

	if (range != NULL) {
		err = format_range(range, bytes, sizeof(bytes));
		if (err < 0)
			return err;
	}
	err = req_run(c, &q, &r, &e);
	if (err != 0) {
		if (err > 0)
			http_response_fini(&r);
		return err;
	}
	if (ret_obj != NULL) {
		object_of(&r, ret_obj);
		ret_obj->size = part.total;
	}
	if (range != NULL && r.status == 200)
		err = cut(range, &r.body);
	if (err == 0 && r.body->len > max)
		err = -EFBIG;
	if (err == 0) {
		*ret = r.body;
		r.body = NULL;
	} else {
		e.cause = S3_CAUSE_OTHER;
		snprintf(e.message, sizeof(e.message), "%s", strerror(-err));
		req_fail(c, &q, &e, err);
	}
	http_response_fini(&r);
	return err;
}

static int
check_head(void *arg, const struct http_response *r, struct s3_error *e)
{
	const char *len = http_response_header(r, "content-length");
	uint64_t n;

	(void)arg;
	if (len == NULL || num_u64(len, &n) < 0)
		return bad_answer(e, "an object without a size");
	return 0;
}

int
s3_head(struct s3 *c, const char *key, deadline_t deadline,
    struct s3_object *ret)
{
	struct req q = {
	    .verb = S3_VERB_HEAD,
	    .what = "look at",
	    .method = "HEAD",
	    .key = key,
	    .deadline = deadline,
	    .check = check_head,
	};
	struct http_response r;
	struct s3_error e;
	int err = req_run(c, &q, &r, &e);

	if (err == 0 && ret != NULL)
		object_of(&r, ret);
	if (err >= 0)
		http_response_fini(&r);
	return err;
}

int
s3_head_bucket(struct s3 *c, deadline_t deadline)
{
	struct req q = {
	    .verb = S3_VERB_HEAD,
	    .what = "look at",
	    .method = "HEAD",
	    .deadline = deadline,
	};
	struct http_response r;
	struct s3_error e;
	int err = req_run(c, &q, &r, &e);

	if (err < 0)
		return err;
	http_response_fini(&r);
	/* 412 without a condition: nonsense. */
	return err == 0 ? 0 : -EPROTO;
}

/* Success has nothing to say.  What comes with a body is an error that was
 * found too late for the status, or the page of some proxy. */
static int
check_silent(void *arg, const struct http_response *r, struct s3_error *e)
{
	struct xml_error x;

	(void)arg;
	if (r->body->len == 0)
		return 0;
	if (xml_error(r->body->data, r->body->len, &x) < 0)
		return bad_answer(e, "success is not confirmed");
	error_from_body(&x, e);
	return -EIO;
}

int
s3_put(struct s3 *c, const char *key, const void *p, size_t len, bool if_absent,
    deadline_t deadline, struct s3_object *ret)
{
	static const struct http_header h[] = {
	    {"content-type", CONTENT_TYPE}, {"if-none-match", "*"}};
	bool conditional = if_absent && !c->o.skip_if_none_match;
	struct req q = {
	    .verb = S3_VERB_PUT,
	    .what = "write",
	    .method = "PUT",
	    .key = key,
	    .headers = h,
	    .n_headers = conditional ? 2 : 1,
	    .body = len > 0 ? p : "",
	    .body_len = len,
	    .deadline = deadline,
	    .check = check_silent,
	    .retry_conflict = true,
	    .silent = conditional,
	};
	struct http_response r;
	struct s3_error e;
	int err;

	err = req_run(c, &q, &r, &e);
	if (err == -EBUSY && conditional) {
		/* Somebody writes the same object all the time.  Keys written
		 * so name their content, so to overwrite does no harm. */
		q.n_headers = 1;
		q.silent = false;
		err = req_run(c, &q, &r, &e);
	} else if (err < 0 && conditional && err != -ESHUTDOWN) {
		req_fail(c, &q, &e, err);
	}
	if (err < 0)
		return err;
	if (err == 0 && ret != NULL) {
		object_of(&r, ret);
		ret->size = len;
	}
	http_response_fini(&r);
	return err;
}

int
s3_delete(struct s3 *c, const char *key, deadline_t deadline)
{
	struct req q = {
	    .verb = S3_VERB_DELETE,
	    .what = "delete",
	    .method = "DELETE",
	    .key = key,
	    .deadline = deadline,
	    .check = check_silent,
	};
	struct http_response r;
	struct s3_error e;
	int err = req_run(c, &q, &r, &e);

	if (err < 0)
		return err;
	http_response_fini(&r);
	return 0;
}

static int
check_copy(void *arg, const struct http_response *r, struct s3_error *e)
{
	struct xml_error x;
	int err = xml_copied(r->body->data, r->body->len, &x);

	(void)arg;
	if (err == 0 || err == -ENOMEM)
		return err;
	if (err < 0)
		return bad_answer(e, "the copy is not confirmed");
	error_from_body(&x, e);
	return -EIO;
}

/* 0, 1 or -errno; refusals are only told if told is set. */
static int
copy(struct s3 *c, const char *bucket, const char *from, const char *to,
    deadline_t deadline, bool told)
{
	struct http_header h[] = {
	    {"content-type", CONTENT_TYPE},
	    {"x-amz-copy-source", NULL},
	    /* Without it an object cannot be copied onto itself. */
	    {"x-amz-metadata-directive", "REPLACE"},
	};
	struct str source = {0};
	struct req q = {
	    .verb = S3_VERB_COPY,
	    .what = "copy to",
	    .method = "PUT",
	    .key = to,
	    .headers = h,
	    .n_headers = ARRAY_SIZE(h),
	    .body = "",
	    .max_body = XML_SIZE_MAX,
	    .deadline = deadline,
	    .check = check_copy,
	    .silent = !told,
	};
	struct http_response r;
	struct s3_error e;
	int err;

	str_addf(&source, "%s/", bucket);
	url_encode(&source, from, true);
	err = str_error(&source);
	if (err == 0) {
		h[1].value = str_get(&source);
		err = req_run(c, &q, &r, &e);
		if (err == -EACCES && !told)
			err = -EOPNOTSUPP;
		if (err < 0 && err != -EOPNOTSUPP && err != -ESHUTDOWN &&
		    !told)
			req_fail(c, &q, &e, err);
	}
	str_fini(&source);
	if (err >= 0)
		http_response_fini(&r);
	return err;
}

int
s3_copy(struct s3 *c, const char *from, const char *to, deadline_t deadline)
{
	return copy(c, c->bucket, from, to, deadline, true);
}

/* Whether both are signed for with the same keys. */
static int
same_keys(struct s3 *a, struct s3 *b)
{
	struct s3_keys ka = {0}, kb = {0};
	int r = 0;

	if (a->o.cred == b->o.cred)
		return 1;
	if (a->o.cred == NULL || b->o.cred == NULL)
		return 0;
	r = s3_cred_get(a->o.cred, &ka);
	if (r == 0)
		r = s3_cred_get(b->o.cred, &kb);
	if (r == 0)
		r = streq(ka.access, kb.access) &&
		    streq(ka.secret, kb.secret);
	explicit_bzero(&ka, sizeof(ka));
	explicit_bzero(&kb, sizeof(kb));
	return r;
}

int
s3_copy_from(struct s3 *c, struct s3 *source, const char *from, const char *to,
    deadline_t deadline)
{
	int r;

	if (!streq(c->service, source->service))
		return -EOPNOTSUPP;
	r = same_keys(c, source);
	if (r < 0)
		return r;
	if (r == 0)
		return -EOPNOTSUPP;
	return copy(c, source->bucket, from, to, deadline, false);
}
