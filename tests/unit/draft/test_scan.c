/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/drafts.h"
#include "draft/journal.h"
#include "draft/record.h"
#include "io_rig.h"
#include "repo/known.h"

#include "../cm.h"

#define SIZE ((size_t)300000)
#define IDENTITY "test"		/* of a rig */

/* What a scan told. */
struct seen {
	struct digest v[256];
	size_t n;
	unsigned bases;
	int64_t base;
	bool changed;
	struct group_name group;
	int stop;		/* what its functions return */
};

static int
see_chunk(void *arg, const struct group_name *g, const struct digest *d)
{
	struct seen *s = arg;

	s->group = *g;
	if (s->n < ARRAY_SIZE(s->v))
		s->v[s->n++] = *d;
	return s->stop;
}

static int
see_base(void *arg, const struct group_name *g, int64_t time, bool changed)
{
	struct seen *s = arg;

	s->group = *g;
	s->bases++;
	s->base = time;
	s->changed = changed;
	return s->stop;
}

static int
look(const char *state, const char *identity, struct seen *s)
{
	const struct draft_scan fns = {.chunk = see_chunk, .base = see_base,
	    .arg = s};
	int stop = s->stop;

	memset(s, 0, sizeof(*s));
	s->stop = stop;
	return draft_scan(state, identity, &fns);
}

static int
look_at(struct io_rig *g, struct seen *s)
{
	char state[160];

	snprintf(state, sizeof(state), "%s/state", g->dir);
	return look(state, IDENTITY, s);
}

static bool
saw(const struct seen *s, const struct digest *d)
{
	for (size_t i = 0; i < s->n; i++)
		if (digest_eq(&s->v[i], d))
			return true;
	return false;
}

static void
journal_of(const struct io_rig *g, char path[512])
{
	char name[STATE_NAME_LEN + 1];

	state_name(IDENTITY, name);
	snprintf(path, 512, "%s/state/%s/open/00000/journal", g->dir, name);
}

/* A file of which all is in the store, in a journal. */
static void
upload(struct io_rig *g, const char *path, uint64_t seed)
{
	_cleanup_free_ uint8_t *p = malloc(SIZE);
	struct draft_file *f;
	uint64_t ino;

	assert_non_null(p);
	io_noise(p, SIZE, seed);
	f = io_open(g, path, O_RDWR | O_CREAT, &ino);
	io_write_all(f, p, 0, SIZE);
	assert_int_equal(draft_fsync(g->d, ino), 0);
	io_close(g, f, ino);
}

static void
rig(struct io_rig *g)
{
	io_rig_begin(g);
	g->o.fsync_store = true;
	io_rig_open(g);
}

static int
count(void *arg, const char *key, const struct store_object *o)
{
	(void)o;
	(void)key;
	(*(unsigned *)arg)++;
	return 0;
}

static unsigned
chunks(struct io_rig *g)
{
	unsigned n = 0;

	assert_int_equal(store_list(g->st.store, ".chunks/", NULL, count, &n),
	    0);
	return n;
}

static void
what_is_not_there_has_nothing(void **state)
{
	struct seen s = {.n = 0};
	struct io_rig g;
	char path[160];

	(void)state;
	assert_int_equal(look("/nonexistent/state", "mem:", &s), 0);
	rig(&g);
	snprintf(path, sizeof(path), "%s/state", g.dir);
	assert_int_equal(look(path, "another store", &s), 0);
	assert_int_equal(look_at(&g, &s), 0);
	assert_int_equal(s.n + s.bases, 0);
	io_rig_end(&g);
}

/* Beside who has it open, and after it has gone. */
static void
an_open_snapshot_tells_its_chunks(void **state)
{
	struct seen s = {.n = 0};
	struct io_rig g;

	(void)state;
	rig(&g);
	upload(&g, "tree/a", 1);
	assert_int_equal(chunks(&g), 1);
	assert_int_equal(look_at(&g, &s), 0);
	assert_int_equal(s.n, 1);
	assert_true(known_has(g.known, &s.v[0]));
	assert_int_equal(s.bases, 1);
	assert_int_equal(s.base, 0);
	assert_true(s.changed);
	assert_int_equal(s.group.type, g.group.type);
	assert_string_equal(s.group.id, g.group.id);
	assert_string_equal(s.group.ns, g.group.ns);
	upload(&g, "tree/b", 2);
	assert_int_equal(look_at(&g, &s), 0);
	assert_int_equal(s.n, 2);
	io_rig_close(&g);
	assert_int_equal(look_at(&g, &s), 0);
	assert_int_equal(s.n, 2);
	io_rig_open(&g);
	io_rig_end(&g);
}

static void
a_published_one_refers_to_nothing(void **state)
{
	struct seen s = {.n = 0};
	struct io_rig g;

	(void)state;
	rig(&g);
	upload(&g, "tree/a", 1);
	assert_int_equal(draft_publish(g.d, IO_RIG_T), 0);
	assert_int_equal(look_at(&g, &s), 0);
	assert_int_equal(s.n, 0);
	assert_int_equal(s.bases, 1);
	assert_int_equal(s.base, IO_RIG_T);
	assert_false(s.changed);
	upload(&g, "tree/b", 2);
	assert_int_equal(look_at(&g, &s), 0);
	assert_int_equal(s.n, 1);
	assert_int_equal(s.base, IO_RIG_T);
	assert_true(s.changed);
	io_rig_end(&g);
}

static void
who_is_told_may_end_it(void **state)
{
	const struct draft_scan none = {.arg = NULL}, no_chunks = {
	    .base = see_base, .arg = &(struct seen){.stop = -EBUSY}};
	struct seen s = {.stop = 7};
	struct io_rig g;
	char dir[160];

	(void)state;
	rig(&g);
	snprintf(dir, sizeof(dir), "%s/state", g.dir);
	upload(&g, "tree/a", 1);
	upload(&g, "tree/b", 2);
	assert_int_equal(look_at(&g, &s), 7);
	assert_int_equal(s.n, 1);
	assert_int_equal(s.bases, 0);
	assert_int_equal(draft_scan(dir, IDENTITY, &no_chunks), -EBUSY);
	assert_int_equal(draft_scan(dir, IDENTITY, &none), 0);
	/* Not taken for damage, and not tried again. */
	s.stop = -EBADMSG;
	assert_int_equal(look_at(&g, &s), -EBADMSG);
	assert_int_equal(s.n, 1);
	io_rig_end(&g);
}

/* Each length a crash may leave: what is whole before the end counts. */
static void
a_torn_record_is_not_there(void **state)
{
	struct seen s = {.n = 0};
	char path[512];
	struct io_rig g;
	struct stat st;
	off_t first;

	(void)state;
	rig(&g);
	journal_of(&g, path);
	upload(&g, "tree/a", 1);
	assert_int_equal(stat(path, &st), 0);
	first = st.st_size;
	upload(&g, "tree/b", 2);
	assert_int_equal(stat(path, &st), 0);
	for (off_t at = st.st_size - 1; at > first; at -= 7) {
		struct str cmd = {0};
		char copy[256], name[STATE_NAME_LEN + 1], file[512];
		int r;

		snprintf(copy, sizeof(copy), "%s/copy", g.dir);
		str_addf(&cmd, "cp -a %s/state %s", g.dir, copy);
		assert_int_equal(system(str_get(&cmd)), 0);
		str_fini(&cmd);
		state_name(IDENTITY, name);
		snprintf(file, sizeof(file), "%s/%s/open/00000/journal", copy,
		    name);
		assert_int_equal(truncate(file, at), 0);
		r = look(copy, IDENTITY, &s);
		/* What was synced cannot be torn. */
		if (r == 0)
			assert_true(s.n >= 1);
		else
			assert_int_equal(r, -EBADMSG);
		assert_int_equal(io_remove_tree(AT_FDCWD, copy), 0);
	}
	io_rig_end(&g);
}

static void
flip(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	uint8_t b;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &b, 1, at), 1);
	b ^= 1;
	assert_int_equal(pwrite(fd, &b, 1, at), 1);
	close(fd);
}

static void
damage_is_an_error(void **state)
{
	struct seen s = {.n = 0};
	char path[512], store[512], *slash;
	struct io_rig g;
	struct stat st;

	(void)state;
	rig(&g);
	upload(&g, "tree/a", 1);
	upload(&g, "tree/b", 2);
	/* From then on nothing can be torn. */
	assert_int_equal(drafts_finish(g.ds), 0);
	io_rig_close(&g);
	journal_of(&g, path);
	assert_int_equal(stat(path, &st), 0);
	for (off_t at = 0; at < st.st_size; at += 5) {
		flip(path, at);
		assert_int_equal(look_at(&g, &s), -EBADMSG);
		assert_int_equal(s.bases, 0);
		flip(path, at);
	}
	assert_int_equal(look_at(&g, &s), 0);
	/* Something else in its place. */
	snprintf(store, sizeof(store), "%s", path);
	slash = strrchr(store, '/');
	strncpy(slash, "/other", 8);
	assert_int_equal(rename(path, store), 0);
	assert_int_equal(look_at(&g, &s), 0);
	assert_int_equal(s.bases, 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(look_at(&g, &s), -EBADMSG);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink("other", path), 0);
	assert_int_equal(look_at(&g, &s), -ELOOP);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rename(store, path), 0);
	io_rig_open(&g);
	io_rig_end(&g);
}

static void
another_stores_directory_is_refused(void **state)
{
	struct seen s = {.n = 0};
	char path[512];
	struct io_rig g;
	int fd;

	(void)state;
	rig(&g);
	upload(&g, "tree/a", 1);
	journal_of(&g, path);
	strncpy(strstr(path, "/open/"), "/store", 8);
	fd = open(path, O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(look_at(&g, &s), -EEXIST);
	assert_int_equal(s.n, 0);
	assert_int_equal(ftruncate(fd, (off_t)strlen(IDENTITY)), 0);
	close(fd);
	assert_int_equal(look_at(&g, &s), 0);
	io_rig_end(&g);
}

/*
 * A journal that is appended to, and written anew, while it is read: what was
 * in it before is seen each time.
 */
struct writing {
	char dir[256];
	struct journal *j;
	atomic_bool stop;
	atomic_uint rewrites;
};

static int
no_replay(void *arg, const void *p, size_t len)
{
	(void)arg;
	(void)p;
	(void)len;
	return -EBADMSG;
}

static struct digest
wanted(void)
{
	return digest_of("wanted", 6);
}

static void
add_head(struct str *out)
{
	const struct record head = {.kind = REC_HEAD, .version = RECORD_VERSION,
	    .name = ":host/h1", .name_len = 8, .slot = 0};
	const struct record base = {.kind = REC_BASE, .time = 42};

	assert_int_equal(record_add(out, &head), 0);
	assert_int_equal(record_add(out, &base), 0);
}

static void
add_chunk(struct str *out, struct digest d)
{
	const struct record rec = {.kind = REC_CHUNK, .ino = 77,
	    .chunk = {.kind = PIECE_CHUNK, .len = 10, .chunk_size = 10,
		.digest = d}};

	assert_int_equal(record_add(out, &rec), 0);
}

static void
write_one(struct writing *w, const struct str *s)
{
	uint64_t seq;

	assert_int_equal(journal_add(w->j, s->s, s->len, &seq), 0);
	assert_int_equal(journal_commit(w->j, seq), 0);
}

static void *
write_on(void *arg)
{
	_cleanup_(str_fini) struct str all = {0}, one = {0};
	struct writing *w = arg;
	unsigned n = 0;

	add_head(&all);
	add_chunk(&all, wanted());
	add_chunk(&one, digest_of("other", 5));
	while (!atomic_load(&w->stop)) {
		if (++n % 50 != 0) {
			write_one(w, &one);
			continue;
		}
		assert_int_equal(journal_rewrite(w->j, all.s, &all.len, 1), 0);
		if (n % 200 == 0)
			assert_int_equal(journal_seal(w->j), 0);
		atomic_fetch_add(&w->rewrites, 1);
	}
	return NULL;
}

static void
it_reads_beside_who_writes(void **state)
{
	_cleanup_(str_fini) struct str first = {0};
	char path[400], name[STATE_NAME_LEN + 1];
	struct writing w = {.stop = false};
	struct digest want = wanted();
	struct seen s = {.n = 0};
	pthread_t t;
	int dir;

	(void)state;
	snprintf(w.dir, sizeof(w.dir), "/tmp/test-scan-XXXXXX");
	assert_non_null(mkdtemp(w.dir));
	state_name(IDENTITY, name);
	snprintf(path, sizeof(path), "%s/%s/open/00000", w.dir, name);
	assert_int_equal(io_mkdirs(AT_FDCWD, path, 0700), 0);
	dir = open(path, O_RDONLY | O_DIRECTORY);
	assert_true(dir >= 0);
	assert_int_equal(journal_open(dir, "journal", no_replay, NULL, &w.j),
	    0);
	add_head(&first);
	add_chunk(&first, want);
	write_one(&w, &first);
	assert_int_equal(pthread_create(&t, NULL, write_on, &w), 0);
	for (int i = 0; i < 100 || atomic_load(&w.rewrites) < 6; i++) {
		assert_int_equal(look(w.dir, IDENTITY, &s), 0);
		assert_true(saw(&s, &want));
		assert_int_equal(s.bases, 1);
		assert_int_equal(s.base, 42);
	}
	atomic_store(&w.stop, true);
	pthread_join(t, NULL);
	journal_close(w.j);
	close(dir);
	assert_int_equal(io_remove_tree(AT_FDCWD, w.dir), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_not_there_has_nothing),
	    cmocka_unit_test(an_open_snapshot_tells_its_chunks),
	    cmocka_unit_test(a_published_one_refers_to_nothing),
	    cmocka_unit_test(who_is_told_may_end_it),
	    cmocka_unit_test(a_torn_record_is_not_there),
	    cmocka_unit_test(damage_is_an_error),
	    cmocka_unit_test(another_stores_directory_is_refused),
	    cmocka_unit_test(it_reads_beside_who_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
