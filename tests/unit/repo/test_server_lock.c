/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/server_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../store/scratch.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "edit_world.h"
#include "repo/edit.h"
#include "store/backends.h"

#include "../cm.h"

static void
path_is(const char *ns, const char *path, const char *want)
{
	struct str s = {0};

	assert_int_equal(server_lock_path(ns, path, &s), 0);
	assert_string_equal(str_get(&s), want);
	str_fini(&s);
}

static void
paths_are_those_of_servers(void **state)
{
	char id[300], want[512];
	struct digest d;
	struct str s = {0};
	char hex[DIGEST_HEX_LEN + 1];

	(void)state;
	path_is("", "vm/100", "vm-100");
	path_is("ns1/ns2", "vm/100", "ns1:ns2/vm-100");
	path_is("", "vm/100/2022-05-02T08:11:33Z",
	    "vm-100-2022\\x2d05\\x2d02T08\\x3a11\\x3a33Z");
	path_is("", "host/a.b_c-d", "host-a.b_c\\x2dd");
	/* 254 characters stay, 255 do not. */
	memset(id, 'a', sizeof(id));
	memcpy(id, "host/", 5);
	id[254] = '\0';
	assert_int_equal(server_lock_path("", id, &s), 0);
	assert_int_equal(s.len, 254);
	assert_memory_equal(s.s, "host-aaa", 8);
	str_fini(&s);
	id[254] = 'a';
	id[255] = '\0';
	d = digest_of(id, 255);
	snprintf(want, sizeof(want), "n/hashed/host-%.75s...%.80s-%s", id + 5,
	    id + 175, digest_hex(&d, hex));
	path_is("n", id, want);
}

static void
a_lock_is_held_until_it_is_closed(void **state)
{
	const struct group_name g = {"a", BACKUP_VM, "100"};
	const char *dir = *state, *file;
	const uid_t owner = geteuid() == 0 ? 34 : geteuid();
	int fd = -1, other = -1, probe;
	struct stat st;

	assert_int_equal(chown(dir, owner, (gid_t)-1), 0);
	assert_int_equal(server_lock_group(dir, &g, &fd), 0);
	/* The server has to be able to use what we made. */
	assert_int_equal(stat(scratch_path(dir, "a"), &st), 0);
	assert_int_equal(st.st_uid, owner);
	file = scratch_path(dir, "a/vm-100");
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(st.st_uid, owner);
	assert_int_equal(server_lock_group(dir, &g, &other), -EBUSY);
	assert_int_equal(server_lock_snap(dir, &g, W_TIME, &other), 0);
	close(other);
	close(fd);
	/* A server's. */
	probe = open(file, O_RDWR);
	assert_int_equal(flock(probe, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(server_lock_group(dir, &g, &fd), -EBUSY);
	/* It has removed the group, and its lock: that one says nothing. */
	assert_int_equal(unlink(file), 0);
	assert_int_equal(server_lock_group(dir, &g, &fd), 0);
	close(fd);
	close(probe);
}

static void
changes_wait_for_no_server(void **state)
{
	struct repo_opts o = {.timeout_ms = 5000, .lock_dir = *state};
	struct new_snap n;
	struct world w;
	struct store *s;
	bool unknown;
	char path[256];
	int fd;

	world_open(&w, true);
	repo_free(w.repo);
	snprintf(path, sizeof(path), "%s/store", w.dir);
	assert_int_equal(store_dir_new(path, &s), 0);
	w.trip = NULL;
	assert_int_equal(repo_open(s, &o, &w.repo), 0);
	new_snap_init(&n, &w_group, W_TIME + 7200, "new");
	assert_int_equal(server_lock_group(*state, &w_group, &fd), 0);
	assert_int_equal(repo_publish(w.repo, &n.s, &unknown), -EBUSY);
	assert_int_equal(repo_forget(w.repo, &w_group, W_TIME), -EBUSY);
	close(fd);
	assert_int_equal(server_lock_snap(*state, &w_group, W_TIME, &fd), 0);
	assert_int_equal(repo_forget(w.repo, &w_group, W_TIME), -EBUSY);
	close(fd);
	assert_int_equal(repo_publish(w.repo, &n.s, &unknown), 0);
	assert_int_equal(repo_forget(w.repo, &w_group, W_TIME), 0);
	new_snap_fini(&n);
	world_close(&w);
}

int
main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, scratch_setup, \
    scratch_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(paths_are_those_of_servers),
	    TEST(a_lock_is_held_until_it_is_closed),
	    TEST(changes_wait_for_no_server),
	};

	log_set_level(LOG_LVL_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
