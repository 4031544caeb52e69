/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "cmd/command.h"
#include "cmd/exits.h"

/*
 * Where one of the first three is closed, the next file or socket would get its
 * number, and our output with it.  They are opened the wrong way round, so that
 * using them is an error, as it is now.
 */
static int
reserve_standard(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
		    open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
			return -1;
	return 0;
}

int
main(int argc, char **argv)
{
	const char *name = argc > 0 ? argv[0] : "pbs3fs";
	const char *slash = strrchr(name, '/');
	int status;

	if (reserve_standard() < 0)
		return EXIT_FAILED;
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
