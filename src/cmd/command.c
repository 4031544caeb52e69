/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/exits.h"
#include "cmd/nearest.h"
#include "cmd/option.h"
#include "config.h"

static const struct command commands[] = {
    {"create", CMD_CREATE, 1, 1, "STORE", "make a new datastore", cmd_create},
    {"mount", CMD_MOUNT, 2, 2, "STORE MOUNTPOINT", "show a datastore as files",
	cmd_mount},
    {"umount", CMD_UMOUNT, 1, 1, "MOUNTPOINT", "end a mount", cmd_umount},
    {"ls", CMD_LS, 1, 2, "STORE [PATH]", "list a directory without a mount",
	cmd_ls},
    {"cat", CMD_CAT, 2, INT_MAX, "STORE PATH...",
	"write files to standard output", cmd_cat},
    {"export", CMD_EXPORT, 2, 3, "STORE PATH [FILE]",
	"write a tree as tar, a file as it is", cmd_export},
    {"check", CMD_CHECK, 1, 1, "STORE", "find out what a store can do",
	cmd_check},
    {"refresh", CMD_REFRESH, 1, 1, "STORE|MOUNTPOINT",
	"look for new and removed snapshots", cmd_refresh},
    {"snapshot", CMD_SNAPSHOT, 1, 1, "MOUNTPOINT/GROUP",
	"publish what is in current", cmd_snapshot},
    {"forget", CMD_FORGET, 2, INT_MAX, "STORE PATH...",
	"delete snapshots, groups, namespaces", cmd_forget},
    {"protect", CMD_PROTECT, 3, INT_MAX, "STORE on|off PATH...",
	"keep snapshots from being deleted", cmd_protect},
    {"prune", CMD_PRUNE, 1, 2, "STORE [PATH]",
	"delete snapshots that no rule keeps", cmd_prune},
    {"verify", CMD_VERIFY, 1, INT_MAX, "STORE [PATH...]",
	"check that what snapshots need is there and good", cmd_verify},
    {"gc", CMD_GC, 1, 1, "STORE", "delete chunks that nothing refers to",
	cmd_gc},
    {"copy", CMD_COPY, 2, 3, "STORE-FROM STORE-TO [PATH]",
	"copy snapshots into another datastore", cmd_copy},
    {"repair", CMD_REPAIR, 1, INT_MAX, "STORE [PATH|DIGEST...]",
	"refill damaged chunks from a copy", cmd_repair},
    {"status", CMD_STATUS, 1, 1, "MOUNTPOINT",
	"requests, cache, errors of a mount", cmd_status},
    {"key", CMD_KEY, 1, 4, "ACTION FILE...", "create and inspect encryption keys",
	cmd_key},
};

static void
usage(FILE *out)
{
	fputs("usage: pbs3fs COMMAND [OPTION...] STORE [ARGUMENT...]\n\n", out);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-8s %-20s %s\n", commands[i].name,
		    commands[i].args, commands[i].summary);
	fputs("\nSTORE is a section of the configuration, an absolute path, or "
	      "s3://BUCKET/DATASTORE.\n"
	      "pbs3fs help COMMAND tells more; so do pbs3fs(8) and "
	      "pbs3fs-COMMAND(8).\n",
	    out);
}

static void
help(const struct command *c)
{
	printf("usage: pbs3fs %s [OPTION...] %s\n%s\n\n", c->name, c->args,
	    c->summary);
	option_help(stdout, c->bit);
}

static const struct command *
find(const char *name)
{
	_cleanup_(str_fini) struct str shown = {0};
	struct nearest n;

	nearest_init(&n, name);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (streq(name, commands[i].name))
			return &commands[i];
		nearest_offer(&n, commands[i].name);
	}
	str_escape(&shown, name, strlen(name));
	if (n.best != NULL)
		log_err("unknown command %s\nhint: did you mean %s?",
		    str_get(&shown), n.best);
	else
		log_err("unknown command %s\nhint: pbs3fs --help lists them",
		    str_get(&shown));
	return NULL;
}

static enum log_level
level(const struct options *o)
{
	if (o->debug || o->verbose)
		return LOG_LVL_DEBUG;
	return o->quiet ? LOG_LVL_ERR : LOG_LVL_INFO;
}

static int
run(const struct command *c, int argc, char **argv)
{
	struct options o;
	char **args;
	int n, status;

	if (options_init(&o) < 0) {
		log_err("%s", exits_why(-ENOMEM));
		return EXIT_FAILED;
	}
	if (option_parse_argv(&o, c->bit, argc, argv, &args, &n) < 0) {
		status = EXIT_USAGE;
	} else if (o.help) {
		help(c);
		status = EXIT_OK;
	} else if (n < c->min_args || n > c->max_args) {
		log_err("%s: %s\nhint: pbs3fs %s %s", c->name,
		    n < c->min_args ? "something is missing" :
				      "too many arguments",
		    c->name, c->args);
		status = EXIT_USAGE;
	} else {
		log_set_level(level(&o));
		status = c->run(&o, args, n);
	}
	options_fini(&o);
	return status;
}

int
command_run(int argc, char **argv)
{
	const struct command *c;

	if (argc < 2) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (streq(argv[1], "--version") || streq(argv[1], "-V")) {
		puts("pbs3fs " PACKAGE_VERSION);
		return EXIT_OK;
	}
	if (streq(argv[1], "--help") || streq(argv[1], "-h") ||
	    (streq(argv[1], "help") && argc == 2)) {
		usage(stdout);
		return EXIT_OK;
	}
	if (streq(argv[1], "help")) {
		c = find(argv[2]);
		if (c != NULL)
			help(c);
		return c != NULL ? EXIT_OK : EXIT_USAGE;
	}
	c = find(argv[1]);
	return c != NULL ? run(c, argc - 1, argv + 1) : EXIT_USAGE;
}
