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
#include "base/log.h"
#include "repo/damage.h"
#include "repo/repo.h"
#include "world.h"

#include "../cm.h"

static void
reads_everything(void **state)
{
	size_t len;
	int version;
	char *p;

	(void)state;
	for (version = 1; version <= 2; version++) {
		struct slow_store *s = world_store(version);
		struct world w;

		world_open(&w, s, NULL);
		p = world_list(&w, S1 "/root");
		assert_string_equal(p,
		    "big dev dir empty fifo hard sym tagged ");
		free(p);
		p = world_read(&w, S1 "/root/big", &len);
		assert_int_equal(len, WORLD_BIG);
		assert_memory_equal(p, world_big, WORLD_BIG);
		free(p);
		p = world_read(&w, S1 "/root/dir/below/deep", &len);
		assert_string_equal(p, "deep\n");
		free(p);
		p = world_read(&w, S1 "/root/empty", &len);
		assert_int_equal(len, 0);
		free(p);
		p = world_read(&w, S1 "/disk.img", &len);
		assert_memory_equal(p, world_big, WORLD_BIG);
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
nowait_says_so_instead_of_waiting(void **state)
{
	struct slow_store *s = world_store(1);
	struct vfs_attr a;
	struct vfs_file *f;
	struct vfs_dir *d;
	struct world w;
	uint64_t snap, root, file;

	(void)state;
	world_open(&w, s, NULL);
	assert_int_equal(vfs_resolve(w.vfs, S1, VFS_NOWAIT, &a), 0);
	snap = a.st.st_ino;
	/* Asking may start to fetch, which must not be done already when it
	 * is asked for again. */
	slow_store_set(s, &s->hold, true);
	assert_int_equal(vfs_lookup(w.vfs, snap, "disk.img", VFS_NOWAIT, &a),
	    -EAGAIN);
	assert_int_equal(vfs_opendir(w.vfs, snap, VFS_NOWAIT, &d), -EAGAIN);
	slow_store_set(s, &s->hold, false);
	root = world_ino(&w, S1 "/root");
	file = world_ino(&w, S1 "/root/big");
	slow_store_set(s, &s->hold, true);
	/* All of this is in memory now. */
	assert_int_equal(vfs_lookup(w.vfs, snap, "disk.img", VFS_NOWAIT, &a),
	    0);
	assert_int_equal(vfs_lookup(w.vfs, root, "big", VFS_NOWAIT, &a), 0);
	assert_int_equal(vfs_getattr(w.vfs, file, VFS_NOWAIT, &a), 0);
	assert_int_equal(vfs_open(w.vfs, file, O_RDONLY, VFS_NOWAIT, &f), 0);
	vfs_close(f);
	assert_int_equal(vfs_open(w.vfs, world_ino(&w, S1 "/disk.img"),
	    O_RDONLY, VFS_NOWAIT, &f), -EAGAIN);
	slow_store_set(s, &s->hold, false);
	world_close(&w);
}

static void
attributes_of_the_user_are_there(void **state)
{
	struct slow_store *s = world_store(1);
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
	assert_int_equal(vfs_open(w.vfs, world_ino(&w, S1 "/d.img"), O_RDONLY,
	    0, &f), 0);
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
	struct slow_store *s = world_store(1);
	char key[KEY_MAX + 1];
	struct str text = {0};
	struct vfs_file *f;
	struct world w;
	char *p = malloc(WORLD_BIG);
	const char *keys[1] = {key};
	ssize_t n;

	(void)state;
	log_set_level(LOG_LVL_ERR);
	world_chunk(world_big + WORLD_CHUNK, WORLD_CHUNK, key);
	assert_int_equal(store_delete(s->s.below, keys, 1, NULL, NULL, 0), 0);
	world_open(&w, s, NULL);
	assert_int_equal(vfs_open(w.vfs, world_ino(&w, S1 "/disk.img"), O_RDONLY, 0,
	    &f), 0);
	/* What lies before is delivered, then it fails. */
	n = vfs_read_wait(f, p, WORLD_BIG, 100);
	assert_int_equal(n, WORLD_CHUNK - 100);
	assert_memory_equal(p, world_big + 100, (size_t)n);
	n = vfs_read_wait(f, p, 10, WORLD_CHUNK);
	assert_int_equal(n, -ENOENT);
	n = vfs_read_wait(f, p, WORLD_CHUNK, 2 * WORLD_CHUNK);
	assert_int_equal(n, WORLD_CHUNK / 2);
	assert_memory_equal(p, world_big + 2 * WORLD_CHUNK, (size_t)n);
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
what_failed_for_an_outage_fails_again_at_once(void **state)
{
	struct slow_store *s = world_store(1);
	struct vfs_file *f;
	struct world w;
	unsigned gets;
	char text[16];
	ssize_t n;

	(void)state;
	world_open(&w, s, NULL);
	assert_int_equal(vfs_open(w.vfs, world_ino(&w, S1 "/disk.img"), O_RDONLY, 0,
	    &f), 0);
	slow_store_fail(s, -ETIMEDOUT, 1000);
	n = vfs_read_wait(f, text, 16, 2 * WORLD_CHUNK);
	assert_true(n < 0);
	gets = slow_store_count(s, &s->gets);
	assert_int_equal(vfs_read_wait(f, text, 16, 2 * WORLD_CHUNK), n);
	assert_int_equal(slow_store_count(s, &s->gets), gets);
	slow_store_fail(s, 0, 0);
	usleep(1100000);
	/* And it is asked for again by itself. */
	assert_int_equal(vfs_read_wait(f, text, 16, 2 * WORLD_CHUNK), 16);
	vfs_close(f);
	/* An outage is not damage. */
	assert_int_equal(damage_count(repo_damage(w.repo)), 0);
	world_close(&w);
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
	struct slow_store *s = world_store(2);
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
	assert_int_equal(vfs_open(w.vfs, world_ino(&w, S1 "/root/big"), O_RDONLY, 0,
	    &f), -EIO);
	assert_true(damage_count(repo_damage(w.repo)) > 0);
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
	snap_fixed(&m, "d.img.fidx", world_big, WORLD_BIG);
	snap_put(&m, "c.conf.blob", secret, sizeof(secret));
	snap_finish(&m, NULL);
	world_open(&w, s, NULL);
	a = world_at(&w, S1 "/root");
	assert_int_equal(a.st.st_mode, S_IFREG | 0444);
	assert_int_equal(a.st.st_size, mk->main.len);
	assert_int_equal(vfs_open(w.vfs, a.st.st_ino, O_RDONLY, 0, &f), -ENOKEY);
	assert_int_equal(vfs_opendir(w.vfs, a.st.st_ino, 0, &d), -ENOTDIR);
	a = world_at(&w, S1 "/d.img");
	assert_int_equal(a.st.st_size, WORLD_BIG);
	assert_int_equal(vfs_open(w.vfs, a.st.st_ino, O_RDONLY, 0, &f), -ENOKEY);
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
	world_open(&w, world_store(1), NULL);
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
	assert_int_equal(vfs_open(w.vfs, world_ino(&w, ".pbs3fs/errors"), O_RDONLY, 0,
	    &f), 0);
	assert_true(vfs_file_is_generated(f));
	assert_int_equal(vfs_file_size(f), 0);
	vfs_close(f);
	world_close(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_everything),
	    cmocka_unit_test(nowait_says_so_instead_of_waiting),
	    cmocka_unit_test(attributes_of_the_user_are_there),
	    cmocka_unit_test(holes_are_found),
	    cmocka_unit_test(damage_costs_its_range_and_is_named),
	    cmocka_unit_test(what_failed_for_an_outage_fails_again_at_once),
	    cmocka_unit_test(damaged_entries_are_left_out),
	    cmocka_unit_test(a_missing_payload_fails_reads_alone),
	    cmocka_unit_test(without_a_key_there_are_sizes_only),
	    cmocka_unit_test(status_files_are_made_when_opened),
	};

	log_set_level(LOG_LVL_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
