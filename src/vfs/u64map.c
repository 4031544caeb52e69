/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/u64map.h"

#include <stdlib.h>
#include <xxhash.h>

void
u64map_fini(struct u64map *m)
{
	free(m->slots);
	*m = (struct u64map){0};
}

static struct u64pair *
slot_of(struct u64pair *slots, size_t size, uint64_t key)
{
	/* Positions in an archive are chosen by whoever made it; where the
	 * table is they do not know. */
	size_t i = (size_t)XXH3_64bits_withSeed(&key, sizeof(key),
	    (uintptr_t)slots) & (size - 1);

	while (slots[i].key != 0 && slots[i].key != key)
		i = (i + 1) & (size - 1);
	return &slots[i];
}

static int
grow(struct u64map *m)
{
	size_t size = m->size == 0 ? 16 : m->size * 2, i;
	struct u64pair *slots = calloc(size, sizeof(*slots));

	if (slots == NULL)
		return -1;
	for (i = 0; i < m->size; i++)
		if (m->slots[i].key != 0)
			*slot_of(slots, size, m->slots[i].key) = m->slots[i];
	free(m->slots);
	m->slots = slots;
	m->size = size;
	return 0;
}

size_t
u64map_memory(const struct u64map *m)
{
	return m->size * sizeof(*m->slots);
}

uint64_t *
u64map_at(struct u64map *m, uint64_t key)
{
	struct u64pair *p;

	if (m->size > 0) {
		p = slot_of(m->slots, m->size, key);
		if (p->key != 0)
			return &p->value;
	}
	if (m->n >= m->size / 2 && grow(m) < 0)
		return NULL;
	p = slot_of(m->slots, m->size, key);
	p->key = key;
	m->n++;
	return &p->value;
}

uint64_t
u64map_get(const struct u64map *m, uint64_t key)
{
	return m->size == 0 ? 0 : slot_of(m->slots, m->size, key)->value;
}
