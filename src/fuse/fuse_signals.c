/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/fuse_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Where a signal handler puts what came: it can reach nothing else. */
static volatile int signal_fd = -1;

static void
on_signal(int sig)
{
	int saved = errno;
	unsigned char c = (unsigned char)sig;
	ssize_t n = write(signal_fd, &c, 1);

	(void)n;
	errno = saved;
}

/* Only there to interrupt a wait. */
static void
on_kick(int sig)
{
	(void)sig;
}

/* Handlers instead of a mask: threads that others started do not block these
 * signals. */
int
signals_begin(struct signals *s)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	if (pipe2(s->pipe, O_CLOEXEC) < 0)
		return -errno;
	signal_fd = s->pipe[1];
	sigemptyset(&sa.sa_mask);
	sigaction(SIGTERM, &sa, &s->term);
	sigaction(SIGINT, &sa, &s->intr);
	sigaction(SIGHUP, &sa, &s->hup);
	sa.sa_handler = on_kick;
	sa.sa_flags = 0;
	sigaction(SIGUSR2, &sa, &s->usr2);
	sa.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &sa, &s->sigpipe);
	return 0;
}

void
signals_end(struct signals *s)
{
	if (signal_fd < 0)
		return;
	sigaction(SIGTERM, &s->term, NULL);
	sigaction(SIGINT, &s->intr, NULL);
	sigaction(SIGHUP, &s->hup, NULL);
	sigaction(SIGUSR2, &s->usr2, NULL);
	sigaction(SIGPIPE, &s->sigpipe, NULL);
	signal_fd = -1;
	close(s->pipe[0]);
	close(s->pipe[1]);
}

void
signals_raise(struct signals *s, int sig)
{
	unsigned char c = (unsigned char)sig;
	ssize_t n = write(s->pipe[1], &c, 1);

	(void)n;
}
