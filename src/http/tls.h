/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HTTP_TLS_H
#define HTTP_TLS_H

#include <stddef.h>
#include <stdint.h>

#define TLS_FINGERPRINT_LEN 32

/*
 * The rule for a server whose certificate is pinned: the leaf has the
 * fingerprint, or else its chain is valid for the host name.
 */
struct tls_pin;

/**
 * tls_pin_new(ca_file, fingerprint, ret):
 * ca_file NULL: the system's trust.  -EOPNOTSUPP if libcurl does not use
 * GnuTLS, -EBADMSG if ca_file holds no certificate, -errno.
 */
int tls_pin_new(const char *ca_file,
    const uint8_t fingerprint[TLS_FINGERPRINT_LEN], struct tls_pin **ret);
void tls_pin_free(struct tls_pin *p);

/**
 * tls_pin_check(p, session, url, why, len):
 * session is a gnutls_session_t after its handshake.  0, or -EKEYREJECTED with
 * the reason in why.  Used by one thread at a time.
 */
int tls_pin_check(struct tls_pin *p, void *session, const char *url, char *why,
    size_t len);

#endif
