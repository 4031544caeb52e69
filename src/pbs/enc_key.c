/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/enc_key.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "crypt/kdf.h"
#include "crypt/secret.h"

#define ID_SALT "_id_key"
#define ID_ITER 10

struct enc_key {
	unsigned refs;		/* atomic */
	struct secret *keys;	/* owned: the AES key, then the id key */
	struct digest fingerprint;
	char *created;		/* owned, or NULL */
	bool knows_zeros;
	struct digest zeros;
};

static const uint8_t *
id_key(const struct enc_key *k)
{
	return k->keys->p + ENC_KEY_LEN;
}

int
enc_key_new(const uint8_t raw[ENC_KEY_LEN], struct enc_key **ret)
{
	static const char text[] = "Proxmox Backup Encryption Key Fingerprint";
	const struct digest input = digest_of(text, strlen(text));
	struct enc_key *k;
	int r;

	k = calloc(1, sizeof(*k));
	if (k == NULL)
		return -ENOMEM;
	k->refs = 1;
	r = secret_new(2 * ENC_KEY_LEN, &k->keys);
	if (r == 0) {
		memcpy(k->keys->p, raw, ENC_KEY_LEN);
		r = kdf_pbkdf2(raw, ENC_KEY_LEN, ID_SALT, strlen(ID_SALT),
		    ID_ITER, k->keys->p + ENC_KEY_LEN, ENC_KEY_LEN);
	}
	if (r == 0)
		r = enc_key_digest(k, input.b, DIGEST_LEN, &k->fingerprint);
	if (r < 0) {
		enc_key_unref(k);
		return r;
	}
	*ret = k;
	return 0;
}

struct enc_key *
enc_key_ref(struct enc_key *k)
{
	__atomic_add_fetch(&k->refs, 1, __ATOMIC_RELAXED);
	return k;
}

void
enc_key_unref(struct enc_key *k)
{
	if (k == NULL || __atomic_sub_fetch(&k->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	secret_free(k->keys);
	free(k->created);
	free(k);
}

void
enc_key_unrefp(struct enc_key **k)
{
	enc_key_unref(*k);
}

int
enc_key_set_created(struct enc_key *k, const char *text)
{
	char *copy = strdup(text);

	if (copy == NULL)
		return -ENOMEM;
	free(k->created);
	k->created = copy;
	return 0;
}

const char *
enc_key_created(const struct enc_key *k)
{
	return k->created;
}

const uint8_t *
enc_key_raw(const struct enc_key *k)
{
	return k->keys->p;
}

const struct digest *
enc_key_fingerprint(const struct enc_key *k)
{
	return &k->fingerprint;
}

int
enc_key_digest(const struct enc_key *k, const void *p, size_t len,
    struct digest *ret)
{
	struct digest_ctx *c;
	int r;

	r = digest_begin(&c);
	if (r < 0)
		return r;
	digest_add(c, p, len);
	digest_add(c, id_key(k), ENC_KEY_LEN);
	*ret = digest_end(c);
	return 0;
}

int
enc_key_learn_zeros(struct enc_key *k)
{
	static const uint8_t some[65536];
	struct digest_ctx *c;
	int r;

	if (k->knows_zeros)
		return 0;
	r = digest_begin(&c);
	if (r < 0)
		return r;
	for (size_t n = 0; n < 4 * MIB; n += sizeof(some))
		digest_add(c, some, sizeof(some));
	digest_add(c, id_key(k), ENC_KEY_LEN);
	k->zeros = digest_end(c);
	k->knows_zeros = true;
	return 0;
}

bool
enc_key_is_zeros(const struct enc_key *k, const struct digest *digest)
{
	return k->knows_zeros && digest_eq(&k->zeros, digest);
}

struct digest
enc_key_sign(const struct enc_key *k, const void *p, size_t len)
{
	return hmac_sha256(id_key(k), ENC_KEY_LEN, p, len);
}

static void
format(const struct digest *d, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++) {
		hex_encode(out + 3 * i, d->b + i, 1);
		out[3 * i + 2] = i + 1 < n ? ':' : '\0';
	}
}

void
fingerprint_format(const struct digest *d, char out[FINGERPRINT_LEN + 1])
{
	format(d, DIGEST_LEN, out);
}

void
fingerprint_short(const struct digest *d, char out[FINGERPRINT_SHORT_LEN + 1])
{
	format(d, 8, out);
}

int
fingerprint_parse(const char *text, struct digest *ret)
{
	char hex[DIGEST_HEX_LEN + 1];

	if (strlen(text) != FINGERPRINT_LEN)
		return -EINVAL;
	for (size_t i = 0; i < DIGEST_LEN; i++) {
		if (i + 1 < DIGEST_LEN && text[3 * i + 2] != ':')
			return -EINVAL;
		memcpy(hex + 2 * i, text + 3 * i, 2);
	}
	hex[DIGEST_HEX_LEN] = '\0';
	return digest_parse(hex, ret);
}
