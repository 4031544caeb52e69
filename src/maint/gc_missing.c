/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/gc_priv.h"

#include <stdlib.h>

#include "base/log.h"
#include "maint/digest_merge.h"
#include "pbs/index.h"
#include "pbs/names.h"

struct naming {
	struct gc *g;
	struct gc_missing *m;
	size_t told;
};

static bool
all(void *arg, const struct gc_index *i)
{
	const struct naming *n = arg;

	return i->done && n->told < GC_MISSING_NAMED;
}

static void
tell(struct naming *n, const struct digest *d, const char *who)
{
	char key[KEY_CHUNK_LEN + 1];

	key_chunk(d, key);
	gc_event(n->g, GC_MISSING, key, who);
	n->told++;
}

static int
look(void *arg, struct gc_index *i, const struct index *x)
{
	struct naming *n = arg;
	size_t count = index_count(x), last = SIZE_MAX;

	for (size_t k = 0; k < count && n->told < GC_MISSING_NAMED; k++) {
		struct digest d = index_chunk(x, k).digest;
		const struct digest *found = bsearch(&d, n->m->v, n->m->n,
		    sizeof(d), digest_cmp);
		size_t at;

		if (found == NULL)
			continue;
		at = (size_t)(found - n->m->v);
		/* A run of the same one is told once. */
		if (at != last)
			tell(n, &d, gc_shown(i));
		n->m->named[at] = true;
		last = at;
	}
	return 0;
}

int
gc_name_missing(struct gc *g, struct gc_missing *m)
{
	struct naming n = {.g = g, .m = m};
	int r;

	r = gc_read(g, all, look, &n);
	for (size_t i = 0; i < m->n && r == 0 && n.told < GC_MISSING_NAMED; i++)
		if (!m->named[i])
			tell(&n, &m->v[i], "an open snapshot");
	if (r == 0 && n.told == GC_MISSING_NAMED)
		log_warn("more chunks are missing than were named\n"
		    "hint: verify names all that is damaged");
	return r;
}
