/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/keyring.h"

#include <errno.h>
#include <stdlib.h>

#include "pbs/enc_key.h"

struct keyring {
	unsigned refs;			/* atomic */
	struct enc_key **keys;		/* owned, and a reference of each */
	size_t n;
};

int
keyring_new(struct keyring **ret)
{
	struct keyring *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return -ENOMEM;
	r->refs = 1;
	*ret = r;
	return 0;
}

struct keyring *
keyring_ref(struct keyring *r)
{
	__atomic_add_fetch(&r->refs, 1, __ATOMIC_RELAXED);
	return r;
}

void
keyring_unref(struct keyring *r)
{
	if (r == NULL || __atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	for (size_t i = 0; i < r->n; i++)
		enc_key_unref(r->keys[i]);
	free(r->keys);
	free(r);
}

static const struct enc_key *
find(const struct keyring *r, const struct digest *fingerprint)
{
	for (size_t i = 0; i < r->n; i++)
		if (digest_eq(enc_key_fingerprint(r->keys[i]), fingerprint))
			return r->keys[i];
	return NULL;
}

int
keyring_add(struct keyring *r, struct enc_key *k)
{
	struct enc_key **keys;
	int err;

	if (find(r, enc_key_fingerprint(k)) != NULL)
		return 0;
	err = enc_key_learn_zeros(k);
	if (err < 0)
		return err;
	keys = reallocarray(r->keys, r->n + 1, sizeof(*keys));
	if (keys == NULL)
		return -ENOMEM;
	r->keys = keys;
	keys[r->n++] = enc_key_ref(k);
	return 0;
}

size_t
keyring_count(const struct keyring *r)
{
	return r == NULL ? 0 : r->n;
}

const struct enc_key *
keyring_at(const struct keyring *r, size_t i)
{
	return r->keys[i];
}

const struct enc_key *
keyring_find(const struct keyring *r, const char *fingerprint)
{
	struct digest d;

	if (r == NULL || fingerprint_parse(fingerprint, &d) < 0)
		return NULL;
	return find(r, &d);
}

int
keyring_check(const struct keyring *r, const struct manifest *m,
    const struct enc_key **ret)
{
	const struct enc_key *k;
	int err;

	*ret = NULL;
	if (keyring_count(r) == 0)
		return 0;
	if (m->key_fingerprint != NULL) {
		k = keyring_find(r, m->key_fingerprint);
		err = k == NULL ? 0 : manifest_verify(m, k);
		if (err >= 0)
			*ret = k;
		return err < 0 ? err : 0;
	}
	for (size_t i = 0; i < r->n && m->signature != NULL; i++) {
		err = manifest_verify(m, r->keys[i]);
		if (err == 0)
			*ret = r->keys[i];
		if (err != -EBADMSG)
			return err < 0 ? err : 0;
	}
	if (m->signature == NULL && r->n == 1)
		*ret = r->keys[0];
	return 0;
}
