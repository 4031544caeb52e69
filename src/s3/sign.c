/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3/sign.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "crypt/digest.h"

#define DAY_LEN 8

int
sign_date(int64_t t, char out[SIGN_DATE_LEN + 1])
{
	time_t when = (time_t)t;
	struct tm tm;

	if (gmtime_r(&when, &tm) == NULL ||
	    strftime(out, SIGN_DATE_LEN + 1, "%Y%m%dT%H%M%SZ", &tm) !=
		SIGN_DATE_LEN)
		return -ERANGE;
	return 0;
}

static int
compare_headers(const void *a, const void *b)
{
	const struct http_header *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int
sort_headers(const struct sign_input *in,
    struct http_header sorted[SIGN_HEADERS_MAX])
{
	if (in->n_headers > SIGN_HEADERS_MAX)
		return -E2BIG;
	if (in->n_headers > 0)
		memcpy(sorted, in->headers, in->n_headers * sizeof(*sorted));
	qsort(sorted, in->n_headers, sizeof(*sorted), compare_headers);
	return 0;
}

static void
add_names(struct str *s, const struct http_header *h, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		str_addf(s, "%s%s", i > 0 ? ";" : "", h[i].name);
}

/* Blanks at the ends go, runs of them become one. */
static void
add_trimmed(struct str *s, const char *value)
{
	bool blank = false, any = false;

	for (; *value != '\0'; value++) {
		if (*value == ' ' || *value == '\t') {
			blank = true;
			continue;
		}
		if (blank && any)
			str_addc(s, ' ');
		blank = false;
		any = true;
		str_addc(s, *value);
	}
}

int
sign_canonical(const struct sign_input *in, char **ret)
{
	struct http_header sorted[SIGN_HEADERS_MAX];
	struct str s = {0};
	size_t i;
	int r;

	r = sort_headers(in, sorted);
	if (r < 0)
		return r;
	str_addf(&s, "%s\n%s\n%s\n", in->method, in->path, in->query);
	for (i = 0; i < in->n_headers; i++) {
		str_addf(&s, "%s:", sorted[i].name);
		add_trimmed(&s, sorted[i].value);
		str_addc(&s, '\n');
	}
	str_addc(&s, '\n');
	add_names(&s, sorted, in->n_headers);
	str_addf(&s, "\n%s", in->payload_hash);
	*ret = str_take(&s);
	return *ret != NULL ? 0 : -ENOMEM;
}

static struct digest
hmac_text(const struct digest *key, const char *text, size_t len)
{
	return hmac_sha256(key->b, sizeof(key->b), text, len);
}

/* The key of one day, region and service, made of the secret. */
static int
signing_key(const struct sign_input *in, struct digest *ret)
{
	struct str first = {0};
	struct digest k;

	str_addf(&first, "AWS4%s", in->secret);
	if (str_error(&first) < 0) {
		str_fini(&first);
		return -ENOMEM;
	}
	k = hmac_sha256(first.s, first.len, in->date, DAY_LEN);
	explicit_bzero(first.s, first.len);
	str_fini(&first);
	k = hmac_text(&k, in->region, strlen(in->region));
	k = hmac_text(&k, "s3", 2);
	*ret = hmac_text(&k, "aws4_request", strlen("aws4_request"));
	explicit_bzero(&k, sizeof(k));
	return 0;
}

int
sign_request(const struct sign_input *in, char **ret)
{
	struct http_header sorted[SIGN_HEADERS_MAX];
	_cleanup_free_ char *canonical = NULL;
	struct str s = {0};
	char hex[DIGEST_HEX_LEN + 1];
	struct digest key, d;
	int r;

	r = sort_headers(in, sorted);
	if (r < 0)
		return r;
	r = sign_canonical(in, &canonical);
	if (r < 0)
		return r;
	r = signing_key(in, &key);
	if (r < 0)
		return r;
	d = digest_of(canonical, strlen(canonical));
	str_addf(&s, "AWS4-HMAC-SHA256\n%s\n%.*s/%s/s3/aws4_request\n%s",
	    in->date, DAY_LEN, in->date, in->region, digest_hex(&d, hex));
	r = str_error(&s);
	if (r == 0) {
		d = hmac_text(&key, s.s, s.len);
		str_reset(&s);
		str_addf(&s,
		    "AWS4-HMAC-SHA256 Credential=%s/%.*s/%s/s3/aws4_request,"
		    "SignedHeaders=", in->access, DAY_LEN, in->date,
		    in->region);
		add_names(&s, sorted, in->n_headers);
		str_addf(&s, ",Signature=%s", digest_hex(&d, hex));
		*ret = str_take(&s);
		if (*ret == NULL)
			r = -ENOMEM;
	}
	explicit_bzero(&key, sizeof(key));
	str_fini(&s);
	return r;
}
