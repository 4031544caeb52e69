/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "../vfs/world.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/draft_priv.h"
#include "draft/journal.h"
#include "draft_world.h"

/*
 * The same random operations on a draft and on a directory of the host: they
 * answer alike and leave the same tree, also after the draft was killed and
 * taken up again, and after it was published.
 */
#define PATH_LEN 512
#define FILE_LEN 20000

struct twin {
	struct draft_world w;
	struct scratch_dir real;
	uint64_t seed;
	unsigned long op, ok;
};

static uint64_t
rnd(struct twin *t, uint64_t n)
{
	uint64_t x = t->seed;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	t->seed = x;
	return (x * 0x2545f4914f6cdd1d >> 33) % n;
}

/* Few names, so that operations meet. */
static void
random_path(struct twin *t, char out[PATH_LEN])
{
	static const char *const tops[] = {"root", "root", "root", "two"};
	static const char *const names[] = {"d0", "d1", "a0", "a1", "f0",
	    "f1", "hard", "hard0", "x", "y"};
	size_t depth = rnd(t, 5), n;

	n = (size_t)snprintf(out, PATH_LEN, "%s", tops[rnd(t, 4)]);
	while (depth-- > 0)
		n += (size_t)snprintf(out + n, PATH_LEN - n, "/%s",
		    names[rnd(t, ARRAY_SIZE(names))]);
}

static int
result(int r)
{
	return r < 0 ? -errno : 0;
}

static int
real_fill(int dir, const char *path, const void *p, size_t len, uint64_t off)
{
	int fd = openat(dir, path, O_WRONLY | O_NOFOLLOW);
	int r;

	if (fd < 0)
		return -errno;
	r = pwrite(fd, p, len, (off_t)off) == (ssize_t)len ? 0 : -EIO;
	close(fd);
	return r;
}

static int
real_truncate(int dir, const char *path, uint64_t size)
{
	int fd = openat(dir, path, O_WRONLY | O_NOFOLLOW);
	int r;

	if (fd < 0)
		return -errno;
	r = result(ftruncate(fd, (off_t)size));
	close(fd);
	return r;
}

/* What the kernel sees to before it asks a file system. */
static bool
is_regular(struct twin *t, const char *path)
{
	struct stat st;

	return fstatat(t->real.fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISREG(st.st_mode);
}

static bool
is_dir(struct twin *t, const char *path)
{
	struct stat st;

	return fstatat(t->real.fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISDIR(st.st_mode);
}

static bool
has_symlink(struct twin *t, const char *path)
{
	char part[PATH_LEN];
	struct stat st;
	size_t i;

	for (i = 0; path[i] != '\0'; i++) {
		part[i] = '\0';
		if (path[i] == '/' && fstatat(t->real.fd, part, &st,
		    AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
			return true;
		part[i] = path[i];
	}
	return false;
}

static void
compare_results(struct twin *t, const char *what, const char *a,
    const char *b, int draft, int real)
{
	if (draft == real) {
		t->ok += draft == 0;
		return;
	}
	/* A target above the source: the kernel says so first. */
	if (real == -ENOTEMPTY && (draft == -EISDIR || draft == -ENOTDIR))
		return;
	fail_msg("%lu: %s %s %s: %s, and not %s", t->op, what, a, b,
	    strerror(-draft), strerror(-real));
}

static void
do_rename(struct twin *t, const char *a, const char *b)
{
	static const unsigned hows[] = {0, 0, 0, RENAME_NOREPLACE,
	    RENAME_EXCHANGE};
	unsigned how = hows[rnd(t, 5)];
	int draft;

	/* A snapshot holds links within one archive. */
	if (strncmp(a, b, 3) != 0 && (is_dir(t, a) || is_dir(t, b)))
		return;
	draft = dw_rename(&t->w, a, b, how);
	if (draft == -EXDEV) {
		assert_true(strncmp(a, b, 3) != 0);
		return;
	}
	compare_results(t, "rename", a, b, draft, result(renameat2(t->real.fd,
	    a, t->real.fd, b, how)));
}

static void
do_link(struct twin *t, const char *a, const char *b)
{
	struct stat st;
	int draft;

	/* And of nothing but files. */
	if (fstatat(t->real.fd, a, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return;
	draft = dw_link(&t->w, a, b);
	if (draft == -EXDEV)
		return;
	compare_results(t, "link", a, b, draft, result(linkat(t->real.fd, a,
	    t->real.fd, b, 0)));
}

static void
do_write(struct twin *t, const char *a)
{
	uint64_t off = rnd(t, FILE_LEN / 2);
	size_t len = (size_t)rnd(t, FILE_LEN / 2) + 1;
	uint8_t b[FILE_LEN];

	if (!is_regular(t, a))
		return;
	memset(b, (int)rnd(t, 256), len);
	compare_results(t, "write", a, "", dw_write(&t->w, a, b, len, off),
	    real_fill(t->real.fd, a, b, len, off));
}

static void
do_truncate(struct twin *t, const char *a)
{
	uint64_t size = rnd(t, FILE_LEN);

	if (is_regular(t, a))
		compare_results(t, "truncate", a, "",
		    dw_truncate(&t->w, a, size),
		    real_truncate(t->real.fd, a, size));
}

static void
do_chmod(struct twin *t, const char *a)
{
	mode_t mode = 0700 | (mode_t)rnd(t, 0100);
	struct stat st;

	if (fstatat(t->real.fd, a, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    !S_ISLNK(st.st_mode))
		compare_results(t, "chmod", a, "", dw_chmod(&t->w, a, mode),
		    result(fchmodat(t->real.fd, a, mode, 0)));
}

static void
one_op(struct twin *t)
{
	char a[PATH_LEN], b[PATH_LEN];
	int fd = t->real.fd;

	random_path(t, a);
	random_path(t, b);
	t->op++;
	if (has_symlink(t, a) || has_symlink(t, b))
		return;
	switch (rnd(t, 14)) {
	case 0:
	case 1:
		compare_results(t, "mkdir", a, "", dw_make(&t->w, a,
		    S_IFDIR | 0777), result(mkdirat(fd, a, 0755)));
		break;
	case 2:
	case 3:
		compare_results(t, "create", a, "", dw_make(&t->w, a,
		    S_IFREG | 0666), result(mknodat(fd, a, S_IFREG | 0644,
		    0)));
		break;
	case 4:
		compare_results(t, "symlink", a, "", dw_symlink(&t->w, a, b),
		    result(symlinkat(b, fd, a)));
		break;
	case 5:
		compare_results(t, "fifo", a, "", dw_make(&t->w, a,
		    S_IFIFO | 0600), result(mknodat(fd, a, S_IFIFO | 0600,
		    0)));
		break;
	case 6:
		compare_results(t, "unlink", a, "", dw_unlink(&t->w, a),
		    result(unlinkat(fd, a, 0)));
		break;
	case 7:
		/* Without its parents the host says another thing. */
		if (strchr(a, '/') != NULL)
			compare_results(t, "rmdir", a, "", dw_rmdir(&t->w, a),
			    result(unlinkat(fd, a, AT_REMOVEDIR)));
		break;
	case 8:
		do_link(t, a, b);
		break;
	case 9:
	case 10:
		if (strchr(a, '/') != NULL && strchr(b, '/') != NULL)
			do_rename(t, a, b);
		break;
	case 11:
		do_write(t, a);
		break;
	case 12:
		do_truncate(t, a);
		break;
	default:
		do_chmod(t, a);
		break;
	}
}

/*
 * Both trees, entry by entry.
 */

struct same_ino {
	uint64_t real, draft;
};

struct comparison {
	struct twin *t;
	struct same_ino inos[4096];
	size_t n;
	unsigned long entries;
};

static void
compare_ino(struct comparison *c, const char *path, uint64_t real,
    uint64_t draft)
{
	size_t i;

	for (i = 0; i < c->n; i++) {
		if ((c->inos[i].real == real) != (c->inos[i].draft == draft))
			fail_msg("%lu: %s: another file", c->t->op, path);
		if (c->inos[i].real == real)
			return;
	}
	assert_true(c->n < ARRAY_SIZE(c->inos));
	c->inos[c->n++] = (struct same_ino){real, draft};
}

static void
compare_content(struct comparison *c, const char *path, size_t size)
{
	static uint8_t a[2 * FILE_LEN], b[2 * FILE_LEN];
	int fd = openat(c->t->real.fd, path, O_RDONLY);

	assert_true(size <= sizeof(a));
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, a, sizeof(a), 0), size);
	close(fd);
	assert_int_equal(dw_read(&c->t->w, path, b, sizeof(b), 0), size);
	if (memcmp(a, b, size) != 0)
		fail_msg("%lu: %s: content differs", c->t->op, path);
}

static void
compare_entry(struct comparison *c, const char *path, const struct stat *real)
{
	struct stat st = dw_stat(&c->t->w, path);

	c->entries++;
	if (st.st_mode != real->st_mode)
		fail_msg("%lu: %s: mode %o, and not %o", c->t->op, path,
		    st.st_mode, real->st_mode);
	if (S_ISDIR(st.st_mode))
		return;
	compare_ino(c, path, real->st_ino, st.st_ino);
	if (st.st_nlink != real->st_nlink || st.st_size != real->st_size)
		fail_msg("%lu: %s: %lu links, %lld bytes, and not %lu, %lld",
		    c->t->op, path, (unsigned long)st.st_nlink,
		    (long long)st.st_size, (unsigned long)real->st_nlink,
		    (long long)real->st_size);
	if (S_ISREG(st.st_mode))
		compare_content(c, path, (size_t)st.st_size);
}

static int
by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* Depth is bounded by that of random paths. */
static void
compare_dir(struct comparison *c, const char *path)
{
	struct str names = {0};
	struct dirent **list;
	char sub[PATH_LEN], *draft;
	struct stat st;
	int i, n;

	n = scandirat(c->t->real.fd, path[0] != '\0' ? path : ".", &list,
	    NULL, by_name);
	assert_true(n >= 0);
	str_add(&names, "");
	for (i = 0; i < n; i++)
		if (strcmp(list[i]->d_name, ".") != 0 &&
		    strcmp(list[i]->d_name, "..") != 0)
			str_addf(&names, "%s ", list[i]->d_name);
	draft = dw_list(&c->t->w, path);
	if (strcmp(draft, str_get(&names)) != 0)
		fail_msg("%lu: %s: has %s and not %s", c->t->op, path, draft,
		    str_get(&names));
	free(draft);
	for (i = 0; i < n; i++) {
		if (strcmp(list[i]->d_name, ".") != 0 &&
		    strcmp(list[i]->d_name, "..") != 0) {
			snprintf(sub, sizeof(sub), "%s%s%s", path,
			    path[0] != '\0' ? "/" : "", list[i]->d_name);
			assert_int_equal(fstatat(c->t->real.fd, sub, &st,
			    AT_SYMLINK_NOFOLLOW), 0);
			compare_entry(c, sub, &st);
			if (S_ISDIR(st.st_mode))
				compare_dir(c, sub);
		}
		free(list[i]);
	}
	free(list);
	str_fini(&names);
}

static unsigned long
compare(struct twin *t)
{
	struct comparison *c = calloc(1, sizeof(*c));
	unsigned long n;

	assert_non_null(c);
	c->t = t;
	compare_dir(c, "");
	n = c->entries;
	free(c);
	return n;
}

/* What draft_world_tree has. */
static void
make_base(struct twin *t)
{
	static const char script[] =
	    "cd %s && umask 022 && mkdir root && cd root && "
	    "for i in 0 1 2 3; do for k in 0 1 2 3; do "
	    "mkdir -p d$i/a$k && chmod 750 d$i/a$k && "
	    "for n in 0 1 2 3; do echo d$i/a$k/f$n >d$i/a$k/f$n; done; "
	    "done; ln d$i/a0/f0 d$i/hard; ln d$i/a0/f0 hard$i; done; "
	    "ln -s d0/a0 sym; printf t >tagged";
	struct str cmd = {0};

	str_addf(&cmd, script, t->real.path);
	assert_int_equal(system(str_get(&cmd)), 0);
	str_fini(&cmd);
	assert_int_equal(dw_unlink(&t->w, "a.conf"), 0);
	assert_int_equal(dw_unlink(&t->w, "disk.img"), 0);
}

/* Now and then a journal is written anew. */
static void
compact(struct twin *t)
{
	uint64_t before;

	if (rnd(t, 2) == 0)
		return;
	before = journal_size(t->w.d->journal);
	t->w.d->compact_at = 0;
	assert_int_equal(draft_compact(t->w.d), 0);
	assert_true(journal_size(t->w.d->journal) < before);
}

struct run {
	int version;		/* of the base; 0: none */
	uint64_t seed;
	unsigned long ops, step;
};

static void
test_random(void **state)
{
	const struct run *run = *state;
	struct twin t = {.seed = run->seed};
	const char *more = getenv("DRAFT_RANDOM");
	int64_t time = T2;
	unsigned long ops = run->ops * (more != NULL ? strtoul(more, NULL, 10)
	                                             : 1);

	umask(0);
	scratch_begin(&t.real);
	draft_world_open(&t.w, run->version > 0 ?
	    draft_world_tree(run->version) : draft_world_empty());
	if (run->version > 0)
		make_base(&t);
	else
		assert_int_equal(result(mkdirat(t.real.fd, "root", 0755)) +
		    dw_make(&t.w, "root", S_IFDIR | 0777), 0);
	assert_true(compare(&t) > 0);
	while (t.op < ops) {
		one_op(&t);
		if (t.op % run->step != 0)
			continue;
		compare(&t);
		if (t.op % (3 * run->step) == 0) {
			assert_int_equal(draft_publish(t.w.d, time++), 0);
			compare(&t);
			if (rnd(&t, 2) == 0)
				continue;
		} else {
			compact(&t);
		}
		draft_world_again(&t.w);
		compare(&t);
	}
	/* Enough of them did something. */
	assert_true(t.ok > ops / 20);
	draft_world_close(&t.w);
	scratch_end(&t.real);
}

int
main(void)
{
	static const struct run none = {0, 1, 10000, 1000};
	static const struct run one = {1, 2, 10000, 1000};
	static const struct run two = {2, 3, 10000, 500};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_prestate(test_random, (void *)(uintptr_t)&none),
	    cmocka_unit_test_prestate(test_random, (void *)(uintptr_t)&one),
	    cmocka_unit_test_prestate(test_random, (void *)(uintptr_t)&two),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
