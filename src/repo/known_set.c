/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/known_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "base/num.h"

#define SLOTS_MIN 1024
/* A place has to fit into a slot. */
#define MAX_MAX ((size_t)1 << 30)

/* What stands for a removed one; no content has this digest. */
static const struct digest none;

static size_t
home(const struct known_set *s, const struct digest *d)
{
	return XXH3_64bits_withSeed(d->b, DIGEST_LEN, s->seed) &
	    (s->n_slots - 1);
}

/* The slot of d, or the free one where it would be. */
static size_t
find(const struct known_set *s, const struct digest *d)
{
	size_t i = home(s, d);

	while (s->slots[i] != 0 && !digest_eq(&s->v[s->slots[i] - 1], d))
		i = (i + 1) & (s->n_slots - 1);
	return i;
}

int
known_set_init(struct known_set *s, size_t max)
{
	int r;

	memset(s, 0, sizeof(*s));
	s->max = MIN(MAX(max, (size_t)2), MAX_MAX);
	s->n_slots = SLOTS_MIN;
	r = crypt_random(&s->seed, sizeof(s->seed));
	if (r < 0)
		return r;
	s->slots = calloc(s->n_slots, sizeof(*s->slots));
	return s->slots == NULL ? -ENOMEM : 0;
}

void
known_set_fini(struct known_set *s)
{
	free(s->v);
	free(s->slots);
	memset(s, 0, sizeof(*s));
}

void
known_set_clear(struct known_set *s)
{
	uint32_t *less = realloc(s->slots, SLOTS_MIN * sizeof(*less));

	if (less != NULL) {
		s->slots = less;
		s->n_slots = SLOTS_MIN;
	}
	memset(s->slots, 0, s->n_slots * sizeof(*s->slots));
	free(steal(&s->v));
	s->n = s->room = s->removed = 0;
}

bool
known_set_has(const struct known_set *s, const struct digest *d)
{
	return s->slots[find(s, d)] != 0;
}

size_t
known_set_count(const struct known_set *s)
{
	return s->n - s->removed;
}

static void
fill_slots(struct known_set *s)
{
	memset(s->slots, 0, s->n_slots * sizeof(*s->slots));
	for (size_t i = 0; i < s->n; i++)
		if (!digest_eq(&s->v[i], &none))
			s->slots[find(s, &s->v[i])] = (uint32_t)(i + 1);
}

/* Close the gaps, without the oldest that are left. */
static void
compact(struct known_set *s, size_t forget)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++) {
		if (digest_eq(&s->v[i], &none))
			continue;
		if (forget > 0)
			forget--;
		else
			s->v[n++] = s->v[i];
	}
	s->n = n;
	s->removed = 0;
	fill_slots(s);
}

static int
grow_array(struct known_set *s)
{
	size_t room = MAX(s->room + s->room / 2, (size_t)512);
	struct digest *v;

	if (s->removed > s->n / 4) {
		compact(s, 0);
		return 0;
	}
	v = reallocarray(s->v, room, sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	s->v = v;
	s->room = room;
	return 0;
}

/* Half of the slots at most are taken. */
static int
grow_slots(struct known_set *s)
{
	uint32_t *slots = calloc(2 * s->n_slots, sizeof(*slots));

	if (slots == NULL)
		return -ENOMEM;
	free(s->slots);
	s->slots = slots;
	s->n_slots *= 2;
	fill_slots(s);
	return 0;
}

int
known_set_add(struct known_set *s, const struct digest *d)
{
	int r;

	if (digest_eq(d, &none) || known_set_has(s, d))
		return 1;
	if (known_set_count(s) >= s->max)
		compact(s, s->max / 2);
	if (s->n == s->room) {
		r = grow_array(s);
		if (r < 0)
			return r;
	}
	if ((known_set_count(s) + 1) * 2 > s->n_slots) {
		r = grow_slots(s);
		if (r < 0)
			return r;
	}
	s->v[s->n++] = *d;
	s->slots[find(s, d)] = (uint32_t)s->n;
	return 0;
}

void
known_set_remove(struct known_set *s, const struct digest *d)
{
	size_t mask = s->n_slots - 1, hole = find(s, d), i = hole, h;

	if (s->slots[hole] == 0)
		return;
	s->v[s->slots[hole] - 1] = none;
	s->removed++;
	/* Those behind it move up, unless they would come before their home:
	 * no search may end at the gap. */
	for (;;) {
		i = (i + 1) & mask;
		if (s->slots[i] == 0)
			break;
		h = home(s, &s->v[s->slots[i] - 1]);
		if (((i - h) & mask) >= ((i - hole) & mask)) {
			s->slots[hole] = s->slots[i];
			hole = i;
		}
	}
	s->slots[hole] = 0;
}

int
known_set_each(const struct known_set *s, size_t *i, struct digest *ret)
{
	for (; *i < s->n; ++*i)
		if (!digest_eq(&s->v[*i], &none)) {
			*ret = s->v[(*i)++];
			return 0;
		}
	return 1;
}
