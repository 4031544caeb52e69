/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/backends.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/num.h"
#include "base/str.h"
#include "pbs/blob.h"
#include "scratch.h"
#include "store/dir.h"
#include "store/store.h"
#include "suite.h"

#include "../cm.h"

#define TIME "2024-01-01T00:00:00Z"
#define DIGEST                                                                 \
	"abcd000000000000000000000000000000000000000000000000000000000001"
#define CHUNK_KEY ".chunks/abcd/" DIGEST

static const struct store_put absent = {.if_absent = true};

static struct store *
open_dir(const char *base)
{
	struct store *s;

	assert_int_equal(store_dir_new(base, &s), 0);
	return s;
}

static void
file(const char *base, const char *name, const char *text)
{
	scratch_write(scratch_path(base, name), text, strlen(text));
}

static void
directory(const char *base, const char *name)
{
	assert_int_equal(
	    io_mkdirs(AT_FDCWD, scratch_path(base, name), 0755), 0);
}

static mode_t
mode_of(const char *base, const char *name)
{
	struct stat st;

	assert_int_equal(lstat(scratch_path(base, name), &st), 0);
	return st.st_mode & 07777;
}

static void
the_layout_is_the_servers(void **state)
{
	struct store *s = open_dir(*state);

	file(*state, "vm/100/owner", "root@pam\n");
	file(*state, "vm/100/" TIME "/index.json.blob", "m");
	file(*state, "vm/100/" TIME "/.protected", "");
	file(*state, "ns/a/ns/b/host/h/owner", "o");
	file(*state, ".chunks/abcd/" DIGEST, "chunk");
	file(*state, ".chunks/abcd/" DIGEST ".0.bad", "bad");
	must_have(s, ".cnt/vm/100/owner", "root@pam\n");
	must_have(s, CHUNK_KEY, "chunk");
	must_have(s, ".cnt/ns/a/ns/b/.namespace", "");
	must_list(s, "", NULL,
	    CHUNK_KEY " " CHUNK_KEY ".0.bad "
		      ".cnt/ns/a/.namespace .cnt/ns/a/ns/b/.namespace "
		      ".cnt/ns/a/ns/b/host/h/owner "
		      ".cnt/vm/100/" TIME "/.protected "
		      ".cnt/vm/100/" TIME "/index.json.blob "
		      ".cnt/vm/100/owner");
	must_put(s, ".cnt/ct/5/" TIME "/a.blob", "x");
	must_put(s, ".in-use", "y");
	must_put(s, ".chunks/0123/x", "z");
	assert_int_equal(mode_of(*state, "ct/5/" TIME "/a.blob"), 0644);
	assert_int_equal(mode_of(*state, "ct/5/" TIME), 0755);
	assert_int_equal(mode_of(*state, ".chunks/0123"), 0750);
	assert_int_equal(mode_of(*state, ".chunks/0123/x"), 0644);
	assert_int_equal(mode_of(*state, ".pbs3fs/objects/.in-use"), 0644);
	store_free(s);
}

static void
what_is_no_object_is_left_out(void **state)
{
	static const char *const others[] = {".lock", ".gc-status", "README",
	    "lost+found/x", "vm/.hidden/x", "vm/100/.index.json.lck",
	    "vm/100/" TIME "/index.json.tmp_Ab12Cd",
	    "vm/100/" TIME "/index.json.blob.tmp_Ab12Cd",
	    "vm/100/" TIME "/x.img.tmp_fidx", "vm/100/" TIME "/x.pxar.tmp_didx",
	    "vm/100/" TIME "/x.tmp", "vm/100/" TIME "/.tmp_0123456789abcdef",
	    ".chunks/abcd/.tmp_0", ".chunks/abcd/" DIGEST ".tmp_Ab12Cd",
	    ".chunks/x", ".chunks/lost+found/x", ".chunks/ABCD/x", "ns/x",
	    "ns/.hidden/vm/1/owner", "ns/a/README", "data/vm/1/owner"};
	struct store *s = open_dir(*state);

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		file(*state, others[i], "x");
	/* Empty chunks: a server's mark, or what a crash has left. */
	file(*state, ".chunks/abcd/" DIGEST, "");
	file(*state, ".chunks/abcd/" DIGEST ".using", "");
	must_list(s, "", NULL, ".cnt/ns/a/.namespace");
	must_lack(s, CHUNK_KEY);
	must_lack(s, CHUNK_KEY ".using");
	must_lack(s, ".cnt/.lock");
	must_lack(s, ".cnt/README");
	must_lack(s, ".cnt/vm/.hidden/x");
	must_lack(s, ".cnt/vm/100/" TIME "/x.tmp");
	must_lack(s, ".cnt/.chunks/abcd/x");
	must_lack(s, ".lock");
	assert_int_equal(
	    store_put(s, ".cnt/.lock", "x", 1, NULL, NULL), -EINVAL);
	assert_int_equal(
	    store_put(s, ".cnt/README", "x", 1, NULL, NULL), -EINVAL);
	assert_int_equal(
	    store_put(s, ".chunks/x", "x", 1, NULL, NULL), -EINVAL);
	store_free(s);
}

static void
empty_directories_are_no_harm(void **state)
{
	struct store *s = open_dir(*state);

	directory(*state, "vm/100/" TIME);
	directory(*state, "ns/empty");
	directory(*state, "ns/deep/ns/er/host");
	directory(*state, ".chunks/abcd");
	must_list(s, "", NULL,
	    ".cnt/ns/deep/.namespace .cnt/ns/deep/ns/er/.namespace "
	    ".cnt/ns/empty/.namespace");
	store_free(s);
}

static void
symlinks_are_never_followed(void **state)
{
	struct store *s = open_dir(*state);
	const char *key = ".cnt/vm/100/owner";

	file(*state, "vm/100/owner", "real");
	file(*state, "secret/owner", "secret");
	file(*state, "secret/" DIGEST, "secret");
	assert_int_equal(
	    symlink("../../secret/owner", scratch_path(*state, "vm/100/notes")),
	    0);
	assert_int_equal(
	    symlink("../secret", scratch_path(*state, "vm/101")), 0);
	assert_int_equal(symlink("vm", scratch_path(*state, "ct")), 0);
	directory(*state, ".chunks");
	assert_int_equal(
	    symlink("../secret", scratch_path(*state, ".chunks/abcd")), 0);
	must_list(s, "", NULL, ".cnt/vm/100/owner");
	must_have(s, key, "real");
	must_lack(s, ".cnt/vm/100/notes");
	must_lack(s, ".cnt/vm/101/owner");
	must_lack(s, ".cnt/ct/100/owner");
	must_lack(s, CHUNK_KEY);
	assert_true(store_put(s, ".cnt/vm/101/owner", "x", 1, NULL, NULL) < 0);
	assert_true(store_put(s, CHUNK_KEY, "x", 1, NULL, NULL) < 0);
	assert_int_equal(store_delete(s, (const char *[]){".cnt/vm/101/owner"},
			     1, NULL, NULL, 0),
	    0);
	/* A link in the place of an object is replaced, not written to. */
	must_put(s, ".cnt/vm/100/notes", "new");
	must_have(s, ".cnt/vm/100/notes", "new");
	assert_int_equal(access(scratch_path(*state, "secret/owner"), F_OK), 0);
	store_free(s);
}

static void
pipes_and_devices_do_not_block(void **state)
{
	struct store *s = open_dir(*state);

	directory(*state, "vm/100");
	assert_int_equal(mkfifo(scratch_path(*state, "vm/100/owner"), 0644), 0);
	must_lack(s, ".cnt/vm/100/owner");
	must_list(s, "", NULL, "");
	store_free(s);
}

static int
stat_each(void *arg, const char *key, const struct store_object *o)
{
	(void)key;
	(void)o;
	++*(int *)arg;
	return 0;
}

static void
nested_without_end(void **state)
{
	struct store *s = open_dir(*state);
	int fd, n = 0;

	/* Deeper than a path may be long. */
	directory(*state, "vm");
	fd = open(scratch_path(*state, "vm"), O_RDONLY | O_DIRECTORY);
	for (int i = 0; i < 600; i++) {
		int sub;

		assert_int_equal(mkdirat(fd, "deeper", 0755), 0);
		sub = openat(fd, "deeper", O_RDONLY | O_DIRECTORY);
		close(fd);
		fd = sub;
	}
	close(fd);
	file(*state, "vm/deeper/deeper/owner", "x");
	must_list(s, "", NULL, ".cnt/vm/deeper/deeper/owner");
	assert_int_equal(store_list(s, ".cnt/", NULL, stat_each, &n), 0);
	store_free(s);
}

/* A blob of the kind, with len bytes in all. */
static struct buf *
blob(const char *magic_hex, size_t len)
{
	struct buf *b = buf_new(len);

	memset(b->data, 0, len);
	assert_int_equal(hex_decode(b->data, 8, magic_hex), 0);
	return b;
}

#define PLAIN "42ab3807be8370a1"
#define ZSTD "31b958426fb6a37f"
#define ENC "7b6785be222d4cf0"

static int
put_blob(struct store *s, const char *magic, size_t len)
{
	struct buf *b = blob(magic, len);
	int r = store_put(s, CHUNK_KEY, b->data, b->len, &absent, NULL);

	buf_unref(b);
	return r;
}

static uint64_t
size_of(struct store *s)
{
	struct store_object o;

	assert_int_equal(store_stat(s, CHUNK_KEY, 0, &o), 0);
	return o.size;
}

static void
chunks_are_inserted_by_the_servers_rules(void **state)
{
	const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 2000}};
	const char *path = ".chunks/abcd/" DIGEST;
	struct store *s = open_dir(*state);
	struct stat st;

	assert_int_equal(put_blob(s, PLAIN, 100), 0);
	assert_int_equal(
	    utimensat(AT_FDCWD, scratch_path(*state, path), old, 0), 0);
	/* The same again: it is used, which garbage collection must see. */
	assert_int_equal(put_blob(s, PLAIN, 100), 1);
	assert_int_equal(stat(scratch_path(*state, path), &st), 0);
	assert_true(st.st_atim.tv_sec > 1000);
	assert_int_equal(st.st_mtim.tv_sec, 2000);
	/* The smaller encoding stays. */
	assert_int_equal(put_blob(s, PLAIN, 120), 1);
	assert_int_equal(size_of(s), 100);
	assert_int_equal(put_blob(s, ZSTD, 80), 0);
	assert_int_equal(size_of(s), 80);
	/* A plain one never stands in for an encrypted one. */
	assert_int_equal(put_blob(s, ENC, 60), -EBADMSG);
	assert_int_equal(size_of(s), 80);
	/* An empty file is none. */
	file(*state, path, "");
	assert_int_equal(put_blob(s, ENC, 90), 0);
	assert_int_equal(put_blob(s, PLAIN, 70), 0);
	assert_int_equal(size_of(s), 70);
	assert_int_equal(store_put(s, CHUNK_KEY, "", 0, NULL, NULL), -EINVAL);
	store_free(s);
}

static void
groups_go_with_their_last_file(void **state)
{
	const char *keys[] = {
	    ".cnt/vm/100/" TIME "/a.blob", ".cnt/vm/100/owner"};
	struct store *s = open_dir(*state);

	must_put(s, keys[0], "x");
	must_put(s, keys[1], "x");
	assert_int_equal(store_delete(s, keys, 1, NULL, NULL, 0), 0);
	assert_int_equal(
	    access(scratch_path(*state, "vm/100/" TIME), F_OK), -1);
	assert_int_equal(access(scratch_path(*state, "vm/100"), F_OK), 0);
	assert_int_equal(store_delete(s, keys + 1, 1, NULL, NULL, 0), 0);
	assert_int_equal(access(scratch_path(*state, "vm/100"), F_OK), -1);
	assert_int_equal(access(scratch_path(*state, "vm"), F_OK), 0);
	store_free(s);
}

static void
told(void *arg, const char *key, const char *why)
{
	assert_string_equal(key, ".cnt/ns/a/.namespace");
	assert_non_null(why);
	++*(int *)arg;
}

static void
a_namespace_in_use_stays(void **state)
{
	const char *mark = ".cnt/ns/a/.namespace";
	struct store *s = open_dir(*state);
	int n = 0;

	must_put(s, ".cnt/ns/a/vm/1/owner", "x");
	assert_true(store_delete(s, &mark, 1, told, &n, 0) < 0);
	assert_int_equal(n, 1);
	must_have(s, ".cnt/ns/a/vm/1/owner", "x");
	must_have(s, mark, "");
	assert_int_equal(store_put(s, mark, "", 0, &absent, NULL), 1);
	assert_int_equal(store_put(s, mark, "x", 1, NULL, NULL), -EINVAL);
	store_free(s);
}

static int
one_key(void *arg, const char *key, const struct store_object *o)
{
	(void)o;
	snprintf(arg, 100, "%s", key);
	return 1;
}

static void
all_chunk_directories_are_listed_in_order(void **state)
{
	struct store *s = open_dir(*state);
	char name[100], got[100];
	int n = 0;

	for (unsigned i = 0; i < 65536; i += 64) {
		snprintf(name, sizeof(name), ".chunks/%04x", i);
		directory(*state, name);
		if (i % 4096 == 0) {
			strcat(name, "/x");
			file(*state, name, "x");
		}
	}
	assert_int_equal(store_list(s, ".chunks/", NULL, stat_each, &n), 0);
	assert_int_equal(n, 16);
	assert_int_equal(
	    store_list(s, ".chunks/", ".chunks/8000/x", one_key, got), 1);
	assert_string_equal(got, ".chunks/9000/x");
	store_free(s);
}

/* While the listing is at the first, the others vanish. */
static int
remove_others(void *arg, const char *key, const struct store_object *o)
{
	const char *const *base = arg;

	(void)o;
	assert_string_equal(key, ".cnt/vm/1/owner");
	(void)io_remove_tree(AT_FDCWD, scratch_path(*base, "vm/2"));
	(void)io_remove_tree(AT_FDCWD, scratch_path(*base, "vm/3"));
	return 0;
}

static void
what_vanishes_meanwhile_is_left_out(void **state)
{
	struct store *s = open_dir(*state);

	file(*state, "vm/1/owner", "x");
	file(*state, "vm/2/owner", "x");
	file(*state, "vm/3/" TIME "/a.blob", "x");
	assert_int_equal(store_list(s, "", NULL, remove_others, state), 0);
	store_free(s);
}

static void
no_such_datastore(void **state)
{
	struct store *s = NULL;

	assert_int_equal(
	    store_dir_new(scratch_path(*state, "none"), &s), -ENOENT);
	file(*state, "file", "x");
	assert_int_equal(
	    store_dir_new(scratch_path(*state, "file"), &s), -ENOTDIR);
	assert_null(s);
}

static struct timespec
accessed(const char *base, const char *name)
{
	struct stat st;

	assert_int_equal(lstat(scratch_path(base, name), &st), 0);
	return st.st_atim;
}

static void
touching_renews_the_access_time_alone(void **state)
{
	const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 2000}};
	struct store *s = open_dir(*state);
	struct stat st;

	assert_int_equal(store_touch(s, CHUNK_KEY), 1);
	file(*state, CHUNK_KEY, "x");
	file(*state, ".chunks/abcd/secret", "x");
	file(*state, "vm/100/owner", "x");
	assert_int_equal(utimensat(AT_FDCWD, scratch_path(*state, CHUNK_KEY),
			     old, 0),
	    0);
	assert_int_equal(store_touch(s, CHUNK_KEY), 0);
	assert_true(accessed(*state, CHUNK_KEY).tv_sec > 1000);
	assert_int_equal(stat(scratch_path(*state, CHUNK_KEY), &st), 0);
	assert_int_equal(st.st_mtim.tv_sec, 2000);
	assert_int_equal(store_touch(s, ".cnt/vm/100/owner"), 0);
	assert_int_equal(store_touch(s, ".cnt/vm/100/notes"), 1);
	assert_int_equal(store_touch(s, ".cnt/README"), 1);
	assert_int_equal(store_touch(s, "a//b"), -EINVAL);
	/* What a crash has left empty, and links, are no chunks. */
	assert_int_equal(truncate(scratch_path(*state, CHUNK_KEY), 0), 0);
	assert_int_equal(store_touch(s, CHUNK_KEY), 1);
	assert_int_equal(unlink(scratch_path(*state, CHUNK_KEY)), 0);
	assert_int_equal(symlink("secret", scratch_path(*state, CHUNK_KEY)),
	    0);
	assert_int_equal(utimensat(AT_FDCWD,
			     scratch_path(*state, ".chunks/abcd/secret"), old,
			     0),
	    0);
	assert_int_equal(store_touch(s, CHUNK_KEY), 1);
	assert_int_equal(accessed(*state, ".chunks/abcd/secret").tv_sec, 1000);
	store_shutdown(s);
	assert_int_equal(store_touch(s, CHUNK_KEY), -ESHUTDOWN);
	assert_int_equal(store_sync(s), -ESHUTDOWN);
	store_free(s);
}

/* From here on that system call fails. */
static int
forbid(unsigned nr, int error)
{
	struct sock_filter code[] = {
	    BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog prog = {ARRAY_SIZE(code), code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		return -errno;
	return 0;
}

static int
forbid_openat2(void)
{
	const struct open_how how = {0};

	if (forbid(SYS_openat2, ENOSYS) < 0)
		return -errno;
	return syscall(SYS_openat2, -1, "", &how, sizeof(how)) < 0 && errno == ENOSYS
		   ? 0
		   : -EIO;
}

/* The exit status of a child in which fn runs. */
static int
in_child(int (*fn)(const char *base), const char *base)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		_exit(fn(base));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Steps are numbered, so that a failure has a name. */
static int
put_lazily(const char *base)
{
	const struct store_put lazy = {.lazy = true, .if_absent = true};
	struct store *s = open_dir(base);

	if (forbid(SYS_fsync, EIO) < 0)
		return 77;
	if (store_put(s, CHUNK_KEY, "x", 1, &absent, NULL) != -EIO)
		return 1;
	if (store_put(s, CHUNK_KEY, "x", 1, &lazy, NULL) != 0)
		return 2;
	if (store_put(s, CHUNK_KEY, "x", 1, &lazy, NULL) != 1)
		return 3;
	if (store_sync(s) != 0)
		return 4;
	if (forbid(SYS_syncfs, EIO) < 0)
		return 77;
	if (store_sync(s) != -EIO || store_sync(s) != -EIO)
		return 5;
	store_free(s);
	return 0;
}

static void
lazy_ones_are_not_waited_for(void **state)
{
	int status = in_child(put_lazily, *state);

	if (status == 77)
		skip();
	assert_int_equal(status, 0);
	assert_int_equal(mode_of(*state, ".chunks/abcd"), 0750);
	assert_int_equal(mode_of(*state, CHUNK_KEY), 0644);
	assert_int_equal(scratch_files(scratch_path(*state, ".chunks")), 1);
}

/* Lost pages are told of once; whoever asks later must know as well. */
static void
a_failed_sync_is_not_forgotten(void **state)
{
	struct store *s = open_dir(*state);
	struct store_dir *d = (struct store_dir *)s;
	int fd = d->fd;

	assert_int_equal(store_sync(s), 0);
	d->fd = -1;
	assert_int_equal(store_sync(s), -EBADF);
	d->fd = fd;
	assert_int_equal(store_sync(s), -EBADF);
	store_free(s);
}

static const struct CMUnitTest tests[] = {
#define WITH_DIR(f)                                                            \
	cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
    WITH_DIR(the_layout_is_the_servers),
    WITH_DIR(what_is_no_object_is_left_out),
    WITH_DIR(empty_directories_are_no_harm),
    WITH_DIR(symlinks_are_never_followed),
    WITH_DIR(pipes_and_devices_do_not_block),
    WITH_DIR(nested_without_end),
    WITH_DIR(chunks_are_inserted_by_the_servers_rules),
    WITH_DIR(groups_go_with_their_last_file),
    WITH_DIR(a_namespace_in_use_stays),
    WITH_DIR(all_chunk_directories_are_listed_in_order),
    WITH_DIR(what_vanishes_meanwhile_is_left_out),
    WITH_DIR(no_such_datastore),
    WITH_DIR(touching_renews_the_access_time_alone),
    WITH_DIR(lazy_ones_are_not_waited_for),
    WITH_DIR(a_failed_sync_is_not_forgotten),
};

/* Everything once more on a kernel that is older. */
static void
all_of_it_without_openat2(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		if (forbid_openat2() < 0)
			_exit(77);
		cmocka_set_message_output(CM_OUTPUT_STDOUT);
		if (freopen("/dev/null", "w", stdout) == NULL)
			_exit(1);
		_exit(cmocka_run_group_tests(tests, NULL, NULL));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

int
main(void)
{
	const struct CMUnitTest again[] = {
	    cmocka_unit_test(all_of_it_without_openat2),
	};
	struct CMUnitTest all[ARRAY_SIZE(tests) + ARRAY_SIZE(again)];

	memcpy(all, tests, sizeof(tests));
	memcpy(all + ARRAY_SIZE(tests), again, sizeof(again));
	return cmocka_run_group_tests(all, NULL, NULL);
}
