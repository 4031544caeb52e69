/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "cmd/command.h"
#include "cmd/exits.h"

int
main(int argc, char **argv)
{
	const char *name = argc > 0 ? argv[0] : "pbs3fs";
	const char *slash = strrchr(name, '/');
	int status;

	if (slash != NULL)
		name = slash + 1;
	/* A server or a reader that went away is an error of the call. */
	signal(SIGPIPE, SIG_IGN);
	log_setup(LOG_TO_STDERR, LOG_LVL_INFO, "pbs3fs");
	if (streq(name, "mount.pbs3fs"))
		status = mount_helper(argc, argv);
	else
		status = command_run(argc, argv);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		if (status == EXIT_OK)
			status = EXIT_FAILED;
	}
	return status;
}
