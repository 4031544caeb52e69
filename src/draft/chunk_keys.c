/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/chunk_keys.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/num.h"
#include "pbs/enc_key.h"
#include "pbs/keyring.h"

struct named_key {
	struct digest fingerprint;
	const struct enc_key *key;	/* borrowed; NULL: not at hand */
};

struct chunk_keys {
	const struct keyring *ring;	/* borrowed, or NULL */
	const struct enc_key *ours;	/* borrowed, or NULL */
	struct named_key *v;		/* owned: of the numbers from 1 on */
	uint32_t n, room;
};

int
chunk_keys_new(const struct keyring *ring, const struct enc_key *ours,
    struct chunk_keys **ret)
{
	struct chunk_keys *k = calloc(1, sizeof(*k));
	uint32_t number;
	int r = 0;

	if (k == NULL)
		return -ENOMEM;
	k->ring = ring;
	k->ours = ours;
	if (ours != NULL)
		r = chunk_keys_add(k, enc_key_fingerprint(ours), &number);
	if (r < 0) {
		chunk_keys_free(k);
		return r;
	}
	*ret = k;
	return 0;
}

void
chunk_keys_free(struct chunk_keys *k)
{
	if (k == NULL)
		return;
	free(k->v);
	free(k);
}

uint32_t
chunk_keys_ours(const struct chunk_keys *k)
{
	return k->ours != NULL ? 1 : CHUNK_KEYS_PLAIN;
}

static const struct enc_key *
at_hand(const struct chunk_keys *k, const struct digest *fingerprint)
{
	char text[FINGERPRINT_LEN + 1];

	if (k->ours != NULL &&
	    digest_eq(enc_key_fingerprint(k->ours), fingerprint))
		return k->ours;
	fingerprint_format(fingerprint, text);
	return keyring_find(k->ring, text);
}

int
chunk_keys_add(struct chunk_keys *k, const struct digest *fingerprint,
    uint32_t *ret)
{
	uint32_t i, room = MAX(2 * k->room, 4u);
	struct named_key *v;

	for (i = 0; i < k->n; i++) {
		if (digest_eq(&k->v[i].fingerprint, fingerprint)) {
			*ret = i + 1;
			return 0;
		}
	}
	if (k->n == CHUNK_KEYS_MAX)
		return -EBADMSG;
	if (k->n == k->room) {
		v = reallocarray(k->v, room, sizeof(*v));
		if (v == NULL)
			return -ENOMEM;
		k->v = v;
		k->room = room;
	}
	k->v[k->n++] = (struct named_key){
	    .fingerprint = *fingerprint, .key = at_hand(k, fingerprint)};
	*ret = k->n;
	return 0;
}

bool
chunk_keys_any(const struct chunk_keys *k)
{
	return k->n > 0;
}

const struct digest *
chunk_keys_fingerprint(const struct chunk_keys *k, uint32_t n)
{
	assert(n > 0 && n <= k->n);
	return &k->v[n - 1].fingerprint;
}

int
chunk_keys_get(const struct chunk_keys *k, uint32_t n,
    const struct enc_key **ret)
{
	*ret = NULL;
	if (n == CHUNK_KEYS_PLAIN)
		return 0;
	assert(n <= k->n);
	*ret = k->v[n - 1].key;
	return *ret != NULL ? 0 : -ENOKEY;
}
