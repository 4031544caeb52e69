/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/staging.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/num.h"

#include "scratch_dir.h"

#define INO 0x4000100000000abcULL
#define PATH "data/bc/4000100000000abc"

static bool
exists(const struct scratch_dir *d, const char *path)
{
	struct stat st;

	return fstatat(d->fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void
touch(const struct scratch_dir *d, const char *path)
{
	int fd = openat(d->fd, path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static void
made_opened_removed(void **state)
{
	struct scratch_dir d;
	struct stat st;
	char b[3];
	int fd;

	(void)state;
	scratch_begin(&d);
	assert_int_equal(staging_file(d.fd, INO, false), -ENOENT);
	assert_false(exists(&d, "data"));
	assert_int_equal(staging_sync_name(d.fd, INO), -ENOENT);
	assert_int_equal(staging_remove(d.fd, INO), 0);
	fd = staging_file(d.fd, INO, true);
	assert_true(fd >= 0);
	assert_int_equal(fstatat(d.fd, PATH, &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(fstatat(d.fd, "data", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	assert_int_equal(fstatat(d.fd, "data/bc", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	assert_int_equal(pwrite(fd, "abc", 3, 0), 3);
	assert_int_equal(staging_sync_name(d.fd, INO), 0);
	close(fd);
	/* It is not made anew. */
	fd = staging_file(d.fd, INO, true);
	assert_true(fd >= 0);
	assert_int_equal(io_pread_full(fd, b, 3, 0), 0);
	assert_memory_equal(b, "abc", 3);
	close(fd);
	fd = staging_file(d.fd, INO, false);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(staging_remove(d.fd, INO), 0);
	assert_false(exists(&d, PATH));
	assert_int_equal(staging_remove(d.fd, INO), 0);
	assert_int_equal(staging_file(d.fd, INO, false), -ENOENT);
	scratch_end(&d);
}

static void
follows_no_symlink(void **state)
{
	struct scratch_dir d;

	(void)state;
	scratch_begin(&d);
	assert_int_equal(mkdirat(d.fd, "away", 0700), 0);
	assert_int_equal(symlinkat("away", d.fd, "data"), 0);
	assert_true(staging_file(d.fd, INO, true) < 0);
	assert_true(staging_remove(d.fd, INO) < 0);
	assert_int_equal(unlinkat(d.fd, "data", 0), 0);
	assert_int_equal(mkdirat(d.fd, "data", 0700), 0);
	assert_int_equal(symlinkat("../away", d.fd, "data/bc"), 0);
	assert_true(staging_file(d.fd, INO, true) < 0);
	assert_false(exists(&d, "away/4000100000000abc"));
	assert_int_equal(unlinkat(d.fd, "data/bc", 0), 0);
	assert_int_equal(mkdirat(d.fd, "data/bc", 0700), 0);
	assert_int_equal(symlinkat("../../target", d.fd, PATH), 0);
	assert_int_equal(staging_file(d.fd, INO, true), -ELOOP);
	assert_false(exists(&d, "target"));
	assert_int_equal(staging_remove(d.fd, INO), 0);
	assert_int_equal(mkfifoat(d.fd, PATH, 0600), 0);
	assert_int_equal(staging_file(d.fd, INO, false), -EIO);
	scratch_end(&d);
}

static void
punched(void **state)
{
	struct scratch_dir d;
	uint8_t b[6 * 4096];
	struct stat st;
	blkcnt_t all;
	int fd, r;

	(void)state;
	scratch_begin(&d);
	fd = staging_file(d.fd, INO, true);
	memset(b, 'x', sizeof(b));
	assert_int_equal(pwrite(fd, b, sizeof(b), 0), sizeof(b));
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(fstat(fd, &st), 0);
	all = st.st_blocks;
	/* Not one whole block. */
	assert_int_equal(staging_punch(fd, 1, 4096), 0);
	assert_int_equal(staging_punch(fd, 4097, 0), 0);
	assert_int_equal(staging_punch(fd, 0, UINT64_MAX), -EINVAL);
	assert_int_equal(staging_punch(fd, 1, UINT64_MAX), -EINVAL);
	r = staging_punch(fd, 4095, 2 * 4096 + 2);
	if (r == -EOPNOTSUPP) {
		close(fd);
		scratch_end(&d);
		skip();
	}
	assert_int_equal(r, 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, sizeof(b));
	assert_int_equal(all - st.st_blocks, 2 * 4096 / 512);
	assert_int_equal(io_pread_full(fd, b, sizeof(b), 0), 0);
	for (size_t i = 0; i < sizeof(b); i++)
		assert_int_equal(b[i], i / 4096 == 1 || i / 4096 == 2 ? 0
		                                                      : 'x');
	close(fd);
	scratch_end(&d);
}

static bool
keep_even(void *arg, uint64_t ino)
{
	unsigned *asked = arg;

	(*asked)++;
	return ino % 2 == 0;
}

static void
swept(void **state)
{
	/* Not as we name them, or not where they belong. */
	static const char *const others[] = {"data/x", "data/01/note",
	    "data/01/0000000000000101.bak", "data/01/00000000000001A1",
	    "data/01/00000000000001f3", "data/001"};
	struct scratch_dir d;
	unsigned asked = 0;
	char path[64];
	int fd;

	(void)state;
	scratch_begin(&d);
	assert_int_equal(staging_sweep(d.fd, keep_even, &asked), 0);
	for (uint64_t ino = 0; ino < 600; ino++) {
		fd = staging_file(d.fd, ino, true);
		assert_true(fd >= 0);
		close(fd);
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		touch(&d, others[i]);
	assert_int_equal(mkdirat(d.fd, "data/01/0000000000000301", 0700), 0);
	assert_int_equal(mkdirat(d.fd, "away", 0700), 0);
	touch(&d, "away/00000000000003fd");
	assert_int_equal(unlinkat(d.fd, "data/fd/00000000000000fd", 0), 0);
	assert_int_equal(unlinkat(d.fd, "data/fd/00000000000001fd", 0), 0);
	assert_int_equal(unlinkat(d.fd, "data/fd", AT_REMOVEDIR), 0);
	assert_int_equal(symlinkat("../away", d.fd, "data/fd"), 0);

	assert_int_equal(staging_sweep(d.fd, keep_even, &asked), 0);
	assert_int_equal(asked, 600 - 2 + 1);
	for (unsigned ino = 0; ino < 600; ino++) {
		snprintf(path, sizeof(path), "data/%02x/%016x", ino & 0xff,
		    ino);
		assert_int_equal(exists(&d, path), ino % 2 == 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_true(exists(&d, others[i]));
	assert_true(exists(&d, "data/01/0000000000000301"));
	assert_true(exists(&d, "away/00000000000003fd"));
	scratch_end(&d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(made_opened_removed),
	    cmocka_unit_test(follows_no_symlink),
	    cmocka_unit_test(punched),
	    cmocka_unit_test(swept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
