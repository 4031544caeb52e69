/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3/s3.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/rate.h"
#include "s3/client.h"

#define REGION_DEFAULT "us-east-1"
#define TIMEOUT_MS 30000
#define RETRIES 4
#define BACKOFF_MS 500
#define FINGERPRINT_LEN ((size_t)32)

/* "aa:bb:..." or without colons, upper or lower case. */
static int
parse_fingerprint(const char *text, uint8_t out[FINGERPRINT_LEN])
{
	char hex[FINGERPRINT_LEN * 2 + 1];
	size_t n = 0;

	for (; *text != '\0'; text++) {
		if (*text == ':' && n > 0 && n % 2 == 0)
			continue;
		if (n == 2 * FINGERPRINT_LEN)
			return -EINVAL;
		hex[n++] = *text >= 'A' && *text <= 'F' ? (char)(*text + 32) :
							  *text;
	}
	hex[n] = '\0';
	return hex_decode(out, FINGERPRINT_LEN, hex);
}

static int
set_url(struct s3 *c, const struct s3_opts *o)
{
	struct url_opts u = {
	    .endpoint = o->endpoint,
	    .port = o->port,
	    .region = c->region,
	    .bucket = o->bucket,
	    .path_style = o->path_style,
	    .insecure_http = o->insecure_http,
	};
	const char *why;
	int r = url_parse(&u, &c->url, &why);

	/* Who writes keys into it must not find them in a log. */
	if (r == -EINVAL && o->endpoint != NULL &&
	    strchr(o->endpoint, '@') != NULL)
		log_err("s3: endpoint: an address has no keys in it\n"
			"hint: keys go into a file, -o credentials=FILE");
	else if (r == -EINVAL)
		log_err("s3: bucket \"%s\" at endpoint \"%s\": %s",
		    o->bucket != NULL ? o->bucket : "",
		    o->endpoint != NULL ? o->endpoint : "", why);
	return r;
}

/* The address that a bucket of a fixed name would have. */
static int
set_service(struct s3 *c, const struct s3_opts *o)
{
	struct url_opts u = {
	    .endpoint = o->endpoint,
	    .port = o->port,
	    .region = c->region,
	    .bucket = "bucket",
	    .path_style = true,
	    .insecure_http = o->insecure_http,
	};
	struct url_base base;
	const char *why;
	int r = url_parse(&u, &base, &why);

	if (r < 0)
		return r;
	if (asprintf(&c->service, "%s %s %s", c->region, base.origin,
	    base.root) < 0)
		c->service = NULL;
	url_fini(&base);
	return c->service == NULL ? -ENOMEM : 0;
}

static int
start_http(struct s3 *c, const struct s3_opts *o)
{
	uint8_t fingerprint[FINGERPRINT_LEN];
	struct http_opts h = {
	    .ca_file = o->ca_file,
	    .proxy = o->proxy,
	    .connect_timeout_ms = o->connect_timeout_ms,
	    .max_connections = o->max_connections,
	    .stall_timeout_ms = c->o.timeout_ms,
	    .rate_in = o->rate_in,
	    .rate_out = o->rate_out,
	};
	int r;

	if (o->fingerprint != NULL) {
		if (parse_fingerprint(o->fingerprint, fingerprint) < 0) {
			log_err("s3: fingerprint \"%s\": not a SHA-256 of 64 "
				"hex digits\nhint: openssl x509 -noout "
				"-fingerprint -sha256 -in CERT prints it",
			    o->fingerprint);
			return -EINVAL;
		}
		h.fingerprint = fingerprint;
	}
	r = http_new(&h, &c->http);
	if (r == -EOPNOTSUPP) {
		log_err("s3: fingerprint: this libcurl does not use GnuTLS, so "
			"a certificate cannot be pinned\nhint: use ca=FILE");
		return -EINVAL;
	}
	if (r < 0 && o->ca_file != NULL && r != -ENOMEM) {
		log_err("s3: ca file %s: %s", o->ca_file,
		    r == -EBADMSG ? "holds no certificate" : strerror(-r));
		return -EINVAL;
	}
	return r;
}

static int
fill(struct s3 *c, const struct s3_opts *o)
{
	static uint64_t serial;
	int r;

	c->o = *o;
	c->serial = __atomic_add_fetch(&serial, 1, __ATOMIC_RELAXED);
	if (o->timeout_ms == 0)
		c->o.timeout_ms = TIMEOUT_MS;
	c->attempts = 1 + (o->retries != 0 ? o->retries : RETRIES);
	if (o->no_retries)
		c->attempts = 1;
	c->backoff_ms = BACKOFF_MS;
	c->region = strdup(o->region != NULL ? o->region : REGION_DEFAULT);
	c->bucket = strdup(o->bucket != NULL ? o->bucket : "");
	if (c->region == NULL || c->bucket == NULL)
		return -ENOMEM;
	r = set_url(c, o);
	if (r == 0)
		r = set_service(c, o);
	if (r < 0)
		return r;
	if (o->request_rate != 0) {
		r = rate_new(o->request_rate, MAX(o->request_rate, 1.0),
		    &c->rate);
		if (r == -EINVAL)
			log_err("s3: request-rate: not a positive number");
		if (r < 0)
			return r;
	}
	return start_http(c, o);
}

int
s3_new(const struct s3_opts *o, struct s3 **ret)
{
	struct s3 *c = calloc(1, sizeof(*c));
	int r;

	if (c == NULL)
		return -ENOMEM;
	pthread_mutex_init(&c->lock, NULL);
	r = cond_init(&c->stopped);
	if (r < 0) {
		pthread_mutex_destroy(&c->lock);
		free(c);
		return r;
	}
	r = fill(c, o);
	if (r < 0) {
		s3_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void
s3_shutdown(struct s3 *c)
{
	{
		LOCK(&c->lock);
		c->stop = true;
		pthread_cond_broadcast(&c->stopped);
	}
	http_shutdown(c->http);
}

void
s3_free(struct s3 *c)
{
	if (c == NULL)
		return;
	http_free(c->http);
	rate_free(c->rate);
	url_fini(&c->url);
	free(c->region);
	free(c->bucket);
	free(c->service);
	pthread_cond_destroy(&c->stopped);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

int
s3_clock_skew(struct s3 *c, int64_t *ret_s)
{
	LOCK(&c->lock);
	if (!c->skew_known)
		return 1;
	*ret_s = c->skew_s;
	return 0;
}
