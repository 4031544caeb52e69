/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/vfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../pxar/mkpxar.h"
#include "../repo/slow_store.h"
#include "base/log.h"
#include "base/str.h"
#include "world.h"

#include "../cm.h"

#define S2 "host/h1/2024-01-02T00:00:00Z"

/* What the kernel would be told: "e<parent>/<name> ", "i<number> ". */
static struct str told;

static void
tell_entry(void *arg, uint64_t parent, const char *name)
{
	(void)arg;
	str_addf(&told, "e%llx/%s ", (unsigned long long)parent, name);
}

static void
tell_inode(void *arg, uint64_t ino)
{
	(void)arg;
	str_addf(&told, "i%llx ", (unsigned long long)ino);
}

static void
refresh(struct world *w)
{
	str_reset(&told);
	vfs_listen(w->vfs, &(struct vfs_listener){
	    .entry = tell_entry, .inode = tell_inode});
	assert_int_equal(vfs_refresh(w->vfs), 0);
}

static bool
was_told_entry(uint64_t parent, const char *name)
{
	struct str want = {0};
	bool found;

	str_addf(&want, "e%llx/%s ", (unsigned long long)parent, name);
	found = strstr(str_get(&told), str_get(&want)) != NULL;
	str_fini(&want);
	return found;
}

static bool
was_told_inode(uint64_t ino)
{
	struct str want = {0};
	bool found;

	str_addf(&want, "i%llx ", (unsigned long long)ino);
	found = strstr(str_get(&told), str_get(&want)) != NULL;
	str_fini(&want);
	return found;
}

static void
put_snapshot(struct slow_store *s, int64_t time, const char *content)
{
	struct mk *mk = malloc(sizeof(*mk));
	struct snap_maker m;

	assert_non_null(mk);
	mk_init(mk, 1);
	mk_root(mk, MK(S_IFDIR | 0755));
	mk_file(mk, "f", MK(S_IFREG | 0644), content, strlen(content));
	mk_finish(mk);
	snap_begin(&m, s, "", BACKUP_HOST, "h1", time);
	snap_pxar(&m, "root", mk);
	snap_blob(&m, "a.conf.blob", content, strlen(content));
	snap_finish(&m, NULL);
	mk_fini(mk);
	free(mk);
}

static void
remove_snapshot(struct slow_store *s, const char *path)
{
	static const char *const names[] = {"root.pxar.didx", "a.conf.blob",
	    "index.json.blob"};
	struct str key = {0};
	const char *keys[1];
	size_t i;

	for (i = 0; i < 3; i++) {
		str_reset(&key);
		str_addf(&key, ".cnt/%s/%s", path, names[i]);
		keys[0] = str_get(&key);
		assert_int_equal(store_delete(s->s.below, keys, 1, NULL, NULL,
		    0), 0);
	}
	str_fini(&key);
}

static void
nothing_new_tells_nothing(void **state)
{
	struct slow_store *s = slow_store_new();
	struct world w;

	(void)state;
	put_snapshot(s, T1, "one");
	world_open(&w, s, NULL);
	free(world_read(&w, S1 "/root/f", NULL));
	/* Nor that it is another second by now. */
	sleep(1);
	refresh(&w);
	assert_string_equal(str_get(&told), "");
	world_close(&w);
	str_fini(&told);
}

static void
a_new_snapshot_appears(void **state)
{
	struct slow_store *s = slow_store_new();
	uint64_t ino, file, latest, group;
	struct vfs_attr a;
	struct world w;
	unsigned gets;
	char *p;

	(void)state;
	put_snapshot(s, T1, "one");
	world_open(&w, s, NULL);
	group = world_ino(&w, "host/h1");
	ino = world_ino(&w, S1);
	file = world_ino(&w, S1 "/root/f");
	free(world_read(&w, S1 "/a.conf", NULL));
	assert_int_equal(vfs_lookup(w.vfs, group, "latest", 0, &a), 0);
	latest = a.st.st_ino;
	put_snapshot(s, T2, "two");
	assert_int_equal(vfs_resolve(w.vfs, S2, 0, &a), -ENOENT);
	refresh(&w);
	assert_true(was_told_entry(group, "2024-01-02T00:00:00Z"));
	assert_true(was_told_entry(group, "latest"));
	assert_int_equal(vfs_lookup(w.vfs, group, "latest", 0, &a), 0);
	assert_int_not_equal(a.st.st_ino, latest);
	assert_true(was_told_inode(group));
	assert_false(was_told_inode(ino));
	p = world_read(&w, "host/h1/latest/root/f", NULL);
	assert_string_equal(p, "two");
	free(p);
	/* The old ones are who they were, and are not fetched again. */
	gets = s->gets;
	assert_int_equal(world_ino(&w, S1), ino);
	assert_int_equal(world_ino(&w, S1 "/root/f"), file);
	assert_int_equal(world_at(&w, S1 "/a.conf").st.st_size, 3);
	assert_int_equal(s->gets, gets);
	world_close(&w);
	str_fini(&told);
}

static void
a_snapshot_goes_and_open_files_stay(void **state)
{
	struct slow_store *s = slow_store_new();
	struct vfs_file *f;
	struct vfs_attr a;
	struct world w;
	uint64_t ino;
	char text[4] = "";

	(void)state;
	put_snapshot(s, T1, "one");
	put_snapshot(s, T2, "two");
	world_open(&w, s, NULL);
	ino = world_ino(&w, S2 "/root/f");
	assert_int_equal(vfs_open(w.vfs, ino, O_RDONLY, 0, &f), 0);
	remove_snapshot(s, S2);
	refresh(&w);
	assert_true(was_told_entry(world_ino(&w, "host/h1"),
	    "2024-01-02T00:00:00Z"));
	assert_int_equal(vfs_resolve(w.vfs, S2, 0, &a), -ENOENT);
	assert_int_equal(vfs_getattr(w.vfs, ino, 0, &a), -ESTALE);
	assert_int_equal(world_ino(&w, "host/h1/latest"), world_ino(&w, S1));
	assert_int_equal(vfs_read_wait(f, text, 3, 0), 3);
	assert_string_equal(text, "two");
	vfs_close(f);
	world_close(&w);
	str_fini(&told);
}

static void
an_archive_that_is_replaced_gets_other_numbers(void **state)
{
	struct slow_store *s = slow_store_new();
	uint64_t file, root;
	struct vfs_attr a;
	struct world w;
	char *p;

	(void)state;
	put_snapshot(s, T1, "one");
	world_open(&w, s, NULL);
	file = world_ino(&w, S1 "/root/f");
	root = world_ino(&w, S1 "/root");
	put_snapshot(s, T1, "other");
	refresh(&w);
	/* The kernel may hold pages under the old number. */
	assert_int_not_equal(world_ino(&w, S1 "/root/f"), file);
	assert_int_equal(vfs_getattr(w.vfs, file, 0, &a), -ESTALE);
	assert_int_not_equal(world_ino(&w, S1 "/root"), root);
	assert_true(was_told_entry(world_ino(&w, S1), "root"));
	p = world_read(&w, S1 "/root/f", NULL);
	assert_string_equal(p, "other");
	free(p);
	p = world_read(&w, S1 "/a.conf", NULL);
	assert_string_equal(p, "other");
	free(p);
	world_close(&w);
	str_fini(&told);
}

static void
notes_that_change_are_another_file(void **state)
{
	struct slow_store *s = slow_store_new();
	uint64_t group, first;
	struct vfs_file *f;
	struct world w;
	char text[8] = "", *p;

	(void)state;
	put_snapshot(s, T1, "one");
	slow_store_put(s, ".cnt/host/h1/notes", "first\n", 6);
	world_open(&w, s, NULL);
	group = world_ino(&w, "host/h1");
	first = world_ino(&w, "host/h1/notes");
	assert_int_equal(vfs_open(w.vfs, first, O_RDONLY, 0, &f), 0);
	slow_store_put(s, ".cnt/host/h1/notes", "second, longer\n", 15);
	refresh(&w);
	assert_true(was_told_entry(group, "notes"));
	assert_int_not_equal(world_ino(&w, "host/h1/notes"), first);
	assert_int_equal(world_at(&w, "host/h1/notes").st.st_size, 15);
	p = world_read(&w, "host/h1/notes", NULL);
	assert_string_equal(p, "second, longer\n");
	free(p);
	/* Who has the old ones open keeps them, under their number. */
	assert_int_equal(vfs_read_wait(f, text, 7, 0), 6);
	assert_string_equal(text, "first\n");
	vfs_close(f);
	world_close(&w);
	str_fini(&told);
}

static void
groups_and_namespaces_come(void **state)
{
	struct slow_store *s = slow_store_new();
	struct snap_maker m;
	struct world w;
	char *p;

	(void)state;
	put_snapshot(s, T1, "one");
	world_open(&w, s, NULL);
	snap_begin(&m, s, "a/b", BACKUP_CT, "9", T1);
	snap_finish(&m, NULL);
	refresh(&w);
	assert_true(was_told_entry(VFS_ROOT, "ns"));
	p = world_list(&w, "ns/a/ns/b/ct");
	assert_string_equal(p, "9 ");
	free(p);
	world_close(&w);
	str_fini(&told);
}

static void
a_failed_refresh_changes_nothing(void **state)
{
	struct slow_store *s = slow_store_new();
	struct world w;
	char *p;

	(void)state;
	put_snapshot(s, T1, "one");
	world_open(&w, s, NULL);
	remove_snapshot(s, S1);
	slow_store_fail(s, -EHOSTDOWN, 1);
	str_reset(&told);
	assert_int_equal(vfs_refresh(w.vfs), -EHOSTDOWN);
	p = world_list(&w, "host/h1");
	assert_string_equal(p, "2024-01-01T00:00:00Z latest owner ");
	free(p);
	world_close(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_new_tells_nothing),
	    cmocka_unit_test(a_new_snapshot_appears),
	    cmocka_unit_test(a_snapshot_goes_and_open_files_stay),
	    cmocka_unit_test(an_archive_that_is_replaced_gets_other_numbers),
	    cmocka_unit_test(notes_that_change_are_another_file),
	    cmocka_unit_test(groups_and_namespaces_come),
	    cmocka_unit_test(a_failed_refresh_changes_nothing),
	};

	log_set_level(LOG_LVL_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
