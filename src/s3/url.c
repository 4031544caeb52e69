/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3/url.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/num.h"

#define HOST_MAX 253

static bool
is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	    (c >= 'A' && c <= 'Z');
}

void
url_encode(struct str *s, const char *text, bool keep_slash)
{
	static const char digits[] = "0123456789ABCDEF";

	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (is_alnum(*text) || strchr("-._~", c) != NULL ||
		    (keep_slash && c == '/')) {
			str_addc(s, *text);
			continue;
		}
		str_addc(s, '%');
		str_addc(s, digits[c >> 4]);
		str_addc(s, digits[c & 15]);
	}
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int
url_decode(char *text, bool plus)
{
	char *out = text;

	for (; *text != '\0'; text++) {
		int hi, lo;

		if (*text == '+' && plus) {
			*out++ = ' ';
			continue;
		}
		if (*text != '%') {
			*out++ = *text;
			continue;
		}
		hi = hex_digit(text[1]);
		lo = hi < 0 ? -1 : hex_digit(text[2]);
		if (lo < 0 || (hi == 0 && lo == 0))
			return -EINVAL;
		*out++ = (char)(hi << 4 | lo);
		text += 2;
	}
	*out = '\0';
	return 0;
}

void
url_add_query(struct str *s, const char *name, const char *value)
{
	if (s->len > 0)
		str_addc(s, '&');
	url_encode(s, name, false);
	str_addc(s, '=');
	url_encode(s, value, false);
}

/* {{bucket}} and {{region}}; anything else in braces is an error. */
static int
expand(const struct url_opts *o, struct str *out, bool *ret_has_bucket,
    const char **why)
{
	const char *p = o->endpoint;

	*ret_has_bucket = false;
	while (*p != '\0') {
		if (str_starts(p, "{{bucket}}")) {
			str_add(out, o->bucket);
			*ret_has_bucket = true;
			p += strlen("{{bucket}}");
		} else if (str_starts(p, "{{region}}")) {
			str_add(out, o->region);
			p += strlen("{{region}}");
		} else if (*p == '{' || *p == '}') {
			*why = "only {{bucket}} and {{region}} are known";
			return -EINVAL;
		} else {
			str_addc(out, *p++);
		}
	}
	return str_error(out);
}

/* The end of the host in "host:port" or "[v6]:port". */
static const char *
host_end(const char *p)
{
	if (*p == '[') {
		p += strcspn(p, "]");
		return *p == ']' ? p + 1 : p;
	}
	return p + strcspn(p, ":");
}

static bool
is_address(const char *host, size_t len)
{
	char text[HOST_MAX + 1];
	struct in_addr a;

	if (host[0] == '[')
		return true;
	snprintf(text, sizeof(text), "%.*s", (int)len, host);
	return inet_pton(AF_INET, text, &a) == 1;
}

static bool
host_is_valid(const char *host, size_t len)
{
	char text[HOST_MAX + 1];
	struct in6_addr a;
	size_t i;

	if (len == 0 || len > HOST_MAX)
		return false;
	if (host[0] == '[') {
		if (len < 3 || host[len - 1] != ']')
			return false;
		snprintf(text, sizeof(text), "%.*s", (int)len - 2, host + 1);
		return inet_pton(AF_INET6, text, &a) == 1;
	}
	for (i = 0; i < len; i++)
		if (!is_alnum(host[i]) && strchr("-._", host[i]) == NULL)
			return false;
	return host[0] != '.' && host[0] != '-';
}

static int
parse_port(const char *text, unsigned *ret)
{
	uint64_t v;

	if (num_u64(text, &v) < 0 || v == 0 || v > 65535)
		return -EINVAL;
	*ret = (unsigned)v;
	return 0;
}

static bool
bucket_is_valid(const char *b)
{
	size_t len = strlen(b), i;

	if (len == 0 || len > 255 || b[0] == '.')
		return false;
	for (i = 0; i < len; i++)
		if (!is_alnum(b[i]) && strchr("-._", b[i]) == NULL)
			return false;
	return true;
}

/* Is the bucket named by this host already? */
static bool
host_names_bucket(const char *host, size_t len, const char *bucket)
{
	size_t n = strlen(bucket);

	return len >= n && strncmp(host, bucket, n) == 0 &&
	    (len == n || host[n] == '.');
}

static int
build(const struct url_opts *o, const char *host, size_t len, unsigned port,
    bool has_bucket, struct url_base *ret)
{
	unsigned standard = ret->tls ? 443 : 80;
	struct str h = {0}, origin = {0}, root = {0};
	bool in_host = has_bucket || host_names_bucket(host, len, o->bucket);
	bool in_path = o->path_style || is_address(host, len);
	int r = -ENOMEM;

	if (!in_host && !in_path)
		str_addf(&h, "%s.", o->bucket);
	str_addn(&h, host, len);
	if (port != 0 && port != standard)
		str_addf(&h, ":%u", port);
	str_addf(&origin, "%s://%s", ret->tls ? "https" : "http", str_get(&h));
	str_add(&root, "/");
	if (in_path)
		str_addf(&root, "%s/", o->bucket);
	ret->host = str_take(&h);
	ret->origin = str_take(&origin);
	ret->root = str_take(&root);
	if (ret->host != NULL && ret->origin != NULL && ret->root != NULL)
		r = 0;
	return r;
}

static int
parse(const struct url_opts *o, const char *p, bool has_bucket,
    struct url_base *ret, const char **why)
{
	_cleanup_free_ char *hostport = NULL;
	unsigned port = o->port;
	const char *end;

	ret->tls = true;
	if (str_starts(p, "https://")) {
		p += strlen("https://");
	} else if (str_starts(p, "http://")) {
		p += strlen("http://");
		ret->tls = false;
	} else if (strstr(p, "://") != NULL) {
		*why = "the scheme is neither https nor http";
		return -EINVAL;
	}
	if (!ret->tls && !o->insecure_http) {
		*why = "plain http is not allowed\nhint: use https, or the "
		    "option insecure-http if everybody on the way may read "
		    "the data";
		return -EINVAL;
	}
	hostport = strdup(p);
	if (hostport == NULL)
		return -ENOMEM;
	if (str_ends(hostport, "/"))
		hostport[strlen(hostport) - 1] = '\0';
	end = host_end(hostport);
	if (!host_is_valid(hostport, (size_t)(end - hostport))) {
		*why = "not of the form [https://]host[:port]";
		return -EINVAL;
	}
	if (*end != '\0' &&
	    (*end != ':' || parse_port(end + 1, &port) < 0)) {
		*why = "the port is not a number from 1 to 65535";
		return -EINVAL;
	}
	return build(
	    o, hostport, (size_t)(end - hostport), port, has_bucket, ret);
}

int
url_parse(const struct url_opts *o, struct url_base *ret, const char **why)
{
	struct str text = {0};
	bool has_bucket = false;
	int r;

	memset(ret, 0, sizeof(*ret));
	*why = "";
	if (o->bucket == NULL || !bucket_is_valid(o->bucket)) {
		*why = "not the name of a bucket";
		return -EINVAL;
	}
	if (o->endpoint == NULL || o->endpoint[0] == '\0') {
		*why = "no endpoint given";
		return -EINVAL;
	}
	r = expand(o, &text, &has_bucket, why);
	if (r == 0)
		r = parse(o, str_get(&text), has_bucket, ret, why);
	str_fini(&text);
	if (r < 0)
		url_fini(ret);
	return r;
}

void
url_fini(struct url_base *u)
{
	free(u->origin);
	free(u->host);
	free(u->root);
	memset(u, 0, sizeof(*u));
}
