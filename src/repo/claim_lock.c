/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/claim_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "crypt/digest.h"
#include "repo/claim.h"

#define DIR_OF_ROOT "/run/pbs3fs"
#define NAME_LEN 16	/* hex digits that stand for an identity */
#define SAID_MAX 64	/* what a lock file says at most */

static void
default_dir(struct str *out)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		str_add(out, DIR_OF_ROOT);
	else if (xdg != NULL && xdg[0] == '/')
		str_addf(out, "%s/pbs3fs", xdg);
	else
		str_addf(out, "/tmp/pbs3fs-%lu", (unsigned long)geteuid());
}

/* Nobody else may put a file there, or take one away. */
static int
open_dir(const char *path)
{
	_cleanup_close_ int fd = -1;
	int r;

	r = io_mkdirs(AT_FDCWD, path, 0700);
	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = io_check_private(fd);
	if (r < 0)
		return r;
	r = fd;
	fd = -1;
	return r;
}

/* Directory and beginning of names of what belongs to a store. */
static int
find_place(const char *run_dir, const char *identity, struct str *dir,
    char name[NAME_LEN + 1])
{
	struct digest d = digest_of(identity, strlen(identity));
	char hex[DIGEST_HEX_LEN + 1];

	if (run_dir != NULL)
		str_add(dir, run_dir);
	else
		default_dir(dir);
	memcpy(name, digest_hex(&d, hex), NAME_LEN);
	name[NAME_LEN] = '\0';
	return str_error(dir);
}

static int
open_place(const char *path)
{
	int dir = open_dir(path);

	if (dir < 0)
		log_err("%s: cannot keep lock files there: %s", path,
		    dir == -EPERM ? "others can write into it" :
				    strerror(-dir));
	return dir;
}

int
claim_lock_open(const char *run_dir, const char *identity, int *ret_fd)
{
	_cleanup_(str_fini) struct str path = {0};
	char name[NAME_LEN + 1], file[40];
	_cleanup_close_ int dir = -1;
	int r;

	r = find_place(run_dir, identity, &path, name);
	if (r < 0)
		return r;
	dir = open_place(str_get(&path));
	if (dir < 0)
		return dir;
	snprintf(file, sizeof(file), "%s.lock", name);
	*ret_fd = openat(dir, file,
	    O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (*ret_fd >= 0)
		return 0;
	r = -errno;
	log_err("%s/%s: %s", str_get(&path), file, strerror(-r));
	return r;
}

int
claim_socket(const char *run_dir, const char *identity, char **ret)
{
	_cleanup_(str_fini) struct str path = {0};
	_cleanup_close_ int dir = -1;
	char name[NAME_LEN + 1];
	int r;

	r = find_place(run_dir, identity, &path, name);
	if (r < 0)
		return r;
	dir = open_place(str_get(&path));
	if (dir < 0)
		return dir;
	str_addf(&path, "/%s.sock", name);
	*ret = str_take(&path);
	return *ret == NULL ? -ENOMEM : 0;
}

/* The number of the process that has it, 0 if it does not say. */
static unsigned long
read_holder(int fd)
{
	char text[SAID_MAX + 1];
	ssize_t n = pread(fd, text, SAID_MAX, 0);
	uint64_t pid;

	if (n <= 0)
		return 0;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return num_u64(text, &pid) == 0 ? (unsigned long)pid : 0;
}

static int
busy(int fd, const char *name)
{
	unsigned long pid = read_holder(fd);
	char who[64] = "another program";

	if (pid != 0)
		snprintf(who, sizeof(who), "process %lu", pid);
	log_err("%s: %s on this host writes into it\n"
		"hint: one writes at a time; others may read, with -o ro",
	    name, who);
	return -EBUSY;
}

int
claim_lock_take(int fd, const char *name)
{
	char text[SAID_MAX];
	int n, r;

	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		r = -errno;
		if (r == -EWOULDBLOCK)
			return busy(fd, name);
		log_err("%s: cannot lock it: %s", name, strerror(-r));
		return r;
	}
	/* For messages only: a failure harms nobody. */
	n = snprintf(text, sizeof(text), "%lu\n", (unsigned long)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
		log_debug("%s: the lock does not say whose it is", name);
	return 0;
}
