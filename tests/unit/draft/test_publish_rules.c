/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pub_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/draft_priv.h"

#include "../cm.h"

#define T1 RIG_T
#define T2 (RIG_T + 60)

struct told {
	const char *what;
	unsigned n;
};

static void
find_text(void *arg, int64_t when, enum log_level lvl, const char *text)
{
	struct told *t = arg;

	(void)when;
	t->n += lvl == LOG_LVL_ERR && strstr(text, t->what) != NULL;
}

/* How many messages had that in them. */
static unsigned
told(const char *what)
{
	struct told t = {.what = what};

	log_recent(find_text, &t);
	return t.n;
}

/* Publishing fails and the message names the path. */
static void
refused(struct rig *g, int err, const char *path)
{
	const unsigned before = told(path);

	gate_reset(g->gate);
	assert_int_equal(draft_publish(g->d, T2), err);
	assert_true(told(path) > before);
	/* It was found before anything was sent. */
	assert_int_equal(g->gate->chunk_puts, 0);
	assert_int_equal(g->gate->other_puts, 0);
}

static void
test_names(void **state)
{
	static const char *const bad[] = {"with space", ".hidden", "-dash",
		"colon:x", "\xc3\xa4", "index.json", "catalog.pcat1",
		"client.log", "rsa-encrypted.key", "x.pxar", "x.mpxar",
		"x.ppxar"};
	char name[256], path[300];
	struct rig g;

	(void)state;
	rig_begin(&g, false);
	rig_open(&g);
	fs_text(&g, "fine", "x");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		fs_text(&g, bad[i], "x");
		if (str_utf8(bad[i], strlen(bad[i])) > 0)
			refused(&g, -EILSEQ, bad[i]);
		fs_unlink(&g, bad[i]);
	}
	/* The longest that can be, and one more. */
	memset(name, 'n', sizeof(name));
	name[255 - strlen(".mpxar.didx")] = '\0';
	fs_mkdir(&g, name);
	snprintf(path, sizeof(path), "%sn", name);
	fs_mkdir(&g, path);
	refused(&g, -EILSEQ, path);
	fs_rmdir(&g, path);
	/* Where they do no harm. */
	fs_mkdir(&g, "index.json");
	fs_mkdir(&g, "x.pxar");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(path, sizeof(path), "x.pxar/%s", bad[i]);
		fs_text(&g, path, "x");
	}
	assert_int_equal(draft_publish(g.d, T2), 0);
	assert_true(rig_has(&g, T2, "x.pxar.mpxar.didx"));
	rig_end(&g);
}

static void
test_types(void **state)
{
	struct rig g;

	(void)state;
	rig_begin(&g, false);
	rig_open(&g);
	fs_mknod(&g, "link", S_IFLNK | 0777, 0, "x");
	refused(&g, -EILSEQ, "link");
	fs_unlink(&g, "link");
	fs_mknod(&g, "fifo", S_IFIFO | 0600, 0, NULL);
	refused(&g, -EILSEQ, "fifo");
	fs_unlink(&g, "fifo");
	fs_text(&g, "empty.img", "");
	refused(&g, -EILSEQ, "empty.img");
	fs_unlink(&g, "empty.img");
	fs_text(&g, "empty-stream", "");
	refused(&g, -EILSEQ, "empty-stream");
	fs_unlink(&g, "empty-stream");
	fs_text(&g, "big.log", "");
	fs_truncate(&g, "big.log", 128 * MIB + 1);
	refused(&g, -EILSEQ, "big.log");
	fs_truncate(&g, "big.log", 1);
	assert_int_equal(draft_publish(g.d, T2), 0);
	rig_end(&g);
}

/* What would take an index that nobody can read is not even begun. */
static void
test_sizes(void **state)
{
	const uint64_t image = index_size_max(INDEX_FIXED, 4 * MIB);
	const uint64_t stream = index_size_max(INDEX_DYNAMIC, 16 * MIB);
	struct rig g;

	(void)state;
	rig_begin(&g, false);
	rig_open(&g);
	fs_text(&g, "a.img", "x");
	fs_text(&g, "b", "x");
	fs_mkdir(&g, "root");
	fs_text(&g, "root/c", "");
	fs_text(&g, "root/d", "");
	fs_truncate(&g, "a.img", image + 1);
	refused(&g, -EILSEQ, "a.img");
	fs_truncate(&g, "a.img", INT64_MAX);
	refused(&g, -EILSEQ, "a.img");
	fs_truncate(&g, "a.img", 1);
	fs_truncate(&g, "b", INT64_MAX);
	refused(&g, -EILSEQ, "cannot publish b:");
	fs_truncate(&g, "b", 1);
	fs_truncate(&g, "root/c", stream);
	fs_truncate(&g, "root/d", 1);
	refused(&g, -EILSEQ, "root/d");
	fs_truncate(&g, "root/c", INT64_MAX);
	fs_truncate(&g, "root/d", INT64_MAX);
	refused(&g, -EILSEQ, "root/c");
	refused(&g, -EILSEQ, "root/d");
	fs_truncate(&g, "root/c", 1);
	fs_truncate(&g, "root/d", 1);
	assert_int_equal(draft_publish(g.d, T2), 0);
	rig_end(&g);
}

static void
test_times(void **state)
{
	struct rig g;

	(void)state;
	rig_begin(&g, false);
	rig_open(&g);
	assert_int_equal(draft_publish(g.d, T1), -ENODATA);
	fs_text(&g, "a.conf", "x");
	assert_int_equal(draft_publish(g.d, 0), -EINVAL);
	assert_int_equal(draft_publish(g.d, (int64_t)1 << 60), -EINVAL);
	assert_int_equal(draft_publish(g.d, T1), 0);
	assert_int_equal(draft_publish(g.d, T1), -EEXIST);
	assert_int_equal(draft_publish(g.d, T1 - 1), -EINVAL);
	assert_int_equal(draft_publish(g.d, T1 + 1), 0);
	rig_end(&g);
}

/* A file has the form that it had in the snapshot before. */
static void
test_kinds_stay(void **state)
{
	struct rig g;

	(void)state;
	rig_begin(&g, false);
	rig_open(&g);
	fs_text(&g, "a.img", "image");
	fs_text(&g, "b", "stream");
	fs_text(&g, "c.conf", "blob");
	assert_int_equal(draft_publish(g.d, T1), 0);
	/* As editors do. */
	fs_text(&g, "tmp", "new image");
	fs_rename(&g, "tmp", "a.img");
	fs_rename(&g, "b", "b.img");
	assert_int_equal(draft_publish(g.d, T2), 0);
	assert_true(rig_has(&g, T2, "a.img.fidx"));
	assert_true(rig_has(&g, T2, "b.img.fidx"));
	assert_true(rig_has(&g, T2, "c.conf.blob"));
	assert_false(rig_has(&g, T2, "b.didx"));
	rig_end(&g);
}

/* They are listed in one object. */
static void
test_many(void **state)
{
	const uint32_t n = 26001;
	char name[32];
	struct rig g;

	(void)state;
	rig_begin(&g, false);
	rig_open(&g);
	for (uint32_t i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		fs_mkdir(&g, name);
	}
	refused(&g, -EILSEQ, "26001 files and directories at the top");
	rig_end(&g);
}

/* What the state directory has lost is not published as if it were whole. */
static void
test_lost(void **state)
{
	char cmd[200], *draft, *snap;
	struct rig g;

	(void)state;
	rig_begin(&g, false);
	rig_open(&g);
	fs_mkdir(&g, "root");
	fs_text(&g, "root/kept", "kept");
	assert_int_equal(draft_publish(g.d, T1), 0);
	fs_text(&g, "root/will-be-lost", "some bytes");
	rig_close(&g);
	snprintf(cmd, sizeof(cmd),
	    "find %s/state -path '*/data/*' -type f -delete", g.dir);
	assert_int_equal(system(cmd), 0);
	rig_open(&g);
	refused(&g, -EIO, "root/will-be-lost");
	fs_text(&g, "root/will-be-lost", "other bytes");
	assert_int_equal(draft_publish(g.d, T2), 0);
	draft = dump_draft(&g);
	snap = dump_snap(&g, T2);
	dump_equal(draft, snap);
	free(draft);
	free(snap);
	rig_end(&g);
}

/* A directory that has lost entries is not published as if it were whole, but
 * what is left of it can be. */
static void
test_damaged_dir(void **state)
{
	static uint8_t value[60000];
	char key[KEY_CHUNK_LEN + 1], path[64], to[64];
	const char *keys[] = {key};
	unsigned left = 0;
	struct digest gone;
	struct index *x;
	uint64_t dir;
	struct stat st;
	struct rig g;

	(void)state;
	rig_begin(&g, false);
	rig_open(&g);
	fs_mkdir(&g, "root");
	fs_mkdir(&g, "root/d");
	for (unsigned i = 0; i < 300; i++) {
		snprintf(path, sizeof(path), "root/d/f%03u", i);
		fs_text(&g, path, "x");
		rig_noise(value, sizeof(value), i);
		fs_xattr(&g, path, "user.noise", value, sizeof(value));
	}
	assert_int_equal(draft_publish(g.d, T1), 0);
	x = rig_index(&g, T1, "root.mpxar.didx");
	assert_true(index_count(x) > 2);
	gone = index_chunk(x, 1).digest;
	index_unref(x);
	key_chunk(&gone, key);
	assert_int_equal(store_delete(g.gate->store, keys, 1, NULL, NULL, 0),
	    0);
	rig_restart(&g);
	fs_text(&g, "a.conf", "x");
	refused(&g, -EIO, "cannot publish root/d: entries of it are damaged");
	fs_mkdir(&g, "root/new");
	dir = fs_ino(&g, "root/d", NULL);
	for (unsigned i = 0; i < 300; i++) {
		snprintf(path, sizeof(path), "root/d/f%03u", i);
		snprintf(to, sizeof(to), "root/new/f%03u", i);
		if (draft_lookup(g.d, dir, path + strlen("root/d/"), 0, &st) <
		    0)
			continue;
		fs_forget(&g, st.st_ino);
		fs_rename(&g, path, to);
		left++;
	}
	fs_forget(&g, dir);
	assert_in_range(left, 1, 299);
	refused(&g, -EIO, "root/d");
	fs_rmdir(&g, "root/d");
	assert_int_equal(draft_publish(g.d, T2), 0);
	rig_end(&g);
}

struct publisher {
	struct rig *g;
	pthread_t thread;
	int64_t time;
	int r;
};

static void *
run(void *arg)
{
	struct publisher *p = arg;

	p->r = draft_publish(p->g->d, p->time);
	return NULL;
}

static void
start(struct publisher *p, struct rig *g, int64_t time)
{
	*p = (struct publisher){.g = g, .time = time};
	gate_block(g->gate, true);
	assert_int_equal(pthread_create(&p->thread, NULL, run, p), 0);
	for (;;) {
		LOCK(&g->gate->lock);
		if (g->gate->waiting > 0)
			break;
	}
	/* Until everything has been gone through that does not wait. */
	usleep(200000);
}

static void
finish(struct publisher *p)
{
	gate_block(p->g->gate, false);
	pthread_join(p->thread, NULL);
	assert_int_equal(p->r, 0);
}

/* Who looks around while a snapshot is made keeps what was found. */
static void
test_meanwhile(void **state)
{
	const struct draft_new n = {.mode = S_IFREG | 0600};
	uint64_t ino[5], root, gone;
	static const char *const paths[] = {"root/d/e/f1", "root/d/e",
		"root/moved/sub/f2", "a.img", "root/d/hard"};
	struct publisher p;
	struct stat st, st2;
	struct draft_file *f;
	char *draft, *snap;
	struct rig g;
	uint8_t *data;
	size_t len;

	(void)state;
	rig_begin(&g, false);
	rig_open(&g);
	fs_mkdir(&g, "root");
	fs_mkdir(&g, "root/d");
	fs_mkdir(&g, "root/d/e");
	fs_text(&g, "root/d/e/f1", "one");
	fs_link(&g, "root/d/e/f1", "root/d/hard");
	fs_mkdir(&g, "root/x");
	fs_mkdir(&g, "root/x/sub");
	fs_text(&g, "root/x/sub/f2", "two");
	fs_text(&g, "root/x/gone", "gone");
	fs_text(&g, "a.img", "image");
	assert_int_equal(draft_publish(g.d, T1), 0);
	/* Nothing is in memory; then a directory gets another place. */
	rig_restart(&g);
	f = fs_open(&g, "root/x/gone", O_RDONLY, &gone);
	fs_unlink(&g, "root/x/gone");
	fs_rename(&g, "root/x", "root/moved");
	fs_text(&g, "root/d/new", "new");
	start(&p, &g, T2);
	assert_int_equal(draft_publish(g.d, T2 + 5), -EBUSY);
	/* Changes wait, reading does not. */
	root = fs_ino(&g, "root", NULL);
	assert_int_equal(draft_make(g.d, root, "no", &n, DRAFT_NOWAIT, &st),
	    -EAGAIN);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		ino[i] = fs_ino(&g, paths[i], NULL);
	assert_int_equal(ino[0], ino[4]);
	data = fs_read(&g, "root/moved/sub/f2", &len);
	assert_int_equal(len, 3);
	free(data);
	finish(&p);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		assert_int_equal(draft_getattr(g.d, ino[i], 0, &st), 0);
		assert_int_equal(fs_ino(&g, paths[i], &st2), ino[i]);
		assert_int_equal(st.st_size, st2.st_size);
		draft_forget(g.d, ino[i], 2);
	}
	draft_forget(g.d, root, 1);
	assert_int_equal(draft_getattr(g.d, gone, 0, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(st.st_size, 4);
	draft_close(f);
	draft_forget(g.d, gone, 1);
	draft = dump_draft(&g);
	snap = dump_snap(&g, T2);
	dump_equal(draft, snap);
	free(draft);
	free(snap);
	/* And they can be changed, and published again. */
	fs_text(&g, "root/moved/sub/f2", "changed");
	assert_int_equal(draft_publish(g.d, T2 + 1), 0);
	rig_end(&g);
}

/* Names that a mount is told to look up again. */
struct parted_told {
	uint64_t ino[8];	/* known by */
	uint64_t dir[8];
	char name[8][16];
	unsigned n;
};

static void
note(void *arg, uint64_t dir, const char *name, uint64_t ino)
{
	struct parted_told *t = ((struct rig *)arg)->told;

	assert_true(t->n < ARRAY_SIZE(t->ino));
	t->ino[t->n] = ino;
	t->dir[t->n] = dir;
	snprintf(t->name[t->n++], sizeof(t->name[0]), "%s", name);
}

/* What the snapshot has as several files is several files from then on, and who
 * knows them by one number is told. */
static void
test_parted(void **state)
{
	struct parted_told told = {0};
	uint64_t link, f, root;
	struct stat st;
	struct rig g;
	uint8_t *data;
	size_t len;

	(void)state;
	rig_begin(&g, false);
	g.o.parted = note;
	g.told = &told;
	rig_open(&g);
	fs_mkdir(&g, "root");
	fs_mkdir(&g, "root/sub");
	fs_mkdir(&g, "etc");
	fs_text(&g, "root/sub/f", "one");
	fs_link(&g, "root/sub/f", "root/here");
	fs_link(&g, "root/sub/f", "root/too");
	fs_mknod(&g, "root/link", S_IFLNK | 0777, 0, "x");
	fs_link(&g, "root/link", "root/sub/link2");
	fs_rename(&g, "root/sub", "etc/sub");
	link = fs_ino(&g, "root/link", NULL);
	f = fs_ino(&g, "root/here", &st);
	assert_int_equal(st.st_nlink, 3);
	root = fs_ino(&g, "root", NULL);
	assert_int_equal(draft_publish(g.d, T1), 0);
	/* The first in the order of archives keeps the number. */
	assert_int_equal(told.n, 3);
	assert_string_equal(told.name[0], "here");
	assert_string_equal(told.name[1], "link");
	assert_string_equal(told.name[2], "too");
	for (unsigned i = 0; i < told.n; i++)
		assert_int_equal(told.dir[i], root);
	assert_int_equal(told.ino[0], f);
	assert_int_equal(told.ino[1], link);
	assert_int_equal(fs_ino(&g, "etc/sub/f", &st), f);
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(fs_ino(&g, "etc/sub/link2", &st), link);
	assert_int_equal(st.st_nlink, 1);
	assert_int_not_equal(fs_ino(&g, "root/here", &st), f);
	assert_int_equal(st.st_nlink, 2);
	fs_forget(&g, st.st_ino);
	assert_int_not_equal(fs_ino(&g, "root/link", &st), link);
	fs_forget(&g, st.st_ino);
	fs_pwrite(&g, "root/here", "O", 1, 0);
	data = fs_read(&g, "etc/sub/f", &len);
	assert_memory_equal(data, "one", 3);
	free(data);
	/* Nothing is left to be parted. */
	told.n = 0;
	assert_int_equal(draft_publish(g.d, T2), 0);
	assert_int_equal(told.n, 0);
	draft_forget(g.d, f, 2);
	draft_forget(g.d, link, 2);
	draft_forget(g.d, root, 1);
	rig_end(&g);
}

static bool
is_changed(struct rig *g)
{
	LOCK(&g->d->lock);
	return g->d->changed;
}

static void
test_idle(void **state)
{
	struct draft_file *f;
	struct rig g;
	uint64_t ino;

	(void)state;
	rig_begin(&g, false);
	g.o.idle_s = 1;
	rig_open(&g);
	fs_text(&g, "a.conf", "1");
	f = fs_open(&g, "a.conf", O_WRONLY, &ino);
	usleep(1700000);
	assert_true(is_changed(&g));
	draft_close(f);
	fs_forget(&g, ino);
	for (unsigned i = 0; i < 100 && is_changed(&g); i++)
		usleep(100000);
	assert_false(is_changed(&g));
	assert_int_equal(__atomic_load_n(&g.published, __ATOMIC_ACQUIRE), 1);
	/* What cannot be published is said once. */
	fs_text(&g, "empty.img", "");
	usleep(2500000);
	assert_true(is_changed(&g));
	assert_true(told("empty.img") > 0);
	rig_end(&g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_kinds_stay),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_damaged_dir),
		cmocka_unit_test(test_meanwhile),
		cmocka_unit_test(test_parted),
		cmocka_unit_test(test_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
