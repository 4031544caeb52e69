/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/live.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/str.h"

#define STATUS_MAX ((size_t)4 << 20)
/* A daemon answers this from memory; one that takes longer hangs. */
#define ANSWER_MS 10000
#define REAP_MS 10
#define REAPS 100

/* Without trailing slashes; links and dots only where they can be resolved
 * without entering the mount, which may be dead. */
static char *
plain_path(const char *path)
{
	_cleanup_free_ char *copy = strdup(path), *dir = NULL;
	struct str s = {0};
	char *slash;
	size_t n;

	if (copy == NULL)
		return NULL;
	for (n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
		copy[n - 1] = '\0';
	slash = strrchr(copy, '/');
	if (slash == NULL) {
		dir = realpath(".", NULL);
		slash = copy - 1;
	} else {
		*slash = '\0';
		dir = realpath(slash == copy ? "/" : copy, NULL);
	}
	if (dir == NULL || streq(slash + 1, ".") || streq(slash + 1, ".."))
		return realpath(path, NULL);
	str_addf(&s, "%s/%s", streq(dir, "/") ? "" : dir, slash + 1);
	return str_take(&s);
}

static bool
in_table(const char *path)
{
	struct mntent m;
	char buf[4096];
	bool ours = false;
	FILE *f = setmntent("/proc/self/mounts", "r");

	if (f == NULL)
		return false;
	/* The last one at a place is the one that is seen there. */
	while (getmntent_r(f, &m, buf, sizeof(buf)) != NULL)
		if (streq(m.mnt_dir, path))
			ours = streq(m.mnt_type, "fuse.pbs3fs");
	endmntent(f);
	return ours;
}

bool
live_is_mount(const char *path)
{
	_cleanup_free_ char *plain = plain_path(path), *real = NULL;

	if (plain != NULL && in_table(plain))
		return true;
	real = realpath(path, NULL);	/* the path may be a link to it */
	return real != NULL && in_table(real);
}

int
live_find(const char *path, char **ret)
{
	_cleanup_free_ char *p = strdup(path);
	char *slash;

	if (p == NULL)
		return -ENOMEM;
	while (p[0] != '\0') {
		if (in_table(p)) {
			*ret = steal(&p);
			return 0;
		}
		slash = strrchr(p, '/');
		if (slash == NULL)
			break;
		*slash = '\0';
	}
	return -ENOENT;
}

/* In a process of its own; the errno is its exit status. */
static void
pass_on(const char *path, int out)
{
	struct buf *b;
	int r;

	r = io_read_file(AT_FDCWD, path, STATUS_MAX, &b);
	if (r == 0)
		r = io_write_full(out, b->data, b->len);
	_exit(-r);
}

static int
take_all(int fd, deadline_t deadline, struct str *out)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char part[4096];
	ssize_t n;
	int r;

	for (;;) {
		r = poll(&p, 1, (int)deadline_left(deadline));
		if (r == 0)
			return -ETIMEDOUT;
		n = r < 0 ? -1 : read(fd, part, sizeof(part));
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return str_error(out);
		if (n > 0)
			str_addn(out, part, (size_t)n);
	}
}

/* It may not even be possible to kill it; then it is left behind. */
static int
reap(pid_t pid)
{
	int i, status;

	for (i = 0; i < REAPS; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
		usleep(REAP_MS * 1000);
	}
	return -ETIMEDOUT;
}

/* Who opens a file of a daemon that hangs waits, and nothing but its own death
 * ends that: so somebody else does. */
static int
read_status(const char *path, struct str *out)
{
	_cleanup_close_ int rd = -1;
	int p[2], r, died;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	rd = p[0];
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		pass_on(path, p[1]);
	r = pid < 0 ? -errno : 0;
	close(p[1]);
	if (r < 0)
		return r;
	r = take_all(rd, deadline_in(ANSWER_MS), out);
	if (r < 0)
		kill(pid, SIGKILL);
	died = reap(pid);
	return r < 0 ? r : died;
}

int
live_status(const char *where, json_t **ret)
{
	_cleanup_(str_fini) struct str path = {0}, text = {0};
	int r;

	str_addf(&path, "%s/.pbs3fs/status.json", where);
	r = str_error(&path);
	if (r == 0)
		r = read_status(str_get(&path), &text);
	if (r < 0)
		return r;
	*ret = json_loadb(str_get(&text), text.len, 0, NULL);
	return *ret == NULL || !json_is_object(*ret) ? -EPROTO : 0;
}

/* A number from a file is only believed as far as the process looks like it. */
static bool
is_ours(pid_t pid)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%ld/comm", (long)pid);
	return io_read_file(AT_FDCWD, path, 64, &b) == 0 && b->len >= 6 &&
	    (memcmp(b->data, "pbs3fs", 6) == 0 ||
		(b->len >= 12 && memcmp(b->data, "mount.pbs3fs", 12) == 0));
}

int
live_open_daemon(const json_t *status, pid_t *ret_pid)
{
	json_int_t pid = json_integer_value(json_object_get(status, "pid"));
	int fd;

	if (pid <= 1 || pid != (pid_t)pid)
		return -ESRCH;
	/* Held before it is looked at, so that it cannot become another. */
	fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	if (fd < 0)
		return -errno;
	if (!is_ours((pid_t)pid)) {
		close(fd);
		return -ESRCH;
	}
	*ret_pid = (pid_t)pid;
	return fd;
}
