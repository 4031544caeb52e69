/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/linkmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Inode numbers are positions: close to each other, so they are scattered; and
 * chosen by whoever made the archive, so nobody must know how. */
static size_t
place(const struct linkmap *m, uint64_t ino)
{
	return (size_t)XXH3_64bits_withSeed(&ino, sizeof(ino),
	    (uintptr_t)m->slots) & (m->size - 1);
}

static struct linkmap_slot *
find(const struct linkmap *m, uint64_t ino)
{
	size_t i = place(m, ino);

	while (m->slots[i].path != NULL && m->slots[i].ino != ino)
		i = (i + 1) & (m->size - 1);
	return &m->slots[i];
}

static int
grow(struct linkmap *m)
{
	struct linkmap old = *m;

	m->size = old.size == 0 ? 64 : 2 * old.size;
	m->slots = calloc(m->size, sizeof(*m->slots));
	if (m->slots == NULL) {
		*m = old;
		return -ENOMEM;
	}
	for (size_t i = 0; i < old.size; i++)
		if (old.slots[i].path != NULL)
			*find(m, old.slots[i].ino) = old.slots[i];
	free(old.slots);
	return 0;
}

int
linkmap_put(struct linkmap *m, uint64_t ino, const char *path,
    const char **ret_first)
{
	struct linkmap_slot *s;

	/* Never more than two thirds full, so that find ends soon. */
	if (3 * (m->n + 1) > 2 * m->size && grow(m) < 0)
		return -ENOMEM;
	s = find(m, ino);
	if (s->path != NULL) {
		*ret_first = s->path;
		return 1;
	}
	s->path = strdup(path);
	if (s->path == NULL)
		return -ENOMEM;
	s->ino = ino;
	m->n++;
	return 0;
}

void
linkmap_fini(struct linkmap *m)
{
	for (size_t i = 0; i < m->size; i++)
		free(m->slots[i].path);
	free(m->slots);
	*m = (struct linkmap){0};
}
