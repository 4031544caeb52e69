/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * A disk that fails.  The linker puts these wrappers before the calls of the
 * journal.
 */
#include "draft/journal.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/num.h"

#include "scratch_dir.h"

static int fail_fallocate, fail_pwrite, fail_fsync, fail_fdatasync,
    fail_rename;	/* errno, or 0 */
static size_t pwrite_max;	/* bytes a call writes at most; 0: any */
static off_t last_len;		/* that fallocate was asked for */
static bool disk_full;		/* as statvfs tells */
static unsigned fdatasyncs;

int __real_fallocate(int fd, int mode, off_t off, off_t len);
ssize_t __real_pwrite(int fd, const void *p, size_t len, off_t off);
int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __real_renameat(int from, const char *a, int to, const char *b);
int __real_fstatvfs(int fd, struct statvfs *v);
int __wrap_fallocate(int fd, int mode, off_t off, off_t len);
ssize_t __wrap_pwrite(int fd, const void *p, size_t len, off_t off);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_renameat(int from, const char *a, int to, const char *b);
int __wrap_fstatvfs(int fd, struct statvfs *v);

static int
failed(int err)
{
	errno = err;
	return -1;
}

int
__wrap_fallocate(int fd, int mode, off_t off, off_t len)
{
	last_len = len;
	/* As a disk on which a little is left. */
	if (fail_fallocate == ENOSPC && len < 4096)
		return __real_fallocate(fd, mode, off, len);
	return fail_fallocate != 0 ? failed(fail_fallocate)
	                           : __real_fallocate(fd, mode, off, len);
}

ssize_t
__wrap_pwrite(int fd, const void *p, size_t len, off_t off)
{
	if (fail_pwrite != 0)
		return failed(fail_pwrite);
	if (pwrite_max > 0)
		len = MIN(len, pwrite_max);
	return __real_pwrite(fd, p, len, off);
}

int
__wrap_fsync(int fd)
{
	struct stat st;

	/* Only of the directory. */
	if (fail_fsync != 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		return failed(fail_fsync);
	return __real_fsync(fd);
}

int
__wrap_fdatasync(int fd)
{
	fdatasyncs++;
	return fail_fdatasync != 0 ? failed(fail_fdatasync)
	                           : __real_fdatasync(fd);
}

int
__wrap_renameat(int from, const char *a, int to, const char *b)
{
	return fail_rename != 0 ? failed(fail_rename)
	                        : __real_renameat(from, a, to, b);
}

int
__wrap_fstatvfs(int fd, struct statvfs *v)
{
	int r = __real_fstatvfs(fd, v);

	if (disk_full)
		v->f_bavail = 0;
	return r;
}

static int
begin(void **state)
{
	static struct scratch_dir s;

	fail_fallocate = fail_pwrite = fail_fsync = fail_fdatasync =
	    fail_rename = 0;
	pwrite_max = 0;
	disk_full = false;
	scratch_begin(&s);
	*state = &s;
	return 0;
}

static int
end(void **state)
{
	scratch_end(*state);
	return 0;
}

static int
count(void *arg, const void *p, size_t len)
{
	size_t *n = arg;

	(void)p;
	*n += len;
	return 0;
}

static struct journal *
opened(const struct scratch_dir *s, size_t want)
{
	struct journal *j;
	size_t n = 0;

	assert_int_equal(journal_open(s->fd, "journal", count, &n, &j), 0);
	assert_int_equal(n, want);
	return j;
}

static int
try_add(struct journal *j, size_t len)
{
	static const char zeros[MIB];
	uint64_t seq;

	return journal_add(j, zeros, len, &seq);
}

static void
a_full_disk_is_told_at_once(void **state)
{
	struct journal *j = opened(*state, 0);
	uint64_t size = journal_size(j);

	fail_fallocate = ENOSPC;
	assert_int_equal(try_add(j, MIB), -ENOSPC);
	assert_int_equal(journal_size(j), size);
	/* The last bytes are used, too. */
	assert_int_equal(try_add(j, 10), 0);
	assert_true(last_len < 4096);
	fail_fallocate = EDQUOT;
	assert_int_equal(try_add(j, 10), -EDQUOT);
	fail_fallocate = EIO;
	assert_int_equal(try_add(j, 10), -EIO);
	/* Nothing of that lasts. */
	fail_fallocate = 0;
	assert_int_equal(try_add(j, 20), 0);
	assert_int_equal(journal_commit(j, 0), 0);
	journal_close(j);
	journal_close(opened(*state, 30));
}

static void
room_is_set_aside_ahead(void **state)
{
	const struct scratch_dir *s = *state;
	struct journal *j = opened(*state, 0);
	struct stat st;

	assert_int_equal(try_add(j, 1), 0);
	/* Now a full disk does not hurt for a while. */
	fail_fallocate = ENOSPC;
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(try_add(j, 8000), 0);
	assert_int_equal(journal_commit(j, 0), 0);
	assert_int_equal(fstatat(s->fd, "journal", &st, 0), 0);
	assert_int_equal(st.st_size, journal_size(j));
	assert_true(st.st_blocks >= (blkcnt_t)(MIB / 512));
	journal_close(j);
	/* What was not needed is given back. */
	assert_int_equal(fstatat(s->fd, "journal", &st, 0), 0);
	assert_true(st.st_blocks < (blkcnt_t)(MIB / 512));
	journal_close(opened(*state, 800001));
}

static void
where_no_room_can_be_set_aside(void **state)
{
	struct journal *j = opened(*state, 0);

	fail_fallocate = EOPNOTSUPP;
	assert_int_equal(try_add(j, 10), 0);
	last_len = -1;
	assert_int_equal(try_add(j, 10), 0);
	/* It does not ask again. */
	assert_int_equal(last_len, -1);
	disk_full = true;
	assert_int_equal(try_add(j, 10), -ENOSPC);
	disk_full = false;
	assert_int_equal(try_add(j, 10), 0);
	assert_int_equal(journal_sync(j, 0), 0);
	journal_close(j);
	journal_close(opened(*state, 30));
}

static void
written_in_bits(void **state)
{
	struct journal *j = opened(*state, 0);

	pwrite_max = 7;
	assert_int_equal(try_add(j, 100), 0);
	assert_int_equal(journal_commit(j, 0), 0);
	journal_close(j);
	journal_close(opened(*state, 100));
}

static void
a_failed_write_is_for_ever(void **state)
{
	struct journal *j = opened(*state, 0);
	size_t one = 1;

	assert_int_equal(try_add(j, 10), 0);
	assert_int_equal(journal_commit(j, 0), 0);
	assert_int_equal(try_add(j, 20), 0);
	fail_pwrite = ENOSPC;
	assert_int_equal(journal_commit(j, 0), -EIO);
	fail_pwrite = 0;
	assert_int_equal(journal_commit(j, 0), -EIO);
	assert_int_equal(journal_sync(j, 0), -EIO);
	assert_int_equal(try_add(j, 1), -EIO);
	assert_int_equal(journal_rewrite(j, "x", &one, 1), -EIO);
	/* What had been answered before is as true as it was. */
	assert_int_equal(journal_commit(j, 1), 0);
	journal_close(j);
	journal_close(opened(*state, 10));
}

static void
a_failed_sync_is_for_ever(void **state)
{
	struct journal *j = opened(*state, 0);

	assert_int_equal(try_add(j, 10), 0);
	fail_fdatasync = EIO;
	assert_int_equal(journal_sync(j, 0), -EIO);
	fail_fdatasync = 0;
	assert_int_equal(journal_sync(j, 0), -EIO);
	assert_int_equal(try_add(j, 1), -EIO);
	journal_close(j);
	journal_close(opened(*state, 10));
}

static void
synced_once(void **state)
{
	struct journal *j = opened(*state, 0);

	fdatasyncs = 0;
	assert_int_equal(journal_sync(j, 0), 0);
	assert_int_equal(fdatasyncs, 0);
	assert_int_equal(try_add(j, 10), 0);
	assert_int_equal(journal_commit(j, 0), 0);
	assert_int_equal(fdatasyncs, 0);
	assert_int_equal(journal_sync(j, 0), 0);
	assert_int_equal(journal_sync(j, 0), 0);
	assert_int_equal(fdatasyncs, 1);
	journal_close(j);
	/* Of what an earlier process wrote nothing is known. */
	j = opened(*state, 10);
	assert_int_equal(journal_sync(j, 0), 0);
	assert_int_equal(fdatasyncs, 2);
	journal_close(j);
}

static void
a_failed_rewrite_changes_nothing(void **state)
{
	const struct scratch_dir *s = *state;
	struct journal *j = opened(*state, 0);
	size_t five = 5;
	struct stat st;

	assert_int_equal(try_add(j, 10), 0);
	fail_pwrite = ENOSPC;
	assert_int_equal(journal_rewrite(j, "12345", &five, 1), -ENOSPC);
	fail_pwrite = 0;
	fail_rename = EIO;
	assert_int_equal(journal_rewrite(j, "12345", &five, 1), -EIO);
	fail_rename = 0;
	assert_int_equal(fstatat(s->fd, "journal.new", &st, 0), -1);
	assert_int_equal(try_add(j, 20), 0);
	assert_int_equal(journal_commit(j, 0), 0);
	journal_close(j);
	journal_close(opened(*state, 30));
}

static void
a_name_that_may_not_last(void **state)
{
	struct journal *j = opened(*state, 0);
	size_t five = 5;

	fail_fsync = EIO;
	assert_int_equal(journal_rewrite(j, "12345", &five, 1), -EIO);
	fail_fsync = 0;
	assert_int_equal(try_add(j, 1), -EIO);
	journal_close(j);
}

static void
cannot_be_created(void **state)
{
	const struct scratch_dir *s = *state;
	struct journal *j;
	struct stat st;
	size_t n = 0;

	fail_pwrite = ENOSPC;
	assert_int_equal(journal_open(s->fd, "journal", count, &n, &j),
	    -ENOSPC);
	fail_pwrite = 0;
	fail_rename = EACCES;
	assert_int_equal(journal_open(s->fd, "journal", count, &n, &j),
	    -EACCES);
	assert_int_equal(fstatat(s->fd, "journal", &st, 0), -1);
	assert_int_equal(fstatat(s->fd, "journal.new", &st, 0), -1);
	fail_rename = 0;
	journal_close(opened(*state, 0));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_full_disk_is_told_at_once),
	    TEST(room_is_set_aside_ahead),
	    TEST(where_no_room_can_be_set_aside),
	    TEST(written_in_bits),
	    TEST(a_failed_write_is_for_ever),
	    TEST(a_failed_sync_is_for_ever),
	    TEST(synced_once),
	    TEST(a_failed_rewrite_changes_nothing),
	    TEST(a_name_that_may_not_last),
	    TEST(cannot_be_created),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
