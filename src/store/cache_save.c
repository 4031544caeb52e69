/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/cache.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/lock.h"
#include "store/cache_log.h"

/* Records of the entries of one kind, used after clock, oldest first. */
static uint8_t *
encode_kind(const struct cache_index *x, enum cache_kind kind,
    enum cache_log_op op, uint64_t clock, uint8_t *out)
{
	struct cache_entry *e, *first = NULL;
	struct cache_id id;

	TAILQ_FOREACH (e, &x->lru[kind], lru) {
		if (e->used_at <= clock)
			break;
		first = e;
	}
	for (e = first; e != NULL; e = TAILQ_PREV(e, cache_lru, lru)) {
		cache_entry_id(e, &id);
		out += cache_log_encode(out, op, &id, e->size);
	}
	return out;
}

void
cache_save_recency(struct cache *c)
{
	_cleanup_free_ uint8_t *buf = NULL;
	uint8_t *end;
	int r;

	{
		LOCK(&c->lock);
		if (!c->manager || !c->touched)
			return;
		/* At most a record for each entry. */
		buf = malloc((size_t)c->ix.log_live);
		if (buf == NULL)
			return;
		end = buf;
		for (int k = 0; k < CACHE_KINDS; k++)
			end = encode_kind(&c->ix, (enum cache_kind)k,
			    CACHE_LOG_USE, c->saved_clock, end);
		c->saved_clock = c->ix.clock;
		c->touched = false;
	}
	r = cache_log_write(c->log, buf, (size_t)(end - buf));
	if (r < 0) {
		cache_room_failed(c, "write its log", r);
		return;
	}
	LOCK(&c->lock);
	if (cache_log_is_long(c->log, c->ix.log_live))
		c->rewrite = true;
}

/* Add records of the entries that are no part of an order. */
static uint8_t *
encode_moving(const struct cache_index *x, uint8_t *out)
{
	struct cache_id id;

	for (size_t i = 0; i < x->n_slots; i++)
		for (const struct cache_entry *e = x->entries[i]; e != NULL;
		     e = e->chain) {
			if (e->state == CACHE_READY)
				continue;
			cache_entry_id(e, &id);
			out +=
			    cache_log_encode(out, CACHE_LOG_ADD, &id, e->size);
		}
	return out;
}

/* The oldest of those that a scan found have never been used. */
static uint8_t *
encode_unused(const struct cache_index *x, enum cache_kind kind, uint8_t *out)
{
	struct cache_entry *e;
	struct cache_id id;

	TAILQ_FOREACH_REVERSE(e, &x->lru[kind], cache_lru, lru)
	{
		if (e->used_at != 0)
			break;
		cache_entry_id(e, &id);
		out += cache_log_encode(out, CACHE_LOG_ADD, &id, e->size);
	}
	return out;
}

void
cache_save_all(struct cache *c)
{
	_cleanup_free_ uint8_t *buf = NULL;
	uint8_t *end = NULL;
	int r;

	cache_log_hold(c->log);
	{
		LOCK(&c->lock);
		c->rewrite = false;
		buf = malloc((size_t)c->ix.log_live + 1);
		if (buf != NULL) {
			end = buf;
			for (int k = 0; k < CACHE_KINDS; k++) {
				end = encode_unused(
				    &c->ix, (enum cache_kind)k, end);
				end = encode_kind(&c->ix, (enum cache_kind)k,
				    CACHE_LOG_ADD, 0, end);
			}
			end = encode_moving(&c->ix, end);
			c->saved_clock = c->ix.clock;
			c->touched = false;
		}
	}
	r = cache_log_replace(
	    c->log, buf, buf != NULL ? (size_t)(end - buf) : 0);
	if (r < 0)
		cache_room_failed(c, "write its log", r);
}
