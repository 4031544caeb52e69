/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "crypt/rsa.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <limits.h>
#include <stdint.h>

#include "crypt/secret.h"

static gnutls_datum_t
datum(const void *p, size_t len)
{
	return (gnutls_datum_t){
	    .data = (unsigned char *)(uintptr_t)p, .size = (unsigned)len};
}

static int
import(gnutls_privkey_t key, const gnutls_datum_t *pem, const char *pass)
{
	int r;

	r = gnutls_privkey_import_x509_raw(key, pem, GNUTLS_X509_FMT_PEM, pass,
	    0);
	switch (r) {
	case 0:
		break;
	case GNUTLS_E_MEMORY_ERROR:
		return -ENOMEM;
	case GNUTLS_E_DECRYPTION_FAILED:
	case GNUTLS_E_INSUFFICIENT_CREDENTIALS:
	case GNUTLS_E_PK_INVALID_PRIVKEY:
		return -ENOKEY;
	default:
		return -EINVAL;
	}
	return gnutls_privkey_get_pk_algorithm(key, NULL) == GNUTLS_PK_RSA ?
	    0 : -EINVAL;
}

int
rsa_decrypt(const void *pem, size_t pem_len, const char *pass, const void *p,
    size_t len, struct secret **ret)
{
	gnutls_datum_t in = datum(pem, pem_len), cipher = datum(p, len), plain;
	gnutls_privkey_t key;
	int r;

	if (pem_len > INT_MAX || len > INT_MAX)
		return -EINVAL;
	if (gnutls_privkey_init(&key) < 0)
		return -ENOMEM;
	r = import(key, &in, pass);
	if (r == 0) {
		r = gnutls_privkey_decrypt_data(key, 0, &cipher, &plain);
		r = r == GNUTLS_E_MEMORY_ERROR ? -ENOMEM :
		    r < 0 ? -EBADMSG : 0;
	}
	gnutls_privkey_deinit(key);
	if (r < 0)
		return r;
	r = secret_copy(plain.data, plain.size, ret);
	secret_wipe(plain.data, plain.size);
	gnutls_free(plain.data);
	return r;
}
