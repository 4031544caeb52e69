/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/strpool.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/num.h"

#define BLOCK_LEN (64u * 1024)
#define SLOTS_MIN 1024

struct block {
	struct block *next;	/* owned */
	size_t used, size;
	char text[];
};

struct strpool {
	struct block *blocks;	/* owned; the newest first */
	const char **slots;	/* owned; open addressing, NULL is free */
	size_t n_slots;		/* power of two */
	size_t n_used;
	uint64_t seed;		/* names come from strangers */
};

int
strpool_new(struct strpool **ret)
{
	struct strpool *p;

	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	p->n_slots = SLOTS_MIN;
	p->slots = calloc(p->n_slots, sizeof(*p->slots));
	if (p->slots == NULL) {
		free(p);
		return -ENOMEM;
	}
	p->seed = (uintptr_t)p ^ ((uintptr_t)p->slots << 20);
	*ret = p;
	return 0;
}

void
strpool_free(struct strpool *p)
{
	struct block *b;

	if (p == NULL)
		return;
	while ((b = p->blocks) != NULL) {
		p->blocks = b->next;
		free(b);
	}
	free(p->slots);
	free(p);
}

const char *
strpool_add(struct strpool *p, const char *text, size_t len)
{
	struct block *b = p->blocks;
	size_t need, size;
	char *s;

	if (__builtin_add_overflow(len, (size_t)1, &need))
		return NULL;
	if (b == NULL || b->size - b->used < need) {
		size = MAX(need, (size_t)BLOCK_LEN);
		if (size > SIZE_MAX - sizeof(*b))
			return NULL;
		b = malloc(sizeof(*b) + size);
		if (b == NULL)
			return NULL;
		b->used = 0;
		b->size = size;
		b->next = p->blocks;
		p->blocks = b;
	}
	s = b->text + b->used;
	b->used += need;
	if (len > 0)
		memcpy(s, text, len);
	s[len] = '\0';
	return s;
}

/* The slot of that text, or the free one where it belongs. */
static const char **
find_slot(const char **slots, size_t n, uint64_t seed, const char *text,
    size_t len)
{
	size_t i = XXH3_64bits_withSeed(text, len, seed) & (n - 1);

	while (slots[i] != NULL &&
	    (strncmp(slots[i], text, len) != 0 || slots[i][len] != '\0'))
		i = (i + 1) & (n - 1);
	return &slots[i];
}

static int
grow(struct strpool *p)
{
	size_t i, n = p->n_slots * 2;
	const char **slots, *s;

	slots = calloc(n, sizeof(*slots));
	if (slots == NULL)
		return -ENOMEM;
	for (i = 0; i < p->n_slots; i++) {
		s = p->slots[i];
		if (s != NULL)
			*find_slot(slots, n, p->seed, s, strlen(s)) = s;
	}
	free(p->slots);
	p->slots = slots;
	p->n_slots = n;
	return 0;
}

const char *
strpool_intern(struct strpool *p, const char *text, size_t len)
{
	const char **slot;

	if (p->slots == NULL)
		return NULL;
	if (p->n_used >= p->n_slots / 2 && grow(p) < 0)
		return NULL;
	slot = find_slot(p->slots, p->n_slots, p->seed, text, len);
	if (*slot == NULL) {
		*slot = strpool_add(p, text, len);
		if (*slot != NULL)
			p->n_used++;
	}
	return *slot;
}

void
strpool_seal(struct strpool *p)
{
	free(p->slots);
	p->slots = NULL;
	p->n_slots = 0;
}
