/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/vfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../draft/scratch_dir.h"
#include "../pxar/mkpxar.h"
#include "../repo/slow_store.h"
#include "base/buf.h"
#include "base/str.h"
#include "draft/draft.h"
#include "repo/known.h"
#include "repo/repo.h"
#include "repo/uploads.h"
#include "world.h"

#include "../cm.h"

#define H1 "host/h1"
#define S2 H1 "/2024-01-02T00:00:00Z"
#define S3 H1 "/2024-01-03T00:00:00Z"

/* A tree that can be written to. */
struct desk {
	struct world w;
	struct scratch_dir scratch;
	struct known *known;
	struct uploads *uploads;
	struct drafts *drafts;
	struct str told;
};

static void
tell_entry(void *arg, uint64_t parent, const char *name)
{
	str_addf(arg, "e%llx/%s ", (unsigned long long)parent, name);
}

static void
tell_inode(void *arg, uint64_t ino)
{
	str_addf(arg, "i%llx ", (unsigned long long)ino);
}

static bool
was_told(struct desk *d, uint64_t parent, const char *name)
{
	struct str want = {0};
	bool found;

	str_addf(&want, "e%llx/%s ", (unsigned long long)parent, name);
	found = strstr(str_get(&d->told), str_get(&want)) != NULL;
	str_fini(&want);
	return found;
}

static void
desk_open(struct desk *d, struct slow_store *s, const char *subdir)
{
	const struct repo_opts ro = {.timeout_ms = 5000};
	struct vfs_opts vo = {.subdir = subdir, .owner = "me@pbs"};
	struct drafts_opts opts = {.identity = "test"};

	memset(d, 0, sizeof(*d));
	scratch_begin(&d->scratch);
	d->w.s = s;
	assert_int_equal(repo_open(&s->s, &ro, &d->w.repo), 0);
	assert_int_equal(known_new(NULL, "1", 0, &d->known), 0);
	assert_int_equal(uploads_new(repo_store(d->w.repo), d->known, NULL,
	    &d->uploads), 0);
	opts.state = d->scratch.path;
	opts.uploads = d->uploads;
	assert_int_equal(drafts_open(d->w.repo, &opts, &d->drafts), 0);
	vo.drafts = d->drafts;
	assert_int_equal(vfs_new(d->w.repo, &vo, &d->w.vfs), 0);
	vfs_listen(d->w.vfs, &(struct vfs_listener){
	    .entry = tell_entry, .inode = tell_inode, .arg = &d->told});
}

static void
desk_close(struct desk *d)
{
	repo_shutdown(d->w.repo);
	uploads_shutdown(d->uploads);
	drafts_shutdown(d->drafts);
	vfs_let_go(d->w.vfs);
	drafts_free(d->drafts);
	vfs_free(d->w.vfs);
	uploads_free(d->uploads);
	known_free(d->known);
	repo_free(d->w.repo);
	scratch_end(&d->scratch);
	str_fini(&d->told);
}

static const struct vfs_new a_dir = {.mode = S_IFDIR | 0755};
static const struct vfs_new a_file = {.mode = S_IFREG | 0644};

static int
make(struct desk *d, const char *dir, const char *name,
    const struct vfs_new *n)
{
	struct vfs_attr a;
	uint64_t parent = world_ino(&d->w, dir);
	int r;

	r = vfs_make(d->w.vfs, parent, name, n, 0, &a);
	if (r == 0)
		vfs_forget(d->w.vfs, a.st.st_ino, 1);
	vfs_forget(d->w.vfs, parent, 1);
	return r;
}

static int
drop(struct desk *d, const char *dir, const char *name)
{
	return vfs_rmdir(d->w.vfs, world_ino(&d->w, dir), name, 0);
}

static struct vfs_file *
open_at(struct desk *d, const char *path, int oflags)
{
	struct vfs_file *f;

	assert_int_equal(vfs_open(d->w.vfs, world_ino(&d->w, path), oflags, 0,
	    &f), 0);
	return f;
}

static void
write_at(struct desk *d, const char *path, const char *text)
{
	struct vfs_file *f = open_at(d, path, O_WRONLY | O_TRUNC);

	assert_int_equal(vfs_write(f, text, strlen(text), 0, 0), 0);
	assert_int_equal(vfs_flush(f, 0), 0);
	vfs_close(f);
}

static void
assert_reads(struct desk *d, const char *path, const char *text)
{
	char *p = world_read(&d->w, path, NULL);

	assert_string_equal(p, text);
	free(p);
}

static void
assert_lists(struct desk *d, const char *path, const char *names)
{
	char *p = world_list(&d->w, path);

	assert_string_equal(p, names);
	free(p);
}

static void
places_to_write_are_there(void **state)
{
	struct vfs_statfs fs;
	struct desk d;

	(void)state;
	desk_open(&d, world_store(2), NULL);
	assert_lists(&d, "", ".pbs3fs ct host ns vm ");
	assert_lists(&d, "vm", "");
	assert_lists(&d, H1, "2024-01-01T00:00:00Z current latest owner ");
	assert_int_equal(world_at(&d.w, "vm").st.st_mode, S_IFDIR | 0755);
	assert_int_equal(world_at(&d.w, "").st.st_mode, S_IFDIR | 0555);
	assert_int_equal(world_at(&d.w, H1 "/current").st.st_ino >> 62, 1);
	/* Some names change faster than anybody can be told. */
	assert_true(world_at(&d.w, S1).lasting);
	assert_false(world_at(&d.w, S1 "/index.json").lasting);
	vfs_statfs(d.w.vfs, &fs);
	assert_false(fs.read_only);
	assert_true(fs.bytes_free > 0 && fs.files_free > 0);
	desk_close(&d);
}

static void
read_only_refuses_all(void **state)
{
	struct vfs_change c = {.set = VFS_SET_MODE, .mode = 0};
	struct world w;
	struct vfs_attr a;
	struct vfs_file *f;
	uint64_t ino;

	(void)state;
	world_open(&w, world_store(1), NULL);
	ino = world_ino(&w, S1 "/root/big");
	assert_int_equal(vfs_make(w.vfs, VFS_ROOT, "x", &a_dir, 0, &a),
	    -EROFS);
	assert_int_equal(vfs_link(w.vfs, ino, VFS_ROOT, "x", 0, &a), -EROFS);
	assert_int_equal(vfs_unlink(w.vfs, VFS_ROOT, "x", 0), -EROFS);
	assert_int_equal(vfs_rmdir(w.vfs, VFS_ROOT, "host", 0), -EROFS);
	assert_int_equal(vfs_rename(w.vfs, VFS_ROOT, "host", VFS_ROOT, "x", 0,
	    0), -EROFS);
	assert_int_equal(vfs_setattr(w.vfs, ino, &c, 0, &a), -EROFS);
	assert_int_equal(vfs_xattr_set(w.vfs, ino, "user.a", "b", 1, 0, 0),
	    -EROFS);
	assert_int_equal(vfs_xattr_remove(w.vfs, ino, "user.a", 0), -EROFS);
	assert_int_equal(vfs_open(w.vfs, ino, O_RDWR, 0, &f), -EROFS);
	assert_int_equal(vfs_open(w.vfs, ino, O_TRUNC, 0, &f), -EROFS);
	world_close(&w);
}

static void
groups_and_namespaces(void **state)
{
	struct desk d;
	unsigned lists;

	(void)state;
	desk_open(&d, world_store(1), NULL);
	lists = slow_store_count(d.w.s, &d.w.s->lists);
	assert_int_equal(make(&d, "ns", "a", &a_dir), 0);
	assert_true(was_told(&d, world_ino(&d.w, "ns"), "a"));
	assert_int_equal(make(&d, "ns/a/ns", "b", &a_dir), 0);
	assert_int_equal(make(&d, "ns/a/ns/b/vm", "100", &a_dir), 0);
	assert_lists(&d, "ns/a/ns/b/vm/100", "current owner ");
	assert_reads(&d, "ns/a/ns/b/vm/100/owner", "me@pbs\n");
	assert_lists(&d, "ns/a/ns/b/vm/100/current", "");
	assert_int_equal(make(&d, "ns", "a", &a_dir), -EEXIST);
	assert_int_equal(make(&d, "ns", "b/c", &a_dir), -EINVAL);
	assert_int_equal(make(&d, "vm", "a b", &a_dir), -EINVAL);
	assert_int_equal(make(&d, "vm", "f", &a_file), -EPERM);
	assert_int_equal(make(&d, "", "x", &a_dir), -EPERM);
	assert_int_equal(make(&d, ".pbs3fs", "x", &a_dir), -EPERM);
	assert_int_equal(slow_store_count(d.w.s, &d.w.s->lists), lists);
	assert_int_equal(drop(&d, "ns", "a"), -ENOTEMPTY);
	assert_int_equal(drop(&d, "", "vm"), -EPERM);
	assert_int_equal(drop(&d, "ns", "none"), -ENOENT);
	assert_int_equal(drop(&d, H1, "latest"), -ENOTDIR);
	assert_int_equal(drop(&d, H1, "current"), -EPERM);
	assert_int_equal(drop(&d, "host", "h1"), -ENOTEMPTY);
	str_reset(&d.told);
	assert_int_equal(drop(&d, "ns/a/ns/b/vm", "100"), 0);
	assert_true(was_told(&d, world_ino(&d.w, "ns/a/ns/b/vm"), "100"));
	assert_int_equal(drop(&d, "ns/a/ns", "b"), 0);
	assert_int_equal(drop(&d, "ns", "a"), 0);
	assert_lists(&d, "ns", "");
	desk_close(&d);
}

/* Whoever serves the kernel must not wait for the store. */
static void
edits_ask_for_a_thread(void **state)
{
	struct vfs_attr a;
	struct vfs *v;
	struct desk d;
	uint64_t group;

	(void)state;
	desk_open(&d, world_store(1), NULL);
	v = d.w.vfs;
	group = world_ino(&d.w, H1);
	assert_int_equal(vfs_make(v, world_ino(&d.w, "ns"), "a", &a_dir,
	    VFS_NOWAIT, &a), -EAGAIN);
	assert_int_equal(vfs_make(v, group, "2024-02-01T00:00:00Z", &a_dir,
	    VFS_NOWAIT, &a), -EAGAIN);
	assert_int_equal(vfs_rmdir(v, group, "2024-01-01T00:00:00Z",
	    VFS_NOWAIT), -EAGAIN);
	assert_int_equal(vfs_xattr_set(v, world_ino(&d.w, S1),
	    "user.pbs3fs.protected", "1", 1, 0, VFS_NOWAIT), -EAGAIN);
	assert_lists(&d, H1, "2024-01-01T00:00:00Z current latest owner ");
	desk_close(&d);
}

static void
finished_snapshots_stay(void **state)
{
	struct vfs_change c = {.set = VFS_SET_SIZE};
	struct vfs_attr a;
	struct vfs_file *f;
	struct vfs *v;
	struct desk d;
	uint64_t snap, root, file, current;

	(void)state;
	desk_open(&d, world_store(1), NULL);
	v = d.w.vfs;
	snap = world_ino(&d.w, S1);
	root = world_ino(&d.w, S1 "/root");
	file = world_ino(&d.w, S1 "/root/big");
	current = world_ino(&d.w, H1 "/current");
	assert_int_equal(vfs_make(v, snap, "x", &a_dir, 0, &a), -EROFS);
	assert_int_equal(vfs_make(v, root, "x", &a_file, 0, &a), -EROFS);
	assert_int_equal(vfs_unlink(v, root, "big", 0), -EROFS);
	assert_int_equal(vfs_rmdir(v, root, "dir", 0), -EROFS);
	assert_int_equal(vfs_rmdir(v, snap, "root", 0), -EROFS);
	assert_int_equal(vfs_setattr(v, file, &c, 0, &a), -EROFS);
	assert_int_equal(vfs_open(v, file, O_WRONLY, 0, &f), -EROFS);
	assert_int_equal(vfs_xattr_set(v, file, "user.a", "b", 1, 0, 0),
	    -EROFS);
	assert_int_equal(vfs_rename(v, root, "big", current, "b", 0, 0),
	    -EROFS);
	assert_int_equal(vfs_rename(v, current, "stream", root, "b", 0, 0),
	    -EROFS);
	assert_int_equal(vfs_rename(v, current, "stream", world_ino(&d.w,
	    H1), "b", 0, 0), -EPERM);
	assert_int_equal(vfs_link(v, file, current, "l", 0, &a), -EXDEV);
	assert_int_equal(vfs_link(v, file, root, "l", 0, &a), -EROFS);
	desk_close(&d);
}

static void
publishing_shows_at_once(void **state)
{
	struct vfs_attr a;
	struct desk d;
	uint64_t group;
	unsigned lists;

	(void)state;
	desk_open(&d, world_store(1), NULL);
	group = world_ino(&d.w, H1);
	lists = slow_store_count(d.w.s, &d.w.s->lists);
	assert_int_equal(make(&d, H1 "/current/root", "new", &a_file), 0);
	write_at(&d, H1 "/current/root/new", "fresh");
	assert_reads(&d, H1 "/current/root/new", "fresh");
	assert_int_equal(make(&d, H1, "nonsense", &a_dir), -EINVAL);
	assert_int_equal(make(&d, H1, "2024-01-02T00:00:00", &a_dir), -EINVAL);
	assert_int_equal(make(&d, H1, "2024-01-01T00:00:00Z", &a_dir),
	    -EEXIST);
	assert_int_equal(vfs_make(d.w.vfs, group, "2024-01-02T00:00:00Z",
	    &a_dir, 0, &a), 0);
	assert_int_equal(a.st.st_ino, world_ino(&d.w, S2));
	assert_true(was_told(&d, group, "2024-01-02T00:00:00Z"));
	assert_true(was_told(&d, group, "latest"));
	assert_false(was_told(&d, group, "current"));
	assert_reads(&d, S2 "/root/new", "fresh");
	assert_reads(&d, H1 "/latest/root/new", "fresh");
	assert_int_equal(vfs_resolve(d.w.vfs, S1 "/root/new", 0, &a), -ENOENT);
	assert_reads(&d, S2 "/a.conf", "conf\n");
	assert_int_equal(slow_store_count(d.w.s, &d.w.s->lists), lists);
	desk_close(&d);
}

static void
forgetting_and_protecting(void **state)
{
	const char *name = "user.pbs3fs.protected";
	struct desk d;
	uint64_t snap;
	char *p;

	(void)state;
	desk_open(&d, world_store(1), NULL);
	assert_lists(&d, H1 "/current", "a.conf disk.img root stream ");
	snap = world_ino(&d.w, S1);
	assert_int_equal(vfs_xattr_set(d.w.vfs, snap, name, "yes", 3, 0, 0),
	    -EINVAL);
	assert_int_equal(vfs_xattr_set(d.w.vfs, snap, name, "1", 1,
	    XATTR_CREATE, 0), -EEXIST);
	assert_int_equal(vfs_xattr_set(d.w.vfs, snap, name, "1", 1, 0, 0), 0);
	p = world_xattr(&d.w, S1, name);
	assert_string_equal(p, "1");
	free(p);
	assert_int_equal(world_ino(&d.w, S1), snap);
	assert_int_equal(drop(&d, H1, "2024-01-01T00:00:00Z"), -EPERM);
	assert_int_equal(vfs_xattr_remove(d.w.vfs, snap, name, 0), 0);
	str_reset(&d.told);
	assert_int_equal(drop(&d, H1, "2024-01-01T00:00:00Z"), 0);
	assert_true(was_told(&d, world_ino(&d.w, H1),
	    "2024-01-01T00:00:00Z"));
	/* Nothing was changed there: it shows what is latest now. */
	assert_true(was_told(&d, world_ino(&d.w, H1), "current"));
	assert_lists(&d, H1 "/current", "");
	desk_close(&d);
}

static void
notes_of_a_snapshot(void **state)
{
	const char *name = "user.pbs3fs.notes";
	struct desk d;
	uint64_t snap;
	char *p;

	(void)state;
	desk_open(&d, world_store(1), NULL);
	snap = world_ino(&d.w, S1);
	assert_int_equal(vfs_xattr_set(d.w.vfs, snap, name, "x", 1,
	    XATTR_CREATE, 0), -EEXIST);
	assert_int_equal(vfs_xattr_set(d.w.vfs, snap, name, "a\0b", 3, 0, 0),
	    -EINVAL);
	assert_int_equal(vfs_xattr_set(d.w.vfs, snap, name, "two", 3,
	    XATTR_REPLACE, 0), 0);
	p = world_xattr(&d.w, S1, name);
	assert_string_equal(p, "two");
	free(p);
	assert_int_equal(vfs_xattr_remove(d.w.vfs, snap, name, 0), 0);
	assert_null(world_xattr(&d.w, S1, name));
	assert_int_equal(vfs_xattr_remove(d.w.vfs, snap, name, 0), -ENODATA);
	assert_int_equal(vfs_xattr_set(d.w.vfs, snap, name, "x", 1,
	    XATTR_REPLACE, 0), -ENODATA);
	assert_int_equal(vfs_xattr_set(d.w.vfs, snap, "user.other", "x", 1, 0,
	    0), -EROFS);
	assert_int_equal(vfs_xattr_set(d.w.vfs, world_ino(&d.w, H1), name,
	    "x", 1, 0, 0), -EPERM);
	desk_close(&d);
}

static void
notes_of_a_group(void **state)
{
	struct vfs_change c = {.set = VFS_SET_SIZE, .size = 2};
	struct vfs_attr a, b;
	struct vfs_file *f, *g;
	struct desk d;
	uint64_t group;

	(void)state;
	desk_open(&d, world_store(1), NULL);
	group = world_ino(&d.w, H1);
	assert_int_equal(vfs_lookup(d.w.vfs, group, "notes", 0, &a), -ENOENT);
	assert_int_equal(vfs_make(d.w.vfs, group, "other", &a_file, 0, &a),
	    -EPERM);
	assert_int_equal(vfs_make(d.w.vfs, group, "notes", &a_file, 0, &a), 0);
	assert_int_equal(vfs_open(d.w.vfs, a.st.st_ino, O_RDWR, 0, &f), 0);
	assert_lists(&d, H1, "2024-01-01T00:00:00Z current latest notes owner ");
	/* What was left out is zeros, which are no text. */
	assert_int_equal(vfs_write(f, "hello", 5, 2, 0), 0);
	assert_int_equal(vfs_flush(f, 0), -EINVAL);
	assert_int_equal(vfs_write(f, "O ", 2, 0, 0), 0);
	assert_int_equal(vfs_getattr(d.w.vfs, a.st.st_ino, 0, &b), 0);
	assert_int_equal(b.st.st_size, 7);
	assert_false(b.lasting);
	assert_int_equal(vfs_write(f, "x", 1, 1 << 20, 0), -EFBIG);
	assert_int_equal(vfs_write(f, "x", 1, UINT64_MAX, 0), -EFBIG);
	assert_int_equal(vfs_flush(f, VFS_NOWAIT), -EAGAIN);
	assert_int_equal(vfs_flush(f, 0), 0);
	/* Nothing is left to be stored. */
	assert_int_equal(vfs_flush(f, VFS_NOWAIT), 0);
	/* Whoever opens them now sees the same. */
	g = open_at(&d, H1 "/notes", O_WRONLY);
	assert_int_equal(vfs_write(g, "J", 1, 2, 0), 0);
	vfs_close(f);
	assert_int_equal(vfs_flush(g, 0), 0);
	vfs_close(g);
	assert_int_equal(world_at(&d.w, H1 "/notes").st.st_size, 7);
	assert_int_equal(world_ino(&d.w, H1 "/notes"), a.st.st_ino);
	write_at(&d, H1 "/notes", "second");
	assert_reads(&d, H1 "/notes", "second");
	assert_int_equal(vfs_setattr(d.w.vfs, a.st.st_ino, &c, 0, &b), 0);
	assert_int_equal(b.st.st_size, 2);
	assert_reads(&d, H1 "/notes", "se");
	c.set = VFS_SET_MODE;
	assert_int_equal(vfs_setattr(d.w.vfs, a.st.st_ino, &c, 0, &b), -EPERM);
	assert_int_equal(vfs_unlink(d.w.vfs, group, "latest", 0), -EPERM);
	assert_int_equal(vfs_unlink(d.w.vfs, group, "notes", 0), 0);
	assert_int_equal(vfs_unlink(d.w.vfs, group, "notes", 0), -ENOENT);
	assert_lists(&d, H1, "2024-01-01T00:00:00Z current latest owner ");
	desk_close(&d);
}

static void
references_are_counted(void **state)
{
	struct vfs_attr a, b;
	struct desk d;
	uint64_t current;

	(void)state;
	desk_open(&d, world_store(1), NULL);
	current = world_ino(&d.w, H1 "/current");
	assert_int_equal(vfs_lookup(d.w.vfs, current, "root", 0, &a), 0);
	assert_int_equal(vfs_lookup(d.w.vfs, current, "root", 0, &b), 0);
	assert_int_equal(a.st.st_ino, b.st.st_ino);
	vfs_forget(d.w.vfs, a.st.st_ino, 1);
	assert_int_equal(vfs_getattr(d.w.vfs, a.st.st_ino, 0, &b), 0);
	vfs_forget(d.w.vfs, a.st.st_ino, 1);
	assert_int_equal(vfs_getattr(d.w.vfs, a.st.st_ino, 0, &b), -ESTALE);
	/* The root is nobody's. */
	vfs_forget(d.w.vfs, current, 1000);
	assert_int_equal(vfs_getattr(d.w.vfs, current, 0, &b), 0);
	/* A path leaves one reference behind, of its end. */
	assert_int_equal(vfs_resolve(d.w.vfs, H1 "/current/root/dir", 0, &a),
	    0);
	vfs_forget(d.w.vfs, a.st.st_ino, 1);
	assert_int_equal(vfs_getattr(d.w.vfs, a.st.st_ino, 0, &b), -ESTALE);
	assert_int_equal(vfs_getattr(d.w.vfs, (uint64_t)1 << 62 | 12345, 0,
	    &b), -ESTALE);
	desk_close(&d);
}

static void
between_groups(void **state)
{
	struct vfs_attr a;
	struct desk d;
	uint64_t one, two, file;

	(void)state;
	desk_open(&d, world_store(1), NULL);
	assert_int_equal(make(&d, "host", "h2", &a_dir), 0);
	one = world_ino(&d.w, H1 "/current");
	two = world_ino(&d.w, "host/h2/current");
	file = world_ino(&d.w, H1 "/current/stream");
	assert_int_equal(vfs_rename(d.w.vfs, one, "stream", two, "stream", 0,
	    0), -EXDEV);
	assert_int_equal(vfs_link(d.w.vfs, file, two, "stream", 0, &a),
	    -EXDEV);
	assert_int_equal(vfs_rename(d.w.vfs, one, "stream", one, "s2", 0, 0),
	    0);
	assert_reads(&d, H1 "/current/s2", "raw stream");
	vfs_forget(d.w.vfs, file, 1);
	/* A group with something in it that no snapshot has. */
	assert_int_equal(make(&d, "host/h2/current", "f", &a_file), 0);
	assert_int_equal(drop(&d, "host", "h2"), -EBUSY);
	desk_close(&d);
}

static void
one_directory_of_it(void **state)
{
	struct vfs_attr a;
	struct desk d;
	uint64_t up;

	(void)state;
	desk_open(&d, world_store(1), H1 "/current/root/dir");
	assert_int_equal(world_ino(&d.w, ""), VFS_ROOT);
	assert_int_equal(vfs_make(d.w.vfs, VFS_ROOT, "made", &a_dir, 0, &a),
	    0);
	assert_int_equal(vfs_parent(d.w.vfs, a.st.st_ino, 0, &up), 0);
	assert_int_equal(up, VFS_ROOT);
	assert_int_equal(vfs_getattr(d.w.vfs, VFS_ROOT, 0, &a), 0);
	assert_int_equal(a.st.st_ino, VFS_ROOT);
	assert_true(vfs_is_current(d.w.vfs, VFS_ROOT));
	assert_int_equal(vfs_rmdir(d.w.vfs, VFS_ROOT, "made", 0), 0);
	desk_close(&d);
}

/* A backup server has put a snapshot beside. */
static void
others_publish_too(void **state)
{
	struct slow_store *s = world_store(1);
	struct snap_maker m;
	struct vfs_file *f;
	struct desk d;
	uint64_t group;
	int i;

	(void)state;
	desk_open(&d, s, NULL);
	group = world_ino(&d.w, H1);
	assert_reads(&d, H1 "/current/stream", "raw stream");
	f = open_at(&d, H1 "/current/stream", O_RDONLY);
	assert_int_equal(vfs_file_caching(f), VFS_CACHE_KEEP);
	vfs_close(f);
	snap_begin(&m, s, "", BACKUP_HOST, "h1", T2);
	snap_dynamic(&m, "stream.didx", "another one", 11);
	snap_finish(&m, NULL);
	/* Whoever is still closing something keeps it from changing. */
	for (i = 0; i < 100 && !was_told(&d, group, "current"); i++) {
		usleep(10000);
		assert_int_equal(vfs_refresh(d.w.vfs), 0);
	}
	assert_true(was_told(&d, group, "current"));
	assert_reads(&d, H1 "/current/stream", "another one");
	f = open_at(&d, H1 "/current/stream", O_RDONLY);
	assert_int_equal(vfs_file_caching(f), VFS_CACHE_OPEN);
	vfs_close(f);
	desk_close(&d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(places_to_write_are_there),
	    cmocka_unit_test(read_only_refuses_all),
	    cmocka_unit_test(groups_and_namespaces),
	    cmocka_unit_test(edits_ask_for_a_thread),
	    cmocka_unit_test(finished_snapshots_stay),
	    cmocka_unit_test(publishing_shows_at_once),
	    cmocka_unit_test(forgetting_and_protecting),
	    cmocka_unit_test(notes_of_a_snapshot),
	    cmocka_unit_test(notes_of_a_group),
	    cmocka_unit_test(references_are_counted),
	    cmocka_unit_test(between_groups),
	    cmocka_unit_test(one_directory_of_it),
	    cmocka_unit_test(others_publish_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
