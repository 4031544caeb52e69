/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3/cred_source.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"

#define OUTPUT_MAX ((size_t)64 * 1024)
#define WORDS_MAX 64
#define REAP_MS 10
#define NOT_FOUND 127

/*
 * The program in a process group of its own, so that it can be ended with all
 * that it started; standard output goes to the pipe.
 */
static int
start(char *const *argv, int out, pid_t *ret)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	r = posix_spawn_file_actions_init(&files);
	if (r != 0)
		return -r;
	r = posix_spawnattr_init(&attr);
	if (r != 0) {
		posix_spawn_file_actions_destroy(&files);
		return -r;
	}
	r = posix_spawn_file_actions_addopen(
	    &files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(
		    &files, out, STDOUT_FILENO);
	if (r == 0)
		r = posix_spawnattr_setpgroup(&attr, 0);
	if (r == 0)
		r = posix_spawnattr_setsigmask(&attr, &none);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(&attr, &all);
	if (r == 0)
		r = posix_spawnattr_setflags(&attr,
		    POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
		    POSIX_SPAWN_SETSIGDEF);
	if (r == 0)
		r = posix_spawnp(ret, argv[0], &files, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return -r;
}

static int
read_all(int fd, char *out, size_t size, deadline_t deadline, size_t *ret)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t n = 0;
	ssize_t got;
	int r;

	for (;;) {
		r = poll(&p, 1, (int)deadline_left(deadline));
		if (r == 0)
			return -ETIMEDOUT;
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r < 0)
			continue;
		if (n == size)
			return -EFBIG;
		got = read(fd, out + n, size - n);
		if (got == 0)
			break;
		if (got < 0 && errno != EINTR)
			return -errno;
		n += got > 0 ? (size_t)got : 0;
	}
	*ret = n;
	return 0;
}

/* 0 if it ended well before the deadline. */
static int
wait_for(pid_t pid, deadline_t deadline)
{
	const struct timespec nap = {0, REAP_MS * 1000000L};
	int status;
	pid_t r;

	while ((r = waitpid(pid, &status, WNOHANG)) == 0 ||
	    (r < 0 && errno == EINTR)) {
		if (deadline_left(deadline) == 0) {
			kill(-pid, SIGKILL);
			waitpid(pid, &status, 0);
			return -ETIMEDOUT;
		}
		nanosleep(&nap, NULL);
	}
	if (r < 0)
		return -errno;
	if (!WIFEXITED(status))
		return -EIO;
	/* As shells say it, and posix_spawn where it cannot tell us. */
	if (WEXITSTATUS(status) == NOT_FOUND)
		return -ENOENT;
	return WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

static int
run(char *const *argv, deadline_t deadline, char *out, size_t size,
    size_t *ret)
{
	_cleanup_close_ int rd = -1, wr = -1;
	int fds[2], r, w;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	rd = fds[0];
	wr = fds[1];
	r = start(argv, wr, &pid);
	if (r < 0)
		return r;
	close(wr);
	wr = -1;
	r = read_all(rd, out, size, deadline, ret);
	if (r < 0)
		kill(-pid, SIGKILL);
	w = wait_for(pid, deadline);
	return r < 0 ? r : w;
}

int
cred_run(const char *command, unsigned timeout_ms, struct cred_answer *ret)
{
	_cleanup_free_ char *text = strdup(command);
	char *argv[WORDS_MAX];
	char *out = NULL;
	size_t len = 0;
	int r;

	if (text == NULL)
		return -ENOMEM;
	r = cred_split_command(text, argv, ARRAY_SIZE(argv));
	if (r <= 0) {
		log_err("credential_process: not a command line");
		return -EINVAL;
	}
	out = malloc(OUTPUT_MAX);
	if (out == NULL)
		return -ENOMEM;
	r = run(argv, deadline_in(timeout_ms), out, OUTPUT_MAX, &len);
	if (r < 0) {
		log_err("credential_process %s: %s", argv[0],
		    r == -EIO ? "it failed" : strerror(-r));
	} else {
		r = cred_parse_json(out, len, ret);
		if (r < 0)
			log_err("credential_process %s: its output is not as "
				"expected\nhint: it has to print JSON with "
				"Version 1, AccessKeyId and SecretAccessKey",
			    argv[0]);
	}
	explicit_bzero(out, OUTPUT_MAX);
	free(out);
	return r;
}
