/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/verify_set.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "crypt/digest.h"
#include "pbs/siphash.h"

#define SLOTS_MIN 1024
#define STATE_SHIFT 28
#define MORE_MAX 32

int
verify_set_init(struct verify_set *s)
{
	memset(s, 0, sizeof(*s));
	return crypt_random(s->seed, sizeof(s->seed));
}

void
verify_set_fini(struct verify_set *s)
{
	free(s->slots);
}

void
verify_set_clear(struct verify_set *s)
{
	free(s->slots);
	s->slots = NULL;
	s->n_slots = s->n = 0;
}

static size_t
slots_for(size_t n)
{
	size_t slots = SLOTS_MIN;

	while (slots - slots / 8 < n)
		slots *= 2;
	return slots;
}

uint64_t
verify_set_memory(size_t n)
{
	return (uint64_t)slots_for(n) * sizeof(struct set_slot);
}

static enum set_state
state_of(const struct set_slot *p)
{
	return (enum set_state)(p->info >> STATE_SHIFT);
}

/* Where it is, or where it would be. */
static struct set_slot *
find(struct set_slot *slots, size_t n_slots, uint64_t a, uint32_t b)
{
	size_t i = (size_t)a & (n_slots - 1);

	while (slots[i].info != 0 && (slots[i].a != a || slots[i].b != b))
		i = (i + 1) & (n_slots - 1);
	return &slots[i];
}

static bool
is_kept(const struct set_slot *p, bool all)
{
	enum set_state st = state_of(p);

	return st != SET_NONE && (all || (st != SET_GOOD && st != SET_UNREAD));
}

/* Into a table of its own with room for n. */
static int
rebuild(struct verify_set *s, size_t n, bool all)
{
	size_t n_slots = slots_for(n), kept = 0;
	struct set_slot *slots = calloc(n_slots, sizeof(*slots));

	if (slots == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_slots; i++) {
		const struct set_slot *p = &s->slots[i];

		if (!is_kept(p, all))
			continue;
		*find(slots, n_slots, p->a, p->b) = *p;
		kept++;
	}
	free(s->slots);
	s->slots = slots;
	s->n_slots = n_slots;
	s->n = kept;
	return 0;
}

int
verify_set_forget(struct verify_set *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n_slots; i++)
		kept += is_kept(&s->slots[i], false);
	return rebuild(s, kept, false);
}

struct set_key
verify_set_key(const struct verify_set *s, const struct digest *d,
    const void *more, size_t len)
{
	uint8_t text[DIGEST_LEN + MORE_MAX];

	memcpy(text, d->b, DIGEST_LEN);
	if (len > 0)
		memcpy(text + DIGEST_LEN, more, len);
	return (struct set_key){
	    .a = siphash_24(s->seed[0], s->seed[1], text, DIGEST_LEN + len),
	    .b = (uint32_t)siphash_24(s->seed[2], s->seed[3], text,
		DIGEST_LEN + len),
	};
}

enum set_state
verify_set_get(const struct verify_set *s, const struct set_key *k,
    uint32_t *ret_value)
{
	const struct set_slot *p;

	*ret_value = 0;
	if (s->n_slots == 0)
		return SET_NONE;
	p = find(s->slots, s->n_slots, k->a, k->b);
	*ret_value = p->info & SET_VALUE_MAX;
	return state_of(p);
}

int
verify_set_put(struct verify_set *s, const struct set_key *k,
    enum set_state state, uint32_t value)
{
	struct set_slot *p = NULL;
	int r;

	if (s->n_slots > 0)
		p = find(s->slots, s->n_slots, k->a, k->b);
	if (p == NULL || p->info == 0) {
		if (slots_for(s->n + 1) > s->n_slots) {
			r = rebuild(s, s->n + 1, true);
			if (r < 0)
				return r;
			p = find(s->slots, s->n_slots, k->a, k->b);
		}
		s->n++;
	}
	p->a = k->a;
	p->b = k->b;
	p->info = (uint32_t)state << STATE_SHIFT | (value & SET_VALUE_MAX);
	return 0;
}
