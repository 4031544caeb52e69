/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/chunk_map.h"

#include <errno.h>
#include <stdlib.h>
#include <xxhash.h>

#include "crypt/digest.h"

#define BUCKETS_MIN 256

static struct chunk_bucket *
bucket(const struct chunk_map *m, const struct chunk_id *id)
{
	uint64_t h = XXH3_64bits_withSeed(id->digest.b, DIGEST_LEN,
	    m->seed + id->size);

	return &m->buckets[h & (m->n_buckets - 1)];
}

int
chunk_map_init(struct chunk_map *m)
{
	int r;

	m->n = 0;
	m->n_buckets = BUCKETS_MIN;
	r = crypt_random(&m->seed, sizeof(m->seed));
	if (r < 0)
		return r;
	/* All zero is an empty list head. */
	m->buckets = calloc(m->n_buckets, sizeof(*m->buckets));
	return m->buckets == NULL ? -ENOMEM : 0;
}

void
chunk_map_fini(struct chunk_map *m)
{
	free(m->buckets);
	m->buckets = NULL;
}

struct chunk_node *
chunk_map_find(const struct chunk_map *m, const struct chunk_id *id)
{
	struct chunk_node *n;

	LIST_FOREACH(n, bucket(m, id), link)
		if (n->id.size == id->size && n->id.key == id->key &&
		    digest_eq(&n->id.digest, &id->digest))
			return n;
	return NULL;
}

/* Without memory it stays as it is and only becomes slower. */
static void
grow(struct chunk_map *m)
{
	struct chunk_bucket *old = m->buckets, *buckets;
	size_t i, n_old = m->n_buckets;
	struct chunk_node *n;

	buckets = calloc(n_old * 2, sizeof(*buckets));
	if (buckets == NULL)
		return;
	m->buckets = buckets;
	m->n_buckets = n_old * 2;
	for (i = 0; i < n_old; i++) {
		while ((n = LIST_FIRST(&old[i])) != NULL) {
			LIST_REMOVE(n, link);
			LIST_INSERT_HEAD(bucket(m, &n->id), n, link);
		}
	}
	free(old);
}

void
chunk_map_add(struct chunk_map *m, struct chunk_node *n)
{
	if (m->n >= m->n_buckets)
		grow(m);
	LIST_INSERT_HEAD(bucket(m, &n->id), n, link);
	m->n++;
}

void
chunk_map_remove(struct chunk_map *m, struct chunk_node *n)
{
	LIST_REMOVE(n, link);
	m->n--;
}
