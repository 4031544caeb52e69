/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

#include "../cm.h"

/* Each test has an empty directory; *state is its descriptor. */
static int
setup(void **state)
{
	char name[] = "/tmp/pbs3fs-io-XXXXXX";
	int *fd = malloc(sizeof(*fd));

	if (fd == NULL || mkdtemp(name) == NULL)
		return -1;
	*fd = open(name, O_RDONLY | O_DIRECTORY);
	*state = fd;
	return *fd < 0;
}

static int
teardown(void **state)
{
	char link[64], name[4096];
	int *fd = *state;
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", *fd);
	n = readlink(link, name, sizeof(name) - 1);
	close(*fd);
	free(fd);
	if (n < 0)
		return -1;
	name[n] = '\0';
	return io_remove_tree(AT_FDCWD, name);
}

static unsigned
entries(int dirfd, const char *path)
{
	DIR *d = fdopendir(openat(dirfd, path, O_RDONLY | O_DIRECTORY));
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n - 2;
}

static int
put(int dirfd, const char *path, const char *text, unsigned flags)
{
	struct iovec iov[2] = {
	    {.iov_base = (char[]){""}, .iov_len = 0},
	    {.iov_len = strlen(text)},
	};
	char copy[64];

	snprintf(copy, sizeof(copy), "%s", text);
	iov[1].iov_base = copy;
	return io_replace(dirfd, path, iov, 2, 0640, flags);
}

static void
expect_content(int dirfd, const char *path, const char *text)
{
	struct buf *b = NULL;

	assert_int_equal(io_read_file(dirfd, path, 100, &b), 0);
	assert_int_equal(b->len, strlen(text));
	assert_memory_equal(b->data, text, b->len);
	buf_unref(b);
}

static void
reads_and_writes_fully(void **state)
{
	int p[2], fd;
	char b[8];

	(void)state;
	assert_int_equal(pipe(p), 0);
	assert_int_equal(io_write_full(p[1], "abcdef", 6), 0);
	assert_int_equal(io_read_full(p[0], b, 4), 0);
	assert_memory_equal(b, "abcd", 4);
	close(p[1]);
	assert_int_equal(io_read_full(p[0], b, 4), -ENODATA);
	assert_int_equal(io_read_full(p[0], b, 0), 0);
	close(p[0]);
	assert_int_equal(io_read_full(-1, b, 1), -EBADF);
	assert_int_equal(io_write_full(-1, b, 1), -EBADF);
	fd = open("/dev/full", O_WRONLY);
	if (fd >= 0) {
		assert_int_equal(io_write_full(fd, "x", 1), -ENOSPC);
		close(fd);
	}
}

static void
reads_at_offsets(void **state)
{
	int dir = *(int *)*state, fd;
	char b[4] = "";

	assert_int_equal(put(dir, "f", "0123456789", 0), 0);
	fd = openat(dir, "f", O_RDONLY);
	assert_int_equal(io_pread_full(fd, b, 3, 7), 0);
	assert_string_equal(b, "789");
	assert_int_equal(io_pread_full(fd, b, 3, 8), -ENODATA);
	assert_int_equal(io_pread_full(fd, b, 3, -1), -EINVAL);
	close(fd);
}

static void
reads_whole_files(void **state)
{
	int dir = *(int *)*state;
	struct buf *b = NULL;

	assert_int_equal(put(dir, "f", "12345", 0), 0);
	assert_int_equal(io_read_file(dir, "f", 5, &b), 0);
	assert_int_equal(b->len, 5);
	buf_unref(b);
	b = NULL;
	assert_int_equal(io_read_file(dir, "f", 4, &b), -EFBIG);
	assert_int_equal(io_read_file(dir, "none", 4, &b), -ENOENT);
	assert_int_equal(put(dir, "empty", "", 0), 0);
	assert_int_equal(symlinkat("f", dir, "link"), 0);
	assert_int_equal(io_read_file(dir, "link", 100, &b), -ELOOP);
	assert_int_equal(io_read_file(dir, ".", 100, &b), -EISDIR);
	/* A fifo without a writer must not hang us. */
	assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
	assert_int_equal(io_read_file(dir, "fifo", 100, &b), -EINVAL);
	assert_null(b);
	assert_int_equal(io_read_file(dir, "empty", 0, &b), 0);
	assert_int_equal(b->len, 0);
	buf_unref(b);
}

/* Their size is said to be 0: only reading tells. */
static void
reads_files_that_grow(void **state)
{
	struct buf *b = NULL;

	(void)state;
	assert_int_equal(io_read_file(AT_FDCWD, "/proc/self/stat", 4096, &b),
	    0);
	assert_true(b->len > 20);
	buf_unref(b);
	b = NULL;
	assert_int_equal(io_read_file(AT_FDCWD, "/proc/self/stat", 10, &b),
	    -EFBIG);
}

static void
replaces_atomically(void **state)
{
	int dir = *(int *)*state, before;
	struct stat st;
	char b[4] = "";

	umask(077);
	assert_int_equal(put(dir, "f", "old", IO_SYNC), 0);
	before = openat(dir, "f", O_RDONLY);
	assert_int_equal(put(dir, "f", "new", IO_SYNC), 0);
	umask(022);
	expect_content(dir, "f", "new");
	/* Who had the old file open still has the old content. */
	assert_int_equal(io_pread_full(before, b, 3, 0), 0);
	assert_string_equal(b, "old");
	close(before);
	assert_int_equal(fstatat(dir, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(entries(dir, "."), 1);
}

static void
does_not_replace_if_told(void **state)
{
	int dir = *(int *)*state;

	assert_int_equal(put(dir, "f", "one", IO_NOREPLACE), 0);
	assert_int_equal(put(dir, "f", "two", IO_NOREPLACE), -EEXIST);
	expect_content(dir, "f", "one");
	/* Nothing is left lying about. */
	assert_int_equal(entries(dir, "."), 1);
	assert_int_equal(symlinkat("nowhere", dir, "l"), 0);
	assert_int_equal(put(dir, "l", "x", IO_NOREPLACE), -EEXIST);
}

static void
failed_replace_leaves_nothing(void **state)
{
	int dir = *(int *)*state;

	assert_int_equal(mkdirat(dir, "d", 0755), 0);
	assert_int_equal(put(dir, "d", "x", 0), -EISDIR);
	assert_int_equal(entries(dir, "."), 1);
	assert_int_equal(put(dir, "no/such/f", "x", 0), -ENOENT);
	assert_int_equal(put(dir, "d/f/", "x", 0), -ENOENT);
	assert_int_equal(entries(dir, "d"), 0);
}

static void
makes_directories(void **state)
{
	int dir = *(int *)*state;
	struct stat st;

	assert_int_equal(put(dir, "a/b/c/f", "deep", IO_MKDIRS | IO_SYNC), 0);
	expect_content(dir, "a/b/c/f", "deep");
	assert_int_equal(io_mkdirs(dir, "a/b/x//y/", 0700), 0);
	assert_int_equal(fstatat(dir, "a/b/x/y", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(io_mkdirs(dir, "a/b", 0700), 0);
	assert_int_equal(io_mkdirs(dir, "a/b/c/f", 0700), -ENOTDIR);
	assert_int_equal(io_mkdirs(dir, "a/b/c/f/g", 0700), -ENOTDIR);
	assert_int_equal(io_mkdirs(dir, "", 0700), -ENOENT);
	assert_int_equal(io_mkdirs(AT_FDCWD, "/", 0700), 0);
	assert_int_equal(io_fsync_dir(dir, "a/b"), 0);
	assert_int_equal(io_fsync_dir(dir, "a/none"), -ENOENT);
}

static void
removes_trees(void **state)
{
	int dir = *(int *)*state;

	assert_int_equal(put(dir, "keep", "kept", 0), 0);
	assert_int_equal(put(dir, "t/a/b/f", "x", IO_MKDIRS), 0);
	assert_int_equal(put(dir, "t/a/c/f", "x", IO_MKDIRS), 0);
	assert_int_equal(put(dir, "t/z", "x", 0), 0);
	assert_int_equal(symlinkat("../../keep", dir, "t/a/link"), 0);
	assert_int_equal(symlinkat("../..", dir, "t/a/up"), 0);
	assert_int_equal(io_remove_tree(dir, "t"), 0);
	assert_int_equal(entries(dir, "."), 1);
	expect_content(dir, "keep", "kept");
	assert_int_equal(io_remove_tree(dir, "t"), 0);
	assert_int_equal(symlinkat("keep", dir, "l"), 0);
	assert_int_equal(io_remove_tree(dir, "l"), 0);
	assert_int_equal(entries(dir, "."), 1);
	assert_int_equal(io_remove_tree(dir, "keep/x"), -ENOTDIR);
}

/* Deeper than any limit on descriptors or path length. */
static void
removes_deep_trees(void **state)
{
	int dir = *(int *)*state, fd = dup(dir);
	struct rlimit old, low;

	for (int i = 0; i < 3000; i++) {
		int next;

		assert_int_equal(mkdirat(fd, "deeper", 0700), 0);
		next = openat(fd, "deeper", O_RDONLY | O_DIRECTORY);
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	close(fd);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = 64;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	assert_int_equal(io_remove_tree(dir, "deeper"), 0);
	setrlimit(RLIMIT_NOFILE, &old);
	assert_int_equal(entries(dir, "."), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static void
private_directories(void **state)
{
	char dir[] = "/tmp/io-XXXXXX";
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(io_check_private(fd), 0);
	assert_int_equal(fchmod(fd, 0755), 0);
	assert_int_equal(io_check_private(fd), 0);
	assert_int_equal(fchmod(fd, 0775), 0);
	assert_int_equal(io_check_private(fd), -EPERM);
	assert_int_equal(fchmod(fd, 01777), 0);
	assert_int_equal(io_check_private(fd), -EPERM);
	assert_int_equal(fchmod(fd, 0700), 0);
	/* Only root can give it away. */
	if (fchown(fd, 65534, (gid_t)-1) == 0)
		assert_int_equal(io_check_private(fd), -EPERM);
	close(fd);
	assert_int_equal(rmdir(dir), 0);
}

static int
note_name(void *arg, int dir, const struct dirent *e)
{
	char *names = arg;

	assert_int_equal(faccessat(dir, e->d_name, F_OK, 0), 0);
	strcat(names, e->d_name);
	return e->d_name[0] == 'z' ? 42 : 0;
}

static int
open_dir(int at)
{
	return openat(at, ".", O_RDONLY | O_DIRECTORY);
}

static void
reads_directories(void **state)
{
	int at = *(int *)*state, fd;
	char names[64] = "";

	assert_int_equal(io_read_dir(open_dir(at), note_name, names), 0);
	assert_string_equal(names, "");
	assert_int_equal(mkdirat(at, "..z", 0700), 0);
	assert_int_equal(io_read_dir(open_dir(at), note_name, names), 0);
	assert_string_equal(names, "..z");
	assert_int_equal(mkdirat(at, "z", 0700), 0);
	assert_int_equal(io_read_dir(open_dir(at), note_name, names), 42);
	/* Not a directory; the descriptor is taken over all the same. */
	fd = open("/dev/null", O_RDONLY);
	assert_int_equal(io_read_dir(fd, note_name, names), -ENOTDIR);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(reads_and_writes_fully),
	    T(reads_at_offsets),
	    T(reads_whole_files),
	    T(reads_files_that_grow),
	    T(replaces_atomically),
	    T(does_not_replace_if_told),
	    T(failed_replace_leaves_nothing),
	    T(makes_directories),
	    T(reads_directories),
	    T(removes_trees),
	    T(removes_deep_trees),
	    T(private_directories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
