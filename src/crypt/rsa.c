/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "crypt/rsa.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <limits.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "crypt/secret.h"

#define PADDING 11	/* bytes that PKCS#1 v1.5 needs at least */

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

int
rsa_encrypt(const void *pem, size_t pem_len, const void *p, size_t len,
    struct buf **ret)
{
	gnutls_datum_t in = datum(pem, pem_len), plain = datum(p, len);
	gnutls_datum_t cipher;
	gnutls_pubkey_t key;
	unsigned bits = 0;
	int r;

	if (pem_len > INT_MAX || len > INT_MAX)
		return -EINVAL;
	if (gnutls_pubkey_init(&key) < 0)
		return -ENOMEM;
	r = gnutls_pubkey_import(key, &in, GNUTLS_X509_FMT_PEM);
	if (r == GNUTLS_E_MEMORY_ERROR)
		r = -ENOMEM;
	else if (r < 0 ||
	    gnutls_pubkey_get_pk_algorithm(key, &bits) != GNUTLS_PK_RSA)
		r = -EINVAL;
	else if (bits / 8 < len + PADDING)
		r = -EFBIG;
	if (r == 0) {
		r = gnutls_pubkey_encrypt_data(key, 0, &plain, &cipher);
		r = r == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : r < 0 ? -EIO : 0;
	}
	gnutls_pubkey_deinit(key);
	if (r < 0)
		return r;
	*ret = buf_copy(cipher.data, cipher.size);
	gnutls_free(cipher.data);
	return *ret != NULL ? 0 : -ENOMEM;
}

static int
error_of(int r)
{
	if (r >= 0)
		return 0;
	log_err("rsa: %s", gnutls_strerror(r));
	return r == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EIO;
}

static int
export_private(gnutls_x509_privkey_t key, const char *pass,
    struct secret **ret)
{
	gnutls_datum_t text;
	int r;

	r = error_of(gnutls_x509_privkey_export2_pkcs8(key,
	    GNUTLS_X509_FMT_PEM, pass, pass != NULL ?
	    GNUTLS_PKCS_PBES2_AES_256 : GNUTLS_PKCS_PLAIN, &text));
	if (r < 0)
		return r;
	r = secret_copy(text.data, text.size, ret);
	secret_wipe(text.data, text.size);
	gnutls_free(text.data);
	return r;
}

static int
export_public(gnutls_x509_privkey_t key, struct buf **ret)
{
	gnutls_privkey_t private;
	gnutls_pubkey_t public;
	gnutls_datum_t text;
	int r;

	if (gnutls_privkey_init(&private) < 0)
		return -ENOMEM;
	if (gnutls_pubkey_init(&public) < 0) {
		gnutls_privkey_deinit(private);
		return -ENOMEM;
	}
	r = gnutls_privkey_import_x509(private, key, 0);
	if (r >= 0)
		r = gnutls_pubkey_import_privkey(public, private, 0, 0);
	if (r >= 0)
		r = gnutls_pubkey_export2(public, GNUTLS_X509_FMT_PEM, &text);
	gnutls_pubkey_deinit(public);
	gnutls_privkey_deinit(private);
	r = error_of(r);
	if (r < 0)
		return r;
	*ret = buf_copy(text.data, text.size);
	gnutls_free(text.data);
	return *ret != NULL ? 0 : -ENOMEM;
}

int
rsa_generate(unsigned bits, const char *pass, struct secret **ret_private,
    struct buf **ret_public)
{
	_cleanup_(secret_freep) struct secret *private = NULL;
	gnutls_x509_privkey_t key;
	int r;

	if (gnutls_x509_privkey_init(&key) < 0)
		return -ENOMEM;
	r = error_of(gnutls_x509_privkey_generate(key, GNUTLS_PK_RSA, bits,
	    0));
	if (r == 0)
		r = export_private(key, pass, &private);
	if (r == 0)
		r = export_public(key, ret_public);
	gnutls_x509_privkey_deinit(key);
	if (r == 0)
		*ret_private = steal(&private);
	return r;
}
