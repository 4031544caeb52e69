/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/interrupt.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

/* A signal handler has nothing else to work with. */
static atomic_bool interrupted;

static void
on_signal(int sig)
{
	(void)sig;
	atomic_store(&interrupted, true);
}

const atomic_bool *
interrupt_catch(void)
{
	struct sigaction sa = {
	    .sa_handler = on_signal,
	    .sa_flags = SA_RESETHAND | SA_RESTART,
	};

	sigemptyset(&sa.sa_mask);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	return &interrupted;
}
