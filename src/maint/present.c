/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/present.h"

#include <errno.h>

#include "pbs/names.h"
#include "repo/known.h"
#include "repo/tree.h"
#include "store/store.h"

/* Keys in an answer. */
#define PAGE 1000
/* An entry of an index takes that much at least. */
#define ENTRY DIGEST_LEN

struct lister {
	struct known *known;
	const atomic_bool *stop;
	uint64_t era;
	uint64_t n;
};

static int
one(void *arg, const char *key, const struct store_object *o)
{
	struct lister *l = arg;
	struct key_parts k;

	if (l->stop != NULL && atomic_load(l->stop))
		return -ECANCELED;
	key_parse(key, &k);
	if (k.kind != KEY_CHUNK || o->size == 0)
		return 0;
	/* What was condemned since is known no more, nor is any other: that
	 * costs a request, not a chunk. */
	(void)known_add_listed(l->known, &k.digest, l->era);
	l->n++;
	return 0;
}

int
present_list(struct store *s, struct known *k, const atomic_bool *stop,
    uint64_t *ret_n)
{
	struct lister l = {.known = k, .stop = stop, .era = known_era(k)};
	int r;

	r = store_list(s, ".chunks/", NULL, one, &l);
	*ret_n = l.n;
	return r;
}

static uint64_t
entries_of(const struct tree_group *g)
{
	uint64_t n = 0;

	for (size_t i = 0; i < g->n_snaps; i++)
		for (size_t j = 0; j < g->snaps[i].n_files; j++)
			if (archive_is_index(g->snaps[i].files[j].name))
				n += g->snaps[i].files[j].size / ENTRY;
	return n;
}

uint64_t
present_pages(const struct tree *t)
{
	uint64_t n = 0;

	for (size_t i = 0; i < t->n_ns; i++)
		for (size_t j = 0; j < t->all_ns[i].n_groups; j++)
			n += entries_of(&t->all_ns[i].groups[j]);
	return n / PAGE + 1;
}
