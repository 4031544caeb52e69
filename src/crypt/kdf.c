/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "crypt/kdf.h"

#include <errno.h>
#include <gcrypt.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "base/log.h"
#include "crypt/gcrypt_init.h"

static gnutls_datum_t
datum(const void *p, size_t len)
{
	return (gnutls_datum_t){
	    .data = (unsigned char *)(uintptr_t)(len > 0 ? p : ""),
	    .size = (unsigned)len,
	};
}

int
kdf_pbkdf2(const void *pass, size_t passlen, const void *salt,
    size_t saltlen, uint64_t iter, void *out, size_t outlen)
{
	gnutls_datum_t k = datum(pass, passlen), s = datum(salt, saltlen);
	int r;

	if (iter == 0 || iter > KDF_PBKDF2_ITER_MAX ||
	    passlen > UINT16_MAX || saltlen > UINT16_MAX)
		return -ERANGE;
	r = gnutls_pbkdf2(GNUTLS_MAC_SHA256, &k, &s, (unsigned)iter, out,
	    outlen);
	if (r == GNUTLS_E_MEMORY_ERROR)
		return -ENOMEM;
	if (r < 0)
		log_err("pbkdf2: %s", gnutls_strerror(r));
	return r < 0 ? -EIO : 0;
}

int
kdf_scrypt(const void *pass, size_t passlen, const void *salt,
    size_t saltlen, uint64_t n, uint64_t r, uint64_t p, void *out,
    size_t outlen)
{
	gcry_error_t e;
	int err;

	if (n < 2 || (n & (n - 1)) != 0)
		return -EINVAL;
	if (r != KDF_SCRYPT_R)
		return -ENOTSUP;
	if (p == 0 || p > KDF_SCRYPT_P_MAX ||
	    n > KDF_SCRYPT_MEMORY_MAX / 128 / KDF_SCRYPT_R ||
	    passlen > UINT16_MAX || saltlen > UINT16_MAX)
		return -ERANGE;
	err = gcrypt_init();
	if (err < 0)
		return err;
	e = gcry_kdf_derive(passlen > 0 ? pass : "", passlen, GCRY_KDF_SCRYPT,
	    (int)n, saltlen > 0 ? salt : "", saltlen, (unsigned long)p,
	    outlen, out);
	if (e == 0)
		return 0;
	err = gcry_err_code_to_errno(gcry_err_code(e));
	if (err != ENOMEM)
		log_err("scrypt: %s", gcry_strerror(e));
	return err != 0 ? -err : -EIO;
}
