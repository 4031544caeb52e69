/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/exits.h"

static int
wait_for_child(int fd, pid_t pid)
{
	char ok;
	ssize_t n;
	int st;

	do
		n = read(fd, &ok, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return EXIT_OK;
	/* It ended; what went wrong it has said itself. */
	while (waitpid(pid, &st, 0) < 0)
		if (errno != EINTR)
			return EXIT_FAILED;
	if (WIFSIGNALED(st)) {
		log_err("the mount was killed: %s", strsignal(WTERMSIG(st)));
		return EXIT_FAILED;
	}
	return WEXITSTATUS(st);
}

int
daemon_fork(struct daemon *d, int *ret_status)
{
	int p[2];
	pid_t pid;

	d->fd = -1;
	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		int r = -errno;

		close(p[0]);
		close(p[1]);
		return r;
	}
	if (pid == 0) {
		close(p[0]);
		d->fd = p[1];
		return 0;
	}
	close(p[1]);
	*ret_status = wait_for_child(p[0], pid);
	close(p[0]);
	return 1;
}

void
daemon_ready(struct daemon *d)
{
	int null;

	if (d->fd < 0)
		return;
	log_setup(LOG_TO_SYSLOG, log_get_level(), "pbs3fs");
	setsid();
	if (chdir("/") < 0)
		log_warn("/: %s", strerror(errno));
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; fd < 3 && null >= 0; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
	while (write(d->fd, "", 1) < 0 && errno == EINTR)
		;
	close(d->fd);
	d->fd = -1;
}
