/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/chunk_memory.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/num.h"
#include "pbs/blob.h"
#include "pbs/enc_key.h"

#define FAILED_MS 5000		/* for how long a bad chunk is remembered */
#define FAILED_MAX 4096		/* how many of them */
#define ZERO_LEN ((uint32_t)(4 * MIB))

bool
chunk_is_zero(const struct chunk_id *id)
{
	static const struct digest zero = {{
	    0xbb, 0x9f, 0x8d, 0xf6, 0x14, 0x74, 0xd2, 0x5e,
	    0x71, 0xfa, 0x00, 0x72, 0x23, 0x18, 0xcd, 0x38,
	    0x73, 0x96, 0xca, 0x17, 0x36, 0x60, 0x5e, 0x12,
	    0x48, 0x82, 0x1c, 0xc0, 0xde, 0x3d, 0x3a, 0xf8,
	}};

	if (id->size != ZERO_LEN)
		return false;
	return id->key != NULL ? enc_key_is_zeros(id->key, &id->digest) :
	    digest_eq(&id->digest, &zero);
}

static struct buf *
zeros(struct chunk_memory *m)
{
	if (m->zeros == NULL) {
		m->zeros = buf_new(ZERO_LEN);
		if (m->zeros != NULL)
			memset(m->zeros->data, 0, ZERO_LEN);
	}
	return m->zeros;
}

int
chunk_memory_init(struct chunk_memory *m, uint64_t limit)
{
	memset(m, 0, sizeof(*m));
	m->limit = limit;
	TAILQ_INIT(&m->lru);
	TAILQ_INIT(&m->failed);
	return chunk_map_init(&m->map);
}

struct chunk_entry *
chunk_memory_add(struct chunk_memory *m, const struct chunk_id *id)
{
	struct chunk_entry *e;

	e = calloc(1, sizeof(*e));
	if (e == NULL)
		return NULL;
	e->node.id = *id;
	e->state = CHUNK_WAIT_ROOM;
	e->last = &e->first;
	chunk_map_add(&m->map, &e->node);
	return e;
}

void
chunk_memory_forget(struct chunk_memory *m, struct chunk_entry *e)
{
	assert(e->first == NULL);
	chunk_map_remove(&m->map, &e->node);
	buf_unref(e->b);
	free(e);
}

static void
evict(struct chunk_memory *m, struct chunk_entry *e)
{
	uint64_t bytes = chunk_cost(&e->node.id);

	TAILQ_REMOVE(&m->lru, e, link);
	m->cached -= bytes;
	if (e->prefetch)
		m->unused -= bytes;
	chunk_memory_forget(m, e);
}

static void
forget_failed(struct chunk_memory *m, struct chunk_entry *e)
{
	TAILQ_REMOVE(&m->failed, e, link);
	m->n_failed--;
	chunk_memory_forget(m, e);
}

void
chunk_memory_fini(struct chunk_memory *m)
{
	struct chunk_entry *e;

	while ((e = TAILQ_FIRST(&m->lru)) != NULL)
		evict(m, e);
	while ((e = TAILQ_FIRST(&m->failed)) != NULL)
		forget_failed(m, e);
	assert(m->map.n == 0);
	chunk_map_fini(&m->map);
	buf_unref(m->zeros);
}

static void
touch(struct chunk_memory *m, struct chunk_entry *e)
{
	TAILQ_REMOVE(&m->lru, e, link);
	TAILQ_INSERT_TAIL(&m->lru, e, link);
	if (e->prefetch) {
		e->prefetch = false;
		m->unused -= chunk_cost(&e->node.id);
	}
}

void
chunk_memory_pardon(struct chunk_memory *m, const struct chunk_id *id)
{
	struct chunk_entry *e;

	e = (struct chunk_entry *)chunk_map_find(&m->map, id);
	if (e != NULL && e->state == CHUNK_FAILED)
		forget_failed(m, e);
}

int
chunk_memory_look(struct chunk_memory *m, const struct chunk_id *id,
    struct chunk_entry **ret_e, struct buf **ret)
{
	struct chunk_entry *e;

	*ret_e = NULL;
	*ret = NULL;
	if (id->size == 0 || id->size > CHUNK_CONTENT_MAX)
		return -EBADMSG;
	if (chunk_is_zero(id)) {
		*ret = zeros(m);
		return *ret == NULL ? -ENOMEM : 0;
	}
	e = (struct chunk_entry *)chunk_map_find(&m->map, id);
	if (e != NULL && e->state == CHUNK_FAILED) {
		if (deadline_left(e->until) > 0)
			return e->err;
		forget_failed(m, e);
		e = NULL;
	}
	*ret_e = e;
	if (e == NULL || e->state != CHUNK_READY)
		return -EAGAIN;
	touch(m, e);
	*ret = e->b;
	return 0;
}

bool
chunk_memory_has(const struct chunk_memory *m, const struct chunk_id *id)
{
	return chunk_is_zero(id) || chunk_map_find(&m->map, id) != NULL;
}

static bool
fits(const struct chunk_memory *m, uint64_t bytes)
{
	return bytes <= m->limit && m->inflight <= m->limit - bytes &&
	    m->cached <= m->limit - bytes - m->inflight;
}

bool
chunk_memory_reserve(struct chunk_memory *m, uint64_t bytes)
{
	struct chunk_entry *e;

	/* The other half is for what has arrived: who reads a chunk piece by
	 * piece must find it there for the next piece, however many wait. */
	if (m->n_flights > 0 && m->inflight + bytes > m->limit / 2)
		return false;
	while (!fits(m, bytes) && (e = TAILQ_FIRST(&m->lru)) != NULL)
		evict(m, e);
	m->n_flights++;
	m->inflight += bytes;
	return true;
}

bool
chunk_memory_reserve_ahead(struct chunk_memory *m, uint64_t bytes)
{
	return m->inflight + m->unused + bytes <= m->limit / 2 &&
	    chunk_memory_reserve(m, bytes);
}

void
chunk_memory_release(struct chunk_memory *m, uint64_t bytes)
{
	m->n_flights--;
	m->inflight -= bytes;
}

void
chunk_memory_keep(struct chunk_memory *m, struct chunk_entry *e,
    struct buf *b)
{
	uint64_t bytes = chunk_cost(&e->node.id);

	e->state = CHUNK_READY;
	e->b = b;
	TAILQ_INSERT_TAIL(&m->lru, e, link);
	m->cached += bytes;
	if (e->prefetch)
		m->unused += bytes;
	/* At last itself, if it is larger than the limit, or than what flights
	 * leave of it. */
	while (!fits(m, 0) && (e = TAILQ_FIRST(&m->lru)) != NULL)
		evict(m, e);
}

void
chunk_memory_fail(struct chunk_memory *m, struct chunk_entry *e, int err)
{
	e->state = CHUNK_FAILED;
	e->err = err;
	e->until = deadline_in(FAILED_MS);
	TAILQ_INSERT_TAIL(&m->failed, e, link);
	m->n_failed++;
	while ((e = TAILQ_FIRST(&m->failed)) != NULL &&
	    (m->n_failed > FAILED_MAX || deadline_left(e->until) == 0))
		forget_failed(m, e);
}
