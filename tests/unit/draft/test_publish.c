/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pub_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/draft_priv.h"
#include "pbs/manifest.h"
#include "repo/repo.h"
#include "repo/tree.h"

#include "../cm.h"

#define T1 RIG_T
#define T2 (RIG_T + 60)
#define T3 (RIG_T + 120)

static uint8_t *
noise(size_t len, uint64_t seed)
{
	uint8_t *p = malloc(len);

	assert_non_null(p);
	rig_noise(p, len, seed);
	return p;
}

/* One of everything that an archive can hold. */
static void
make_tree(struct rig *g, const char *top)
{
	static const uint8_t acl[] = {2, 0, 0, 0,
		1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff,
		2, 0, 4, 0, 0xe8, 3, 0, 0,
		4, 0, 5, 0, 0xff, 0xff, 0xff, 0xff,
		0x10, 0, 7, 0, 0xff, 0xff, 0xff, 0xff,
		0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff};
	uint8_t *p = noise(3 * MIB + 17, 1);
	char a[256], b[256];

#define IN(name) (snprintf(a, sizeof(a), "%s/%s", top, name), a)
	fs_mkdir(g, top);
	fs_text(g, IN("a.txt"), "hello\n");
	fs_text(g, IN("empty"), "");
	fs_write(g, IN("big"), p, 3 * MIB + 17);
	fs_mkdir(g, IN("d"));
	fs_mkdir(g, IN("d/sub"));
	fs_text(g, IN("d/sub/x"), "x");
	fs_text(g, IN("d-before-slash"), "sorts between d and d/");
	fs_text(g, IN("\xff\xfe odd\nname"), "odd");
	fs_mknod(g, IN("link"), S_IFLNK | 0777, 0, "../a/b");
	fs_mknod(g, IN("fifo"), S_IFIFO | 0600, 0, NULL);
	fs_mknod(g, IN("sock"), S_IFSOCK | 0600, 0, NULL);
	fs_mknod(g, IN("null"), S_IFCHR | 0666, makedev(1, 3), NULL);
	fs_mknod(g, IN("disk"), S_IFBLK | 0660, makedev(8, 300), NULL);
	snprintf(b, sizeof(b), "%s/d/link2", top);
	fs_link(g, IN("link"), b);
	snprintf(b, sizeof(b), "%s/d/fifo2", top);
	fs_link(g, IN("fifo"), b);
	snprintf(b, sizeof(b), "%s/d/sub/zz", top);
	fs_link(g, IN("a.txt"), b);
	snprintf(b, sizeof(b), "%s/0first", top);
	fs_link(g, IN("d/sub/x"), b);
	fs_xattr(g, IN("a.txt"), "user.comment", "some text", 9);
	fs_xattr(g, IN("d"), "user.dir", "\0\1\2", 3);
	fs_xattr(g, IN("empty"), "system.posix_acl_access", acl, sizeof(acl));
	fs_chmod(g, IN("big"), 04711);
	fs_text(g, IN("sparse"), "start");
	fs_truncate(g, IN("sparse"), 2 * MIB);
	fs_pwrite(g, IN("sparse"), "end", 3, 3 * MIB);
#undef IN
	free(p);
}

/* Staging files that are left. */
static size_t
staged_files(struct rig *g)
{
	char cmd[200];
	FILE *f;
	size_t n;

	snprintf(cmd, sizeof(cmd), "find %s/state -path '*/data/*' -type f | "
	    "wc -l", g->dir);
	f = popen(cmd, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%zu", &n), 1);
	assert_int_equal(pclose(f), 0);
	return n;
}

/* What was published is what was there, and what is there now. */
static void
publish(struct rig *g, int64_t time)
{
	char *before = dump_draft(g), *after, *snap;
	int r;

	r = draft_publish(g->d, time);
	if (r < 0)
		fail_msg("publish: %s", strerror(-r));
	assert_int_equal(g->d->done, g->d->total);
	assert_int_equal(g->d->staged, 0);
	snap = dump_snap(g, time);
	dump_equal(before, snap);
	after = dump_draft(g);
	dump_equal(after, snap);
	free(before);
	free(after);
	free(snap);
}

static void
test_all_types(struct rig *g)
{
	uint8_t *p = noise(9 * MIB, 2);

	rig_open(g);
	make_tree(g, "root");
	make_tree(g, "etc");
	fs_mkdir(g, "nothing");
	fs_write(g, "disk.img", p, 9 * MIB);
	fs_write(g, "stream", p, 9 * MIB - 1);
	fs_text(g, "a.conf", "conf\n");
	fs_text(g, "empty.log", "");
	publish(g, T1);
	assert_int_equal(g->published, 1);
	/* They go when nobody is in a hurry. */
	for (int i = 0; i < 1000 && staged_files(g) > 0; i++)
		usleep(20000);
	assert_int_equal(staged_files(g), 0);
	assert_true(rig_has(g, T1, "disk.img.fidx"));
	assert_true(rig_has(g, T1, "stream.didx"));
	assert_true(rig_has(g, T1, "a.conf.blob"));
	free(p);
	/* From nothing but the store. */
	rig_close(g);
	rig_lose_state(g);
	rig_open(g);
	{
		char *draft = dump_draft(g), *snap = dump_snap(g, T1);

		dump_equal(draft, snap);
		free(draft);
		free(snap);
	}
}

/* The names in a manifest, each with a space after it. */
static void
check_manifest(struct rig *g, int64_t time, const char *want)
{
	struct tree *t = repo_tree(g->repo);
	struct str names = {0};
	struct manifest *m;

	assert_int_equal(repo_manifest(g->repo, rig_snap(g, t, time), 0, &m),
	    0);
	assert_int_equal(m->time, time);
	assert_string_equal(m->id, g->group.id);
	assert_null(m->notes);
	for (size_t i = 0; i < m->n_files; i++) {
		str_addf(&names, "%s ", m->files[i].name);
		assert_int_equal(m->files[i].crypt, CRYPT_NONE);
	}
	assert_string_equal(str_get(&names), want);
	assert_non_null(strstr((const char *)m->json->data,
	    "\"chunk_upload_stats\""));
	str_fini(&names);
	manifest_unref(m);
	tree_unref(t);
}

static void
test_split(void **state)
{
	struct rig g;

	(void)state;
	rig_begin(&g, false);
	test_all_types(&g);
	check_manifest(&g, T1, "disk.img.fidx etc.ppxar.didx etc.mpxar.didx "
	    "nothing.ppxar.didx nothing.mpxar.didx root.ppxar.didx "
	    "root.mpxar.didx stream.didx a.conf.blob empty.log.blob ");
	rig_end(&g);
}

static void
test_v1(void **state)
{
	struct rig g;

	(void)state;
	rig_begin(&g, false);
	g.o.archive = 1;
	test_all_types(&g);
	check_manifest(&g, T1, "disk.img.fidx etc.pxar.didx nothing.pxar.didx "
	    "root.pxar.didx stream.didx catalog.pcat1.didx a.conf.blob "
	    "empty.log.blob ");
	rig_end(&g);
}

static void
test_directory(void **state)
{
	struct rig g;

	(void)state;
	rig_begin(&g, true);
	test_all_types(&g);
	rig_end(&g);
}

/* All kinds of changes of what was published before. */
static void
change_tree(struct rig *g)
{
	uint8_t *p = noise(MIB, 3);

	fs_text(g, "root/a.txt", "other\n");
	fs_unlink(g, "root/0first");
	fs_rename(g, "root/d", "root/z");
	fs_text(g, "root/new", "new");
	fs_pwrite(g, "root/big", p, MIB, MIB);
	fs_rename(g, "etc/empty", "root/empty2");
	/* Names in two archives would be two files. */
	fs_unlink(g, "etc/0first");
	fs_unlink(g, "etc/d/sub/zz");
	fs_rename(g, "etc/d", "root/etc-d");
	fs_chmod(g, "root/z/sub", 0700);
	fs_link(g, "root/z/sub/x", "root/z/again");
	fs_pwrite(g, "disk.img", p, 4096, 5 * MIB);
	fs_pwrite(g, "stream", p, 4096, 5 * MIB);
	fs_text(g, "a.conf", "conf 2\n");
	fs_rename(g, "empty.log", "full.log");
	fs_rmdir(g, "nothing");
	free(p);
}

static void
test_again(void **state)
{
	uint64_t file, dir, gone;
	struct draft_file *f;
	struct stat st, st2;
	struct rig g;

	(void)state;
	rig_begin(&g, false);
	test_all_types(&g);
	change_tree(&g);
	/* Numbers stay while they are held, and what has no name any more keeps
	 * its content. */
	dir = fs_ino(&g, "root/z/sub", NULL);
	file = fs_ino(&g, "root/big", NULL);
	f = fs_open(&g, "etc/big", O_RDONLY, &gone);
	fs_unlink(&g, "etc/big");
	publish(&g, T2);
	assert_int_equal(fs_ino(&g, "root/z/sub", &st), dir);
	assert_int_equal(fs_ino(&g, "root/big", &st), file);
	assert_int_equal(draft_getattr(g.d, file, 0, &st2), 0);
	assert_int_equal(st2.st_size, st.st_size);
	assert_int_equal(draft_getattr(g.d, gone, 0, &st2), 0);
	assert_int_equal(st2.st_size, 3 * MIB + 17);
	draft_close(f);
	draft_forget(g.d, dir, 2);
	draft_forget(g.d, file, 2);
	draft_forget(g.d, gone, 1);
	fs_text(&g, "0first", "at the top");
	fs_rename(&g, "root", "new-root");
	fs_unlink(&g, "new-root/z/sub/x");
	fs_mkdir(&g, "new-root/z/sub/deep");
	publish(&g, T3);
	rig_restart(&g);
	publish(&g, T3 + 1);
	rig_end(&g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_v1),
		cmocka_unit_test(test_directory),
		cmocka_unit_test(test_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
