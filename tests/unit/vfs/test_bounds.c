/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "../pxar/mkpxar.h"
#include "../repo/slow_store.h"
#include "base/num.h"
#include "vfs/archive.h"
#include "vfs/links.h"
#include "vfs/vfs_priv.h"
#include "world.h"

#include "../cm.h"

/*
 * What stays in memory when nobody uses it.
 */

#define S2 "host/h1/2024-01-02T00:00:00Z"
#define S3 "host/h1/2024-01-03T00:00:00Z"

/* Three snapshots with an archive each. */
static void
open_three(struct world *w, const struct vfs_opts *o)
{
	static const int64_t times[] = {T1, T2, T3};
	struct slow_store *s = slow_store_new();
	struct mk *mk = malloc(sizeof(*mk));
	struct snap_maker m;

	mk_init(mk, 2);
	mk_root(mk, DIR_);
	mk_file(mk, "f", FILE_, "f", 1);
	mk_finish(mk);
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		snap_begin(&m, s, "", BACKUP_HOST, "h1", times[i]);
		snap_pxar(&m, "root", mk);
		snap_finish(&m, NULL);
	}
	world_open(w, s, o);
	mk_fini(mk);
	free(mk);
}

static struct archive *
get(struct world *w, const char *path)
{
	struct archive *a;
	struct place p;

	assert_int_equal(place_find(w->vfs, world_ino(w, path), &p), 0);
	assert_int_equal(archive_get(w->vfs, p.node, 0, &a), 0);
	place_fini(&p);
	return a;
}

static uint64_t
id_of(struct world *w, const char *path)
{
	struct archive *a = get(w, path);
	uint64_t id = archive_id(a);

	archive_unref(a);
	return id;
}

/* As many links as are counted, each of another file. */
static void
see_links(struct world *w, const char *path)
{
	struct archive *a = get(w, path);
	uint64_t i;

	for (i = 1; i <= LINKS_MEMORY_MAX / 32; i++)
		links_saw(archive_links(a), i, i);
	assert_int_equal(links_memory(archive_links(a)), LINKS_MEMORY_MAX);
	archive_unref(a);
}

static void
idle_archives_hold_few_links(void **state)
{
	const struct vfs_opts o = {.links = VFS_LINKS_SEEN};
	uint64_t first, second, third;
	struct world w;

	(void)state;
	open_three(&w, &o);
	first = id_of(&w, S1 "/root");
	second = id_of(&w, S2 "/root");
	third = id_of(&w, S3 "/root");
	see_links(&w, S1 "/root");
	see_links(&w, S2 "/root");
	/* That is the bound. */
	assert_int_equal(id_of(&w, S1 "/root"), first);
	assert_int_equal(id_of(&w, S2 "/root"), second);
	assert_int_equal(id_of(&w, S3 "/root"), third);
	see_links(&w, S3 "/root");
	assert_int_equal(id_of(&w, S3 "/root"), third);
	assert_int_equal(id_of(&w, S2 "/root"), second);
	assert_int_not_equal(id_of(&w, S1 "/root"), first);
	world_close(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(idle_archives_hold_few_links),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
