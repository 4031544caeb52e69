/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/vfs.h"

#include <errno.h>
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
#include "base/log.h"
#include "repo/damage.h"
#include "repo/repo.h"
#include "world.h"

#include "../cm.h"

#define S1 "host/h1/2024-01-01T00:00:00Z"
#define BIG (5 * WORLD_CHUNK / 2)

static uint8_t big[BIG];

#define FILE_ MK(S_IFREG | 0640)
#define DIR_ MK(S_IFDIR | 0750)

/* root: a directory with one of everything. */
static void
make_tree(struct mk *m, int version)
{
	const struct mk_attr root = {.mode = S_IFDIR | 0711, .uid = 7,
	    .gid = 8, .sec = -2, .nsec = 500000000};
	uint64_t f;

	mk_init(m, version);
	mk_root(m, &root);
	f = mk_file(m, "big", FILE_, big, BIG);
	mk_device(m, "dev", MK(S_IFBLK | 0600), 8, 17);
	mk_dir(m, "dir", DIR_);
	mk_dir(m, "below", DIR_);
	mk_file(m, "deep", FILE_, "deep\n", 5);
	mk_up(m);
	mk_link(m, "link", f, "big");
	mk_up(m);
	mk_file(m, "empty", FILE_, "", 0);
	mk_special(m, "fifo", MK(S_IFIFO | 0644));
	mk_link(m, "hard", f, "big");
	mk_symlink(m, "sym", MK(S_IFLNK | 0777), "../target");
	mk_xattr(m, "user.colour", "blue", 4);
	mk_file(m, "tagged", FILE_, "t", 1);
	mk_finish(m);
}

static struct slow_store *
make_store(int version)
{
	struct slow_store *s = slow_store_new();
	struct snap_maker m;
	struct mk *mk = malloc(sizeof(*mk));

	assert_non_null(mk);
	sample_bytes(big, sizeof(big), 42);
	make_tree(mk, version);
	snap_begin(&m, s, "", BACKUP_HOST, "h1", T1);
	snap_pxar(&m, "root", mk);
	snap_fixed(&m, "disk.img.fidx", big, BIG);
	snap_dynamic(&m, "stream.didx", "raw stream", 10);
	snap_blob(&m, "a.conf.blob", "conf\n", 5);
	snap_finish(&m, "{\"notes\":\"first\"}");
	mk_fini(mk);
	free(mk);
	return s;
}

static struct slow_store *
with_version_1(void)
{
	return make_store(1);
}

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
	sample_bytes(big, sizeof(big), 42);
	snap_begin(&m, s, "", BACKUP_HOST, "h1", T1);
	snap_fixed(&m, "disk.img.fidx", big, BIG);
	snap_abandon(&m);
	world_open(&w, s, &o);
	names = world_list(&w, "host/h1");
	assert_string_equal(names, "2024-01-01T00:00:00Z owner ");
	free(names);
	/* There is no manifest to ask: the index itself tells. */
	assert_int_equal(world_at(&w, S1 "/disk.img").st.st_size, BIG);
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
	struct slow_store *s = with_version_1();
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
	assert_int_equal(world_at(&w, S1 "/disk.img").st.st_size, BIG);
	assert_int_equal(world_at(&w, S1 "/stream").st.st_size, 10);
	assert_int_equal(s->gets, 2);
	world_close(&w);
}

static void
the_root_of_an_archive_is_made_up_until_asked_for(void **state)
{
	struct slow_store *s = with_version_1();
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
	struct slow_store *s = with_version_1();
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
reads_everything(void **state)
{
	size_t len;
	int version;
	char *p;

	(void)state;
	for (version = 1; version <= 2; version++) {
		struct slow_store *s = make_store(version);
		struct world w;

		world_open(&w, s, NULL);
		p = world_list(&w, S1 "/root");
		assert_string_equal(p,
		    "big dev dir empty fifo hard sym tagged ");
		free(p);
		p = world_read(&w, S1 "/root/big", &len);
		assert_int_equal(len, BIG);
		assert_memory_equal(p, big, BIG);
		free(p);
		p = world_read(&w, S1 "/root/dir/below/deep", &len);
		assert_string_equal(p, "deep\n");
		free(p);
		p = world_read(&w, S1 "/root/empty", &len);
		assert_int_equal(len, 0);
		free(p);
		p = world_read(&w, S1 "/disk.img", &len);
		assert_memory_equal(p, big, BIG);
		free(p);
		p = world_read(&w, S1 "/stream", &len);
		assert_string_equal(p, "raw stream");
		free(p);
		p = world_read(&w, S1 "/a.conf", &len);
		assert_string_equal(p, "conf\n");
		free(p);
		p = world_read(&w, "host/h1/owner", &len);
		assert_string_equal(p, "root@pam\n");
		free(p);
		p = world_read(&w, S1 "/index.json", &len);
		assert_int_equal(len,
		    world_at(&w, S1 "/index.json").st.st_size);
		assert_non_null(strstr(p, "\"backup-id\":\"h1\""));
		free(p);
		world_close(&w);
	}
}

static void
entries_have_their_attributes(void **state)
{
	struct slow_store *s = make_store(2);
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
	assert_int_equal(a.st.st_blocks, BIG / 512);
	assert_int_equal(vfs_readlink(w.vfs, a.st.st_ino, 0, &b), -EINVAL);
	world_close(&w);
}

static void
hard_links_share_number_and_count(void **state)
{
	struct slow_store *s = make_store(2);
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
	struct slow_store *s = make_store(2);
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
a_version_1_archive_is_scanned_on_demand(void **state)
{
	const struct vfs_opts o = {.links = VFS_LINKS_SCAN};
	struct slow_store *s = with_version_1();
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
		world_open(&w, with_version_1(), NULL);
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
	world_open(&w, with_version_1(), NULL);
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
	world_open(&w, with_version_1(), NULL);
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
	world_open(&w, with_version_1(), NULL);
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
	assert_int_equal(vfs_open(w.vfs, VFS_ROOT, 0, &f), -EISDIR);
	assert_int_equal(vfs_open(w.vfs, world_ino(&w, S1 "/root/dir"), 0,
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
	world_open(&w, with_version_1(), NULL);
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
nowait_says_so_instead_of_waiting(void **state)
{
	struct slow_store *s = with_version_1();
	struct vfs_attr a;
	struct vfs_file *f;
	struct vfs_dir *d;
	struct world w;
	uint64_t snap, root, file;

	(void)state;
	world_open(&w, s, NULL);
	assert_int_equal(vfs_resolve(w.vfs, S1, VFS_NOWAIT, &a), 0);
	snap = a.st.st_ino;
	assert_int_equal(vfs_lookup(w.vfs, snap, "disk.img", VFS_NOWAIT, &a),
	    -EAGAIN);
	assert_int_equal(vfs_opendir(w.vfs, snap, VFS_NOWAIT, &d), -EAGAIN);
	root = world_ino(&w, S1 "/root");
	file = world_ino(&w, S1 "/root/big");
	slow_store_set(s, &s->hold, true);
	/* All of this is in memory now. */
	assert_int_equal(vfs_lookup(w.vfs, snap, "disk.img", VFS_NOWAIT, &a),
	    0);
	assert_int_equal(vfs_lookup(w.vfs, root, "big", VFS_NOWAIT, &a), 0);
	assert_int_equal(vfs_getattr(w.vfs, file, VFS_NOWAIT, &a), 0);
	assert_int_equal(vfs_open(w.vfs, file, VFS_NOWAIT, &f), 0);
	vfs_close(f);
	assert_int_equal(vfs_open(w.vfs, world_ino(&w, S1 "/disk.img"),
	    VFS_NOWAIT, &f), -EAGAIN);
	slow_store_set(s, &s->hold, false);
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
	world_open(&w, with_version_1(), &o);
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
	world_open(&w, with_version_1(), &in);
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
attributes_of_the_user_are_there(void **state)
{
	struct slow_store *s = with_version_1();
	struct buf *b;
	struct world w;
	unsigned gets;
	char *p;

	(void)state;
	world_open(&w, s, NULL);
	p = world_xattr(&w, S1, "user.pbs3fs.notes");
	assert_string_equal(p, "first");
	free(p);
	p = world_xattr(&w, S1, "user.pbs3fs.protected");
	assert_string_equal(p, "0");
	free(p);
	p = world_xattr(&w, S1 "/stream", "user.pbs3fs.size");
	assert_string_equal(p, "10");
	free(p);
	assert_null(world_xattr(&w, S1, "user.pbs3fs.verify"));
	p = world_xattr(&w, S1 "/root/tagged", "user.colour");
	assert_string_equal(p, "blue");
	free(p);
	assert_null(world_xattr(&w, S1 "/root/tagged", "user.color"));
	assert_null(world_xattr(&w, S1 "/root/big", "security.capability"));
	assert_int_equal(vfs_xattr_list(w.vfs,
	    world_ino(&w, S1 "/root/tagged"), 0, &b), 0);
	assert_int_equal(b->len, sizeof("user.colour"));
	assert_memory_equal(b->data, "user.colour", b->len);
	buf_unref(b);
	/* That there is none is known without asking. */
	gets = s->gets;
	slow_store_set(s, &s->hold, true);
	assert_int_equal(vfs_xattr_get(w.vfs, world_ino(&w, S1 "/root/big"),
	    "security.capability", VFS_NOWAIT, &b), -ENODATA);
	slow_store_set(s, &s->hold, false);
	assert_int_equal(s->gets, gets);
	world_close(&w);
}

/* What is known to be zeros is the usual chunk of 4 MiB of them. */
#define LARGE ((size_t)4 << 20)

static void
holes_are_found(void **state)
{
	struct slow_store *s = slow_store_new();
	uint8_t *image = calloc(3, LARGE);
	struct snap_maker m;
	struct vfs_file *f;
	struct world w;
	uint64_t at;

	(void)state;
	assert_non_null(image);
	sample_bytes(image, LARGE, 1);
	sample_bytes(image + 2 * LARGE, 100, 2);
	snap_begin(&m, s, "", BACKUP_HOST, "h1", T1);
	m.chunk = LARGE;
	snap_fixed(&m, "d.img.fidx", image, 2 * LARGE + 100);
	snap_finish(&m, NULL);
	free(image);
	world_open(&w, s, NULL);
	assert_int_equal(vfs_open(w.vfs, world_ino(&w, S1 "/d.img"), 0, &f), 0);
	assert_int_equal(vfs_seek(f, 0, SEEK_DATA, &at), 0);
	assert_int_equal(at, 0);
	assert_int_equal(vfs_seek(f, 5, SEEK_HOLE, &at), 0);
	assert_int_equal(at, LARGE);
	assert_int_equal(vfs_seek(f, at + 7, SEEK_DATA, &at), 0);
	assert_int_equal(at, 2 * LARGE);
	assert_int_equal(vfs_seek(f, at, SEEK_HOLE, &at), 0);
	assert_int_equal(at, 2 * LARGE + 100);
	assert_int_equal(vfs_seek(f, at, SEEK_DATA, &at), -ENXIO);
	vfs_close(f);
	world_close(&w);
}

static void
damage_costs_its_range_and_is_named(void **state)
{
	struct slow_store *s = with_version_1();
	char key[KEY_MAX + 1];
	struct str text = {0};
	struct vfs_file *f;
	struct world w;
	char *p = malloc(BIG);
	const char *keys[1] = {key};
	ssize_t n;

	(void)state;
	log_set_level(LOG_LVL_ERR);
	world_chunk(big + WORLD_CHUNK, WORLD_CHUNK, key);
	assert_int_equal(store_delete(s->s.below, keys, 1, NULL, NULL, 0), 0);
	world_open(&w, s, NULL);
	assert_int_equal(vfs_open(w.vfs, world_ino(&w, S1 "/disk.img"), 0,
	    &f), 0);
	/* What lies before is delivered, then it fails. */
	n = vfs_read_wait(f, p, BIG, 100);
	assert_int_equal(n, WORLD_CHUNK - 100);
	assert_memory_equal(p, big + 100, (size_t)n);
	n = vfs_read_wait(f, p, 10, WORLD_CHUNK);
	assert_int_equal(n, -EIO);
	n = vfs_read_wait(f, p, WORLD_CHUNK, 2 * WORLD_CHUNK);
	assert_int_equal(n, WORLD_CHUNK / 2);
	assert_memory_equal(p, big + 2 * WORLD_CHUNK, (size_t)n);
	vfs_close(f);
	free(p);
	vfs_free(w.vfs);	/* waits for the reports */
	damage_text(repo_damage(w.repo), &text);
	assert_non_null(strstr(str_get(&text), "    " S1
	    "/disk.img bytes 65536-131072\n"));
	str_fini(&text);
	repo_free(w.repo);
}

static void
damaged_entries_are_left_out(void **state)
{
	struct slow_store *s = slow_store_new();
	struct mk *mk = malloc(sizeof(*mk));
	struct snap_maker m;
	struct str text = {0};
	struct world w;
	uint64_t at;
	char *p;

	(void)state;
	log_set_level(LOG_LVL_ERR);
	mk_init(mk, 1);
	mk_root(mk, DIR_);
	mk_file(mk, "a", FILE_, "a", 1);
	at = mk_file(mk, "b", FILE_, "b", 1);
	mk_file(mk, "c", FILE_, "c", 1);
	mk_finish(mk);
	mk->main.p[at + 16] = '/';
	snap_begin(&m, s, "", BACKUP_HOST, "h1", T1);
	snap_pxar(&m, "root", mk);
	snap_finish(&m, NULL);
	world_open(&w, s, NULL);
	p = world_list(&w, S1 "/root");
	assert_string_equal(p, "a c ");
	free(p);
	damage_text(repo_damage(w.repo), &text);
	assert_non_null(strstr(str_get(&text), "object .cnt/" S1
	    "/root.pxar.didx "));
	str_fini(&text);
	world_close(&w);
	mk_fini(mk);
	free(mk);
}

static void
a_missing_payload_fails_reads_alone(void **state)
{
	const char *const keys[] = {".cnt/" S1 "/root.ppxar.didx"};
	struct slow_store *s = make_store(2);
	struct vfs_file *f;
	struct world w;
	char *p;

	(void)state;
	log_set_level(LOG_LVL_ERR);
	assert_int_equal(store_delete(s->s.below, keys, 1, NULL, NULL, 0), 0);
	world_open(&w, s, NULL);
	p = world_list(&w, S1 "/root/dir");
	assert_string_equal(p, "below link ");
	free(p);
	assert_int_equal(vfs_open(w.vfs, world_ino(&w, S1 "/root/big"), 0,
	    &f), -EIO);
	assert_true(damage_count(repo_damage(w.repo)) > 0);
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
without_a_key_there_are_sizes_only(void **state)
{
	static const uint8_t secret[] = {0x7b, 0x67, 0x85, 0xbe, 0x22, 0x2d,
	    0x4c, 0xf0, 0, 0, 0, 0, [44] = 'x', 'y', 'z'};
	struct slow_store *s = slow_store_new();
	struct mk *mk = malloc(sizeof(*mk));
	struct snap_maker m;
	struct vfs_attr a;
	struct vfs_file *f;
	struct vfs_dir *d;
	struct world w;

	(void)state;
	log_set_level(LOG_LVL_ERR);
	mk_init(mk, 1);
	mk_root(mk, DIR_);
	mk_finish(mk);
	snap_begin(&m, s, "", BACKUP_HOST, "h1", T1);
	m.crypt = "encrypt";
	snap_pxar(&m, "root", mk);
	snap_fixed(&m, "d.img.fidx", big, BIG);
	snap_put(&m, "c.conf.blob", secret, sizeof(secret));
	snap_finish(&m, NULL);
	world_open(&w, s, NULL);
	a = world_at(&w, S1 "/root");
	assert_int_equal(a.st.st_mode, S_IFREG | 0444);
	assert_int_equal(a.st.st_size, mk->main.len);
	assert_int_equal(vfs_open(w.vfs, a.st.st_ino, 0, &f), -ENOKEY);
	assert_int_equal(vfs_opendir(w.vfs, a.st.st_ino, 0, &d), -ENOTDIR);
	a = world_at(&w, S1 "/d.img");
	assert_int_equal(a.st.st_size, BIG);
	assert_int_equal(vfs_open(w.vfs, a.st.st_ino, 0, &f), -ENOKEY);
	world_close(&w);
	mk_fini(mk);
	free(mk);
}

static void
generate_hello(void *arg, struct str *out)
{
	str_add(out, arg);
}

static void
status_files_are_made_when_opened(void **state)
{
	char text[] = "hello";
	struct vfs_file *f;
	struct world w;
	char *p;

	(void)state;
	world_open(&w, with_version_1(), NULL);
	assert_int_equal(vfs_generate(w.vfs, "metrics", generate_hello, text),
	    0);
	assert_int_equal(vfs_generate(w.vfs, "other", generate_hello, text),
	    -ENOENT);
	p = world_read(&w, ".pbs3fs/metrics", NULL);
	assert_string_equal(p, "hello");
	free(p);
	text[0] = 'j';
	p = world_read(&w, ".pbs3fs/metrics", NULL);
	assert_string_equal(p, "jello");
	free(p);
	assert_false(world_at(&w, ".pbs3fs/metrics").stable);
	assert_int_equal(vfs_open(w.vfs, world_ino(&w, ".pbs3fs/errors"), 0,
	    &f), 0);
	assert_true(vfs_file_is_generated(f));
	assert_int_equal(vfs_file_size(f), 0);
	vfs_close(f);
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
	    cmocka_unit_test(reads_everything),
	    cmocka_unit_test(entries_have_their_attributes),
	    cmocka_unit_test(hard_links_share_number_and_count),
	    cmocka_unit_test(links_are_counted_as_they_are_seen),
	    cmocka_unit_test(a_version_1_archive_is_scanned_on_demand),
	    cmocka_unit_test(numbers_survive_a_remount),
	    cmocka_unit_test(numbers_that_name_nothing_are_stale),
	    cmocka_unit_test(parents_and_paths_are_found),
	    cmocka_unit_test(wrong_names_are_refused),
	    cmocka_unit_test(a_listing_goes_on_at_any_cookie),
	    cmocka_unit_test(nowait_says_so_instead_of_waiting),
	    cmocka_unit_test(options_change_owner_and_mode),
	    cmocka_unit_test(a_part_can_be_mounted),
	    cmocka_unit_test(attributes_of_the_user_are_there),
	    cmocka_unit_test(holes_are_found),
	    cmocka_unit_test(damage_costs_its_range_and_is_named),
	    cmocka_unit_test(damaged_entries_are_left_out),
	    cmocka_unit_test(a_missing_payload_fails_reads_alone),
	    cmocka_unit_test(the_payload_stream_shows_where_it_is_alone),
	    cmocka_unit_test(without_a_key_there_are_sizes_only),
	    cmocka_unit_test(status_files_are_made_when_opened),
	    cmocka_unit_test(a_large_directory_keeps_its_table),
	};

	log_set_level(LOG_LVL_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
