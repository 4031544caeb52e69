/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/gc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gc_world.h"

#include "../cm.h"

/* A million chunks: as many requests as it takes to list and delete them. */
#define MANY 1000000u
#define KEPT 600000u
#define INDICES 1500u

struct numbered {
	struct digest d;
	uint64_t n;
};

static int
cmp(const void *a, const void *b)
{
	return memcmp(a, b, DIGEST_LEN);
}

/* In the order of their names, which takes the least time. */
static void
put_all(struct gc_world *w)
{
	struct numbered *v = calloc(MANY, sizeof(*v));

	assert_non_null(v);
	for (uint64_t i = 0; i < MANY; i++)
		v[i] = (struct numbered){gc_digest(i), i};
	qsort(v, MANY, sizeof(*v), cmp);
	for (size_t i = 0; i < MANY; i++)
		gc_put_chunk(w, v[i].n);
	free(v);
}

static void
test_requests(void **state)
{
	static struct gc_world world;
	struct gc_world *w = &world;
	char key[128];

	(void)state;
	gc_world_open(w, false);
	put_all(w);
	for (uint64_t i = 0; i < INDICES; i++) {
		snprintf(key, sizeof(key), ".cnt/host/h%u/2024-01-01T00:00:00Z/"
		    "root.pxar.didx", (unsigned)i);
		gc_put_index(w, key, i * (KEPT / INDICES),
		    (i + 1) * (KEPT / INDICES));
	}
	w->o.cutoff = 0;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.removed, MANY - KEPT);
	assert_int_equal(w->res.referenced, KEPT);
	assert_int_equal(w->f->n[STORE_LIST], MANY / GC_PAGE +
	    (INDICES + GC_PAGE - 1) / GC_PAGE);
	assert_int_equal(w->f->n[STORE_DELETE], (MANY - KEPT) / GC_PAGE);
	assert_int_equal(w->f->n[STORE_GET], INDICES);
	assert_int_equal(w->f->n[STORE_PUT] + w->f->n[STORE_STAT], 0);
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->f->n[STORE_LIST], KEPT / GC_PAGE +
	    (INDICES + GC_PAGE - 1) / GC_PAGE);
	assert_int_equal(w->f->n[STORE_GET] + w->f->n[STORE_DELETE], 0);
	assert_true(gc_has_chunk(w, 0));
	assert_true(gc_has_chunk(w, KEPT - 1));
	gc_world_close(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
