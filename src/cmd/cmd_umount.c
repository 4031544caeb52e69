/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cmd/exits.h"
#include "cmd/live.h"
#include "cmd/option.h"

/* The daemon only has to end its threads. */
#define WAIT_MS 30000

static int
by_helper(const char *where, bool lazy)
{
	pid_t pid = fork();
	int st;

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		execlp("fusermount3", "fusermount3", lazy ? "-uz" : "-u", "--",
		    where, (char *)NULL);
		log_err("fusermount3: %s", strerror(errno));
		_exit(EXIT_FAILED);
	}
	while (waitpid(pid, &st, 0) < 0)
		if (errno != EINTR)
			return -errno;
	/* It has said why. */
	return WIFEXITED(st) && WEXITSTATUS(st) == 0 ? 0 : -EIO;
}

static int
take_away(const char *where, bool lazy)
{
	int r;

	if (geteuid() != 0)
		return by_helper(where, lazy);
	if (umount2(where, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
		return 0;
	r = -errno;
	log_err("%s: %s%s", where, strerror(-r), r == -EBUSY ?
	    "\nhint: fuser -vm shows who uses it; --lazy does not wait" : "");
	return r;
}

static int
wait_for_end(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	int n;

	do
		n = poll(&p, 1, WAIT_MS);
	while (n < 0 && errno == EINTR);
	return n > 0 ? 0 : -ETIMEDOUT;
}

int
cmd_umount(struct options *o, char **args, int n)
{
	_cleanup_close_ int pidfd = -1;
	json_t *status = NULL;
	pid_t pid;
	int r;

	(void)n;
	if (!live_is_mount(args[0])) {
		log_err("%s: nothing of pbs3fs is mounted there", args[0]);
		return EXIT_FAILED;
	}
	/* A dead daemon cannot say who it was; then there is none to wait
	 * for. */
	if (live_status(args[0], &status) == 0)
		pidfd = live_open_daemon(status, &pid);
	json_decref(status);
	r = take_away(args[0], o->lazy);
	if (r < 0)
		return exits_of(r);
	if (pidfd < 0 || o->lazy)
		return EXIT_OK;
	r = wait_for_end(pidfd);
	if (r < 0)
		log_err("%s: unmounted, but process %ld does not end",
		    args[0], (long)pid);
	return r < 0 ? EXIT_FAILED : EXIT_OK;
}
