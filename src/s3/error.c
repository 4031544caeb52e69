/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/num.h"
#include "base/str.h"
#include "s3/xml.h"

/* Codes that mean the same whatever the status is. */
static const struct {
	const char *code;
	enum s3_cause cause;
} codes[] = {
	{"AccessDenied", S3_CAUSE_DENIED},
	{"AccountProblem", S3_CAUSE_DENIED},
	{"AllAccessDisabled", S3_CAUSE_DENIED},
	{"AuthorizationHeaderMalformed", S3_CAUSE_REGION},
	{"AuthorizationQueryParametersError", S3_CAUSE_BAD_KEY},
	{"BandwidthLimitExceeded", S3_CAUSE_THROTTLED},
	{"ConditionalRequestConflict", S3_CAUSE_CONFLICT},
	{"ExpiredToken", S3_CAUSE_EXPIRED},
	{"IllegalLocationConstraintException", S3_CAUSE_REGION},
	{"IncorrectEndpoint", S3_CAUSE_REGION},
	{"InsufficientStorage", S3_CAUSE_QUOTA},
	{"InternalError", S3_CAUSE_SERVER},
	{"InvalidAccessKeyId", S3_CAUSE_BAD_KEY},
	{"InvalidObjectState", S3_CAUSE_ARCHIVED},
	{"InvalidToken", S3_CAUSE_EXPIRED},
	{"NoSuchBucket", S3_CAUSE_NO_BUCKET},
	{"NotImplemented", S3_CAUSE_UNSUPPORTED},
	{"MethodNotAllowed", S3_CAUSE_UNSUPPORTED},
	{"OperationAborted", S3_CAUSE_CONFLICT},
	{"PermanentRedirect", S3_CAUSE_REGION},
	{"QuotaExceeded", S3_CAUSE_QUOTA},
	{"RequestLimitExceeded", S3_CAUSE_THROTTLED},
	{"RequestThrottled", S3_CAUSE_THROTTLED},
	{"RequestTimeTooSkewed", S3_CAUSE_CLOCK},
	{"RequestTimeout", S3_CAUSE_TIMEOUT},
	{"ServiceUnavailable", S3_CAUSE_SERVER},
	{"SignatureDoesNotMatch", S3_CAUSE_BAD_KEY},
	{"SlowDown", S3_CAUSE_THROTTLED},
	{"SlowDownRead", S3_CAUSE_THROTTLED},
	{"SlowDownWrite", S3_CAUSE_THROTTLED},
	{"TemporaryRedirect", S3_CAUSE_REGION},
	{"Throttling", S3_CAUSE_THROTTLED},
	{"ThrottlingException", S3_CAUSE_THROTTLED},
	{"TokenRefreshRequired", S3_CAUSE_EXPIRED},
	{"TooManyRequests", S3_CAUSE_THROTTLED},
	{"XMinioStorageFull", S3_CAUSE_QUOTA},
};

static enum s3_cause
cause_of_status(int status)
{
	switch (status) {
	case 301:
	case 302:
	case 307:
	case 308:
		return S3_CAUSE_REGION;
	case 401:
	case 403:
		return S3_CAUSE_DENIED;
	case 405:
	case 501:
		return S3_CAUSE_UNSUPPORTED;
	case 408:
		return S3_CAUSE_TIMEOUT;
	case 409:
		return S3_CAUSE_CONFLICT;
	case 429:
		return S3_CAUSE_THROTTLED;
	case 507:
		return S3_CAUSE_QUOTA;
	default:
		break;
	}
	if (status >= 500)
		return S3_CAUSE_SERVER;
	/* An <Error> may come with a 2xx; the other 1xx and 3xx are odd. */
	if (status >= 400 || (status >= 200 && status < 300))
		return S3_CAUSE_OTHER;
	return S3_CAUSE_PROTOCOL;
}

void
error_set_cause(struct s3_error *e)
{
	size_t i;

	/* A provider's daily cap comes as a plain refusal. */
	if (e->status == 403 && strstr(e->message, "cap exceeded") != NULL) {
		e->cause = S3_CAUSE_QUOTA;
		return;
	}
	for (i = 0; i < ARRAY_SIZE(codes); i++) {
		if (streq(e->code, codes[i].code)) {
			e->cause = codes[i].cause;
			/* Also said of a bad access key. */
			if (e->cause == S3_CAUSE_REGION && e->status == 400 &&
			    e->region[0] == '\0')
				e->cause = S3_CAUSE_BAD_KEY;
			return;
		}
	}
	/* HEAD has no body: a hint in a header is all there is. */
	if (e->status == 400 && e->region[0] != '\0')
		e->cause = S3_CAUSE_REGION;
	else
		e->cause = cause_of_status(e->status);
}

struct error_class
error_class(const struct s3_error *e)
{
	switch (e->cause) {
	case S3_CAUSE_DNS:
	case S3_CAUSE_CONNECT:
		return (struct error_class){-EHOSTDOWN, true};
	case S3_CAUSE_TLS:
		return (struct error_class){-EKEYREJECTED, false};
	case S3_CAUSE_TIMEOUT:
		return (struct error_class){-ETIMEDOUT, true};
	case S3_CAUSE_CLOCK:
	case S3_CAUSE_BAD_KEY:
	case S3_CAUSE_DENIED:
		return (struct error_class){-EACCES, false};
	case S3_CAUSE_EXPIRED:
		/* The next attempt asks for keys again. */
		return (struct error_class){-EACCES, true};
	case S3_CAUSE_ARCHIVED:
		return (struct error_class){-ENODATA, false};
	case S3_CAUSE_THROTTLED:
		return (struct error_class){-EAGAIN, true};
	case S3_CAUSE_SERVER:
		/* Of the 5xx, these are passing; 505 and its like are not. */
		return (struct error_class){-EHOSTDOWN,
		    e->status < 500 || e->status == 500 || e->status == 502 ||
		    e->status == 503 || e->status == 504};
	case S3_CAUSE_QUOTA:
		return (struct error_class){-EDQUOT, false};
	case S3_CAUSE_UNSUPPORTED:
		return (struct error_class){-EOPNOTSUPP, false};
	case S3_CAUSE_CONFLICT:
		return (struct error_class){-EBUSY,
		    streq(e->code, "OperationAborted") ||
		    streq(e->code, "ConditionalRequestConflict")};
	case S3_CAUSE_PROTOCOL:
		/* Truncated and garbled answers; nothing was done wrong. */
		return (struct error_class){-EPROTO, true};
	case S3_CAUSE_NONE:
	case S3_CAUSE_NO_BUCKET:
	case S3_CAUSE_REGION:
	case S3_CAUSE_OTHER:
		break;
	}
	return (struct error_class){-EIO, false};
}

void
error_from_transport(const struct http_response *r, struct s3_error *e)
{
	static const enum s3_cause causes[] = {
	    [HTTP_OK] = S3_CAUSE_NONE,
	    [HTTP_E_DNS] = S3_CAUSE_DNS,
	    [HTTP_E_CONNECT] = S3_CAUSE_CONNECT,
	    [HTTP_E_TLS] = S3_CAUSE_TLS,
	    [HTTP_E_TIMEOUT] = S3_CAUSE_TIMEOUT,
	    [HTTP_E_BROKEN] = S3_CAUSE_CONNECT,
	    [HTTP_E_TOO_LARGE] = S3_CAUSE_OTHER,
	    [HTTP_E_PROXY] = S3_CAUSE_CONNECT,
	    [HTTP_E_ABORTED] = S3_CAUSE_OTHER,
	    [HTTP_E_MEMORY] = S3_CAUSE_OTHER,
	    [HTTP_E_OTHER] = S3_CAUSE_OTHER,
	};

	memset(e, 0, sizeof(*e));
	e->cause = causes[r->error];
	snprintf(e->message, sizeof(e->message), "%s", r->detail);
}

/* What a server says becomes a part of one line of ours. */
static void
copy_text(char *out, size_t size, const char *text)
{
	size_t left, n;

	snprintf(out, size, "%s", text);
	for (left = strlen(out); left > 0; out += n, left -= n) {
		n = str_printable(out, left);
		if (n == 0) {
			*out = '?';
			n = 1;
		}
	}
}

static void
copy_header(const struct http_response *r, const char *name, char *out,
    size_t size)
{
	const char *v = http_response_header(r, name);

	if (v != NULL && out[0] == '\0')
		copy_text(out, size, v);
}

static void
copy_error(const struct xml_error *x, struct s3_error *e)
{
	copy_text(e->code, sizeof(e->code), x->code);
	copy_text(e->message, sizeof(e->message), x->message);
	copy_text(e->region, sizeof(e->region), x->region);
	copy_text(e->request_id, sizeof(e->request_id), x->request_id);
}

void
error_from_body(const struct xml_error *x, struct s3_error *e)
{
	copy_error(x, e);
	error_set_cause(e);
}

bool
error_from_response(const struct http_response *r, struct s3_error *e)
{
	struct xml_error x;
	bool genuine = r->body->len == 0;

	memset(e, 0, sizeof(*e));
	e->status = r->status;
	if (xml_error(r->body->data, r->body->len, &x) == 0) {
		genuine = true;
		copy_error(&x, e);
	}
	copy_header(r, "x-amz-bucket-region", e->region, sizeof(e->region));
	copy_header(r, "x-amz-request-id", e->request_id,
	    sizeof(e->request_id));
	error_set_cause(e);
	return genuine;
}

const char *
s3_error_hint(const struct s3_error *e)
{
	switch (e->cause) {
	case S3_CAUSE_DNS:
		return "check the host name of the endpoint and the name "
		       "servers of this machine";
	case S3_CAUSE_CONNECT:
		return "check endpoint and port, the network, firewall and "
		       "proxy";
	case S3_CAUSE_TLS:
		return "give the server's authority with ca=FILE or its "
		       "certificate with fingerprint=SHA256, and check that "
		       "the port speaks TLS";
	case S3_CAUSE_TIMEOUT:
		return "the server or the way to it is too slow or drops "
		       "packets; it is asked again with the next access";
	case S3_CAUSE_CLOCK:
		return "set the clock of this machine, for example with NTP";
	case S3_CAUSE_BAD_KEY:
		return "check access key and secret key in the credentials, "
		       "and that they belong to this endpoint and region";
	case S3_CAUSE_EXPIRED:
		return "get new temporary keys; a profile with "
		       "credential_process does so by itself";
	case S3_CAUSE_DENIED:
		/* An answer to HEAD has no code: it may also be the key. */
		return "check that the key is the right one and has "
		       "permission: reading takes s3:ListBucket and "
		       "s3:GetObject";
	case S3_CAUSE_NO_BUCKET:
		return "check the name of the bucket; with some servers "
		       "path-style is needed";
	case S3_CAUSE_REGION:
		return "set region, and the endpoint that belongs to it, to "
		       "those of the bucket";
	case S3_CAUSE_ARCHIVED:
		return "the object is in an archive storage class: restore it "
		       "with the provider's tools first";
	case S3_CAUSE_THROTTLED:
		return "lower request-rate to what the provider allows";
	case S3_CAUSE_QUOTA:
		return "raise the quota or the cap at the provider, or delete "
		       "what is not needed";
	case S3_CAUSE_UNSUPPORTED:
		return "the server lacks this call: see skip-if-none-match and "
		       "no-multi-delete";
	case S3_CAUSE_PROTOCOL:
		return "check that the endpoint is an S3 server and not a web "
		       "page or a proxy in front of it";
	case S3_CAUSE_NONE:
	case S3_CAUSE_SERVER:
	case S3_CAUSE_CONFLICT:
	case S3_CAUSE_OTHER:
		break;
	}
	return "";
}

static const char *
cause_text(enum s3_cause c)
{
	switch (c) {
	case S3_CAUSE_NONE:
		return "no error";
	case S3_CAUSE_DNS:
		return "the name of the server cannot be resolved";
	case S3_CAUSE_CONNECT:
		return "no connection to the server";
	case S3_CAUSE_TLS:
		return "the server's identity cannot be verified";
	case S3_CAUSE_TIMEOUT:
		return "no answer in time";
	case S3_CAUSE_CLOCK:
		return "the clock of this machine is wrong";
	case S3_CAUSE_BAD_KEY:
		return "access key or secret key is wrong";
	case S3_CAUSE_EXPIRED:
		return "the keys have expired";
	case S3_CAUSE_DENIED:
		return "permission denied";
	case S3_CAUSE_NO_BUCKET:
		return "there is no such bucket";
	case S3_CAUSE_REGION:
		return "the bucket is in another region";
	case S3_CAUSE_ARCHIVED:
		return "the object is archived";
	case S3_CAUSE_THROTTLED:
		return "too many requests";
	case S3_CAUSE_SERVER:
		return "the server failed";
	case S3_CAUSE_QUOTA:
		return "a quota is used up";
	case S3_CAUSE_UNSUPPORTED:
		return "the server does not support this";
	case S3_CAUSE_CONFLICT:
		return "another operation is under way";
	case S3_CAUSE_PROTOCOL:
		return "the answer makes no sense";
	case S3_CAUSE_OTHER:
		break;
	}
	return "the request failed";
}

void
s3_error_text(const struct s3_error *e, char *out, size_t len)
{
	struct str s = {0};

	str_add(&s, cause_text(e->cause));
	if (e->region[0] != '\0')
		str_addf(&s, " (%s)", e->region);
	if (e->status != 0)
		str_addf(&s, ": HTTP %d", e->status);
	if (e->code[0] != '\0')
		str_addf(&s, " %s", e->code);
	if (e->message[0] != '\0')
		str_addf(&s, ": %s", e->message);
	if (e->request_id[0] != '\0')
		str_addf(&s, " (request %s)", e->request_id);
	snprintf(out, len, "%s", str_get(&s));
	str_fini(&s);
}
