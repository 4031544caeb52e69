/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/xfer.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/num.h"
#include "base/rate.h"
#include "base/str.h"
#include "http/outcome.h"
#include "http/tls.h"

#define IO_CHUNK (256 * 1024L)
#define BODY_FIRST (64 * 1024)
/* Below this rate, over the stall time, a connection is as good as dead. */
#define STALL_BYTES_PER_S 16L

static void
give_up(struct xfer *x, enum http_error error, const char *why)
{
	if (x->verdict != HTTP_OK)
		return;
	x->verdict = error;
	snprintf(x->why, sizeof(x->why), "%s", why);
}

/* May n bytes more flow now?  If so they are accounted for. */
static bool
limit_allows(struct xfer_limit *l, size_t n)
{
	uint64_t now;

	if (l->rate == NULL)
		return true;
	now = clock_mono_ms();
	if (now < l->open_at)
		return false;
	l->open_at = now + rate_take(l->rate, (double)n);
	return true;
}

/* Room for n more bytes of the response body, at most max_body in all. */
static int
reserve(struct xfer *x, size_t n)
{
	struct buf *old = x->res->body, *b;
	curl_off_t announced = -1;
	size_t need, size;

	if (__builtin_add_overflow(x->got, n, &need) || need > x->req->max_body)
		return -EFBIG;
	if (old != NULL && need <= old->len)
		return 0;
	size = MAX((size_t)BODY_FIRST, need);
	if (old != NULL)
		size = MAX(need, old->len * 2);
	if (old == NULL &&
	    curl_easy_getinfo(x->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T,
		&announced) == CURLE_OK && announced >= 0) {
		if ((uint64_t)announced > x->req->max_body)
			return -EFBIG;
		size = MAX((size_t)announced, need);
	}
	b = buf_new(MIN(size, x->req->max_body));
	if (b == NULL)
		return -ENOMEM;
	if (old != NULL)
		memcpy(b->data, old->data, x->got);
	buf_unref(old);
	x->res->body = b;
	return 0;
}

static size_t
on_body(char *p, size_t size, size_t n, void *arg)
{
	struct xfer *x = arg;
	size_t len = size * n;	/* curl: size is always 1 */
	int r;

	if (len == 0)
		return 0;
	if (!limit_allows(&x->env->in, len)) {
		x->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	r = reserve(x, len);
	if (r < 0) {
		if (r == -EFBIG)
			give_up(x, HTTP_E_TOO_LARGE,
			    "the response is larger than expected");
		else
			give_up(x, HTTP_E_MEMORY, "out of memory");
		return 0;
	}
	memcpy(x->res->body->data + x->got, p, len);
	x->got += len;
	return len;
}

static size_t
on_send(char *p, size_t size, size_t n, void *arg)
{
	struct xfer *x = arg;
	size_t len = MIN(size * n, x->req->body_len - x->sent);

	if (len == 0)
		return 0;
	if (!limit_allows(&x->env->out, len)) {
		x->paused = true;
		return CURL_READFUNC_PAUSE;
	}
	memcpy(p, (const uint8_t *)x->req->body + x->sent, len);
	x->sent += len;
	return len;
}

/* A kept connection that turns out to be dead makes curl start over. */
static int
on_rewind(void *arg, curl_off_t off, int origin)
{
	struct xfer *x = arg;

	if (origin != SEEK_SET || off < 0 || (uint64_t)off > x->req->body_len)
		return CURL_SEEKFUNC_FAIL;
	x->sent = (size_t)off;
	return CURL_SEEKFUNC_OK;
}

static size_t
on_header(char *p, size_t size, size_t n, void *arg)
{
	struct xfer *x = arg;

	switch (headers_add(&x->response_headers, p, size * n)) {
	case 0:
		return size * n;
	case -EFBIG:
		give_up(x, HTTP_E_TOO_LARGE,
		    "the response has endless headers");
		return 0;
	case -EBADMSG:
		give_up(x, HTTP_E_BROKEN, "a header of the response has a NUL");
		return 0;
	default:
		give_up(x, HTTP_E_MEMORY, "out of memory");
		return 0;
	}
}

/*
 * Called when the connection is ready, new or reused, and before the first byte
 * of the request: the last moment to find out who the server is.
 */
static int
on_connected(void *arg, char *server_ip, char *own_ip, int server_port,
    int own_port)
{
	struct xfer *x = arg;
	struct curl_tlssessioninfo *info = NULL;
	char why[sizeof(x->why)];
	int r;

	(void)server_ip;
	(void)own_ip;
	(void)server_port;
	(void)own_port;
	if (curl_easy_getinfo(x->easy, CURLINFO_TLS_SSL_PTR, &info) !=
		CURLE_OK || info == NULL || info->internals == NULL ||
	    info->backend != CURLSSLBACKEND_GNUTLS) {
		give_up(x, HTTP_E_TLS, "the server's certificate is not known");
		return CURL_PREREQFUNC_ABORT;
	}
	r = tls_pin_check(x->env->pin, info->internals, x->req->url, why,
	    sizeof(why));
	if (r == 0)
		return CURL_PREREQFUNC_OK;
	if (r == -ENOMEM)
		give_up(x, HTTP_E_MEMORY, "out of memory");
	else
		give_up(x, HTTP_E_TLS, why);
	return CURL_PREREQFUNC_ABORT;
}

static int
add_header(struct xfer *x, const char *line)
{
	struct curl_slist *l = curl_slist_append(x->headers, line);

	if (l == NULL)
		return -ENOMEM;
	x->headers = l;
	return 0;
}

static int
set_headers(struct xfer *x)
{
	/* Headers that curl would add are suppressed by an empty one. */
	static const char *const own[] = {"Accept", "Expect", "Content-Type"};
	bool given[ARRAY_SIZE(own)] = {false};
	struct str line = {0};
	size_t i, k;
	int r = 0;

	for (i = 0; r == 0 && i < x->req->n_headers; i++) {
		const struct http_header *h = &x->req->headers[i];

		if (strpbrk(h->name, ":\r\n") != NULL ||
		    strpbrk(h->value, "\r\n") != NULL) {
			r = -EINVAL;
			break;
		}
		for (k = 0; k < ARRAY_SIZE(own); k++)
			given[k] |= strcasecmp(h->name, own[k]) == 0;
		str_reset(&line);
		/* "Name;" is how curl is told to send an empty value. */
		if (h->value[0] == '\0')
			str_addf(&line, "%s;", h->name);
		else
			str_addf(&line, "%s: %s", h->name, h->value);
		r = str_error(&line);
		if (r == 0)
			r = add_header(x, str_get(&line));
	}
	for (k = 0; r == 0 && k < ARRAY_SIZE(own); k++) {
		if (given[k])
			continue;
		str_reset(&line);
		str_addf(&line, "%s:", own[k]);
		r = str_error(&line);
		if (r == 0)
			r = add_header(x, str_get(&line));
	}
	str_fini(&line);
	return r;
}

#define SET(opt, value)                                                        \
	do {                                                                   \
		if (rc == CURLE_OK)                                            \
			rc = curl_easy_setopt(e, opt, value);                  \
	} while (0)

static CURLcode
set_method(struct xfer *x)
{
	const struct http_request *req = x->req;
	CURL *e = x->easy;
	CURLcode rc = CURLE_OK;

	if (req->body != NULL) {
		SET(CURLOPT_UPLOAD, 1L);
		SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)req->body_len);
		SET(CURLOPT_READFUNCTION, on_send);
		SET(CURLOPT_READDATA, x);
		SET(CURLOPT_SEEKFUNCTION, on_rewind);
		SET(CURLOPT_SEEKDATA, x);
		SET(CURLOPT_UPLOAD_BUFFERSIZE, IO_CHUNK);
	} else if (strcmp(req->method, "HEAD") == 0) {
		SET(CURLOPT_NOBODY, 1L);
	} else {
		SET(CURLOPT_HTTPGET, 1L);
	}
	if (strcmp(req->method, "HEAD") != 0 && strcmp(req->method, "GET") != 0)
		SET(CURLOPT_CUSTOMREQUEST, req->method);
	return rc;
}

static CURLcode
set_trust(struct xfer *x)
{
	const struct http_opts *o = &x->env->o;
	CURL *e = x->easy;
	CURLcode rc = CURLE_OK;

	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (o->ca_file != NULL) {
		SET(CURLOPT_CAINFO, o->ca_file);
		SET(CURLOPT_CAPATH, NULL);
	}
	if (x->env->pin != NULL && strncasecmp(x->req->url, "https:", 6) == 0) {
		/* on_connected decides instead; a resumed session would show
		 * it no certificate of its own. */
		SET(CURLOPT_SSL_VERIFYPEER, 0L);
		SET(CURLOPT_SSL_VERIFYHOST, 0L);
		SET(CURLOPT_SSL_SESSIONID_CACHE, 0L);
		SET(CURLOPT_PREREQFUNCTION, on_connected);
		SET(CURLOPT_PREREQDATA, x);
	}
	return rc;
}

static CURLcode
set_limits(struct xfer *x)
{
	const struct http_opts *o = &x->env->o;
	CURL *e = x->easy;
	CURLcode rc = CURLE_OK;

	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)o->connect_timeout_ms);
	SET(CURLOPT_LOW_SPEED_LIMIT, STALL_BYTES_PER_S);
	SET(CURLOPT_LOW_SPEED_TIME, (long)((o->stall_timeout_ms + 999) / 1000));
	SET(CURLOPT_BUFFERSIZE, IO_CHUNK);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
	/* Never wait for a name server that does not answer. */
	SET(CURLOPT_QUICK_EXIT, 1L);
#endif
	return rc;
}

static CURLcode
set_up(struct xfer *x)
{
	CURL *e = x->easy;
	CURLcode rc = CURLE_OK;

	SET(CURLOPT_ERRORBUFFER, x->errbuf);
	SET(CURLOPT_PRIVATE, x);
	SET(CURLOPT_URL, x->req->url);
	/* "//" and "/../" in a key are part of its name. */
	SET(CURLOPT_PATH_AS_IS, 1L);
#if LIBCURL_VERSION_NUM >= 0x075500
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
#else
	SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	SET(CURLOPT_HTTPHEADER, x->headers);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, x);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, x);
	if (x->env->o.proxy != NULL)
		SET(CURLOPT_PROXY, x->env->o.proxy);
	if (rc == CURLE_OK)
		rc = set_trust(x);
	if (rc == CURLE_OK)
		rc = set_limits(x);
	if (rc == CURLE_OK)
		rc = set_method(x);
	return rc;
}

int
xfer_init(struct xfer *x, struct xfer_env *env, CURL *easy,
    const struct http_request *req, struct http_response *res)
{
	CURLcode rc;
	int r;

	memset(x, 0, sizeof(*x));
	x->env = env;
	x->easy = easy;
	x->req = req;
	x->res = res;
	r = set_headers(x);
	if (r < 0)
		return r;
	rc = set_up(x);
	if (rc == CURLE_OUT_OF_MEMORY)
		return -ENOMEM;
	return rc == CURLE_OK ? 0 : -EINVAL;
}

void
xfer_fini(struct xfer *x)
{
	if (x->easy != NULL)
		curl_easy_cleanup(x->easy);
	curl_slist_free_all(x->headers);
	headers_fini(&x->response_headers);
}

int
xfer_start(struct xfer *x)
{
	uint64_t left = deadline_left(x->req->deadline);

	if (left == 0)
		return -ETIMEDOUT;
	if (left == UINT64_MAX)
		return 0;
	if (curl_easy_setopt(x->easy, CURLOPT_TIMEOUT_MS,
		(long)MIN(left, (uint64_t)INT_MAX)) != CURLE_OK)
		return -EINVAL;
	return 0;
}

uint64_t
xfer_resume_at(const struct xfer *x)
{
	return MAX(x->env->in.open_at, x->env->out.open_at);
}

void
xfer_resume(struct xfer *x)
{
	/* Callbacks run in here and may pause it again; an error ends the
	 * transfer and is reported by the next curl_multi_perform. */
	x->paused = false;
	curl_easy_pause(x->easy, CURLPAUSE_CONT);
}

void
xfer_fail(struct xfer *x, enum http_error error, const char *detail)
{
	buf_unref(x->res->body);
	x->res->body = NULL;
	x->res->error = error;
	x->res->status = 0;
	snprintf(x->res->detail, sizeof(x->res->detail), "%s", detail);
}

static uint64_t
bytes_of(CURL *e, CURLINFO what)
{
	curl_off_t n = 0;

	if (curl_easy_getinfo(e, what, &n) != CURLE_OK || n < 0)
		return 0;
	return (uint64_t)n;
}

void
xfer_finish(struct xfer *x, CURLcode rc)
{
	struct http_response *res = x->res;
	long status = 0;

	res->bytes_sent = bytes_of(x->easy, CURLINFO_SIZE_UPLOAD_T);
	res->bytes_received = bytes_of(x->easy, CURLINFO_SIZE_DOWNLOAD_T);
	if (x->verdict != HTTP_OK) {
		xfer_fail(x, x->verdict, x->why);
		return;
	}
	if (rc != CURLE_OK) {
		xfer_fail(x,
		    outcome_error(x->easy, rc, x->errbuf, x->req->deadline),
		    x->errbuf[0] != '\0' ? x->errbuf : curl_easy_strerror(rc));
		return;
	}
	/* curl takes a connection that ends within the headers for an answer
	 * without a body. */
	if (curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status) !=
		CURLE_OK || status < 200 || status > 999 ||
	    !x->response_headers.complete) {
		xfer_fail(x, HTTP_E_BROKEN, "the answer is incomplete");
		return;
	}
	if (res->body == NULL)
		res->body = buf_new(0);
	if (res->body == NULL ||
	    headers_take(&x->response_headers, &res->headers,
		&res->n_headers) < 0) {
		xfer_fail(x, HTTP_E_MEMORY, "out of memory");
		return;
	}
	res->body->len = x->got;
	res->error = HTTP_OK;
	res->status = (int)status;
}
