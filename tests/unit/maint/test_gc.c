/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/gc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "gc_world.h"
#include "repo/guard.h"

#include "../cm.h"

static int
setup_mem(void **state)
{
	*state = malloc(sizeof(struct gc_world));
	gc_world_open(*state, false);
	return 0;
}

static int
setup_dir(void **state)
{
	*state = malloc(sizeof(struct gc_world));
	gc_world_open(*state, true);
	return 0;
}

static int
teardown(void **state)
{
	gc_world_close(*state);
	free(*state);
	return 0;
}

#define A1 GC_INDEX("host/a", "01", "root.pxar.didx")
#define A2 GC_INDEX("host/a", "02", "root.pxar.didx")
#define B1 GC_INDEX("ns/x/ns/y/vm/100", "01", "disk.img.fidx")

static void
put_chunks(struct gc_world *w, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		gc_put_chunk(w, i);
}

static void
expect_chunks(struct gc_world *w, uint64_t from, uint64_t to, bool there)
{
	for (uint64_t i = from; i < to; i++)
		if (gc_has_chunk(w, i) != there)
			fail_msg("chunk %u: %s", (unsigned)i, there ? "gone" :
			    "still there");
}

/* Three indices, in and outside of namespaces, finished or not; garbage of two
 * ages. */
static void
put_some(struct gc_world *w)
{
	put_chunks(w, 0, 100);
	gc_put_index(w, A1, 0, 30);
	gc_put_index(w, A2, 20, 40);
	gc_put_index(w, B1, 40, 50);
}

static void
test_garbage_goes(void **state)
{
	struct gc_world *w = *state;

	put_some(w);
	w->o.cutoff = 0;
	assert_int_equal(gc_world_run(w), 0);
	expect_chunks(w, 0, 50, true);
	expect_chunks(w, 50, 100, false);
	assert_int_equal(w->res.chunks, 100);
	assert_int_equal(w->res.bytes, 1000);
	assert_int_equal(w->res.removed, 50);
	assert_int_equal(w->res.removed_bytes, 500);
	assert_int_equal(w->res.referenced, 50);
	assert_int_equal(w->res.indices, 3);
	assert_int_equal(w->res.index_data_bytes, 6000);
	assert_int_equal(w->res.missing, 0);
	assert_int_equal(w->n_told, 0);
	/* .cnt/, .chunks/, the indices, one batch; nothing else. */
	assert_int_equal(w->f->n[STORE_LIST], 2);
	assert_int_equal(w->f->n[STORE_GET], 3);
	assert_int_equal(w->f->n[STORE_DELETE], 1);
	assert_int_equal(w->f->n[STORE_PUT] + w->f->n[STORE_STAT], 0);
	/* Again: there is nothing to do, and nothing to read. */
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.removed, 0);
	assert_int_equal(w->res.chunks, 50);
	assert_int_equal(w->res.indices, 3);
	assert_int_equal(w->res.indices_reused, 3);
	assert_int_equal(w->res.index_data_bytes, 6000);
	assert_int_equal(w->f->n[STORE_LIST], 2);
	assert_int_equal(w->f->n[STORE_GET] + w->f->n[STORE_DELETE], 0);
	expect_chunks(w, 0, 50, true);
}

static void
test_young_stays(void **state)
{
	struct gc_world *w = *state;

	put_some(w);
	assert_int_equal(gc_world_run(w), 0);
	expect_chunks(w, 0, 100, true);
	assert_int_equal(w->res.pending, 50);
	assert_int_equal(w->res.pending_bytes, 500);
	w->f->age = GC_CUTOFF_DEFAULT - 60;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.pending, 50);
	w->f->age = GC_CUTOFF_DEFAULT + 60;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.removed, 50);
	expect_chunks(w, 50, 100, false);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_garbage_goes, setup_mem,
		    teardown),
		cmocka_unit_test_setup_teardown(test_young_stays, setup_mem,
		    teardown),
	};

	(void)setup_dir;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
