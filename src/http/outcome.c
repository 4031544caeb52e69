/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/outcome.h"

#include <stdbool.h>
#include <string.h>

#include "base/clock.h"

/* Did the connection come about, as far as TLS? */
static bool
was_connected(CURL *e)
{
	curl_off_t us = 0;

	return curl_easy_getinfo(e, CURLINFO_PRETRANSFER_TIME_T, &us) ==
	    CURLE_OK && us > 0;
}

static bool
was_resolved(CURL *e)
{
	curl_off_t us = 0;

	return curl_easy_getinfo(e, CURLINFO_NAMELOOKUP_TIME_T, &us) ==
	    CURLE_OK && us > 0;
}

static bool
proxy_refused(CURL *e)
{
	long code = 0;

	return curl_easy_getinfo(e, CURLINFO_HTTP_CONNECTCODE, &code) ==
	    CURLE_OK && code >= 300;
}

enum http_error
outcome_error(CURL *easy, CURLcode rc, const char *text, deadline_t deadline)
{
	/* The rest is deliberately HTTP_E_OTHER. */
	switch ((int)rc) {
	case CURLE_COULDNT_RESOLVE_HOST:
		return HTTP_E_DNS;
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_PROXY:
		return HTTP_E_PROXY;
	case CURLE_COULDNT_CONNECT:
		return HTTP_E_CONNECT;
	case CURLE_SSL_CONNECT_ERROR:
		/* A connection that breaks during the handshake says nothing
		 * about keys and certificates. */
		if (strstr(text, "pull function") != NULL ||
		    strstr(text, "push function") != NULL ||
		    strstr(text, "non-properly terminated") != NULL)
			return HTTP_E_BROKEN;
		return HTTP_E_TLS;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_ENGINE_INITFAILED:
	case CURLE_SSL_INVALIDCERTSTATUS:
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
	case CURLE_USE_SSL_FAILED:
		return HTTP_E_TLS;
	case CURLE_OPERATION_TIMEDOUT:
		if (deadline_left(deadline) == 0 ||
		    was_connected(easy))
			return HTTP_E_TIMEOUT;
		return was_resolved(easy) ? HTTP_E_CONNECT : HTTP_E_DNS;
	case CURLE_PARTIAL_FILE:
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_SEND_FAIL_REWIND:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL:	/* HTTP/0.9 */
	case CURLE_BAD_CONTENT_ENCODING:
		return HTTP_E_BROKEN;
	case CURLE_RECV_ERROR:
		return proxy_refused(easy) ? HTTP_E_PROXY : HTTP_E_BROKEN;
	case CURLE_OUT_OF_MEMORY:
		return HTTP_E_MEMORY;
	default:
		return HTTP_E_OTHER;
	}
}
