/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef S3_URL_H
#define S3_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/*
 * Addresses of buckets and objects.  Pure.
 */
struct url_base {
	char *origin;	/* owned: "https://host[:port]", no default port */
	char *host;	/* owned: "host[:port]" as the Host header has it */
	char *root;	/* owned: "/" or "/bucket/", before the encoded key */
	bool tls;
};

struct url_opts {
	const char *endpoint;
	unsigned port;
	const char *region;
	const char *bucket;
	bool path_style;
	bool insecure_http;
};

/**
 * url_parse(o, ret, why):
 * {{bucket}} and {{region}} in the endpoint are replaced.  Where the endpoint
 * has no {{bucket}}, the bucket becomes a part of the host name unless
 * path_style is set, the host is an IP address (then path style), or the host
 * is or begins with the bucket already.  0, -ENOMEM, or -EINVAL with *why set
 * to a constant text.
 */
int url_parse(const struct url_opts *o, struct url_base *ret,
    const char **why);
void url_fini(struct url_base *u);

/** url_encode(s, text, keep_slash): percent-encoding as the signature wants it:
 * all but A-Z a-z 0-9 - . _ ~ (and '/'), upper-case digits. */
void url_encode(struct str *s, const char *text, bool keep_slash);

/** url_decode(text, plus): in place; plus: '+' is a blank.  -EINVAL for a bad
 * escape or %00. */
int url_decode(char *text, bool plus);

/** url_add_query(s, name, value): append to a canonical query; the caller adds
 * names in ascending order. */
void url_add_query(struct str *s, const char *name, const char *value);

#endif
