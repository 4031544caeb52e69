/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "../pxar/mkpxar.h"
#include "../repo/slow_store.h"
#include "base/num.h"
#include "vfs/archive.h"
#include "vfs/dircache.h"
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

static void
await_none(struct dircache *c)
{
	for (int i = 0; i < 1000 && dircache_memory(c) > 0; i++)
		usleep(10 * 1000);
	assert_int_equal(dircache_memory(c), 0);
}

static void
a_table_beyond_the_bound_goes_when_unused(void **state)
{
	struct vfs_dir *d, *same;
	struct vfs_attr attr;
	struct world w;
	uint64_t root;
	size_t bytes;

	(void)state;
	open_three(&w, NULL);
	root = world_ino(&w, S1 "/root");
	assert_int_equal(vfs_lookup(w.vfs, root, "f", 0, &attr), 0);
	bytes = dircache_memory(w.vfs->dirs);
	assert_true(bytes > 0);
	dircache_free(w.vfs->dirs);
	assert_int_equal(dircache_new(bytes - 1, 300, &w.vfs->dirs), 0);
	assert_int_equal(vfs_opendir(w.vfs, root, 0, &d), 0);
	/* One for all, as long as one holds it. */
	assert_int_equal(vfs_opendir(w.vfs, root, 0, &same), 0);
	assert_int_equal(vfs_lookup(w.vfs, root, "f", 0, &attr), 0);
	assert_int_equal(dircache_memory(w.vfs->dirs), bytes);
	vfs_closedir(d);
	assert_int_equal(vfs_lookup(w.vfs, root, "f", 0, &attr), 0);
	assert_int_equal(dircache_memory(w.vfs->dirs), bytes);
	usleep(500 * 1000);
	assert_int_equal(dircache_memory(w.vfs->dirs), bytes);
	vfs_closedir(same);
	await_none(w.vfs->dirs);
	assert_int_equal(vfs_lookup(w.vfs, root, "f", 0, &attr), 0);
	assert_int_equal(vfs_lookup(w.vfs, root, "g", 0, &attr), -ENOENT);
	await_none(w.vfs->dirs);
	/* Unused for a moment it can be used again; of two one stays. */
	dircache_free(w.vfs->dirs);
	assert_int_equal(dircache_new(bytes - 1, 60000, &w.vfs->dirs), 0);
	assert_int_equal(vfs_lookup(w.vfs, root, "f", 0, &attr), 0);
	assert_int_equal(vfs_lookup(w.vfs, root, "f", 0, &attr), 0);
	assert_int_equal(dircache_memory(w.vfs->dirs), bytes);
	assert_int_equal(vfs_lookup(w.vfs, world_ino(&w, S2 "/root"), "f", 0,
	    &attr), 0);
	assert_int_equal(dircache_memory(w.vfs->dirs), bytes);
	/* Within the bound the one used last stays. */
	dircache_free(w.vfs->dirs);
	assert_int_equal(dircache_new(bytes, 0, &w.vfs->dirs), 0);
	assert_int_equal(vfs_lookup(w.vfs, root, "f", 0, &attr), 0);
	root = world_ino(&w, S2 "/root");
	assert_int_equal(vfs_lookup(w.vfs, root, "f", 0, &attr), 0);
	assert_int_equal(dircache_memory(w.vfs->dirs), bytes);
	world_close(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(idle_archives_hold_few_links),
	    cmocka_unit_test(a_table_beyond_the_bound_goes_when_unused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
