/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/stopping.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

static atomic_bool stop;

static void
on_signal(int sig)
{
	(void)sig;
	atomic_store(&stop, true);
}

const atomic_bool *
stopping_begin(void)
{
	const struct sigaction sa = {
	    .sa_handler = on_signal,
	    .sa_flags = (int)SA_RESETHAND,
	};

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	return &stop;
}
