/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "cmd/exits.h"
#include "cmd/option.h"

/* What mount(8) makes of a helper's exit status. */
enum { HELPER_OK = 0, HELPER_USAGE = 1, HELPER_FAILED = 32 };

static const char usage[] =
    "usage: mount.pbs3fs STORE MOUNTPOINT [-fnrsvw] [-t pbs3fs] [-o OPTIONS]";

/* mount(8) leaves to us what it does not know: -o was checked by nobody. */
static int
parse(struct options *o, int argc, char **argv)
{
	unsigned how = OPTION_LIST_MOUNT;
	int c, r;

	/* -s counts for a -o before it, too. */
	optind = 1;
	for (int i = 1; i < argc; i++)
		if (streq(argv[i], "-s"))
			how |= OPTION_LIST_SLOPPY;
	while ((c = getopt(argc, argv, "fnrsvwo:t:N:")) != -1) {
		switch (c) {
		case 'f':
			o->fake = true;
			break;
		case 'r':
			o->ro = true;
			break;
		case 'v':
			o->verbose = true;
			break;
		case 'o':
			r = option_parse_list(o, optarg, how);
			if (r < 0)
				return r;
			break;
		case 't':
			if (streq(optarg, "pbs3fs") ||
			    streq(optarg, "fuse.pbs3fs"))
				break;
			log_err("type %s is not ours", optarg);
			return -EINVAL;
		case 'n':	/* there is no mtab to leave alone */
		case 's':
		case 'w':	/* as rw in -o */
			break;
		case 'N':
			log_err("-N: other mount namespaces are not supported");
			return -EINVAL;
		default:
			fprintf(stderr, "%s\n", usage);
			return -EINVAL;
		}
	}
	if (argc - optind == 2)
		return 0;
	fprintf(stderr, "%s\n", usage);
	return -EINVAL;
}

int
mount_helper(int argc, char **argv)
{
	struct options o;
	int status;

	if (options_init(&o) < 0)
		return HELPER_FAILED;
	if (parse(&o, argc, argv) < 0) {
		status = EXIT_USAGE;
	} else {
		if (o.verbose || o.debug)
			log_set_level(LOG_LVL_DEBUG);
		status = cmd_mount(&o, argv + optind, 2);
	}
	options_fini(&o);
	if (status == EXIT_OK)
		return HELPER_OK;
	return status == EXIT_USAGE ? HELPER_USAGE : HELPER_FAILED;
}
