/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/verify_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/lock.h"
#include "pbs/blob.h"
#include "pbs/index.h"
#include "store/store.h"

/*
 * Levels that read no chunks: what indices refer to goes into the set, the
 * listing takes it out again, and what is left is asked for by name.  If the
 * digests do not fit, those of a range of prefixes at a time; a listing can
 * begin anywhere.
 */

#define PASS_FULL 1

/* Bytes that a chunk of so many can take; no packer makes data longer than
 * this allows. */
static bool
can_be(uint64_t stored, uint64_t size)
{
	return stored > BLOB_HEADER_PLAIN &&
	    stored <= size + size / 64 + KIB + BLOB_HEADER_ENC;
}

/* Two indices that do not agree about a length: one look will tell. */
static int
want(struct verify *v, const struct verify_obj *obj)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < index_count(obj->x); i++) {
		struct index_chunk c = index_chunk(obj->x, i);
		uint32_t len = (uint32_t)(c.end - c.start), value;
		struct set_key k;
		enum set_state st;

		if (!verify_in_pass(v, &c.digest))
			continue;
		k = verify_chunk_key(v, obj, &c.digest);
		st = verify_set_get(&v->set, &k, &value);
		if (st == SET_NONE)
			r = verify_set_put(&v->set, &k, SET_WANTED, len);
		else if (value != len)
			r = verify_set_put(&v->set, &k, SET_WANTED, 0);
	}
	return r;
}

/* PASS_FULL: the set is full, and fewer prefixes would help. */
static int
want_all(struct verify *v)
{
	size_t n;
	int r = 0;

	verify_set_clear(&v->set);
	for (size_t i = 0; r == 0 && i < v->n_wanted; i += n) {
		n = verify_round(v, i, v->n_wanted);
		r = verify_load(v, v->ones + i, n);
		for (size_t j = i; r == 0 && j < i + n; j++) {
			struct verify_one *one = &v->ones[j];

			verify_tell(v, one);
			for (size_t f = 0; r == 0 && f < one->n_objs; f++)
				if (one->objs[f].x != NULL && !one->vanished)
					r = want(v, &one->objs[f]);
		}
		/* If one round holds all of them they are not read again. */
		for (size_t j = i; n < v->n_wanted && j < i + n; j++)
			verify_unload(&v->ones[j]);
		if (r == 0 && v->high - v->low > 1 &&
		    verify_set_memory(v->set.n) > v->set_memory)
			return PASS_FULL;
	}
	return r;
}

static int
listed(void *arg, const char *key, const struct store_object *o)
{
	struct verify *v = arg;
	struct key_parts parts;
	struct set_key k;
	enum set_state st;
	uint32_t len;
	int r;

	r = verify_ended(v);
	if (r < 0)
		return r;
	key_parse(key, &parts);
	if (parts.kind != KEY_CHUNK)
		return 0;
	if (!verify_in_pass(v, &parts.digest))
		return parts.digest.b[0] * 256u + parts.digest.b[1] >=
		    v->high;	/* 1: that was all */
	k = verify_set_key(&v->set, &parts.digest, NULL, 0);
	st = verify_set_get(&v->set, &k, &len);
	if (st != SET_WANTED)
		return 0;
	if (v->o->level == VERIFY_SIZE && (len == 0 || !can_be(o->size, len)))
		return verify_set_put(&v->set, &k, SET_SUSPECT, len);
	v->left--;
	v->res->chunks++;
	return verify_set_put(&v->set, &k, SET_LISTED, len);
}

static int
list_chunks(struct verify *v)
{
	char after[32];
	int r;

	/* Sorts before all names of the first prefix, and after those of the
	 * one before. */
	snprintf(after, sizeof(after), ".chunks/%04x", v->low);
	v->left = v->set.n;
	v->res->passes++;
	r = store_list(v->store, ".chunks/", v->low > 0 ? after : NULL, listed,
	    v);
	return r == 1 ? 0 : r;
}

/* What the listing has left open. */
static int
ask(struct verify *v, const struct verify_obj *obj)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < index_count(obj->x); i++) {
		struct index_chunk c = index_chunk(obj->x, i);
		struct set_key k;
		enum set_state st;
		uint32_t value;

		if (!verify_in_pass(v, &c.digest))
			continue;
		k = verify_chunk_key(v, obj, &c.digest);
		{
			LOCK(&v->lock);

			st = verify_set_get(&v->set, &k, &value);
		}
		if (st == SET_WANTED || st == SET_SUSPECT)
			r = verify_chunk_start(v, obj, &c.digest,
			    (uint32_t)(c.end - c.start), st == SET_SUSPECT);
	}
	return r;
}

static int
ask_all(struct verify *v)
{
	size_t n;
	int r = 0;

	for (size_t i = 0; r == 0 && i < v->n_wanted; i += n) {
		n = verify_round(v, i, v->n_wanted);
		r = verify_load(v, v->ones + i, n);
		for (size_t j = i; r == 0 && j < i + n; j++)
			for (size_t f = 0; r == 0 && f < v->ones[j].n_objs; f++)
				if (v->ones[j].objs[f].x != NULL)
					r = ask(v, &v->ones[j].objs[f]);
		verify_wait(v);
		if (r == 0)
			r = verify_ended(v);
		for (size_t j = i; r == 0 && j < i + n; j++)
			r = verify_judge(v, &v->ones[j]);
		for (size_t j = i; n < v->n_wanted && j < i + n; j++)
			verify_unload(&v->ones[j]);
		if (r == 0)
			verify_bad_chunks(v);
	}
	return r;
}

int
verify_listed(struct verify *v)
{
	unsigned width;
	int r = 0;

	while (r == 0 && v->low < VERIFY_PREFIXES) {
		r = want_all(v);
		if (r == PASS_FULL) {
			v->high = v->low + (v->high - v->low) / 2;
			r = 0;
			continue;
		}
		if (r == 0)
			r = list_chunks(v);
		if (r == 0 && v->left > 0)
			r = ask_all(v);
		width = v->high - v->low;
		v->low = v->high;
		v->high = MIN(v->high + width, VERIFY_PREFIXES);
	}
	for (size_t i = 0; r == 0 && i < v->n_wanted; i++)
		r = verify_finish(v, &v->ones[i]);
	return r;
}
