/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/vfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../pxar/mkpxar.h"
#include "../repo/samples.h"
#include "../repo/slow_store.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "repo/damage.h"
#include "repo/repo.h"
#include "world.h"

#include "../cm.h"

static void
shows_the_hierarchy(void **state)
{
	struct slow_store *s = slow_store_new();
	struct snap_maker m;
	struct world w;
	char *names;

	(void)state;
	snap_begin(&m, s, "", BACKUP_HOST, "h1", T1);
	snap_finish(&m, NULL);
	snap_begin(&m, s, "", BACKUP_HOST, "h1", T2);
	snap_finish(&m, NULL);
	snap_begin(&m, s, "", BACKUP_HOST, "h1", T3);
	snap_blob(&m, "x.conf.blob", "x", 1);
	snap_abandon(&m);
	snap_begin(&m, s, "a/b", BACKUP_VM, "100", T1);
	snap_finish(&m, NULL);
	world_open(&w, s, NULL);

	names = world_list(&w, "");
	assert_string_equal(names, ".pbs3fs host ns ");
	free(names);
	names = world_list(&w, "host/h1");
	assert_string_equal(names, "2024-01-01T00:00:00Z "
	    "2024-01-02T00:00:00Z latest owner ");
	free(names);
	names = world_list(&w, "ns/a");
	assert_string_equal(names, "ns ");
	free(names);
	names = world_list(&w, "ns/a/ns/b/vm/100/latest");
	assert_string_equal(names, "index.json ");
	free(names);
	names = world_list(&w, ".pbs3fs");
	assert_string_equal(names, "errors metrics status.json ");
	free(names);
	assert_int_equal(world_at(&w, "host/h1").st.st_mtim.tv_sec, T2);
	assert_int_equal(world_at(&w, "host/h1").st.st_mode, S_IFDIR | 0555);
	assert_int_equal(world_ino(&w, "host/h1/latest"),
	    world_ino(&w, "host/h1/2024-01-02T00:00:00Z"));
	assert_int_equal(world_ino(&w, ""), VFS_ROOT);
	world_close(&w);
}

static void
shows_unfinished_snapshots_on_demand(void **state)
{
	struct slow_store *s = slow_store_new();
	const struct vfs_opts o = {.all = true};
	struct snap_maker m;
	struct world w;
	char *names;

	(void)state;
	snap_begin(&m, s, "", BACKUP_HOST, "h1", T1);
	snap_fixed(&m, "disk.img.fidx", world_big, WORLD_BIG);
	snap_abandon(&m);
	world_open(&w, s, &o);
	names = world_list(&w, "host/h1");
	assert_string_equal(names, "2024-01-01T00:00:00Z owner ");
	free(names);
	/* There is no manifest to ask: the index itself tells. */
	assert_int_equal(world_at(&w, S1 "/disk.img").st.st_size, WORLD_BIG);
	world_close(&w);
}

static int
drop_attr(void *arg, const struct vfs_dirent *e)
{
	unsigned *n = arg;

	assert_non_null(e->attr);
	*n += e->attr->stable;
	return 0;
}

static void
a_listing_fetches_manifest_and_blobs_only(void **state)
{
	struct slow_store *s = world_store(1);
	struct vfs_dir *d;
	struct world w;
	unsigned n = 0;

	(void)state;
	world_open(&w, s, NULL);
	assert_int_equal(vfs_opendir(w.vfs, world_ino(&w, S1), 0, &d), 0);
	assert_int_equal(vfs_readdir(d, 0, true, 0, drop_attr, &n), 0);
	vfs_closedir(d);
	/* The root of the archive is the one that is not certain. */
	assert_int_equal(n, 4);
	assert_int_equal(s->gets, 2);
	assert_int_equal(world_at(&w, S1 "/a.conf").st.st_size, 5);
	assert_int_equal(world_at(&w, S1 "/disk.img").st.st_size, WORLD_BIG);
	assert_int_equal(world_at(&w, S1 "/stream").st.st_size, 10);
	assert_int_equal(s->gets, 2);
	world_close(&w);
}

static void
the_root_of_an_archive_is_made_up_until_asked_for(void **state)
{
	struct slow_store *s = world_store(1);
	struct vfs_attr a;
	struct world w;
	uint64_t snap;

	(void)state;
	world_open(&w, s, NULL);
	snap = world_ino(&w, S1);
	assert_int_equal(vfs_lookup(w.vfs, snap, "root", VFS_PROVISIONAL, &a),
	    0);
	assert_false(a.stable);
	assert_int_equal(a.st.st_mode, S_IFDIR | 0755);
	assert_int_equal(a.st.st_mtim.tv_sec, T1);
	assert_int_equal(s->gets, 1);
	assert_int_equal(vfs_lookup(w.vfs, snap, "root", 0, &a), 0);
	assert_true(a.stable);
	assert_int_equal(a.st.st_mode, S_IFDIR | 0711);
	assert_int_equal(a.st.st_uid, 7);
	assert_int_equal(a.st.st_mtim.tv_sec, -2);
	assert_int_equal(a.st.st_mtim.tv_nsec, 500000000);
	/* Known from now on. */
	assert_int_equal(vfs_lookup(w.vfs, snap, "root", VFS_PROVISIONAL |
	    VFS_NOWAIT, &a), 0);
	assert_true(a.stable);
	world_close(&w);
}

static void
an_outage_holds_up_the_root_for_a_moment_only(void **state)
{
	struct slow_store *s = world_store(1);
	struct vfs_attr a;
	struct world w;
	uint64_t before;

	(void)state;
	world_open(&w, s, NULL);
	world_ino(&w, S1 "/a.conf");
	assert_int_equal(vfs_lookup(w.vfs, world_ino(&w, S1), "root",
	    VFS_PROVISIONAL, &a), 0);
	slow_store_set(s, &s->hold, true);
	before = clock_mono_ms();
	assert_int_equal(vfs_getattr(w.vfs, a.st.st_ino, 0, &a), 0);
	assert_false(a.stable);
	assert_true(clock_mono_ms() - before < 2000);
	/* And the next not even for that. */
	before = clock_mono_ms();
	assert_int_equal(vfs_getattr(w.vfs, a.st.st_ino, 0, &a), 0);
	assert_true(clock_mono_ms() - before < 500);
	slow_store_set(s, &s->hold, false);
	world_close(&w);
}

static void
entries_have_their_attributes(void **state)
{
	struct slow_store *s = world_store(2);
	struct vfs_attr a;
	struct buf *b;
	struct world w;

	(void)state;
	world_open(&w, s, NULL);
	a = world_at(&w, S1 "/root/dev");
	assert_int_equal(a.st.st_mode, S_IFBLK | 0600);
	assert_int_equal(a.st.st_rdev, makedev(8, 17));
	a = world_at(&w, S1 "/root/fifo");
	assert_int_equal(a.st.st_mode, S_IFIFO | 0644);
	a = world_at(&w, S1 "/root/dir/below");
	assert_int_equal(a.st.st_mode, S_IFDIR | 0750);
	a = world_at(&w, S1 "/root/sym");
	assert_int_equal(a.st.st_size, 9);
	assert_int_equal(vfs_readlink(w.vfs, a.st.st_ino, 0, &b), 0);
	assert_int_equal(b->len, 9);
	assert_memory_equal(b->data, "../target", 9);
	buf_unref(b);
	a = world_at(&w, S1 "/root/big");
	assert_int_equal(a.st.st_blocks, WORLD_BIG / 512);
	assert_int_equal(vfs_readlink(w.vfs, a.st.st_ino, 0, &b), -EINVAL);
	world_close(&w);
}

static void
hard_links_share_number_and_count(void **state)
{
	struct slow_store *s = world_store(2);
	struct vfs_attr a;
	struct world w;

	(void)state;
	world_open(&w, s, NULL);
	a = world_at(&w, S1 "/root/hard");
	assert_int_equal(a.st.st_nlink, 3);
	assert_true(a.stable);
	assert_int_equal(a.st.st_ino, world_ino(&w, S1 "/root/big"));
	assert_int_equal(a.st.st_ino, world_ino(&w, S1 "/root/dir/link"));
	assert_int_equal(world_at(&w, S1 "/root/tagged").st.st_nlink, 1);
	world_close(&w);
}

static void
links_are_counted_as_they_are_seen(void **state)
{
	const struct vfs_opts o = {.links = VFS_LINKS_SEEN};
	struct slow_store *s = world_store(2);
	struct vfs_attr a;
	struct world w;

	(void)state;
	world_open(&w, s, &o);
	a = world_at(&w, S1 "/root/big");
	assert_int_equal(a.st.st_nlink, 1);
	assert_false(a.stable);
	free(world_list(&w, S1 "/root"));
	free(world_list(&w, S1 "/root"));
	assert_int_equal(world_at(&w, S1 "/root/big").st.st_nlink, 2);
	free(world_list(&w, S1 "/root/dir"));
	assert_int_equal(world_at(&w, S1 "/root/big").st.st_nlink, 3);
	world_close(&w);
}

static void
a_failing_store_does_not_settle_link_counts(void **state)
{
	struct slow_store *s = slow_store_new();
	static const uint8_t far[60000];
	struct snap_maker m;
	struct mk *mk = malloc(sizeof(*mk));
	char key[KEY_MAX + 1];
	const uint8_t *deep;
	struct vfs_attr a;
	struct world w;
	size_t at;
	uint64_t f;

	(void)state;
	assert_non_null(mk);
	mk_init(mk, 2);
	mk_root(mk, DIR_);
	f = mk_file(mk, "big", FILE_, "b", 1);
	mk_dir(mk, "dir", DIR_);
	/* So far from the rest that nothing reads it by the way. */
	mk_xattr(mk, "user.far", far, sizeof(far));
	mk_file(mk, "before", FILE_, "b", 1);
	mk_file(mk, "deep", FILE_, "d", 1);
	mk_link(mk, "link", f, "big");
	mk_xattr(mk, "user.far", far, sizeof(far));
	mk_file(mk, "then", FILE_, "t", 1);
	mk_up(mk);
	mk_finish(mk);
	snap_begin(&m, s, "", BACKUP_HOST, "h1", T1);
	m.chunk = 4096;
	snap_pxar(&m, "root", mk);
	snap_finish(&m, NULL);
	/* A chunk that only counting needs. */
	deep = memmem(mk->main.p, mk->main.len, "deep", 5);
	assert_non_null(deep);
	at = (size_t)(deep - mk->main.p) / m.chunk * m.chunk;
	world_chunk(mk->main.p + at, MIN(m.chunk, mk->main.len - at), key);

	world_open(&w, s, NULL);
	s->only = key;
	slow_store_fail(s, -EIO, 1000);
	a = world_at(&w, S1 "/root/big");
	assert_int_equal(a.st.st_nlink, 1);
	assert_false(a.stable);
	slow_store_fail(s, 0, 0);
	/* The store is not asked again for every call. */
	assert_int_equal(world_at(&w, S1 "/root/big").st.st_nlink, 1);
	usleep(5100 * 1000);
	a = world_at(&w, S1 "/root/big");
	assert_int_equal(a.st.st_nlink, 2);
	assert_true(a.stable);
	world_close(&w);
	mk_fini(mk);
	free(mk);
}

static void
who_asks_after_a_hanging_lookup_does_not_wait(void **state)
{
	struct slow_store *s = world_store(2);
	struct vfs_attr a;
	struct world w;
	uint64_t snap, start;
	int i;

	(void)state;
	world_open(&w, s, NULL);
	snap = world_ino(&w, S1);
	slow_store_set(s, &s->hold, true);
	assert_int_equal(vfs_lookup(w.vfs, snap, "stream", 0, &a),
	    -ETIMEDOUT);
	start = clock_mono_ms();
	for (i = 0; i < 10; i++)
		assert_int_equal(vfs_lookup(w.vfs, snap, "stream", 0, &a),
		    -ETIMEDOUT);
	assert_true(clock_mono_ms() - start < 900);
	slow_store_set(s, &s->hold, false);
	usleep(1100 * 1000);
	assert_int_equal(vfs_lookup(w.vfs, snap, "stream", 0, &a), 0);
	world_close(&w);
}

static void
a_version_1_archive_is_scanned_on_demand(void **state)
{
	const struct vfs_opts o = {.links = VFS_LINKS_SCAN};
	struct slow_store *s = world_store(1);
	struct world w;

	(void)state;
	world_open(&w, s, &o);
	assert_int_equal(world_at(&w, S1 "/root/big").st.st_nlink, 3);
	world_close(&w);
}

static void
numbers_survive_a_remount(void **state)
{
	static const char *const paths[] = {"host", "host/h1", S1,
	    S1 "/root", S1 "/root/big", S1 "/root/dir/below/deep",
	    S1 "/disk.img"};
	uint64_t ino[sizeof(paths) / sizeof(*paths)];
	struct vfs_attr a;
	struct world w;
	size_t i, j;
	int round;

	(void)state;
	for (round = 0; round < 2; round++) {
		world_open(&w, world_store(1), NULL);
		for (i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
			if (round == 0)
				ino[i] = world_ino(&w, paths[i]);
			/* By the number alone, nothing was looked up. */
			assert_int_equal(vfs_getattr(w.vfs, ino[i], 0, &a), 0);
			assert_int_equal(a.st.st_ino, ino[i]);
			assert_int_equal(ino[i], world_ino(&w, paths[i]));
			for (j = 0; j < i; j++)
				assert_int_not_equal(ino[i], ino[j]);
		}
		world_close(&w);
	}
}

static void
numbers_that_name_nothing_are_stale(void **state)
{
	struct vfs_attr a;
	struct world w;
	uint64_t ino;

	(void)state;
	world_open(&w, world_store(1), NULL);
	ino = world_ino(&w, S1 "/root/big");
	assert_int_equal(vfs_getattr(w.vfs, ino + 1, 0, &a), -ESTALE);
	assert_int_equal(vfs_getattr(w.vfs, 0, 0, &a), -ESTALE);
	assert_int_equal(vfs_getattr(w.vfs, 2, 0, &a), -ESTALE);
	assert_int_equal(vfs_getattr(w.vfs, UINT64_MAX, 0, &a), -ESTALE);
	assert_int_equal(vfs_getattr(w.vfs, (uint64_t)1 << 62, 0, &a),
	    -ESTALE);
	/* Guessing is not damage. */
	assert_int_equal(damage_count(repo_damage(w.repo)), 0);
	world_close(&w);
}

static void
parents_and_paths_are_found(void **state)
{
	static const char *const dirs[] = {"host/h1", S1, S1 "/root",
	    S1 "/root/dir", S1 "/root/dir/below"};
	struct vfs_attr a;
	struct world w;
	uint64_t up;
	size_t i;
	char *path;

	(void)state;
	world_open(&w, world_store(1), NULL);
	for (i = 1; i < sizeof(dirs) / sizeof(*dirs); i++) {
		assert_int_equal(vfs_parent(w.vfs, world_ino(&w, dirs[i]), 0,
		    &up), 0);
		assert_int_equal(up, world_ino(&w, dirs[i - 1]));
		assert_int_equal(vfs_path(w.vfs, world_ino(&w, dirs[i]),
		    &path), 0);
		assert_string_equal(path, dirs[i]);
		free(path);
	}
	assert_int_equal(vfs_parent(w.vfs, VFS_ROOT, 0, &up), 0);
	assert_int_equal(up, VFS_ROOT);
	assert_int_equal(vfs_lookup(w.vfs, world_ino(&w, S1 "/root"), "..", 0,
	    &a), 0);
	assert_int_equal(a.st.st_ino, world_ino(&w, S1));
	world_close(&w);
}

static void
wrong_names_are_refused(void **state)
{
	char name[300];
	struct vfs_attr a;
	struct vfs_file *f;
	struct vfs_dir *d;
	struct world w;

	(void)state;
	world_open(&w, world_store(1), NULL);
	assert_int_equal(vfs_resolve(w.vfs, "host/none", 0, &a), -ENOENT);
	assert_int_equal(vfs_resolve(w.vfs, S1 "/root/none", 0, &a), -ENOENT);
	assert_int_equal(vfs_resolve(w.vfs, S1 "/root.pxar.didx", 0, &a),
	    -ENOENT);
	assert_int_equal(vfs_resolve(w.vfs, S1 "/disk.img/x", 0, &a),
	    -ENOTDIR);
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(vfs_lookup(w.vfs, VFS_ROOT, name, 0, &a),
	    -ENAMETOOLONG);
	assert_int_equal(vfs_open(w.vfs, VFS_ROOT, O_RDONLY, 0, &f), -EISDIR);
	assert_int_equal(vfs_open(w.vfs, world_ino(&w, S1 "/root/dir"), O_RDONLY, 0,
	    &f), -EISDIR);
	assert_int_equal(vfs_opendir(w.vfs, world_ino(&w, S1 "/disk.img"), 0,
	    &d), -ENOTDIR);
	world_close(&w);
}

struct page {
	uint64_t cookies[64];
	char names[64][64];
	size_t n, limit;
};

static int
turn_page(void *arg, const struct vfs_dirent *e)
{
	struct page *p = arg;

	if (p->n == p->limit)
		return 1;
	assert_true(e->cookie != 0);
	p->cookies[p->n] = e->cookie;
	strcpy(p->names[p->n++], e->name);
	return 0;
}

static void
a_listing_goes_on_at_any_cookie(void **state)
{
	static const char *const dirs[] = {S1, S1 "/root", "host/h1"};
	struct page whole, rest;
	struct vfs_dir *d;
	struct world w;
	size_t i, k;

	(void)state;
	world_open(&w, world_store(1), NULL);
	for (k = 0; k < sizeof(dirs) / sizeof(*dirs); k++) {
		uint64_t ino = world_ino(&w, dirs[k]);

		whole = (struct page){.limit = 64};
		assert_int_equal(vfs_opendir(w.vfs, ino, 0, &d), 0);
		assert_int_equal(vfs_readdir(d, 0, false, 0, turn_page,
		    &whole), 0);
		vfs_closedir(d);
		for (i = 0; i < whole.n; i++) {
			/* In another opening, too. */
			rest = (struct page){.limit = 64};
			assert_int_equal(vfs_opendir(w.vfs, ino, 0, &d), 0);
			assert_int_equal(vfs_readdir(d, whole.cookies[i],
			    true, 0, turn_page, &rest), 0);
			vfs_closedir(d);
			assert_int_equal(rest.n, whole.n - i - 1);
			if (rest.n > 0)
				assert_string_equal(rest.names[0],
				    whole.names[i + 1]);
		}
	}
	world_close(&w);
}

static void
options_change_owner_and_mode(void **state)
{
	const struct vfs_opts o = {.set_uid = true, .uid = 1234,
	    .set_gid = true, .gid = 4321, .umask = 027};
	static const char *const paths[] = {"", "host/h1", S1 "/root",
	    S1 "/root/big", S1 "/disk.img"};
	struct world w;
	size_t i;

	(void)state;
	world_open(&w, world_store(1), &o);
	for (i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		struct vfs_attr a = world_at(&w, paths[i]);

		assert_int_equal(a.st.st_uid, 1234);
		assert_int_equal(a.st.st_gid, 4321);
		assert_int_equal(a.st.st_mode & 027, 0);
	}
	assert_int_equal(world_at(&w, S1 "/root/sym").st.st_mode & 0777, 0777);
	world_close(&w);
}

static void
a_part_can_be_mounted(void **state)
{
	const struct vfs_opts in = {.subdir = "host/h1/latest/root/dir"};
	const struct vfs_opts none = {.subdir = "host/none"};
	const struct vfs_opts file = {.subdir = S1 "/disk.img"};
	struct vfs *v;
	struct world w;
	uint64_t up;
	char *p;

	(void)state;
	world_open(&w, world_store(1), &in);
	p = world_list(&w, "");
	assert_string_equal(p, "below link ");
	free(p);
	p = world_read(&w, "below/deep", NULL);
	assert_string_equal(p, "deep\n");
	free(p);
	assert_int_equal(world_ino(&w, ""), VFS_ROOT);
	assert_int_equal(vfs_parent(w.vfs, world_ino(&w, "below"), 0, &up), 0);
	assert_int_equal(up, VFS_ROOT);
	assert_int_equal(vfs_path(w.vfs, world_ino(&w, "below/deep"), &p), 0);
	assert_string_equal(p, "below/deep");
	free(p);
	log_set_level(LOG_LVL_ERR);
	assert_int_equal(vfs_new(w.repo, &none, &v), -ENOENT);
	assert_int_equal(vfs_new(w.repo, &file, &v), -ENOTDIR);
	world_close(&w);
}

static void
the_payload_stream_shows_where_it_is_alone(void **state)
{
	struct slow_store *s = slow_store_new();
	struct snap_maker m;
	struct world w;
	char *p;

	(void)state;
	snap_begin(&m, s, "", BACKUP_HOST, "h1", T1);
	snap_dynamic(&m, "root.ppxar.didx", "payload", 7);
	/* Three that would all be called the same. */
	snap_dynamic(&m, "x.didx", "1", 1);
	snap_fixed(&m, "x.fidx", "2", 1);
	snap_blob(&m, "x.blob", "3", 1);
	snap_finish(&m, NULL);
	world_open(&w, s, NULL);
	p = world_list(&w, S1);
	assert_string_equal(p, "index.json root.ppxar x x.didx x.fidx ");
	free(p);
	p = world_read(&w, S1 "/x", NULL);
	assert_string_equal(p, "3");
	free(p);
	p = world_read(&w, S1 "/x.fidx", NULL);
	assert_string_equal(p, "2");
	free(p);
	world_close(&w);
}

static void
a_large_directory_keeps_its_table(void **state)
{
	struct slow_store *s = slow_store_new();
	struct mk *mk = malloc(sizeof(*mk));
	struct snap_maker m;
	struct vfs_attr a;
	struct world w;
	uint64_t dir;
	unsigned gets;
	char name[32];
	int i;

	(void)state;
	mk_init(mk, 2);
	mk_root(mk, DIR_);
	for (i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "f%04d", i);
		mk_file(mk, name, FILE_, name, 5);
	}
	mk_finish(mk);
	snap_begin(&m, s, "", BACKUP_HOST, "h1", T1);
	snap_pxar(&m, "root", mk);
	snap_finish(&m, NULL);
	world_open(&w, s, NULL);
	dir = world_ino(&w, S1 "/root");
	assert_int_equal(vfs_lookup(w.vfs, dir, "f0000", 0, &a), 0);
	gets = s->gets;
	for (i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "f%04d", i);
		assert_int_equal(vfs_lookup(w.vfs, dir, name, 0, &a), 0);
		assert_int_equal(a.st.st_size, 5);
	}
	assert_int_equal(s->gets, gets);
	world_close(&w);
	mk_fini(mk);
	free(mk);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(shows_the_hierarchy),
	    cmocka_unit_test(shows_unfinished_snapshots_on_demand),
	    cmocka_unit_test(a_listing_fetches_manifest_and_blobs_only),
	    cmocka_unit_test(the_root_of_an_archive_is_made_up_until_asked_for),
	    cmocka_unit_test(an_outage_holds_up_the_root_for_a_moment_only),
	    cmocka_unit_test(entries_have_their_attributes),
	    cmocka_unit_test(hard_links_share_number_and_count),
	    cmocka_unit_test(links_are_counted_as_they_are_seen),
	    cmocka_unit_test(a_failing_store_does_not_settle_link_counts),
	    cmocka_unit_test(who_asks_after_a_hanging_lookup_does_not_wait),
	    cmocka_unit_test(a_version_1_archive_is_scanned_on_demand),
	    cmocka_unit_test(numbers_survive_a_remount),
	    cmocka_unit_test(numbers_that_name_nothing_are_stale),
	    cmocka_unit_test(parents_and_paths_are_found),
	    cmocka_unit_test(wrong_names_are_refused),
	    cmocka_unit_test(a_listing_goes_on_at_any_cookie),
	    cmocka_unit_test(options_change_owner_and_mode),
	    cmocka_unit_test(a_part_can_be_mounted),
	    cmocka_unit_test(the_payload_stream_shows_where_it_is_alone),
	    cmocka_unit_test(a_large_directory_keeps_its_table),
	};

	log_set_level(LOG_LVL_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
