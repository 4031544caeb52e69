/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/keyfile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"
#include "crypt/aead.h"
#include "crypt/base64.h"
#include "crypt/kdf.h"
#include "crypt/secret.h"
#include "pbs/enc_key.h"

/* What Proxmox Backup takes. */
#define SCRYPT_N 65536
#define SCRYPT_P 1
#define PBKDF2_ITER 65535
#define SALT_LEN 32

#define LOCKED_LEN (AEAD_IV_LEN + AEAD_TAG_LEN + ENC_KEY_LEN)

static const char *const kdf_names[] = {
    [KEYFILE_NONE] = "none",
    [KEYFILE_SCRYPT] = "scrypt",
    [KEYFILE_PBKDF2] = "pbkdf2",
};

const char *
keyfile_kdf_name(enum keyfile_kdf kdf)
{
	return kdf_names[kdf];
}

int
keyfile_kdf_parse(const char *name, enum keyfile_kdf *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(kdf_names); i++)
		if (streq(name, kdf_names[i])) {
			*ret = (enum keyfile_kdf)i;
			return 0;
		}
	return -EINVAL;
}

void
keyfile_free(struct keyfile *f)
{
	if (f == NULL)
		return;
	secret_free(f->data);
	free(f->created);
	free(f->modified);
	free(f->hint);
	free(f);
}

void
keyfile_freep(struct keyfile **f)
{
	keyfile_free(*f);
}

static int
derive(const struct keyfile *f, const void *pass, size_t len,
    struct secret **ret)
{
	struct secret *s;
	int r;

	r = secret_new(AEAD_KEY_LEN, &s);
	if (r < 0)
		return r;
	if (f->kdf == KEYFILE_SCRYPT)
		r = kdf_scrypt(pass, len, f->salt, f->salt_len, f->n, f->r,
		    f->p, s->p, s->len);
	else
		r = kdf_pbkdf2(pass, len, f->salt, f->salt_len, f->iter, s->p,
		    s->len);
	if (r < 0)
		secret_free(s);
	else
		*ret = s;
	return r == -EINVAL ? -EBADMSG : r;
}

static int
unlock(const struct keyfile *f, const void *pass, size_t len,
    struct secret **ret)
{
	_cleanup_(secret_freep) struct secret *outer = NULL, *raw = NULL;
	const uint8_t *iv = f->data->p, *tag = iv + AEAD_IV_LEN;
	int r;

	r = derive(f, pass, len, &outer);
	if (r == 0)
		r = secret_new(ENC_KEY_LEN, &raw);
	if (r < 0)
		return r;
	r = aead_decrypt(outer->p, iv, tag, tag + AEAD_TAG_LEN, ENC_KEY_LEN,
	    raw->p);
	if (r == 0)
		*ret = steal(&raw);
	/* Damage of the key itself cannot be told from it. */
	return r == -EBADMSG ? -EKEYREJECTED : r;
}

int
keyfile_open(const struct keyfile *f, const void *pass, size_t passlen,
    struct enc_key **ret)
{
	_cleanup_(secret_freep) struct secret *raw = NULL;
	struct enc_key *k;
	int r;

	if (f->kdf == KEYFILE_NONE)
		r = secret_copy(f->data->p, ENC_KEY_LEN, &raw);
	else
		r = unlock(f, pass, passlen, &raw);
	if (r == 0)
		r = enc_key_new(raw->p, &k);
	if (r < 0)
		return r;
	if (f->has_fingerprint &&
	    !digest_eq(&f->fingerprint, enc_key_fingerprint(k))) {
		enc_key_unref(k);
		return -EBADMSG;
	}
	r = enc_key_set_created(k, f->created);
	if (r < 0) {
		enc_key_unref(k);
		return r;
	}
	*ret = k;
	return 0;
}

static char *
now_text(void)
{
	char utc[CLOCK_UTC_LEN + 1], *text;

	if (clock_format_utc(utc, clock_real_s()) < 0 ||
	    asprintf(&text, "%.19s+00:00", utc) < 0)
		return NULL;
	return text;
}

/* Into f->data: IV, tag, and the key, encrypted with the passphrase. */
static int
lock(struct keyfile *f, const struct enc_key *k, const void *pass, size_t len)
{
	_cleanup_(secret_freep) struct secret *outer = NULL;
	uint8_t *iv = f->data->p, *tag = iv + AEAD_IV_LEN;
	int r;

	f->n = SCRYPT_N;
	f->r = KDF_SCRYPT_R;
	f->p = SCRYPT_P;
	f->iter = PBKDF2_ITER;
	f->salt_len = SALT_LEN;
	r = crypt_random(f->salt, SALT_LEN);
	if (r == 0)
		r = crypt_random(iv, AEAD_IV_LEN);
	if (r == 0)
		r = derive(f, pass, len, &outer);
	if (r == 0)
		r = aead_encrypt(outer->p, iv, enc_key_raw(k), ENC_KEY_LEN,
		    tag + AEAD_TAG_LEN, tag);
	return r;
}

int
keyfile_lock(const struct enc_key *k, enum keyfile_kdf kdf, const void *pass,
    size_t passlen, const char *hint, struct keyfile **ret)
{
	_cleanup_(keyfile_freep) struct keyfile *f = calloc(1, sizeof(*f));
	int r;

	if (f == NULL)
		return -ENOMEM;
	if (kdf != KEYFILE_NONE && passlen < KEYFILE_PASSPHRASE_MIN)
		return -EINVAL;
	f->kdf = kdf;
	f->created = now_text();
	f->modified = f->created != NULL ? strdup(f->created) : NULL;
	f->hint = hint != NULL ? strdup(hint) : NULL;
	if (f->modified == NULL || (hint != NULL && f->hint == NULL))
		return -ENOMEM;
	f->has_fingerprint = true;
	f->fingerprint = *enc_key_fingerprint(k);
	r = secret_new(kdf == KEYFILE_NONE ? ENC_KEY_LEN : LOCKED_LEN,
	    &f->data);
	if (r < 0)
		return r;
	if (kdf == KEYFILE_NONE)
		memcpy(f->data->p, enc_key_raw(k), ENC_KEY_LEN);
	else
		r = lock(f, k, pass, passlen);
	if (r == 0)
		*ret = steal(&f);
	return r;
}
