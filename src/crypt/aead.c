/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "crypt/aead.h"

#include <errno.h>
#include <gcrypt.h>

#include "base/log.h"
#include "crypt/gcrypt_init.h"
#include "crypt/secret.h"

static int
error_of(gcry_error_t e)
{
	int err;

	if (e == 0)
		return 0;
	if (gcry_err_code(e) == GPG_ERR_CHECKSUM)
		return -EBADMSG;
	err = gcry_err_code_to_errno(gcry_err_code(e));
	log_err("aes-256-gcm: %s", gcry_strerror(e));
	return err != 0 ? -err : -EIO;
}

/* One for each call: a handle serves one thread at a time, and the key is
 * expanded in less time than a queue for handles would take. */
static int
begin(const uint8_t *key, const uint8_t *iv, gcry_cipher_hd_t *ret)
{
	gcry_error_t e;
	int r;

	r = gcrypt_init();
	if (r < 0)
		return r;
	e = gcry_cipher_open(ret, GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_GCM,
	    GCRY_CIPHER_SECURE);
	if (e != 0)
		return error_of(e);
	e = gcry_cipher_setkey(*ret, key, AEAD_KEY_LEN);
	if (e == 0)
		e = gcry_cipher_setiv(*ret, iv, AEAD_IV_LEN);
	if (e != 0)
		gcry_cipher_close(*ret);
	return error_of(e);
}

int
aead_decrypt(const uint8_t key[AEAD_KEY_LEN], const uint8_t iv[AEAD_IV_LEN],
    const uint8_t tag[AEAD_TAG_LEN], const void *in, size_t len, void *out)
{
	gcry_cipher_hd_t h;
	gcry_error_t e = 0;
	int r;

	r = begin(key, iv, &h);
	if (r < 0)
		return r;
	if (len > 0)
		e = in == out ? gcry_cipher_decrypt(h, out, len, NULL, 0) :
		    gcry_cipher_decrypt(h, out, len, in, len);
	/* Compares in constant time. */
	if (e == 0)
		e = gcry_cipher_checktag(h, tag, AEAD_TAG_LEN);
	gcry_cipher_close(h);
	r = error_of(e);
	if (r < 0)
		secret_wipe(out, len);
	return r;
}

int
aead_encrypt(const uint8_t key[AEAD_KEY_LEN], const uint8_t iv[AEAD_IV_LEN],
    const void *in, size_t len, void *out, uint8_t tag[AEAD_TAG_LEN])
{
	gcry_cipher_hd_t h;
	gcry_error_t e = 0;
	int r;

	r = begin(key, iv, &h);
	if (r < 0)
		return r;
	if (len > 0)
		e = in == out ? gcry_cipher_encrypt(h, out, len, NULL, 0) :
		    gcry_cipher_encrypt(h, out, len, in, len);
	if (e == 0)
		e = gcry_cipher_gettag(h, tag, AEAD_TAG_LEN);
	gcry_cipher_close(h);
	return error_of(e);
}
