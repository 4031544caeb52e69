/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/tls.h"

#include <curl/curl.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"

/* How long the outcome of a chain verification is believed. */
#define VERIFIED_MS ((uint64_t)10 * 60 * 1000)
#define CHAIN_MAX 16

struct tls_pin {
	uint8_t fingerprint[TLS_FINGERPRINT_LEN];
	gnutls_x509_trust_list_t trust;		/* owned */
	/* The chain that was found valid last: every request asks again. */
	uint8_t verified_leaf[TLS_FINGERPRINT_LEN];
	char verified_host[256];
	deadline_t verified_until;
};

static bool
curl_uses_gnutls(void)
{
	const curl_version_info_data *v = curl_version_info(CURLVERSION_NOW);

	return v->ssl_version != NULL && str_starts(v->ssl_version, "GnuTLS");
}

int
tls_pin_new(const char *ca_file,
    const uint8_t fingerprint[TLS_FINGERPRINT_LEN], struct tls_pin **ret)
{
	struct tls_pin *p;
	int n;

	if (!curl_uses_gnutls())
		return -EOPNOTSUPP;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	memcpy(p->fingerprint, fingerprint, sizeof(p->fingerprint));
	if (gnutls_x509_trust_list_init(&p->trust, 0) < 0) {
		free(p);
		return -ENOMEM;
	}
	if (ca_file != NULL) {
		n = gnutls_x509_trust_list_add_trust_file(
		    p->trust, ca_file, NULL, GNUTLS_X509_FMT_PEM, 0, 0);
		if (n <= 0) {
			tls_pin_free(p);
			return n == GNUTLS_E_FILE_ERROR ? -ENOENT : -EBADMSG;
		}
	} else {
		/* Without any trusted authority the pin alone decides. */
		n = gnutls_x509_trust_list_add_system_trust(p->trust, 0, 0);
		if (n < 0)
			log_debug("tls: no system trust: %s",
			    gnutls_strerror(n));
	}
	*ret = p;
	return 0;
}

void
tls_pin_free(struct tls_pin *p)
{
	if (p == NULL)
		return;
	gnutls_x509_trust_list_deinit(p->trust, 1);
	free(p);
}

static int
host_of(const char *url, char *host, size_t len)
{
	CURLU *u = curl_url();
	char *part = NULL;
	size_t n;
	int r = -EINVAL;

	if (u == NULL)
		return -ENOMEM;
	if (curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK ||
	    curl_url_get(u, CURLUPART_HOST, &part, 0) != CURLUE_OK)
		goto out;
	n = strlen(part);
	if (n > 2 && part[0] == '[' && part[n - 1] == ']')
		r = snprintf(host, len, "%.*s", (int)n - 2, part + 1);
	else
		r = snprintf(host, len, "%s", part);
	r = r >= 0 && (size_t)r < len ? 0 : -EINVAL;
	curl_free(part);
out:
	curl_url_cleanup(u);
	return r;
}

static void
free_chain(gnutls_x509_crt_t *certs, unsigned n)
{
	while (n > 0)
		gnutls_x509_crt_deinit(certs[--n]);
}

/* 0, or -EKEYREJECTED with a reason. */
static int
verify_chain(struct tls_pin *p, const gnutls_datum_t *raw, unsigned n,
    const char *host, char *why, size_t len)
{
	gnutls_x509_crt_t certs[CHAIN_MAX];
	gnutls_typed_vdata_st vdata[2];
	_cleanup_free_ char *name = strdup(host);
	char purpose[] = GNUTLS_KP_TLS_WWW_SERVER;
	gnutls_datum_t text = {NULL, 0};
	unsigned i, status = 0;
	int r;

	if (name == NULL)
		return -ENOMEM;
	if (n > CHAIN_MAX)
		n = CHAIN_MAX;
	for (i = 0; i < n; i++) {
		r = gnutls_x509_crt_init(&certs[i]);
		if (r < 0)
			break;
		r = gnutls_x509_crt_import(
		    certs[i], &raw[i], GNUTLS_X509_FMT_DER);
		if (r < 0) {
			gnutls_x509_crt_deinit(certs[i]);
			break;
		}
	}
	if (i < n) {
		free_chain(certs, i);
		snprintf(why, len, "the server's certificate is malformed");
		return -EKEYREJECTED;
	}
	memset(vdata, 0, sizeof(vdata));
	vdata[0].type = GNUTLS_DT_DNS_HOSTNAME;
	vdata[0].data = (unsigned char *)name;
	vdata[1].type = GNUTLS_DT_KEY_PURPOSE_OID;
	vdata[1].data = (unsigned char *)purpose;
	r = gnutls_x509_trust_list_verify_crt2(
	    p->trust, certs, n, vdata, 2, 0, &status, NULL);
	free_chain(certs, n);
	if (r == 0 && status == 0)
		return 0;
	if (r == 0)
		r = gnutls_certificate_verification_status_print(
		    status, GNUTLS_CRT_X509, &text, 0);
	snprintf(why, len, "%s",
	    r == 0 && text.data != NULL ? (const char *)text.data :
					  "the chain cannot be verified");
	gnutls_free(text.data);
	return -EKEYREJECTED;
}

int
tls_pin_check(struct tls_pin *p, void *session, const char *url, char *why,
    size_t len)
{
	const gnutls_datum_t *raw;
	uint8_t leaf[TLS_FINGERPRINT_LEN];
	size_t leaf_len = sizeof(leaf);
	char hex[2 * sizeof(leaf) + 1], reason[160], host[256];
	unsigned n = 0;
	int r;

	raw = gnutls_certificate_get_peers(session, &n);
	if (raw == NULL || n == 0 ||
	    gnutls_fingerprint(
		GNUTLS_DIG_SHA256, &raw[0], leaf, &leaf_len) < 0 ||
	    leaf_len != sizeof(leaf)) {
		snprintf(why, len, "the server sent no certificate");
		return -EKEYREJECTED;
	}
	if (memcmp(leaf, p->fingerprint, sizeof(leaf)) == 0)
		return 0;
	r = host_of(url, host, sizeof(host));
	if (r < 0) {
		snprintf(why, len, "no host name in the address");
		return -EKEYREJECTED;
	}
	if (deadline_left(p->verified_until) > 0 && p->verified_until != 0 &&
	    streq(host, p->verified_host) &&
	    memcmp(leaf, p->verified_leaf, sizeof(leaf)) == 0)
		return 0;
	r = verify_chain(p, raw, n, host, reason, sizeof(reason));
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		hex_encode(hex, leaf, sizeof(leaf));
		snprintf(why, len,
		    "the certificate has fingerprint %s, not the configured "
		    "one, and is not trusted: %s", hex, reason);
		return r;
	}
	memcpy(p->verified_leaf, leaf, sizeof(leaf));
	snprintf(p->verified_host, sizeof(p->verified_host), "%s", host);
	p->verified_until = deadline_in(VERIFIED_MS);
	return 0;
}
