/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "crypt/digest.h"

#include <errno.h>
#include <gcrypt.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/num.h"
#include "crypt/gcrypt_init.h"

/* GnuTLS would free what it has not hashed yet as it is. */
struct digest_ctx {
	gcry_md_hd_t h;
};

/*
 * SHA-256 of bytes in memory fails only where the library cannot work at all;
 * going on with a wrong name for a chunk would be worse than ending.
 */
static void
must(int r, const char *what)
{
	if (r >= 0)
		return;
	log_err("%s: %s", what, gnutls_strerror(r));
	abort();
}

struct digest
digest_of(const void *p, size_t len)
{
	struct digest d;

	must(gnutls_hash_fast(GNUTLS_DIG_SHA256, len > 0 ? p : "", len, d.b),
	    "sha256");
	return d;
}

bool
digest_eq(const struct digest *a, const struct digest *b)
{
	return memcmp(a->b, b->b, DIGEST_LEN) == 0;
}

int
digest_cmp(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct digest));
}

const char *
digest_hex(const struct digest *d, char buf[DIGEST_HEX_LEN + 1])
{
	hex_encode(buf, d->b, DIGEST_LEN);
	return buf;
}

int
digest_parse(const char *text, struct digest *ret)
{
	struct digest d;
	int r = hex_decode(d.b, DIGEST_LEN, text);

	if (r == 0)
		*ret = d;
	return r;
}

int
digest_begin(struct digest_ctx **ret)
{
	struct digest_ctx *c;
	gcry_error_t e;
	int r;

	r = gcrypt_init();
	if (r < 0)
		return r;
	c = malloc(sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	e = gcry_md_open(&c->h, GCRY_MD_SHA256, GCRY_MD_FLAG_SECURE);
	if (e != 0) {
		free(c);
		return gcry_err_code(e) == GPG_ERR_ENOMEM ? -ENOMEM : -ENOSYS;
	}
	*ret = c;
	return 0;
}

void
digest_add(struct digest_ctx *c, const void *p, size_t len)
{
	gcry_md_write(c->h, p, len);
}

struct digest
digest_end(struct digest_ctx *c)
{
	struct digest d;

	memcpy(d.b, gcry_md_read(c->h, GCRY_MD_SHA256), DIGEST_LEN);
	gcry_md_close(c->h);
	free(c);
	return d;
}

struct digest
hmac_sha256(const void *key, size_t keylen, const void *p, size_t len)
{
	struct digest d;

	must(gnutls_hmac_fast(GNUTLS_MAC_SHA256, keylen > 0 ? key : "", keylen,
		 len > 0 ? p : "", len, d.b),
	    "hmac-sha256");
	return d;
}

void
md5_base64(const void *p, size_t len, char out[MD5_BASE64_LEN + 1])
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "abcdefghijklmnopqrstuvwxyz0123456789+/";
	uint8_t sum[18] = {0};	/* 16 bytes, padded to groups of three */

	/* The protocol asks for it as a checksum; nothing is protected by it,
	 * so it is in order also where policy forbids MD5. */
	GNUTLS_FIPS140_SET_LAX_MODE();
	must(gnutls_hash_fast(GNUTLS_DIG_MD5, len > 0 ? p : "", len, sum),
	    "md5");
	GNUTLS_FIPS140_SET_STRICT_MODE();
	for (size_t i = 0; i < sizeof(sum); i += 3) {
		uint32_t v = (uint32_t)sum[i] << 16 |
		    (uint32_t)sum[i + 1] << 8 | sum[i + 2];

		for (int shift = 18; shift >= 0; shift -= 6)
			*out++ = letters[v >> shift & 63];
	}
	out[-1] = '=';
	out[-2] = '=';
	*out = '\0';
}

int
crypt_random(void *p, size_t len)
{
	return gnutls_rnd(GNUTLS_RND_RANDOM, p, len) < 0 ? -EIO : 0;
}
